"""A LLaMA in numpy, fp32, from a folder of safetensors; without weights, tokens by arithmetic."""

import json
from pathlib import Path

import numpy as np


def read(folder):
    weights = {}
    for file in sorted(Path(folder).glob("*.safetensors")):
        data = file.read_bytes()
        size = int.from_bytes(data[:8], "little")
        for name, about in json.loads(data[8 : 8 + size]).items():
            if name != "__metadata__":
                first, last = about["data_offsets"]
                raw = data[8 + size + first : 8 + size + last]
                weights[name] = _floats(raw, about["dtype"]).reshape(about["shape"])
    return weights


def _floats(raw, kind):
    if kind == "BF16":
        return (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(raw, {"F32": np.float32, "F16": np.float16}[kind]).astype(np.float32)


def logits(config, weights, ids):
    """(T, V) logits of one sequence."""
    vocab = config["vocab_size"]
    if not weights:
        place = (np.cumsum(ids) * 7 + 3) % vocab
        return np.eye(vocab, dtype=np.float32)[place]
    heads, groups, dim = (config[k] for k in ("num_attention_heads", "num_key_value_heads",
                                              "head_dim"))  # fmt: skip
    x = weights["model.embed_tokens.weight"][ids]
    length = len(ids)
    frequency = config["rope_theta"] ** (-np.arange(0, dim, 2) / dim)
    angle = np.concatenate([np.outer(np.arange(length), frequency)] * 2, axis=1)
    cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    mask = np.triu(np.full((length, length), -np.inf, np.float32), 1)

    def normed(x, name):
        scale = np.sqrt((x**2).mean(-1, keepdims=True) + config["rms_norm_eps"])
        return x / scale * weights[name]

    def turned(x):
        half = dim // 2
        return x * cos + np.concatenate([-x[..., half:], x[..., :half]], -1) * sin

    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        h = normed(x, at + "input_layernorm.weight")

        def split(part, count, h=h, at=at):
            made = h @ weights[f"{at}self_attn.{part}_proj.weight"].T
            return made.reshape(length, count, dim).transpose(1, 0, 2)

        q, k, v = turned(split("q", heads)), turned(split("k", groups)), split("v", groups)
        k, v = (np.repeat(one, heads // groups, axis=0) for one in (k, v))
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(dim) + mask
        share = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (share / share.sum(-1, keepdims=True)) @ v
        flat = mixed.transpose(1, 0, 2).reshape(length, heads * dim)
        x = x + flat @ weights[at + "self_attn.o_proj.weight"].T
        h = normed(x, at + "post_attention_layernorm.weight")
        gate = h @ weights[at + "mlp.gate_proj.weight"].T
        up = h @ weights[at + "mlp.up_proj.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ weights[at + "mlp.down_proj.weight"].T
    return normed(x, "model.norm.weight") @ weights["lm_head.weight"].T
