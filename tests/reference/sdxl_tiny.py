#!/usr/bin/env python3
"""Writes tests/golden/sdxl_tiny.txt: what small models of SDXL's shape give in torch, in f64.

    python tests/reference/sdxl_tiny.py > tests/golden/sdxl_tiny.txt

Weights and inputs follow from their names, as in tests/shapes/sdxl_tiny.c. Needs torch and numpy.
"""
import math

import numpy
import torch
import torch.nn.functional as F

BATCH, HEIGHT, WIDTH, TOKENS = 2, 9, 13, 7
CHANNELS, DEPTH, MID, HEAD = (32, 64, 128), (0, 1, 2), 2, 16
CONTEXT, POOLED, SIZES, SIZE_DIM, GROUPS = 48, 24, 6, 8, 32
VAE = (32, 32, 64, 64)


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
    values = (shift + scale * u).astype(numpy.float32).astype(numpy.float64)
    return torch.from_numpy(values.reshape(shape))


def weight(name, *shape):
    if len(shape) > 1:
        return numbers(name, shape, math.sqrt(3 / math.prod(shape[1:])))
    return numbers(name, shape, 0.1, float("norm" in name and "weight" in name))


def picture(name, *shape):
    """An input (B, H, W, C) as torch has it."""
    return numbers(name, shape, 1).permute(0, 3, 1, 2)


# --- layers ---------------------------------------------------------------------------------------
def conv(x, name, out, kernel=3, **how):
    how.setdefault("padding", kernel // 2)
    w = weight(name + ".weight", out, x.shape[1], kernel, kernel)
    return F.conv2d(x, w, weight(name + ".bias", out), **how)


def linear(x, name, out, bias=True):
    w = weight(name + ".weight", out, x.shape[-1])
    return F.linear(x, w, weight(name + ".bias", out) if bias else None)


def group_norm(x, name, eps):
    c = x.shape[1]
    return F.group_norm(x, GROUPS, weight(name + ".weight", c), weight(name + ".bias", c), eps)


def layer_norm(x, name):
    c = x.shape[-1]
    return F.layer_norm(x, (c,), weight(name + ".weight", c), weight(name + ".bias", c), 1e-5)


def resnet(x, name, out, eps, emb=None):
    h = conv(F.silu(group_norm(x, name + ".norm1", eps)), name + ".conv1", out)
    if emb is not None:
        h = h + linear(F.silu(emb), name + ".time_emb_proj", out)[:, :, None, None]
    h = conv(F.silu(group_norm(h, name + ".norm2", eps)), name + ".conv2", out)
    return h + (x if x.shape[1] == out else conv(x, name + ".conv_shortcut", out, 1))


def attention(x, y, name, heads, bias):
    c = x.shape[-1]

    def split(t):
        return t.view(t.shape[0], t.shape[1], heads, c // heads).transpose(1, 2)

    inputs = ("q", x), ("k", y), ("v", y)
    q, k, v = (split(linear(t, f"{name}.to_{n}", c, bias)) for n, t in inputs)
    o = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(c // heads), -1) @ v
    return linear(o.transpose(1, 2).reshape(x.shape), name + ".to_out.0", c)


def tokens(x):
    return x.flatten(2).transpose(1, 2)


def transformer(x, name, depth, context):
    c, heads = x.shape[1], x.shape[1] // HEAD
    h = linear(tokens(group_norm(x, name + ".norm", 1e-6)), name + ".proj_in", c)
    for i in range(depth):
        block = f"{name}.transformer_blocks.{i}"
        n = layer_norm(h, block + ".norm1")
        h = h + attention(n, n, block + ".attn1", heads, False)
        n = layer_norm(h, block + ".norm2")
        h = h + attention(n, context, block + ".attn2", heads, False)
        n = linear(layer_norm(h, block + ".norm3"), block + ".ff.net.0.proj", 8 * c)
        a, gate = n.chunk(2, -1)
        h = h + linear(a * F.gelu(gate), block + ".ff.net.2", c)
    return linear(h, name + ".proj_out", c).transpose(1, 2).reshape(x.shape) + x


def sinusoid(t, dim):
    w = torch.exp(-math.log(10000) * torch.arange(dim // 2).double() / (dim // 2))
    return torch.cat([torch.cos(t[:, None] * w), torch.sin(t[:, None] * w)], -1)


# --- models ---------------------------------------------------------------------------------------
def embedding(x, name):
    width = 4 * CHANNELS[0]
    return linear(F.silu(linear(x, name + ".linear_1", width)), name + ".linear_2", width)


def layer(x, name, i, level, emb, context):
    x = resnet(x, f"{name}.resnets.{i}", CHANNELS[level], 1e-5, emb)
    return transformer(x, f"{name}.attentions.{i}", DEPTH[level], context) if DEPTH[level] else x


def unet():
    context = numbers("context", (BATCH, TOKENS, CONTEXT), 1)
    sizes = sinusoid(numbers("sizes", (BATCH * SIZES,), 400, 450), SIZE_DIM).view(BATCH, -1)
    both = torch.cat([numbers("pooled", (BATCH, POOLED), 1), sizes], -1)
    time = sinusoid(numbers("time", (BATCH,), 400, 450), CHANNELS[0])
    emb = embedding(time, "time_embedding") + embedding(both, "add_embedding")
    h = conv(picture("latent", BATCH, HEIGHT, WIDTH, 4), "conv_in", CHANNELS[0])
    skips = [h]
    for i in range(3):
        for k in range(2):
            h = layer(h, f"down_blocks.{i}", k, i, emb, context)
            skips.append(h)
        if i < 2:
            h = conv(h, f"down_blocks.{i}.downsamplers.0.conv", CHANNELS[i], stride=2)
            skips.append(h)
    h = resnet(h, "mid_block.resnets.0", CHANNELS[2], 1e-5, emb)
    h = transformer(h, "mid_block.attentions.0", MID, context)
    h = resnet(h, "mid_block.resnets.1", CHANNELS[2], 1e-5, emb)
    for i in range(3):
        for k in range(3):
            h = layer(torch.cat([h, skips.pop()], 1), f"up_blocks.{i}", k, 2 - i, emb, context)
        if i < 2:
            h = F.interpolate(h, size=skips[-1].shape[2:], mode="nearest")
            h = conv(h, f"up_blocks.{i}.upsamplers.0.conv", CHANNELS[2 - i])
    return conv(F.silu(group_norm(h, "conv_norm_out", 1e-5)), "conv_out", 4)


def middle(h, name):
    c = h.shape[1]
    h = resnet(h, name + ".mid_block.resnets.0", c, 1e-6)
    n = tokens(group_norm(h, name + ".mid_block.attentions.0.group_norm", 1e-6))
    o = attention(n, n, name + ".mid_block.attentions.0", 1, True)
    h = h + o.transpose(1, 2).reshape(h.shape)
    return resnet(h, name + ".mid_block.resnets.1", c, 1e-6)


def decoder():
    h = conv(picture("latent", 1, 3, 4, 4), "post_quant_conv", 4, 1)
    h = middle(conv(h, "decoder.conv_in", VAE[3]), "decoder")
    for i in range(4):
        for k in range(3):
            h = resnet(h, f"decoder.up_blocks.{i}.resnets.{k}", VAE[3 - i], 1e-6)
        if i < 3:
            h = F.interpolate(h, scale_factor=2.0, mode="nearest")
            h = conv(h, f"decoder.up_blocks.{i}.upsamplers.0.conv", VAE[3 - i])
    return conv(F.silu(group_norm(h, "decoder.conv_norm_out", 1e-6)), "decoder.conv_out", 3)


def encoder():
    h = conv(picture("picture", BATCH, 24, 32, 3), "encoder.conv_in", VAE[0])
    for i in range(4):
        for k in range(2):
            h = resnet(h, f"encoder.down_blocks.{i}.resnets.{k}", VAE[i], 1e-6)
        if i < 3:
            h = F.pad(h, (0, 1, 0, 1))
            h = conv(h, f"encoder.down_blocks.{i}.downsamplers.0.conv", VAE[i], stride=2, padding=0)
    h = F.silu(group_norm(middle(h, "encoder"), "encoder.conv_norm_out", 1e-6))
    return conv(conv(h, "encoder.conv_out", 8), "quant_conv", 8, 1)


def show(name, values):
    """A name, how many values there are, and the values."""
    print(name, len(values))
    for at in range(0, len(values), 10):
        print(*(f"{value:.7g}" for value in values[at : at + 10]))


if __name__ == "__main__":
    for model in (unet, decoder, encoder):
        show(model.__name__, model().permute(0, 2, 3, 1).flatten().tolist())
