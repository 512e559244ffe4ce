#!/usr/bin/env python3
"""Writes tests/golden/sdxl_names.txt: digests of lists of SDXL's names and sizes.

    python tests/reference/sdxl_names.py FOLDER > tests/golden/sdxl_names.txt

FOLDER holds the lists, a line a tensor behind a heading: diffusers' name and the single file's with
sizes (sdxl_unet.tsv, sdxl_refiner_unet.tsv, sdxl_vae.tsv, sdxl_text_encoder_1.tsv), or the names of
one of them (sdxl_text_encoder_2_hf.tsv, sdxl_text_encoder_2_ldm.tsv, whose logit_scale is nobody's).
They were written from the published architectures. A line of the result: the list, how many lines
it has, and the sum of their hashes (FNV-1a), which is the same in any order.
"""
import pathlib
import sys

LISTS = ("unet", "refiner_unet", "vae", "text_encoder_1", "text_encoder_2_hf", "text_encoder_2_ldm")


def fnv(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 & (1 << 64) - 1
    return value


def main():
    for name in LISTS:
        lines = (pathlib.Path(sys.argv[1]) / f"sdxl_{name}.tsv").read_text().splitlines()[1:]
        lines = [line for line in lines if "logit_scale" not in line]
        digest = sum(fnv(line) for line in lines) & (1 << 64) - 1
        print(f"{name} {len(lines)} {digest:016x}")


if __name__ == "__main__":
    main()
