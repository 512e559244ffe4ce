#!/usr/bin/env python3
"""Files of weights as the Python world writes them, and a look at ours with its eyes.

    python tests/reference/safetensors_files.py write tests/golden/files
    python tests/reference/safetensors_files.py check OURS THEIRS  # exit status 1: they differ

Needs torch and safetensors (0.8 wrote the files that are committed). safetensors_files.h knows what
the files of `write` hold: element i is i % 9 - 4, or i % 9 where no sign is, or i % 2 of booleans.
`check` loads both files with the safetensors library and compares names, types, shapes, bytes and
metadata; `safetensors_write_test FOLDER` writes ours.
"""
import argparse
import json
import os
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file

TYPES = {
    "f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16,
    "f8_e4m3": torch.float8_e4m3fn, "f8_e5m2": torch.float8_e5m2,
    "i64": torch.int64, "i32": torch.int32, "i16": torch.int16, "i8": torch.int8,
    "u64": torch.uint64, "u32": torch.uint32, "u16": torch.uint16, "u8": torch.uint8,
    "bool": torch.bool,
}


def values(name, *shape):
    n = 1
    for size in shape:
        n *= size
    i = torch.arange(n)
    if name == "bool":
        x = i % 2
    elif name.startswith("u"):
        x = i % 9
    else:
        x = i % 9 - 4
    return x.to(TYPES[name]).reshape(shape)


def types():
    return {"t." + name: values(name, 5, 7) for name in TYPES}


def names():
    return {
        "scalar": values("f32"),
        "empty": values("f32", 0, 3),
        "empty.too": values("bf16", 4, 0),
        "eight.axes": values("i16", 1, 2, 1, 2, 1, 3, 1, 2),
        "schl\u00fcssel.\u6a21\u578b.\U0001f600": values("u8", 3),
        'quote"back\\slash/': values("u8", 4),
        "a name with blanks": values("f64", 2),
    }


def write(folder):
    os.makedirs(folder, exist_ok=True)
    at = lambda name: os.path.join(folder, name)
    save_file(types(), at("types.safetensors"))
    save_file(names(), at("names.safetensors"),
              metadata={"note": 'tab\t "quoted" \u20ac \x01 \\ \U0001f600', "format": "pt"})
    os.makedirs(at("sharded"), exist_ok=True)
    parts = [{"a.weight": values("f32", 4, 3), "a.bias": values("f32", 4)},
             {"b.weight": values("f16", 2, 2), "b.bias": values("f16", 2)}]
    index = {"metadata": {"total_size": 76}, "weight_map": {}}
    for k, part in enumerate(parts):
        name = f"model-{k + 1:05}-of-{len(parts):05}.safetensors"
        save_file(part, at("sharded/" + name), metadata={"format": "pt"})
        index["weight_map"].update({tensor: name for tensor in part})
    with open(at("sharded/model.safetensors.index.json"), "w", encoding="utf-8") as f:
        f.write(json.dumps(index, indent=2, sort_keys=True) + "\n")


def load(path):
    with safe_open(path, framework="pt") as f:
        return {name: f.get_tensor(name) for name in f.keys()}, f.metadata()


def content(x):
    return bytes(x.contiguous().reshape(-1).view(torch.uint8).numpy()) if x.numel() else b""


def check(ours, theirs):
    (a, a_texts), (b, b_texts) = load(ours), load(theirs)
    bad = 0
    for name in sorted(set(a) | set(b)):
        same = (name in a and name in b and a[name].dtype == b[name].dtype and
                a[name].shape == b[name].shape and content(a[name]) == content(b[name]))
        if not same:
            print(f"{ours}: tensor {name!r} differs from that of {theirs}")
            bad += 1
    if a_texts != b_texts:
        print(f"{ours}: metadata {a_texts}, expected {b_texts}")
        bad += 1
    with open(ours, "rb") as x, open(theirs, "rb") as y:
        equal = x.read() == y.read()
    print(f"{ours}: {len(a)} tensors, {bad} differ; the files are {'equal' if equal else 'not equal'}")
    return bad == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["write", "check"])
    parser.add_argument("paths", nargs="+")
    args = parser.parse_args()
    if args.what == "write":
        write(args.paths[0])
    elif not check(*args.paths):
        sys.exit(1)


if __name__ == "__main__":
    main()
