from tensorrt_llm.strict import BuildConfig, KvCacheConfig, QuantAlgo, QuantConfig, SamplingParams

__all__ = ["BuildConfig", "KvCacheConfig", "QuantAlgo", "QuantConfig", "SamplingParams"]
