#!/usr/bin/env python3
"""Reads a checkpoint twice, with h5py and by its own header and index, and compares: names, types,
shapes, bytes and texts.

    checkpoint_h5py.py FILE
"""
import struct
import sys

import h5py
import numpy as np

DTYPES = {"f64": "<f8", "f32": "<f4", "f16": "<f2", "bf16": "<f4", "f8_e4m3": "u1", "f8_e5m2": "u1",
          "i64": "<i8", "i32": "<i4", "i16": "<i2", "i8": "i1", "u64": "<u8", "u32": "<u4",
          "u16": "<u2", "u8": "u1", "bool": "?"}


def escape(name):
    """The name of a link: see engine/checkpoint.h."""
    return "%2E" if name == "." else name.replace("%", "%25").replace("/", "%2F")


def read_index(data):
    """(type, name, offset, bytes, shape) of each record."""
    offset = struct.unpack_from("<Q", data, 24)[0]
    tensors, texts, _ = struct.unpack_from("<IIQ", data, offset)
    count = tensors + texts
    names = offset + 16 + 104 * count
    for i in range(count):
        at = offset + 16 + 104 * i
        place, size, _, kind, name_bytes, rank = struct.unpack_from("<QQQ8sII", data, at)
        shape = struct.unpack_from("<%dQ" % rank, data, at + 40)
        name = bytes(data[names:names + name_bytes]).decode()
        names += name_bytes
        yield kind.rstrip(b"\0").decode(), name, place, size, shape


def compare_tensor(d, kind, raw, shape):
    """What h5py sees as a list of complaints."""
    wrong = []
    values = d[()]
    if d.dtype != np.dtype(DTYPES[kind]):
        wrong.append("type %s" % d.dtype)
    if d.shape != shape:
        wrong.append("shape %s" % (d.shape,))
    if kind == "bf16":  # h5py widens it: the upper half of an f32
        expected = (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
        number = ~np.isnan(expected)
        same = np.array_equal(np.asarray(values)[number].view("<u4"), expected[number].view("<u4"))
        same = same and bool(np.all(np.isnan(np.asarray(values)[~number])))
    elif kind == "bool":  # anything but zero is true
        same = np.array_equal(np.asarray(values).view("u1").reshape(shape) != 0,
                              np.frombuffer(raw, "u1").reshape(shape) != 0)
    else:
        same = np.asarray(values).tobytes() == bytes(raw)
    if not same:
        wrong.append("values")
    dtype = d.attrs.get("dtype")
    if dtype != (kind if kind.startswith("f8") else None):
        wrong.append("attribute dtype %r" % dtype)
    return wrong


def main():
    path = sys.argv[1]
    data = np.memmap(path, "u1", "r")
    tensors = texts = complaints = 0
    with h5py.File(path, "r") as f:
        for kind, name, place, size, shape in read_index(data):
            raw = bytes(data[place:place + size])
            if kind == "text":
                texts += 1
                wrong = [] if f.attrs[name] == raw.decode() else ["attribute"]
                if f["texts"][escape(name)][()].tobytes() != raw:
                    wrong.append("dataset")
            else:
                tensors += 1
                wrong = compare_tensor(f["tensors"][escape(name)], kind, raw, shape)
            if wrong:
                complaints += 1
                print("%s %r %s: h5py sees another %s" % (kind, name, shape, ", ".join(wrong)))
        if (len(f["tensors"]), len(f["texts"]), len(f.attrs), sorted(f)) != (
                tensors, texts, texts, ["atelier", "tensors", "texts"]):
            complaints += 1
            print("h5py sees other members")
    print("%d tensors, %d texts, %d complaints" % (tensors, texts, complaints))
    return complaints != 0


if __name__ == "__main__":
    sys.exit(main())
