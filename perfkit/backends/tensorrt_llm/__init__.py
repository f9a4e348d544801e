"""TensorRT-LLM: versions, engine configs, the engines' process and what it says.

The backends are perfkit.backends.trtllm_engine and perfkit.backends.trtllm_pytorch.
"""
