#!/usr/bin/env python3
"""Writes models/unicode_*.def: what the tokenizers library takes for letters, numbers and capitals,
and how it composes.

    python tests/reference/unicode_tables.py models

Needs tokenizers 0.23.3 and Python 3.11. The library mixes versions of Unicode: letters and numbers
are those of Unicode 16, lower case of 17, composition is older than 14, so no other library has the
same tables. Everything is asked of it. Only what a composed one consists of and the classes of marks
cannot be asked for directly: those are Python's, Unicode 14, each held against the library, and
what is newer than the library is left out.
"""
import sys
import unicodedata

import tokenizers
from tokenizers import Regex, normalizers

assert tokenizers.__version__ == "0.23.3", tokenizers.__version__
assert unicodedata.unidata_version == "14.0.0", unicodedata.unidata_version

ALL = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
HANGUL = range(0xAC00, 0xD7A4)
BLANKS = [*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F,
          0x205F, 0x3000]  # written out in models/unicode.c
nfc = normalizers.NFC().normalize_str
nfd = normalizers.NFD().normalize_str


def of_class(pattern):
    """The code points that a regular expression takes."""
    rest = normalizers.Replace(Regex("[^%s]" % pattern), "")
    return [ord(c) for c in rest.normalize_str("".join(map(chr, ALL)))]


def ranges(points):
    out = []
    for c in points:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def each_alone(normalize):
    """{code point: text} of those that change. Line feeds keep them apart: nothing passes one."""
    texts = normalize("\n".join(chr(c) for c in ALL if c not in (10, 13))).split("\n")
    points = [c for c in ALL if c not in (10, 13)]
    assert len(texts) == len(points)
    return {c: t for c, t in zip(points, texts) if t != chr(c)}


def lower_ranges():
    """first, last, step, difference; U+0130 alone becomes two code points."""
    lower = each_alone(normalizers.Lowercase().normalize_str)
    assert [c for c, t in lower.items() if len(t) != 1] == [0x130] and lower[0x130] == "i\u0307"
    rows = []
    for c, t in lower.items():
        by = ord(t[0]) - c
        if c == 0x130:
            continue
        last = rows[-1] if rows else None
        step = c - last[1] if last else 0
        if last and last[3] == by and step in (1, 2) and (last[0] == last[1] or last[2] == step):
            last[1:3] = c, step
        else:
            rows.append([c, c, 1, by])
    return rows


def decompositions():
    """{code point: one or two code points}, of which the first may come apart further."""
    out, changed = {}, each_alone(nfd)
    for c in ALL:
        field = unicodedata.decomposition(chr(c))
        if field and not field.startswith("<") and c in changed:  # newer ones it leaves alone
            out[c] = [int(x, 16) for x in field.split()]

    def whole(c):
        parts = out.get(c)
        return [c] if parts is None else [x for p in parts for x in whole(p)]

    for c in ALL:
        assert len(out.get(c, [])) < 2 or out[c][1] not in out, hex(c)
        assert c in HANGUL or whole(c) == list(map(ord, changed.get(c, chr(c)))), hex(c)
    return out


def compositions(parts):
    out = {}
    for c, pair in parts.items():
        if nfc("".join(map(chr, pair))) == chr(c) and len(pair) == 2:
            out[tuple(pair)] = c
    return out


def combining():
    """{code point: class}, each held against the library between marks of two classes."""
    classes = {c: unicodedata.combining(chr(c)) for c in ALL}
    low, high = "\u0334", "\u0345"  # of the classes 1 and 240
    for c in (c for c in ALL if classes[c]):
        if nfd(high + chr(c)) == high + chr(c) and nfd(chr(c) + low) == chr(c) + low:
            classes[c] = int(chr(c) == low)  # one that is newer than the library
    marks = {}
    for c, k in classes.items():
        if k and nfd(chr(c)) == chr(c):
            marks.setdefault(k, chr(c))
    assert all(classes[ord(m)] == k for k, m in marks.items())
    points = [c for c in ALL if nfd(chr(c)) == chr(c) and c != 10]
    for k, mark in marks.items():
        if k not in (1, 230) and k % 20:  # some of them, and both ends
            continue
        before = nfd("\n".join(mark + chr(c) for c in points)).split("\n")
        after = nfd("\n".join(chr(c) + mark for c in points)).split("\n")
        for c, b, a in zip(points, before, after):
            assert b == (chr(c) + mark if 0 < classes[c] < k else mark + chr(c)), hex(c)
            assert a == (mark + chr(c) if classes[c] > k else chr(c) + mark), hex(c)
    return {c: k for c, k in classes.items() if k}


def write(path, comment, groups):
    """groups: (macro, rows); as many rows a line as there is room for."""
    with open(path, "w", encoding="ascii") as f:
        f.write("/* %s\n * Written by tests/reference/unicode_tables.py. */\n" % comment)
        for macro, rows in groups:
            line = ""
            for row in rows:
                item = "%s(%s)" % (macro, ", ".join(row))
                if line and len(line) + 1 + len(item) > 100:
                    f.write(line + "\n")
                    line = ""
                line += (" " if line else "") + item
            f.write(line + "\n")


def hexes(*values):
    return ["0x%X" % v for v in values]


def combining_ranges(classes):
    out = []
    for c, k in classes.items():
        if out and out[-1][1] == c - 1 and out[-1][2] == k:
            out[-1][1] = c
        else:
            out.append([c, c, k])
    return out


def main():
    folder = sys.argv[1]
    assert of_class(r"\s") == BLANKS
    write(folder + "/unicode_classes.def", "Letters and numbers: first, last.", [
        ("AT_LETTERS", [hexes(*r) for r in ranges(of_class(r"\p{L}"))]),
        ("AT_NUMBERS", [hexes(*r) for r in ranges(of_class(r"\p{N}"))])])
    write(folder + "/unicode_lower.def",
          "Capitals: first, last, step, what is added. U+0130 is not among them.",
          [("AT_LOWER", [hexes(*r[:2]) + ["%d" % x for x in r[2:]] for r in lower_ranges()])])
    parts = decompositions()
    write(folder + "/unicode_decompose.def",
          "What a code point stands for, or its two parts; by code point. Hangul is computed.",
          [("AT_SAME", [hexes(c, *p) for c, p in parts.items() if len(p) == 1]),
           ("AT_PARTS", [hexes(c, *p) for c, p in parts.items() if len(p) == 2])])
    write(folder + "/unicode_compose.def",
          "What two code points become, by them; and the classes of marks: first, last, class.",
          [("AT_COMPOSE", [hexes(*pair, c) for pair, c in sorted(compositions(parts).items())]),
           ("AT_MARKS", [hexes(a, b) + ["%d" % k] for a, b, k in combining_ranges(combining())])])


if __name__ == "__main__":
    main()
