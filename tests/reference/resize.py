#!/usr/bin/env python3
"""Writes tests/golden/resize.txt: what Pillow and torch make of small pictures.

    python tests/reference/resize.py > tests/golden/resize.txt
    python tests/reference/resize.py --random 300 > many.txt  # sizes by chance, a longer check

Needs Pillow 13 (its order of the two passes is part of the result), numpy and torch. A case is a
line "filter type H W C Ho Wo seed" and then one line for each row of the result: two hexadecimal
digits a byte, or eight, the bits of an f32. The picture itself is drawn from the seed, here and in
resize_golden.c alike.
"""
import argparse
import random

import numpy
import torch
from PIL import Image

FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
MODES = {1: "L", 3: "RGB", 4: "CMYK"}  # RGBA would be multiplied by its alpha first

# H, W, C, Ho, Wo: larger and smaller, by little and by much, both orders of the passes.
BYTES = [
    (7, 9, 3, 14, 18), (31, 23, 3, 12, 17), (20, 30, 1, 33, 9), (40, 12, 3, 9, 12),
    (40, 12, 3, 9, 11), (13, 60, 3, 12, 7), (60, 9, 1, 3, 20), (1, 1, 3, 4, 3), (3, 2, 4, 17, 21),
    (90, 70, 3, 8, 8),
    (16, 16, 3, 16, 16), (25, 25, 3, 25, 11), (25, 25, 3, 11, 25), (50, 40, 3, 20, 25),
]
FLOATS = [
    (7, 9, 1, 14, 18), (31, 23, 1, 12, 17), (40, 12, 1, 9, 12), (13, 60, 2, 12, 7),
    (3, 2, 1, 9, 11),
]
TORCH = [
    (24, 24, 1, 30, 18), (24, 24, 2, 14, 37), (5, 3, 1, 16, 1), (1, 1, 1, 3, 4),
    (37, 11, 1, 11, 37),
]


def draw(seed, n):
    """n numbers of 24 bits from a linear congruence."""
    out, state = [], seed
    for _ in range(n):
        state = (state * 1664525 + 1013904223) % 2**32
        out.append(state >> 8)
    return numpy.array(out, dtype=numpy.uint32)


def by_pillow(picture, size, kind):
    if picture.dtype == numpy.uint8:
        image = Image.frombytes(MODES[picture.shape[2]], (picture.shape[1], picture.shape[0]),
                                picture.tobytes())
        image = image.resize((size[1], size[0]), FILTERS[kind])
        return numpy.frombuffer(image.tobytes(), numpy.uint8).reshape(*size, picture.shape[2])
    planes = [Image.fromarray(picture[:, :, c]) for c in range(picture.shape[2])]
    planes = [numpy.asarray(p.resize((size[1], size[0]), FILTERS[kind])) for p in planes]
    return numpy.stack(planes, axis=2)


def by_torch(picture, size):
    x = torch.from_numpy(numpy.ascontiguousarray(picture.transpose(2, 0, 1)))[None]
    y = torch.nn.functional.interpolate(x, size=size, mode="bicubic", align_corners=False)
    return y[0].numpy().transpose(1, 2, 0)


def write_case(kind, is_bytes, shape, seed):
    H, W, C, Ho, Wo = shape
    numbers = draw(seed, H * W * C).reshape(H, W, C)
    if is_bytes:
        picture = (numbers >> 16).astype(numpy.uint8)
    else:
        picture = numbers.astype(numpy.float32) * numpy.float32(2.0**-24)
    if kind == "bicubic_torch":
        y = by_torch(picture, (Ho, Wo))
    else:
        y = by_pillow(picture, (Ho, Wo), kind)
    print(kind, "u8" if is_bytes else "f32", H, W, C, Ho, Wo, seed)
    for row in numpy.ascontiguousarray(y):
        if is_bytes:
            print(row.tobytes().hex())
        else:
            print("".join("%08x" % v for v in row.reshape(-1).view(numpy.uint32)))


def fixed_cases():
    for kind in FILTERS:
        yield from ((kind, True, shape) for shape in BYTES)
        yield from ((kind, False, shape) for shape in FLOATS)
    yield from (("bicubic_torch", False, shape) for shape in TORCH)


def random_cases(count):
    rng = random.Random(1)
    for _ in range(count):
        sides = [int(2 ** rng.uniform(0, 7)) for _ in range(4)]
        kind = rng.choice(list(FILTERS) + ["bicubic_torch"])
        is_bytes = kind != "bicubic_torch" and rng.random() < 0.7
        channels = rng.choice([1, 3, 4] if is_bytes else [1, 2])
        yield kind, is_bytes, (sides[0], sides[1], channels, sides[2], sides[3])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--random", type=int, default=0, metavar="N",
                        help="N cases of random sizes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases = random_cases(options.random) if options.random else fixed_cases()
    for seed, (kind, is_bytes, shape) in enumerate(cases, 1):
        write_case(kind, is_bytes, shape, seed)


if __name__ == "__main__":
    main()
