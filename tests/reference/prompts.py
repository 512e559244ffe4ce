#!/usr/bin/env python3
"""Writes tests/golden/prompts.txt: prompts as A1111 and ComfyUI cut and weigh them.

    python tests/reference/clip_merges.py open_clip_torch-3.3.0-py3-none-any.whl --folder full
    python tests/reference/prompts.py full > tests/golden/prompts.txt

Needs transformers 5.23.0 and torch 2.15. The two programs are not packages; what they do is written
anew here, from these files:

    AUTOMATIC1111/stable-diffusion-webui 1.10: modules/prompt_parser.py, sd_hijack_clip.py,
        sd_emphasis.py ("Original"), extra_networks.py, modules/processing_scripts/comments.py
    Comfy-Org/ComfyUI at 443393b: comfy/sd1_clip.py, sdxl_clip.py

with which it was compared on random prompts. What is refused here those programs do, but drawing
does not: schedules, joined prompts, networks other than lora, embeddings. The file's lines:

    part HEX               UTF-8 that strings are drawn from
    prompt SYNTAX TOKENIZER HEX    1, 2: which of SDXL's tokenizers
    chunk ID*WEIGHT ...    a chunk without the padding at its end; *1 is left out
    lora WEIGHT HEX
    refused                instead of all those
    strings SYNTAX TOKENIZER FIRST COUNT DIGESTS   of drawn strings, 250 to a digest
    weigh SYNTAX WIDTH HEX of numbers that are drawn, as they stand in 'weighed' behind it
    weighed ...            every 97th number
"""
import math
import re
import struct
import sys

import numpy as np
import torch
from transformers import CLIPTokenizer

BEGIN, END, ROOM = 49406, 49407, 75
MASK = 2**64 - 1
PARTS = [
    "(", "(", "(", ")", ")", ")", "[", "[", "]", "]", "((", "))", "\\", "\\(", "\\)", "\\[", "\\\\",
    ":", ":1.3)", ":0.5)", ": 1.1 )", ":-0.4)", ":+.7)", ":1.2.3)", ":2)", ":1e1)", ":1_0)", ":inf)",
    "(red:1.2)", "(a blue ball:0.8)", "((big))", "[small]", "(x:1)", "(BREAK:1)",
    ",", ", ", ", ", ", ", " ", " ", "  ", "\n", "\t", "\u00a0", "!", "!!", "1", "1.5", "_", "'s",
    "BREAK", " BREAK ", "BREAKS", "cat", "a cat", "dog,", "masterpiece", "best quality, ",
    "\u00e9clair", "\u65e5\u672c", "supercalifragilisticexpialidocious ", "word word word word ",
    "one two three four five six seven eight nine ten ", "x" * 30, "<", ">", "<lora:a b:0.5>",
    "<lora:c>", "#", "|", "AND", "embedding:x", "[a:b:", ":5]", "]",
]
PROMPTS = [
    "", " ", "a red cube", "a (red) cube", "a ((red)) [cube]", "(red:1.3), (blue:0.5)",
    "an (important) word", "(unbalanced", "unbalanced)", "(unnecessary)(parens)",
    "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).", "\\(literal\\] \\[text\\) \\\\ \\x",
    "a BREAK b", "BREAK", "BREAK BREAK", "a BREAK", "(a BREAK b)", "(a BREAK b:1)", "aBREAK BREAKb",
    "a,BREAK,b", "\u00e9BREAK", "(a:1.5", "a:1.5)", "(:1.5)", "(a: 1.5 )", "(a:1.5 x)", "(a:b:1.5)",
    "(a:.5)", "(a:+1.5)", "(a:-1)", "(a:0)", "(a:1.2.3)", "(a:.)", "(a:1e2)", "(a:nan)", "(a:inf)",
    "(a:1e7)", "()", "(())", "[]", "(a(b)c)", "(a(b:2)c:3)", "a) (b)", "a) ((b)) c", "(a (b)", "(a)) b",
    "foo ((((lol (cat:666) attack:100)))) baz", "foo ((((lol (cat:666) attack):100))) baz",
    "hello! !! world!", "<|endoftext|> a <|endoftext|>", "a # comment\nb", "# all", "#", "a\n#b\nc (d)",
    "<lora:name:0.8> a cat", "a <lora:x:1><lora:y> b", "<lora:x:1:2>", "<lora:x:>", "<lora:x:te=1>",
    "<lora::1>", "<lora:>", "<lora:a b.c:-0.5>", "a < b: c > d", "<hypernet:x:1>", "<lyco:x:1>",
    "<lora:x:y>", "<lora:x", "a<3:b>", "(<lora:x:0.5>cat:1.2)", "a AND b", "aAND bAND ANDc", "AND",
    "a :1.2", "16:9", "16:9.", "16:9,", "a: -.5 ", "a:1.2.3", ":3", "a:b", "(a:1.2) ", "[a:b:10]",
    "[a:10]", "[a::10]", "[a : b : 0.5 ]", "[a|b]", "[fe|]male", "[a:b]", "[a:b:c]", "a|b", "(a|b)",
    "[(a|b)]", "[a\\|b]", "[a\\:5]", "[a (b:1.2)]", "[a (b:1.2]", "[a|b", "a|b]", "[[a:b:3]]", "[a:nan]",
    "([a|b])", "[(a:1.5):b:3]", "[a:1.5e]", "{a|b}", "embedding:cat", "a embedding:cat", "aembedding:cat",
    "(embedding:cat:1.2)", "a\nembedding:x, b", "a word " * 40, ", ".join(["cat"] * 60),
    "a, " * 27 + "b " * 40, "word " * 75, "word " * 76, "word " * 56 + ", " + "word " * 30,
    "word " * 54 + ", " + "word " * 30, "word " * 74 + "," + "word " * 3, "word " * 75 + "," + "word " * 3,
    "(" + "word " * 60 + ", a:1.4) (" + "blue " * 30 + ":0.7)", "a BREAK " + "word " * 80,
    "(a) " * 80, "red (a b c d e f g) " * 12, "x" * 300, "y " * 74 + "(a b c d e f g)",
    "y " * 74 + "(a b c d e f g h)", "\u65e5\u672c\u8a9e (\u732b:1.2)", "a (red:1.5 cube", "a \\",
    "(" * 30 + "deep" + ")" * 30, "[" * 30 + "deep" + "]" * 30, "a" + "(b" * 20 + ")" * 10,
    "BREAK ".join(["word"] * 33), "BREAK " * 32 + "word",
]


class Refused(Exception):
    pass


class Words:
    """Both programs have one tokenizer for both encoders."""
    def __init__(self, folder):
        self.tokenizer = CLIPTokenizer.from_pretrained(folder)
        self.known = {}

    def __call__(self, text):
        if text not in self.known:
            self.known[text] = self.tokenizer(text, add_special_tokens=False,
                                              truncation=False).input_ids
        return self.known[text]


def checked(weight):
    if not abs(weight) <= 1000000:
        raise Refused
    return weight


def finish(tokens, pad):
    """A chunk of (id, weight) pairs."""
    row = [(BEGIN, 1.0), *tokens, (END, 1.0)]
    return row + [(pad, 1.0)] * (77 - len(row))


# --- a1111 -----------------------------------------------------------------------------------------

PIECE = re.compile(r"\\[\\()\[\]]|[\\()\[\]]|:\s*(?P<weight>[+-]?[.\d]+)\s*\)|:|[^\\()\[\]:]+")


def find_schedules(text):
    """Raises for every bracket that may be one: [..:NUMBER], [..|..]."""
    opened, skip = [], False
    for at, c in enumerate(text):
        if skip or c == "\\":
            skip = not skip
        elif c in "([":
            opened.append([c, None, False])
        elif c in ")]":
            partner = "([" [")]".index(c)]
            places = [k for k, o in enumerate(opened) if o[0] == partner]
            if not places:
                continue
            inside = opened[places[-1]:]
            del opened[places[-1]:]
            colons = [o[1] for o in inside if o[1] is not None]
            tail = text[max(colons) + 1:at] if colons else ""
            if c == "]" and (any(o[2] for o in inside) or
                             re.fullmatch(r"\s*[-+]?(\d[\d_]*\.?\d*|\.\d+)(e[-+]?\d+)?\s*", tail, re.I)):
                raise Refused
        elif opened and c == ":":
            opened[-1][1] = at
        elif opened and c == "|":
            opened[-1][2] = True


def read_networks(text, loras):
    def found(m):
        name, args = m.group(1), m.group(2).split(":")
        try:
            if name != "lora" or len(args) > 2 or not args[0] or "=" in m.group(2):
                raise Refused
            loras.append((args[0], checked(float(args[1]) if len(args) > 1 else 1.0)))
        except ValueError:
            raise Refused from None
        return ""
    return re.sub(r"<(\w+):([^>]+)>", found, text)


def read_parts(text):
    parts, round_open, square_open = [], [], []

    def scale(first, by):
        for p in parts[first:]:
            p[1] *= by

    for m in PIECE.finditer(text):
        piece, weight = m.group(), m.group("weight")
        if piece[0] == "\\":
            parts.append([piece[1:], 1.0])
        elif piece == "(":
            round_open.append(len(parts))
        elif piece == "[":
            square_open.append(len(parts))
        elif piece[-1] == ")" and round_open:
            try:
                scale(round_open.pop(), 1.1 if weight is None else float(weight))
            except ValueError:
                raise Refused from None
        elif piece == "]" and square_open:
            scale(square_open.pop(), 1 / 1.1)
        else:
            for k, between in enumerate(re.split(r"\s*\bBREAK\b\s*", piece)):
                parts += [["BREAK", -1]] * (k > 0)
                parts.append([between, 1.0])
    for first in round_open:
        scale(first, 1.1)
    for first in square_open:
        scale(first, 1 / 1.1)
    merged = []
    for words, weight in parts:
        if merged and merged[-1][1] == weight:
            merged[-1][0] += words
        else:
            merged.append([words, weight])
    return merged


def read_a1111(text, words, pad):
    loras, chunks, row = [], [], []
    comma, last_comma = words(",")[0], -1
    text = re.sub(r"#[^\n]*", "", text)
    text = read_networks(text, loras)
    if re.search(r"\bAND\b", text) or re.search(r":\s*[-+]?(\d+\.?|\d*\.\d+)\s*$", text):
        raise Refused
    find_schedules(text)

    def end_row(keep=None):
        nonlocal row, last_comma
        keep = len(row) if keep is None else keep
        done = finish(row[:keep], END)
        if pad != END:
            first = [i for i, _ in done].index(END)
            done = done[:first + 1] + [(pad, w) for _, w in done[first + 1:]]
        chunks.append(done)
        row, last_comma = row[keep:], -1

    for part, weight in read_parts(text):
        if part == "BREAK" and weight == -1:
            end_row()
            continue
        for token in words(part):
            checked(weight)
            if token == comma:
                last_comma = len(row)
            elif len(row) == ROOM and last_comma >= 0 and ROOM - last_comma <= 20:
                end_row(last_comma + 1)
            if len(row) == ROOM:
                end_row()
            row.append((token, weight))
    if row or not chunks:
        end_row()
    return chunks, loras


# --- comfy -----------------------------------------------------------------------------------------

OPEN, CLOSE = "\ue000", "\ue001"


def outermost(text):
    """Brackets of the lowest level, and what is between them."""
    depth, start = 0, 0
    for at, c in enumerate(text):
        if c == "(":
            if depth == 0 and at > start:
                yield text[start:at]
                start = at
            depth += 1
        elif c == ")":
            depth -= 1
            if depth == 0:
                yield text[start:at + 1]
                start = at + 1
    if start < len(text):
        yield text[start:]


def read_stretches(text, weight):
    for piece in outermost(text):
        if len(piece) < 2 or piece[0] != "(" or piece[-1] != ")":
            yield piece, weight
            continue
        inside, own = piece[1:-1], weight * 1.1
        before, colon, number = inside.rpartition(":")
        if colon and before:
            try:
                inside, own = before, float(number)
            except ValueError:
                inside = piece[1:-1]
        yield from read_stretches(inside, own)


def read_comfy(text, words, pad):
    text = text.replace("\\)", CLOSE).replace("\\(", OPEN)
    rows = [[]]
    for stretch, weight in read_stretches(text, 1.0):
        stretch = stretch.replace(OPEN, "(").replace(CLOSE, ")")
        checked(weight)
        if re.search(r"(^|(?<=\s))embedding:", stretch):
            raise Refused
        tokens = words(stretch)
        cut = len(tokens) >= 8
        while len(tokens) > ROOM - len(rows[-1]):
            room = ROOM - len(rows[-1]) if cut else 0
            rows[-1] += [(t, weight) for t in tokens[:room]]
            tokens = tokens[room:]
            rows.append([])
        rows[-1] += [(t, weight) for t in tokens]
    return [finish(row, pad) for row in rows], []


READ = {"a1111": read_a1111, "comfy": read_comfy}


def read(syntax, number, text, words):
    pad = END if number == 1 else 0
    chunks, loras = READ[syntax](text, words, pad)
    if len(chunks) > 32 or len(loras) > 32:
        raise Refused
    return chunks, loras, pad


# --- the file --------------------------------------------------------------------------------------

class Dice:
    def __init__(self, seed):
        self.state = (seed * 0x9E3779B97F4A7C15 + 0x1234567) & MASK
        self.below(2)

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & MASK
        return (self.state >> 33) % n


def draw_string(number):
    d = Dice(number)
    count = 1 + d.below(12)
    count *= 1 + 9 * (d.below(6) == 0)
    return "".join(PARTS[d.below(len(PARTS))] for _ in range(count))


def bits(weight):
    return struct.unpack("<I", struct.pack("<f", weight))[0]


def digest(h, syntax, number, text, words):
    try:
        chunks, loras, _ = read(syntax, number, text, words)
        numbers = [x for c in chunks for t, w in c for x in (t, bits(w))]
        numbers += [bits(w) for _, w in loras]
    except Refused:
        numbers = [0xFFFFFFFF]
    for x in [*numbers, len(numbers)]:
        h = ((h ^ x) * 0x100000001B3) & MASK
    return h


def tell(syntax, number, text, words):
    print("prompt", syntax, number, text.encode().hex() or "-")
    try:
        chunks, loras, pad = read(syntax, number, text, words)
    except Refused:
        print("refused")
        return
    for chunk in chunks:
        while len(chunk) > 1 and chunk[-1] == (pad, 1.0):
            chunk = chunk[:-1]
        print("chunk", *(f"{t}" if w == 1 else f"{t}*{w!r}" for t, w in chunk))
    for name, weight in loras:
        print("lora", repr(weight), name.encode().hex())


def draw(seed, shape):
    """Numbers from -2 to 2, exact in f32, from a linear congruence."""
    out, state = [], seed
    for _ in range(math.prod(shape)):
        state = (state * 1664525 + 1013904223) % 2**32
        out.append((state >> 8) * 2.0**-22 - 2)
    return torch.tensor(out, dtype=torch.float32).reshape(shape)


def weigh(syntax, text, width, words):
    chunks, _, _ = read(syntax, 1, text, words)
    hidden, empty = draw(5, (len(chunks), 77, width)) + 0.25, draw(6, (77, width))
    weights = torch.tensor([[w for _, w in c] for c in chunks])[:, :, None]
    if syntax == "a1111":
        before = hidden.mean((1, 2), keepdim=True)
        hidden = hidden * weights
        hidden = hidden * (before / hidden.mean((1, 2), keepdim=True))
    else:
        hidden = (hidden - empty) * weights + empty
    print("weigh", syntax, width, text.encode().hex())
    print("weighed", *(f"{x:.9g}" for x in hidden.flatten()[::97].numpy().astype(np.float64)))


def main():
    words = Words(sys.argv[1])
    for part in PARTS:
        print("part", part.encode().hex())
    for text in PROMPTS:
        for syntax in READ:
            tell(syntax, 1, text, words)
    for text in ("hello! !! world!", "<|endoftext|> a <|endoftext|>", "a BREAK (b:1.5)", ""):
        for syntax in READ:
            tell(syntax, 2, text, words)
    for syntax in READ:
        for number in (1, 2):
            print("strings", syntax, number, number * 100000, 3000, end="")
            for first in range(0, 3000, 250):
                h = 0xCBF29CE484222325
                for k in range(first, first + 250):
                    h = digest(h, syntax, number, draw_string(number * 100000 + k), words)
                print(f" {h:016x}", end="")
            print()
    for syntax in READ:
        weigh(syntax, "a (red:1.5) [cube] BREAK (ball:-0.25), plain", 24, words)
        weigh(syntax, "word " * 80 + "(heavy:1.4)", 8, words)


if __name__ == "__main__":
    main()
