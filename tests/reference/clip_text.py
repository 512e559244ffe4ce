#!/usr/bin/env python3
"""Writes tests/golden/clip_text.txt: what small text encoders give in transformers, in f64.

    python tests/reference/clip_text.py tests/golden/files > tests/golden/clip_text.txt

Needs transformers 5.23.0 and torch. Weights follow from their names, as in tests/shapes/sdxl_tiny.c.
A block is "name count loss" and the values; the loss, relative and L2, is what torch's bf16 loses of
them (0 where nothing is computed). The folder gets each config.json, as NAME.encoder.
"""
import math
import pathlib
import sys

import numpy
import torch
import transformers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

assert transformers.__version__ == "5.23.0", transformers.__version__

# In "quick" the largest id ends a text, whatever it is; in "gelu" token 90, with others above it.
MODELS = {
    "quick": (
        CLIPTextModel,
        dict(vocab_size=61, hidden_size=39, intermediate_size=53, num_hidden_layers=3,
             num_attention_heads=3, max_position_embeddings=11, hidden_act="quick_gelu",
             layer_norm_eps=1e-5, eos_token_id=2),
        [[59, 4, 17, 2, 33, 60, 60, 60, 60],  # ends in the middle, padded as SDXL's first is
         [59, 8, 1, 19, 25, 44, 7, 7, 60],  # as long as texts may be here
         [59, 60, 0, 0, 0, 0, 0, 0, 0]],  # empty, padded as the second is
    ),
    "gelu": (
        CLIPTextModelWithProjection,
        dict(vocab_size=97, hidden_size=40, intermediate_size=72, num_hidden_layers=4,
             num_attention_heads=5, max_position_embeddings=7, hidden_act="gelu",
             layer_norm_eps=1e-3, eos_token_id=90, projection_dim=28),
        [[89, 4, 95, 90, 0, 0, 0], [89, 12, 96, 3, 70, 70, 90], [89, 5, 90, 6, 90, 96, 90]],
    ),
}


def numbers(name, shape, scale, shift=0.0):
    """splitmix64, begun by FNV-1a of the name, rounded to f32."""
    mask, seed = (1 << 64) - 1, 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 & mask
    n = numpy.arange(1, math.prod(shape) + 1, dtype=numpy.uint64)
    z = numpy.uint64(seed) + n * numpy.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    u = ((z ^ (z >> numpy.uint64(31))) >> numpy.uint64(11)) / 4503599627370496.0 - 1
    return torch.from_numpy((shift + scale * u).astype(numpy.float32).reshape(shape))


def fill(model):
    for name, p in model.named_parameters():
        name = name if name.startswith("text_") else "text_model." + name
        shape = tuple(p.shape)
        scale = math.sqrt(3 / math.prod(shape[1:])) if len(shape) > 1 else 0.1
        shift = float(len(shape) == 1 and "norm" in name and "weight" in name)
        p.data.copy_(numbers(name, shape, scale, shift))


def run(model, ids):
    with torch.no_grad():
        out = model(ids, output_hidden_states=True)
    results = {"hidden.1": out.hidden_states[1], "hidden.-2": out.hidden_states[-2],
               "last": out.last_hidden_state}
    if "text_embeds" in out:
        results["embeds"] = out.text_embeds
    else:
        results["pooled"] = out.pooler_output
    return {name: x.double() for name, x in results.items()}


def write(name, values, loss, digits):
    print(name, len(values), f"{loss:.4g}")
    for at in range(0, len(values), 12):
        print(*(f"{value:.{digits}g}" for value in values[at : at + 12]))


for name, (kind, config, texts) in MODELS.items():
    model, ids = kind(CLIPTextConfig(**config)).eval(), torch.tensor(texts)
    fill(model)
    model.config.architectures = [kind.__name__]  # as save_pretrained() does
    saved = model.config.to_json_string(use_diff=False)
    pathlib.Path(sys.argv[1], f"{name}.encoder").write_text(saved)
    exact = run(model.double(), ids)
    rounded = run(model.bfloat16(), ids)
    write(f"{name}.ids", ids.flatten().tolist(), 0, 9)
    for key, x in exact.items():
        loss = (rounded[key] - x).norm() / x.norm()
        write(f"{name}.{key}", x.flatten().tolist(), loss, 7)
