"""A stand-in for TensorRT-LLM: its names and refusals, none of its speed. For tests alone."""

from tensorrt_llm.strict import VERSION, BuildConfig, SamplingParams

__version__ = VERSION

if VERSION.startswith("0."):
    from tensorrt_llm.engine_llm import LLM
else:
    from tensorrt_llm.torch_llm import LLM

__all__ = ["LLM", "BuildConfig", "SamplingParams", "__version__"]
