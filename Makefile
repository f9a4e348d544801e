# perfkit: `make` lists the targets. Needs GNU make 4.3 or later and Python 3.11 or later.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install baseline plots gallery trt-plots mem-baseline mem-trt matrix dyn-batch gate ablation-compare profile-nsys parse-nsys ncu-profile triton-bench report demo test test-slow lint clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-26s %s\n", $$1, $$2}' Makefile

install: $(STAMP) ## make the virtual environment and install perfkit into it

# torch goes first: it is by far the largest, and the machine's pip settings decide which build it
# is (CPU or CUDA); everything after it then resolves against the one that is there.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

baseline: $(STAMP) ## measure this machine's baseline and draw it
	$(BIN)/perfkit run
	$(BIN)/perfkit plots

plots: $(STAMP) ## draw what was measured
	$(BIN)/perfkit plots

trt-plots: $(STAMP) ## draw PyTorch against TensorRT-LLM, of results/ or of FILES="a.json b.json"
	$(BIN)/perfkit trt-plots $(FILES)

mem-baseline: $(STAMP) ## where memory goes: forecast beside measured, and its picture
	$(BIN)/perfkit run --matrix memory-cpu --matrix memory-gpu --output results/memory.json
	$(BIN)/perfkit memory results/memory.json

# Each picture of plots/gallery/, drawn again from what is committed; its README has the commands.
H100 := baselines/nvidia-h100-80gb-hbm3_driver-580.159.04_cuda-13.0_torch-2.11.0
H200 := baselines/nvidia-h200_driver-580.159.04_cuda-13.0_torch-2.11.0
PROFILED := data/profiles/llama2-7b-h100.json::torch
GALLERY := plots/gallery
gallery: $(STAMP) ## draw plots/gallery/ again from committed results
	$(BIN)/perfkit plots $(H200)/*/0001_llama2-7b.json --output $(GALLERY)/h200
	$(BIN)/perfkit attention $(H200)/*/0004_attention.json --output $(GALLERY)/h200
	$(BIN)/perfkit plots $(H100)/*/0002_llama2-7b.json --output $(GALLERY)/h100
	$(BIN)/perfkit ablation $(H100)/ablation-gpu/*.json --output results/ablation --plots $(GALLERY)/h100
	$(BIN)/perfkit explain $(PROFILED)-eager/llama2-7b/bf16/nofmha $(PROFILED)-compile/llama2-7b/bf16/nofmha --plots $(GALLERY)/profile
	$(BIN)/perfkit parse data/profiles/h100-compile-fmha.trace.json.gz --plots $(GALLERY)/profile
	$(BIN)/perfkit plots data/profiles/llama2-7b-h100.json --only kernel_breakdown --output $(GALLERY)/profile
	$(BIN)/perfkit batching plots data/batching/llama2-7b-h100.csv --plots $(GALLERY)/batching

CONFIG ?=
build-engine-bf16: $(STAMP) ## build Llama 2 7B's TensorRT-LLM engine, fused attention on
	$(BIN)/perfkit build-engine configs/llama2_7b_bf16.json

build-engine-bf16-no-fmha: $(STAMP) ## the same with fused attention off
	$(BIN)/perfkit build-engine configs/llama2_7b_bf16_no_fmha.json

build-engine: $(STAMP) ## build any engine: make build-engine CONFIG=configs/....json
	$(BIN)/perfkit build-engine $(or $(CONFIG),$(error say which: CONFIG=configs/....json))

trt: $(STAMP) ## measure TensorRT-LLM; of one engine config: make trt CONFIG=configs/....json
	$(BIN)/perfkit trt $(CONFIG)

mem-trt: $(STAMP) ## the same of TensorRT-LLM; skips with the reason where it is absent
	$(BIN)/python -m pytest -m trt benchmarks/test_generation.py -q --perfkit-matrix=memory-trt --benchmark-json=results/memory-trt.json
	$(BIN)/perfkit memory results/memory-trt.json

matrix: $(STAMP) ## measure a whole matrix, each group of cells in a process of its own
	$(BIN)/perfkit sweep

dyn-batch: $(STAMP) ## simulate request batching: data/dyn_batch_sweep.csv and its pictures
	$(BIN)/perfkit batching sweep

gate: $(STAMP) ## judge this version against this machine's accepted baseline
	$(BIN)/perfkit gate

ablation-compare: $(STAMP) ## what fused attention changes, over five fresh runs: report and picture
	$(BIN)/perfkit ablation

# Of another case: make profile-nsys CASE=torch-compile/llama2-7b/bf16/fmha/b1/p128/n32/tp1
CASE ?= torch-eager/llama2-7b/bf16/fmha/b8/p1024/n16/tp1
profile-nsys: $(STAMP) ## measure a case, and see by Nsight Systems where its time goes: profiles/
	$(BIN)/perfkit profile $(CASE) --tool nsys

ncu-profile: $(STAMP) ## count in a case's attention kernels by Nsight Compute: profiles/
	$(BIN)/perfkit profile $(CASE) --tool ncu

triton-bench: $(STAMP) ## compare attention kernels; without a GPU check them in Triton's interpreter
	$(BIN)/python -m pytest benchmarks/test_attention.py -q --benchmark-quiet --benchmark-json=results/attention.json
	$(BIN)/perfkit attention results/attention.json

report: $(STAMP) ## one HTML file of results/, or of FILES="a.json folder": report.html
	$(BIN)/perfkit report $(or $(FILES),results) -o report.html

demo: $(STAMP) ## open the report of results measured on an H200 and an H100
	$(BIN)/perfkit demo

FILE ?=
parse-nsys: $(STAMP) ## where the time of a profile goes: make parse-nsys FILE=report.sqlite
	$(BIN)/perfkit parse "$(or $(FILE),$(error say which: FILE=report.sqlite))"

# What is measured runs alone; the other tests share the cores, a thread each.
BESIDE := OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests --benchmark-disable --numprocesses auto --maxprocesses 4 --dist loadfile
test: $(STAMP) ## run the quick tests that need no GPU
	$(BIN)/python -m pytest benchmarks -m "cpu and not slow"
	$(BESIDE) -m "cpu and not slow and not thorough"

test-slow: $(STAMP) ## run the tests that take longer; pytest benchmarks -m "cpu and slow" measures perfkit itself
	$(BESIDE) -m "cpu and slow"

lint: $(STAMP) ## check style, format, types and spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --num-workers auto
	$(BIN)/codespell

clean: ## remove results, plots and caches; baselines and the plot gallery stay
	rm -rf results .benchmarks .pytest_cache .mypy_cache .ruff_cache dist *.egg-info
	rm -f plots/*.png
	find . -path ./$(VENV) -prune -o -path ./.git -prune -o -name __pycache__ -type d -exec rm -rf {} +
