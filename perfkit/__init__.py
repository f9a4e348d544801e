"""perfkit: a performance lab for LLM inference that says how it knows."""

__version__ = "0.1.0"
