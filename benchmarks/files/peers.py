"""The same work with files in Python: answers requests on stdin, one JSON line each, with the seconds
of each repetition. Started by `run`."""

import io
import json
import sys
import time

import h5py
import torch
from PIL import Image
from safetensors.torch import save_file

torch.set_num_threads(2)


def repeat(work, seconds=0.5, most=1000):
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or (time.perf_counter() < end and len(times) < most):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return times


def open_h5py(path):
    """Every dataset's name, type, shape and place."""

    def work():
        with h5py.File(path, "r") as f:
            tensors = f["tensors"]
            return [(n, d.dtype, d.shape, d.id.get_offset()) for n, d in tensors.items()]

    return repeat(work)


def picture(path):
    image = Image.open(path)
    image.load()
    return image


def encode(path, form, level):
    image = picture(path)
    options = {"compress_level": level} if form == "png" else {"quality": level}

    def work():
        image.save(io.BytesIO(), form, **options)

    return repeat(work)


def resize(path):
    image = picture(path)
    return repeat(lambda: image.resize((384, 384), Image.Resampling.BICUBIC))


def make(path, tensors, megabytes):
    """A safetensors file of so many tensors of equal size, f16."""
    generator = torch.Generator().manual_seed(1)
    elements = megabytes * 1000 * 1000 // 2 // tensors
    block = torch.randint(-30000, 30000, (elements,), dtype=torch.int16, generator=generator)
    save_file({f"block.{i}.weight": (block + i).view(torch.float16) for i in range(tensors)}, path)
    return [0.0]


def make_picture(path, form):
    """1920 x 1080: gradients, edges and some noise, as photographs have."""
    g = torch.Generator().manual_seed(2)
    y, x = torch.meshgrid(torch.linspace(0, 1, 1080), torch.linspace(0, 1, 1920), indexing="ij")
    base = torch.stack([x, y, (x * 9 % 1 > 0.5) * 0.6 + 0.2], -1)
    noise = torch.randn(1080, 1920, 3, generator=g) * 0.015
    pixels = ((base + noise).clamp(0, 1) * 255).to(torch.uint8).numpy()
    Image.fromarray(pixels).save(path, form)
    return [0.0]


WORK = {
    "open_h5py": open_h5py,
    "decode": lambda path: repeat(lambda: picture(path)),
    "resize": resize,
    "encode": encode,
    "make": make,
    "make_picture": make_picture,
}

for line in sys.stdin:
    name, *words = json.loads(line)
    print(json.dumps(WORK[name](*words)), flush=True)
