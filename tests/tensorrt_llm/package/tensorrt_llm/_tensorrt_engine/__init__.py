from tensorrt_llm.engine_llm import LLM

__all__ = ["LLM"]
