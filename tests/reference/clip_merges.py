#!/usr/bin/env python3
"""Writes models/clip_merges.bin: the merges of CLIP's vocabulary as pairs of 16-bit symbols.

    pip download --no-deps open_clip_torch==3.3.0
    python tests/reference/clip_merges.py open_clip_torch-3.3.0-py3-none-any.whl models/clip_merges.bin
    python tests/reference/clip_merges.py open_clip_torch-3.3.0-py3-none-any.whl --folder FOLDER

The second form writes vocab.json and merges.txt, which clip_tokenizer.py gives to transformers. The
list is OpenAI's, published with CLIP under the MIT licence (THIRD_PARTY.md); 48,894 of
its lines count. The first 512 symbols are the bytes, within a word and at its end.
"""
import gzip
import hashlib
import json
import os
import struct
import sys
import zipfile

SHA256 = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"


def read_merges(wheel):
    data = zipfile.ZipFile(wheel).read("open_clip/bpe_simple_vocab_16e6.txt.gz")
    assert hashlib.sha256(data).hexdigest() == SHA256
    lines = gzip.decompress(data).decode("utf-8").split("\n")
    return [tuple(line.split()) for line in lines[1:49152 - 256 - 2 + 1]]


def symbols():
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    unseen = [b for b in range(256) if b not in seen]
    letters = [chr(b) for b in seen] + [chr(256 + i) for i in range(len(unseen))]
    return letters + [c + "</w>" for c in letters]


def main():
    merges = read_merges(sys.argv[1])
    names = symbols() + ["".join(m) for m in merges]
    ids = {name: i for i, name in enumerate(names)}
    assert len(ids) == len(names) == 49406
    if sys.argv[2] != "--folder":
        with open(sys.argv[2], "wb") as f:
            for a, b in merges:
                f.write(struct.pack("<HH", ids[a], ids[b]))
        return
    ids.update({"<|startoftext|>": 49406, "<|endoftext|>": 49407})
    os.makedirs(sys.argv[3], exist_ok=True)
    with open(os.path.join(sys.argv[3], "vocab.json"), "w", encoding="utf-8") as f:
        json.dump(ids, f, ensure_ascii=False)
    with open(os.path.join(sys.argv[3], "merges.txt"), "w", encoding="utf-8") as f:
        f.write("#version: 0.2\n" + "".join("%s %s\n" % m for m in merges))


if __name__ == "__main__":
    main()
