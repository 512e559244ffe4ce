#!/usr/bin/env python3
"""Weights through the store and back, byte for byte, judged by other people's libraries.

    build/versus-env/bin/python tests/reference/round_trip.py build/atelier

Writes a file with the 1,680 tensors of SDXL's UNet under diffusers' names (narrowed to 20 MB) as
safetensors and as both layouts of torch.save, imports, verifies and exports each, and compares every
tensor by safetensors and h5py. Then flips single bytes all over a checkpoint: `verify` must name what
is damaged, and export must refuse to use a damaged tensor. Needs torch, safetensors and h5py (`benchmarks/versus/run
--setup`)."""

import random
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import torch
from safetensors.torch import load_file, save_file

WIDTHS, LAYERS = (320, 640, 1280), (0, 2, 10)  # channels and transformer blocks of each level
CROSS, TIME, NARROW = 2048, 1280, 16


def both(name, *shape):
    return [(f"{name}.weight", shape), (f"{name}.bias", shape[:1])]


def resnet(at, i, o):
    rows = both(f"{at}.norm1", i) + both(f"{at}.conv1", o, i, 3, 3)
    rows += both(f"{at}.time_emb_proj", o, TIME) + both(f"{at}.norm2", o)
    rows += both(f"{at}.conv2", o, o, 3, 3)
    return rows + (both(f"{at}.conv_shortcut", o, i, 1, 1) if i != o else [])


def transformer(at, c, layers):
    rows = both(f"{at}.norm", c) + both(f"{at}.proj_in", c, c) + both(f"{at}.proj_out", c, c)
    for n in range(layers):
        block = f"{at}.transformer_blocks.{n}"
        for k in (1, 2, 3):
            rows += both(f"{block}.norm{k}", c)
        for attn, width in (("attn1", c), ("attn2", CROSS)):
            rows.append((f"{block}.{attn}.to_q.weight", (c, c)))
            rows += [(f"{block}.{attn}.to_{x}.weight", (c, width)) for x in "kv"]
            rows += both(f"{block}.{attn}.to_out.0", c, c)
        rows += both(f"{block}.ff.net.0.proj", 8 * c, c) + both(f"{block}.ff.net.2", c, 4 * c)
    return rows


def unet():
    rows = both("conv_in", 320, 4, 3, 3) + both("conv_norm_out", 320) + both("conv_out", 4, 320, 3, 3)
    rows += both("time_embedding.linear_1", TIME, 320) + both("time_embedding.linear_2", TIME, TIME)
    rows += both("add_embedding.linear_1", TIME, 2816) + both("add_embedding.linear_2", TIME, TIME)
    c, skips = 320, [320]
    for level, width in enumerate(WIDTHS):
        at = f"down_blocks.{level}"
        for n in range(2):
            rows += resnet(f"{at}.resnets.{n}", c, width)
            if LAYERS[level]:
                rows += transformer(f"{at}.attentions.{n}", width, LAYERS[level])
            c = width
            skips.append(c)
        if level < 2:
            rows += both(f"{at}.downsamplers.0.conv", c, c, 3, 3)
            skips.append(c)
    for n in range(2):
        rows += resnet(f"mid_block.resnets.{n}", c, c)
    rows += transformer("mid_block.attentions.0", c, 10)
    for level, width in enumerate(reversed(WIDTHS)):
        at = f"up_blocks.{level}"
        for n in range(3):
            rows += resnet(f"{at}.resnets.{n}", c + skips.pop(), width)
            if LAYERS[2 - level]:
                rows += transformer(f"{at}.attentions.{n}", width, LAYERS[2 - level])
            c = width
        if level < 2:
            rows += both(f"{at}.upsamplers.0.conv", c, c, 3, 3)
    return rows


def narrowed(shape):
    return [max(1, s // NARROW) if i < 2 and s >= 64 else s for i, s in enumerate(shape)]


def run(*words, status=0):
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def raw(tensor):
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def same(tensors, exported, checkpoint):
    back = load_file(exported)
    assert back.keys() == tensors.keys()
    assert all(back[k].shape == t.shape and raw(back[k]) == raw(t) for k, t in tensors.items())
    with h5py.File(checkpoint) as f:
        assert set(f["tensors"]) == set(tensors)
        assert all(f["tensors"][k][...].tobytes() == raw(t) for k, t in tensors.items())


def main():
    atelier = Path(sys.argv[1]).resolve()
    generator = torch.Generator().manual_seed(1)
    tensors = {name: torch.randn(narrowed(shape), generator=generator).half()
               for name, shape in unet()}
    assert len(tensors) == 1680, len(tensors)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        files = {"safetensors": folder / "unet.safetensors", "zip": folder / "unet.pth",
                 "legacy": folder / "legacy.pth"}
        save_file(tensors, files["safetensors"], metadata={"format": "pt"})
        torch.save(tensors, files["zip"])
        torch.save(tensors, files["legacy"], _use_new_zipfile_serialization=False)
        store = folder / "unet.atelier"
        for kind, path in files.items():
            run(atelier, "model", "import", path, store)
            run(atelier, "model", "verify", store)
            run(atelier, "model", "export", store, folder / "out.safetensors")
            same(tensors, folder / "out.safetensors", store)
            print(f"{kind}: {len(tensors)} tensors, {path.stat().st_size} bytes: equal")
        data = bytearray(store.read_bytes())
        random.seed(1)
        damaged = folder / "damaged.atelier"
        named = set()
        for at in sorted(random.sample(range(len(data)), 200)):
            data[at] ^= 1 << at % 8
            damaged.write_bytes(data)
            text = run(atelier, "model", "verify", damaged, status=1)
            data[at] ^= 1 << at % 8
            thing = text.split(":")[0]
            named.add(thing)
            if thing in tensors:  # a tensor's own bytes, not HDF5's words about it, which nobody uses
                tensor = thing
                text = run(atelier, "model", "export", damaged, folder / "no.safetensors", status=2)
                assert tensor in text and not (folder / "no.safetensors").exists(), text
        print(f"200 flipped bytes: all found, {len(named)} different things named")


main()
