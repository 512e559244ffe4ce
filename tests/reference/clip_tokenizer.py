#!/usr/bin/env python3
"""Writes tests/golden/clip: the tokens that transformers' CLIPTokenizer gives, and small tokenizers.

    python tests/reference/clip_merges.py open_clip_torch-3.3.0-py3-none-any.whl --folder full
    python tests/reference/clip_tokenizer.py full tests/golden/clip

Needs transformers 5.23.0 and tokenizers 0.23.3. tokens.txt says what is compared:

    range FIRST LAST       code points that strings are drawn from
    part HEX               UTF-8 that strings are drawn from
    tokenizer NAME         what follows is for it: a folder beside the file, or sdxl_1, sdxl_2
    size N begin end unknown pad
    text HEX cut: IDS      padded to 77, and what was cut off
    strings FIRST COUNT DIGESTS    of strings that are drawn, 1,000 to a digest
    points FIRST COUNT DIGESTS     of each code point in some company, 4,096 to a digest

The strings are drawn here and in clip_tokenizer_test.c alike.
"""
import json
import os
import shutil
import sys

import tokenizers
import transformers
from transformers import CLIPTokenizer

assert transformers.__version__ == "5.23.0", transformers.__version__
assert tokenizers.__version__ == "0.23.3", tokenizers.__version__

RANGES = [
    (0x20, 0x7E), (0x41, 0x5A), (0x30, 0x39), (0x00, 0x1F), (0x7F, 0xFF), (0x100, 0x24F),
    (0x250, 0x2FF), (0x300, 0x36F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x52F), (0x530, 0x58F),
    (0x590, 0x5FF), (0x600, 0x6FF), (0x700, 0x7BF), (0x8A0, 0x8FF), (0x900, 0x97F), (0x980, 0xBFF),
    (0xC00, 0xDFF), (0xE00, 0xEFF), (0xF00, 0xFFF), (0x1000, 0x109F), (0x10A0, 0x10FF),
    (0x1100, 0x1112), (0x1161, 0x1175), (0x11A8, 0x11C2), (0x1100, 0x11FF), (0x1200, 0x139F),
    (0x13A0, 0x167F), (0x1680, 0x17FF), (0x1800, 0x1AFF), (0x1B00, 0x1CFF), (0x1DC0, 0x1DFF),
    (0x1E00, 0x1EFF), (0x1F00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x218F), (0x2190, 0x245F),
    (0x2460, 0x2BFF), (0x2C00, 0x2DFF), (0x2E00, 0x303F), (0x3041, 0x30FF), (0x3099, 0x309A),
    (0x3100, 0x33FF), (0x4E00, 0x9FFF), (0xA000, 0xA8FF), (0xA900, 0xABFF), (0xAC00, 0xD7A3),
    (0xE000, 0xF8FF), (0xF900, 0xFAFF), (0xFB00, 0xFDFF), (0xFE00, 0xFE2F), (0xFE30, 0xFFFF),
    (0x10000, 0x104FF), (0x10500, 0x10FFF), (0x11000, 0x11FFF), (0x12000, 0x16FFF),
    (0x1D15E, 0x1D1C0), (0x1D400, 0x1D7FF), (0x1E000, 0x1EFFF), (0x1F000, 0x1F64F),
    (0x1F1E6, 0x1F1FF), (0x1F3FB, 0x1F3FF), (0x1F680, 0x1FAFF), (0x20000, 0x323AF),
    (0xE0001, 0xE01EF),
]
PARTS = [
    "<|endoftext|>", "<|startoftext|>", "<|EndOfText|>", "<|STARTOFTEXT|>", "<|endoftext", "|>",
    "</w>", "!", "!!", "'s", "'S", "'t", "'re", "'VE", "'m", "'ll", "'d", "'", "\u2019s", " ", "  ",
    "\t", "\r\n", "\u00a0", "\u2028", "\u3000", "\u200b", "\u200d", "\ufe0f", "\u0000", "\x1c",
    "\ufeff", "\ufffd", "A Photo of a Cat", "masterpiece, best quality, 8K", "(red:1.2)", "0123",
    "\u0130", "\u03a3", "\u039f\u0394\u039f\u03a3 ", "\u1e9e", "\u212b", "\u0344", "e\u0301",
    "a\u0316\u0301", "a\u0301\u0316\u0301", "\ud55c", "\u1112\u1161\u11ab", "\uac00\u11a8",
    "\u0958", "\ufb2c", "\U0001d160", "\U00011935\U00011930", "\U0001f469\u200d\U0001f680",
    "\u2764\ufe0f", "\U0001f1eb\U0001f1f7", "\u0661\u0662", "\u00bd", "\u2167", "\u4e09",
    "<cat-toy>", "cat", "CAT",
]
TEXTS = [
    "", " ", "a photo of a cat", "A Photo of a CAT!", "it's, isn't; I'll they'VE we'd I'm you're",
    "masterpiece, best quality, 1girl, (red hair:1.3), 8k, <lora:name:0.8>",
    "x<|endoftext|>y <|ENDOFTEXT|>z <|startoftext|>!", "<|STARTOFTEXT|>!!", "wow! !!",
    "\u0130stanbul \u039f\u0394\u039f\u03a3 \u1e9e", "\u00c5 = A\u030a = \u212b",
    "\u00e9<|endoftext|>\u0301", "\ud55c\uad6d\uc5b4 \u1112\u1161\u11ab", "\u65e5\u672c\u8a9e\u306e"
    "\u30d7\u30ed\u30f3\u30d7\u30c8", "\u0440\u0443\u0441\u0441\u043a\u0438\u0439", "\u0627\u0644"
    "\u0639\u0631\u0628\u064a\u0629", "\u0939\u093f\u0928\u094d\u0926\u0940",
    "\U0001f469\u200d\U0001f680 \u2764\ufe0f \U0001f1eb\U0001f1f7", "a\u0000b\x1cc\x85d", "\n\t\r",
    "word " * 75, "word " * 76, "a" * 300, "!" * 100, "<cat-toy> x<cat-toy>y  <tight>  z", "cat CATS",
    "12345 \u0661\u0662 \u00bd", "''s '''ll", "<|endoftext|>" * 3, "snow\u00a0man\u3000\u2028",
]
MASK = 2**64 - 1


class Dice:
    def __init__(self, seed):
        self.state = (seed * 0x9E3779B97F4A7C15 + 0x1234567) & MASK
        self.below(2)

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & MASK
        return (self.state >> 33) % n


def draw_string(number):
    d, out = Dice(number), []
    for _ in range(1 + d.below(12)):
        kind = d.below(8)
        if kind < 5:
            first, last = RANGES[d.below(len(RANGES))]
            for _ in range(1 + d.below(6)):
                out.append(chr(first + d.below(last - first + 1)))
        elif kind == 5:
            out.append(PARTS[d.below(len(PARTS))])
        elif kind == 6:
            c = d.below(0x110000 - 0x800)
            out.append(chr(c if c < 0xD800 else c + 0x800))
        else:
            for _ in range(1 + d.below(9)):
                out.append(chr(0x61 + d.below(26)))
        if d.below(3) == 0:
            out.append(" ")
    return "".join(out)


def company(c):
    """A code point behind letters and numbers, before marks, and twice."""
    x = chr(c) if not 0xD800 <= c < 0xE000 else "-"
    return "b" + x + "1" + x + "\u0316\u0301" + x + x


def digest(texts, tokenizer):
    h = 0xCBF29CE484222325
    for e in tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False):
        for i in e.ids:
            h = ((h ^ i) * 0x100000001B3) & MASK
        h = ((h ^ 0xFFFFFFFF) * 0x100000001B3) & MASK
    return "%016x" % h


def strings(f, t, first, count):
    digests = (digest([draw_string(n) for n in range(a, a + 1000)], t)
               for a in range(first, first + count, 1000))
    f.write("strings %d %d %s\n" % (first, count, " ".join(digests)))


def points(f, t, first, count):
    digests = (digest(["".join(company(c) for c in range(b, b + 16))
                       for b in range(a, a + 4096, 16)], t)
               for a in range(first, first + count, 4096))
    f.write("points %d %d %s\n" % (first, count, " ".join(digests)))


def describe(f, name, folder):
    t = CLIPTokenizer.from_pretrained(folder)
    top = max(t.get_vocab().values()) + 1
    special = (t.bos_token_id, t.eos_token_id, t.unk_token_id, t.pad_token_id)
    f.write("tokenizer %s\nsize %d %d %d %d %d\n" % (name, top, *special))
    for text in TEXTS:
        ids = t(text, padding="max_length", max_length=77, truncation=True).input_ids
        cut = max(0, len(t(text, truncation=False, padding=False).input_ids) - 77)
        f.write("text %s %d: %s\n" % (text.encode("utf-8").hex() or "-", cut,
                                      " ".join(map(str, ids))))
    t.backend_tokenizer.no_truncation()
    t.backend_tokenizer.no_padding()
    return t


def by_type(content):
    return {"__type": "AddedToken", "content": content, "lstrip": False, "normalized": True,
            "rstrip": False, "single_word": False}


def told(content, **flags):
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False,
            "single_word": False, "special": True, **flags}


BOS, EOS = "<|startoftext|>", "<|endoftext|>"
SDXL = {"bos_token": by_type(BOS), "eos_token": by_type(EOS), "unk_token": by_type(EOS),
        "add_prefix_space": False, "do_lower_case": True, "model_max_length": 77}


def write_json(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False)


def small_folder(root, name, merges, **files):
    """A vocabulary without the bytes that no ASCII text has, but for a few."""
    folder = os.path.join(root, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    seen = [chr(b) for b in range(0x21, 0x7F)] + ["\u00c3", "\u0122"]
    names = seen + [c + "</w>" for c in seen] + ["".join(m) for m in merges] + [BOS, EOS]
    write_json(folder, "vocab.json", {n: i for i, n in enumerate(names)})
    with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as f:
        f.write("#version: 0.2\n" + "".join("%s %s\n" % m for m in merges))
    for file, value in files.items():
        write_json(folder, file + ".json", value)
    return folder


def small_tokenizers(full, root):
    with open(os.path.join(full, "merges.txt"), encoding="utf-8") as f:
        lines = [line for line in f.read().split("\n")[1:] if line.isascii()]
        merges = [tuple(line.split()) for line in lines[:160]]
    small_folder(root, "plain", merges)
    small_folder(root, "old", merges, tokenizer_config=dict(SDXL, pad_token=EOS),
                 special_tokens_map={"bos_token": told(BOS), "eos_token": told(EOS, normalized=True),
                                     "unk_token": EOS, "pad_token": "!"})
    small_folder(root, "named", merges, special_tokens_map={
        "bos_token": told(BOS, lstrip=True), "eos_token": told(EOS), "cls_token": told(EOS),
        "unk_token": told(EOS, normalized=True), "pad_token": told(EOS, rstrip=True)})
    small_folder(root, "mixed", merges, tokenizer_config=dict(
        SDXL, unk_token=EOS, pad_token=by_type(EOS), mask_token=BOS))
    small_folder(root, "added", merges, added_tokens={"<cat-toy>": 400, "<tight>": 401},
                 special_tokens_map={"additional_special_tokens": ["<tight>"], "pad_token": "!"})
    last = 2 * 96 + len(merges) + 1
    numbers = {str(last - 1): told(BOS, normalized=True), str(last): told(EOS),
               str(last + 1): told("<cat-toy>", normalized=True, special=False),
               str(last + 2): told("<tight>", lstrip=True, rstrip=True),
               str(last + 3): told("CAT", normalized=True, special=False)}
    numbered = small_folder(root, "numbered", merges, tokenizer_config={
        "added_tokens_decoder": numbers, "bos_token": BOS, "eos_token": EOS, "unk_token": EOS,
        "pad_token": "!", "model_max_length": 77})
    new = os.path.join(root, "new")
    shutil.rmtree(new, ignore_errors=True)
    CLIPTokenizer.from_pretrained(numbered).save_pretrained(new)
    return ["plain", "old", "named", "mixed", "added", "numbered", "new"]


def main():
    full, root = sys.argv[1:]
    os.makedirs(root, exist_ok=True)
    with open(os.path.join(root, "tokens.txt"), "w", encoding="ascii") as f:
        for r in RANGES:
            f.write("range %d %d\n" % r)
        for p in PARTS:
            f.write("part %s\n" % p.encode("utf-8").hex())
        for name in small_tokenizers(full, root):
            strings(f, describe(f, name, os.path.join(root, name)), 0, 4000)
        for name, pad in (("sdxl_2", "!"), ("sdxl_1", EOS)):
            write_json(full, "tokenizer_config.json", dict(SDXL, pad_token=pad))
            t = describe(f, name, full)
            strings(f, t, 0, 100000 if name == "sdxl_1" else 20000)
            if name == "sdxl_1":
                points(f, t, 0, 0x40000)
                points(f, t, 0xE0000, 0x1000)
    os.remove(os.path.join(full, "tokenizer_config.json"))


if __name__ == "__main__":
    main()
