"""Writes tests/golden/files/torch_*.pth with torch 2.15: what torch.save makes of state dicts.

    build/versus-env/bin/python tests/reference/torch_files.py tests/golden/files

tests/torch_test.c knows every value by a formula. The keys of legacy files are memory addresses, so
that writing them again gives other bytes."""
import collections
import sys

import torch

TYPES = {
    "f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16,
    "f8_e4m3": torch.float8_e4m3fn, "f8_e5m2": torch.float8_e5m2, "i64": torch.int64,
    "i32": torch.int32, "i16": torch.int16, "i8": torch.int8, "u64": torch.uint64,
    "u32": torch.uint32, "u16": torch.uint16, "u8": torch.uint8, "bool": torch.bool,
}


def state():
    base = torch.arange(20, dtype=torch.float32)
    grid = torch.arange(24, dtype=torch.float32).view(4, 6)
    block = torch.arange(24, dtype=torch.int16).view(2, 3, 4)
    tied = torch.arange(5, dtype=torch.float32) + 100
    marked = torch.arange(3, dtype=torch.float32)
    marked.note = "an attribute"
    model = collections.OrderedDict()
    model["tied_a"] = tied
    model["tied_b"] = tied
    model["part.first"] = base[3:9].view(2, 3)
    model["part.last"] = base[16:]
    model["every_third"] = base[1::3]
    model["transposed"] = grid.t()
    model["columns"] = grid[:, 1:4]
    model["permuted"] = block.permute(2, 0, 1)
    model["parameter"] = torch.nn.Parameter(torch.arange(4, dtype=torch.float32))
    model["marked"] = marked
    model["scalar"] = torch.tensor(42, dtype=torch.int64)
    model["empty"] = torch.zeros(0, 3)
    model._metadata = collections.OrderedDict({"": {"version": 1}, "part": {"version": 2}})
    counted = torch.arange(6)
    return {
        "model": model,
        "dtypes": {name: counted.to(dtype).view(2, 3) for name, dtype in TYPES.items()},
        "list": [torch.full((2,), 7.0), 3, (torch.full((1,), 8, dtype=torch.uint8),)],
        11: torch.arange(2, dtype=torch.int32),
        "epoch": 5, "name": "a text", "rate": 1e-4, "big": 2 ** 70, "nothing": None, "yes": True,
        "dtype": torch.float16, "size": torch.Size([1, 2]), "device": torch.device("cpu"),
        "bytes": b"\x00\x01",
    }


def main(folder):
    torch.save(state(), folder + "/torch_zip.pth")
    torch.save(state(), folder + "/torch_zip_protocol4.pth", pickle_protocol=4)
    torch.save(state(), folder + "/torch_legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(state(), folder + "/torch_legacy_protocol4.pth", pickle_protocol=4,
               _use_new_zipfile_serialization=False)
    torch.save(torch.arange(3, dtype=torch.float32), folder + "/torch_bare.pth")


if __name__ == "__main__":
    main(sys.argv[1])
