"""Classes that take what their version takes: an unknown name or a wrong type raises alike."""

import enum
import json
from pathlib import Path

_TOLD = json.loads((Path(__file__).parent / "accepted.json").read_text(encoding="utf-8"))
VERSION = _TOLD["version"]
OLD = VERSION.startswith("0.")
_PLAIN = {"int": int, "bool": bool, "str": str, "float": (int, float)}


def names(what):
    return _TOLD["classes"][what]["names"]


def check_type(what, name, value):
    told = _TOLD["classes"][what]["types"].get(name, "")
    optional = told.startswith("Optional[")
    wanted = _PLAIN.get(told.removeprefix("Optional[").removesuffix("]"))
    if wanted is None or (optional and value is None):
        return
    # A bool is an int to Python; a flag that the contract calls int takes both.
    if not isinstance(value, wanted):
        kind = TypeError if OLD else ValueError
        raise kind(f"{what}.{name}: {value!r} is no {told}")


def refuse(what, name):
    if OLD:
        raise TypeError(f"{what}.__init__() got an unexpected keyword argument {name!r}")
    raise ValueError(f"{what}: {name}: Extra inputs are not permitted")


class _Strict:
    WHAT = ""

    def __init__(self, **given):
        for name, value in given.items():
            if name not in names(self.WHAT):
                refuse(self.WHAT, name)
            check_type(self.WHAT, name, value)
        self.__dict__.update(given)


class SamplingParams(_Strict):
    WHAT = "SamplingParams"


class KvCacheConfig(_Strict):
    WHAT = "KvCacheConfig"


class QuantConfig(_Strict):
    WHAT = "QuantConfig"


QuantAlgo = enum.Enum("QuantAlgo", {name: name for name in names("QuantAlgo")})


class PluginConfig:
    """1.2 drops an unknown keyword in silence; setting one afterwards is refused by all."""

    def __init__(self, **given):
        newest = VERSION.startswith("1.2")
        fresh = {"context_fmha": True, "use_paged_context_fmha": newest,
                 "use_fp8_context_fmha": newest, "tokens_per_block": 32 if newest else 64,
                 "gemm_plugin": None}  # fmt: skip
        self.__dict__.update(fresh)
        for name, value in given.items():
            if name in names("PluginConfig"):
                setattr(self, name, value)
            elif not newest:
                refuse("PluginConfig", name)

    def __setattr__(self, name, value):
        if name not in names("PluginConfig"):
            kind = AttributeError if OLD else ValueError
            raise kind(f'"PluginConfig" object has no field "{name}"')
        if name == "context_fmha":
            if OLD:
                assert isinstance(value, bool), f"context_fmha: {value!r}"
            value = value in (True, "enable")
        self.__dict__[name] = value


class BuildConfig(_Strict):
    WHAT = "BuildConfig"

    def __init__(self, **given):
        self.max_input_len, self.max_seq_len, self.max_batch_size = 1024, None, 2048
        self.max_num_tokens, self.gather_context_logits = 8192, False
        self.plugin_config = PluginConfig()
        super().__init__(**given)
