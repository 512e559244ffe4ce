#!/usr/bin/env python3
"""Writes tests/golden/noise.txt: the numbers of the generators of noise; and a file of noise.

    python tests/reference/noise.py tests/golden/files/noise.safetensors > tests/golden/noise.txt

Needs numpy, torch 2.15 and safetensors. "a1111" is torch's GPU generator as AUTOMATIC1111's web UI computes it
on any machine (modules/rng_philox.py, version 1.10.1): Philox 4x32-10 under the key 'seed', the
counter (draws before, 0, element, 0), u = (w0 + 1/2) 2^-32, v = (w1 + 1/2) 2^-32 2 pi in f64 with
f32 constants, sqrt(-2 ln u) sin v. It is written anew here from that description, in whole numbers
of Python; the example in that file's heading, which a GPU drew, is met to 1e-6. The file's lines:

    draws RNG SEED N N ...   these many numbers, in turns, from one generator
    bits ...                 the bits of each draw's first 8 numbers
"""
import sys

import numpy as np
import torch
from safetensors.torch import save_file

MULTIPLY = (0xD2511F53, 0xCD9E8D57)
ADD = (0x9E3779B9, 0xBB67AE85)
MASK = 2**32 - 1


def philox(counter, key):
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(10):
        p, q = a * MULTIPLY[0], c * MULTIPLY[1]
        a, b, c, d = (q >> 32) ^ b ^ k0, q & MASK, (p >> 32) ^ d ^ k1, p & MASK
        k0, k1 = (k0 + ADD[0]) & MASK, (k1 + ADD[1]) & MASK
    return a, b


class A1111:
    def __init__(self, seed):
        self.key = (seed & MASK, seed >> 32)
        self.draws = 0

    def randn(self, n):
        words = np.array([philox((self.draws, 0, i, 0), self.key) for i in range(n)], np.float64)
        self.draws += 1
        step = np.float64(np.float32(2.3283064e-10))
        turn = np.float64(np.float32(2.3283064e-10 * 6.2831855))
        u, v = words[:, 0] * step + step / 2, words[:, 1] * turn + turn / 2
        return (np.sqrt(-2 * np.log(u)) * np.sin(v)).astype(np.float32)


EXAMPLE = [-0.92466259, -0.42534415, -2.6438457, 0.14518388, -0.12086647, -0.57972564,
           -0.62285122, -0.32838709, -1.07454231, -0.36314407, -1.67105067, 2.26550497]


class Torch:
    def __init__(self, seed):
        self.generator = torch.Generator("cpu").manual_seed(seed)

    def randn(self, n):
        return torch.randn(n, generator=self.generator).numpy()


def main():
    torch.set_num_threads(1)
    assert np.abs(A1111(0).randn(12) - EXAMPLE).max() < 1e-6
    for name, make in (("torch", Torch), ("a1111", A1111)):
        for seed, sizes in ((0, (12,)), (42, (64, 3, 64)), (2**32 + 7, (16, 5000)),
                            (2**63 - 1, (1, 2, 17))):
            generator = make(seed)
            print("draws", name, seed, *sizes)
            for n in sizes:
                print("bits", *(f"{w:08x}" for w in generator.randn(n)[:8].view(np.uint32)))


    noise = torch.from_numpy(A1111(7).randn(12)).reshape(2, 1, 2, 3)
    save_file({"noise": noise, "noise_1": noise.bfloat16(), "noise_vae": -noise}, sys.argv[1])


if __name__ == "__main__":
    main()
