#!/usr/bin/env python3
"""Writes tests/golden/sdxl_files.txt: what diffusers makes of a small SDXL model in a single file.

    python tests/reference/sdxl_files.py > tests/golden/sdxl_files.txt

A line for each tensor of the model: its part and name, sizes and CRC-32 of its f32 bytes. The
tensors of the single file are listed here as Stability's generative-models builds its modules; their
numbers follow from their names, as in tests/sdxl_files_test.c, which writes the same file. The
conversion is diffusers' own. Needs diffusers 0.42.1, transformers and torch.
"""
import math
import types
import zlib

import numpy
import torch
from diffusers.loaders import single_file_utils as single

CHANNELS, LAYERS, DEPTH, MID = (64, 64, 128), 2, (0, 2, 0), 1
CONTEXT, ADDED, POOLED = 192, 64 + 6 * 256, 64
VAE, VAE_LAYERS = (32, 64), 1
TOKENS, POSITIONS = 40, 77


def numbers(name, shape):
    """splitmix64, begun by FNV-1a of the name, in [-1, 1) as f32."""
    mask, seed = (1 << 64) - 1, 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 & mask
    n = numpy.arange(1, math.prod(shape) + 1, dtype=numpy.uint64)
    z = numpy.uint64(seed) + n * numpy.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    u = ((z ^ (z >> numpy.uint64(31))) >> numpy.uint64(11)) / 4503599627370496.0 - 1
    return torch.from_numpy(u.astype(numpy.float32).reshape(shape))


FILE = {}


def put(name, *shape):
    FILE[name] = numbers(name, shape)


def affine(name, out, *rest):
    put(name + ".weight", out, *rest)
    put(name + ".bias", out)


# --- UNet -----------------------------------------------------------------------------------------
def res_block(name, cin, cout):
    affine(name + ".in_layers.0", cin)
    affine(name + ".in_layers.2", cout, cin, 3, 3)
    affine(name + ".emb_layers.1", cout, 4 * CHANNELS[0])
    affine(name + ".out_layers.0", cout)
    affine(name + ".out_layers.3", cout, cout, 3, 3)
    if cin != cout:
        affine(name + ".skip_connection", cout, cin, 1, 1)


def transformer(name, c, depth):
    affine(name + ".norm", c)
    affine(name + ".proj_in", c, c)
    for i in range(depth):
        block = f"{name}.transformer_blocks.{i}"
        for attention, context in (("attn1", c), ("attn2", CONTEXT)):
            put(f"{block}.{attention}.to_q.weight", c, c)
            put(f"{block}.{attention}.to_k.weight", c, context)
            put(f"{block}.{attention}.to_v.weight", c, context)
            affine(f"{block}.{attention}.to_out.0", c, c)
        affine(block + ".ff.net.0.proj", 8 * c, c)
        affine(block + ".ff.net.2", c, 4 * c)
        for norm in ("norm1", "norm2", "norm3"):
            affine(f"{block}.{norm}", c)
    affine(name + ".proj_out", c, c)


def unet(p="model.diffusion_model."):
    width = 4 * CHANNELS[0]
    affine(p + "time_embed.0", width, CHANNELS[0])
    affine(p + "time_embed.2", width, width)
    affine(p + "label_emb.0.0", width, ADDED)
    affine(p + "label_emb.0.2", width, width)
    affine(p + "input_blocks.0.0", CHANNELS[0], 4, 3, 3)
    skips, h, n = [CHANNELS[0]], CHANNELS[0], 1
    for level, c in enumerate(CHANNELS):
        for _ in range(LAYERS):
            res_block(f"{p}input_blocks.{n}.0", h, c)
            if DEPTH[level]:
                transformer(f"{p}input_blocks.{n}.1", c, DEPTH[level])
            h, n = c, n + 1
            skips.append(h)
        if level + 1 < len(CHANNELS):
            affine(f"{p}input_blocks.{n}.0.op", h, h, 3, 3)
            skips.append(h)
            n += 1
    res_block(p + "middle_block.0", h, h)
    transformer(p + "middle_block.1", h, MID)
    res_block(p + "middle_block.2", h, h)
    n = 0
    for level in reversed(range(len(CHANNELS))):
        for k in range(LAYERS + 1):
            res_block(f"{p}output_blocks.{n}.0", h + skips.pop(), CHANNELS[level])
            h, last = CHANNELS[level], 1
            if DEPTH[level]:
                transformer(f"{p}output_blocks.{n}.1", h, DEPTH[level])
                last = 2
            if level and k == LAYERS:
                affine(f"{p}output_blocks.{n}.{last}.conv", h, h, 3, 3)
            n += 1
    affine(p + "out.0", h)
    affine(p + "out.2", 4, h, 3, 3)


# --- VAE ------------------------------------------------------------------------------------------
def vae_block(name, cin, cout):
    affine(name + ".norm1", cin)
    affine(name + ".conv1", cout, cin, 3, 3)
    affine(name + ".norm2", cout)
    affine(name + ".conv2", cout, cout, 3, 3)
    if cin != cout:
        affine(name + ".nin_shortcut", cout, cin, 1, 1)


def vae_middle(name, c):
    vae_block(name + ".block_1", c, c)
    affine(name + ".attn_1.norm", c)
    for part in ("q", "k", "v", "proj_out"):
        affine(f"{name}.attn_1.{part}", c, c, 1, 1)
    vae_block(name + ".block_2", c, c)


def vae(p="first_stage_model."):
    h, last = VAE[0], len(VAE) - 1
    affine(p + "encoder.conv_in", h, 3, 3, 3)
    for level, c in enumerate(VAE):
        for k in range(VAE_LAYERS):
            vae_block(f"{p}encoder.down.{level}.block.{k}", h, c)
            h = c
        if level < last:
            affine(f"{p}encoder.down.{level}.downsample.conv", h, h, 3, 3)
    vae_middle(p + "encoder.mid", h)
    affine(p + "encoder.norm_out", h)
    affine(p + "encoder.conv_out", 8, h, 3, 3)
    affine(p + "quant_conv", 8, 8, 1, 1)
    affine(p + "post_quant_conv", 4, 4, 1, 1)
    affine(p + "decoder.conv_in", h, 4, 3, 3)
    vae_middle(p + "decoder.mid", h)
    for level in reversed(range(len(VAE))):
        for k in range(VAE_LAYERS + 1):
            vae_block(f"{p}decoder.up.{level}.block.{k}", h, VAE[level])
            h = VAE[level]
        if level:
            affine(f"{p}decoder.up.{level}.upsample.conv", h, h, 3, 3)
    affine(p + "decoder.norm_out", h)
    affine(p + "decoder.conv_out", 3, h, 3, 3)


# --- text encoders --------------------------------------------------------------------------------
def clip(p="conditioner.embedders.0.transformer.text_model.", c=64, inner=96, layers=2):
    put(p + "embeddings.token_embedding.weight", TOKENS, c)
    put(p + "embeddings.position_embedding.weight", POSITIONS, c)
    for i in range(layers):
        layer = f"{p}encoder.layers.{i}."
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            affine(f"{layer}self_attn.{part}", c, c)
        affine(layer + "layer_norm1", c)
        affine(layer + "mlp.fc1", inner, c)
        affine(layer + "mlp.fc2", c, inner)
        affine(layer + "layer_norm2", c)
    affine(p + "final_layer_norm", c)


def open_clip(p="conditioner.embedders.1.model.", c=128, inner=160, layers=2):
    put(p + "positional_embedding", POSITIONS, c)
    put(p + "token_embedding.weight", TOKENS, c)
    put(p + "text_projection", c, POOLED)
    for i in range(layers):
        layer = f"{p}transformer.resblocks.{i}."
        put(layer + "attn.in_proj_weight", 3 * c, c)
        put(layer + "attn.in_proj_bias", 3 * c)
        affine(layer + "attn.out_proj", c, c)
        affine(layer + "ln_1", c)
        affine(layer + "mlp.c_fc", inner, c)
        affine(layer + "mlp.c_proj", c, inner)
        affine(layer + "ln_2", c)
    affine(p + "ln_final", c)


# --- what diffusers makes of it -------------------------------------------------------------------
def converted():
    how = {"layers_per_block": LAYERS, "addition_embed_type": "text_time"}
    model = types.SimpleNamespace(config=types.SimpleNamespace(hidden_size=128))
    first = "conditioner.embedders.0.transformer."
    yield "text_encoder", single.convert_ldm_clip_checkpoint(FILE, remove_prefix=first)
    second = single.convert_open_clip_checkpoint(model, FILE, "conditioner.embedders.1.model.")
    yield "text_encoder_2", second
    yield "unet", single.convert_ldm_unet_checkpoint(FILE, how)
    shape = {"down_block_types": ["DownEncoderBlock2D"] * len(VAE)}
    shape["up_block_types"] = ["UpDecoderBlock2D"] * len(VAE)
    yield "vae", single.convert_ldm_vae_checkpoint(FILE, shape)


def main():
    unet()
    vae()
    clip()
    open_clip()
    for part, tensors in converted():
        for name, tensor in sorted(tensors.items()):
            shape = "x".join(str(size) for size in tensor.shape)
            crc = zlib.crc32(tensor.contiguous().numpy().tobytes())
            print(f"{part}.{name} {shape} {crc:08x}")


if __name__ == "__main__":
    main()
