#!/usr/bin/env python3
"""Writes small odd pictures into tests/golden/pictures/ and, beside them, what Pillow makes of them.

    python tests/reference/pictures.py [FOLDER]
    python tests/reference/pictures.py --resize 200 > tests/golden/pictures/resize.txt

Needs Pillow 13 and numpy. expected.txt has a line "file options tolerance width height channels
depth" for each picture and then one of hexadecimal digits for each row; or "file refuse WORD", where
the message must contain the word. resize.txt has lines "filter channels H W Ho Wo seed crc32"; the
pictures are drawn from their seeds, here and in picture_test.c alike.
"""
import argparse
import io
import pathlib
import random
import struct
import zlib

import numpy
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

WIDTH, HEIGHT = 21, 15
FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


# --- what is drawn ---------------------------------------------------------------------------------
def draw(channels, top=255):
    """A smooth picture with an edge; the last of two or four channels is a ramp of alpha."""
    y, x = numpy.mgrid[0:HEIGHT, 0:WIDTH]
    waves = [numpy.sin(x / 5 + c) * numpy.cos(y / (3 + c)) * 0.4 + 0.5 for c in range(3)]
    waves = [numpy.where(x + y > 24, 1 - w, w) for w in waves]
    if channels in (2, 4):
        waves = waves[:channels - 1] + [numpy.clip((x + y) / 24 - 0.2, 0, 1)]
    out = numpy.stack(waves[:channels], axis=2) * top
    return numpy.round(out).astype(numpy.uint16 if top > 255 else numpy.uint8)


def image(mode):
    """A Pillow picture of this mode."""
    if mode == "P":
        return image("RGB").quantize(16, dither=Image.Dither.NONE)
    if mode == "1":
        return Image.fromarray(draw(1)[:, :, 0]).convert("1")
    if mode == "CMYK":
        return Image.frombytes("CMYK", (WIDTH, HEIGHT), draw(4).tobytes())
    pixels = draw({"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}[mode])
    return Image.frombytes(mode, (WIDTH, HEIGHT), pixels.tobytes())


def saved(picture, kind, **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


# --- PNG by hand: what Pillow does not write -------------------------------------------------------
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed_rows(samples, depth):
    """Rows of samples (H, W, C) in a PNG's bytes, each with the filter 'none' before it."""
    out = b""
    for row in samples.reshape(samples.shape[0], -1):
        if depth == 16:
            data = row.astype(">u2").tobytes()
        elif depth == 8:
            data = row.astype(numpy.uint8).tobytes()
        else:
            bits = "".join(format(int(v), "0%db" % depth) for v in row)
            bits += "0" * (-len(bits) % 8)
            data = bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))
        out += b"\0" + data
    return out


def png(samples, depth, colour, before=b"", interlaced=False):
    height, width = samples.shape[:2]
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
                  (0, 1, 1, 2)]
    parts = [samples[y::dy, x::dx] for x, y, dx, dy in passes]
    data = b"".join(packed_rows(p, depth) for p in parts if p.size)
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + before +
            chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b""))


def lying_png(width, height):
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) +
            chunk(b"IDAT", zlib.compress(bytes(40))) + chunk(b"IEND", b""))


# --- profiles --------------------------------------------------------------------------------------
def profile(grey):
    """A small profile that is far from sRGB: wide primaries, or grey, with a gamma of 1.8."""
    def xyz(*v):
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(c * 65536)) for c in v)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(1.8 * 256)) + b"\0\0"
    text = b"text\0\0\0\0test\0\0\0\0"
    name = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78 + 1)
    tags = {b"desc": name, b"cprt": text, b"wtpt": xyz(0.9642, 1, 0.8249)}
    if grey:
        tags[b"kTRC"] = curve
    else:
        tags.update({b"rXYZ": xyz(0.6097, 0.3111, 0.0195), b"gXYZ": xyz(0.2053, 0.6257, 0.0609),
                     b"bXYZ": xyz(0.1492, 0.0632, 0.7446), b"rTRC": curve, b"gTRC": curve,
                     b"bTRC": curve})
    table, data, at = b"", b"", 132 + 12 * len(tags)
    for key, value in tags.items():
        table += key + struct.pack(">II", at + len(data), len(value))
        data += value
    size = at + len(data)
    head = struct.pack(">I4sI4s4s4s12s4s", size, b"lcms", 0x02100000, b"mntr",
                       b"GRAY" if grey else b"RGB ", b"XYZ ", bytes(12), b"acsp")
    head += bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    head += bytes(128 - len(head))
    return head + struct.pack(">I", len(tags)) + table + data


# --- what Pillow makes of them ---------------------------------------------------------------------
def upright(data, convert=True):
    """A picture as we decode it by default, as an array (H, W, C) of bytes."""
    picture = Image.open(io.BytesIO(data))
    picture.load()
    tag = picture.info.get("icc_profile") if convert else None
    if tag and picture.mode == "L":
        grey = ImageCms.profileToProfile(picture, io.BytesIO(tag), ImageCms.createProfile("sRGB"),
                                         outputMode="RGB")
        picture = grey.getchannel("G")
    elif tag:
        picture = ImageCms.profileToProfile(picture, io.BytesIO(tag),
                                            ImageCms.createProfile("sRGB"))
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("I;16", "I", "I;16B"):
        # Pillow's convert("L") clamps these at 255; its 16-bit colours lose their lower byte.
        return (numpy.asarray(picture).astype(numpy.int64) >> 8).astype(numpy.uint8)[:, :, None]
    if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
    elif picture.mode in ("1", "L"):
        picture = picture.convert("L")
    else:
        picture = picture.convert("RGB")
    pixels = numpy.asarray(picture)
    return pixels.reshape(pixels.shape[0], pixels.shape[1], -1)


def on_white(data):
    picture = Image.open(io.BytesIO(data)).convert("RGBA")
    white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    return numpy.asarray(Image.alpha_composite(white, picture).convert("RGB"))


class Golden:
    """The files of the folder, and expected.txt."""

    def __init__(self, folder):
        self.folder, self.lines = folder, []

    def file(self, name, data):
        (self.folder / name).write_bytes(data)

    def expect(self, name, options, tolerance, pixels):
        height, width, channels = pixels.shape
        depth = 16 if pixels.dtype == numpy.uint16 else 8
        self.lines.append(f"{name} {options} {tolerance} {width} {height} {channels} {depth}")
        for row in pixels:
            self.lines.append(row.astype(">u2" if depth == 16 else numpy.uint8).tobytes().hex())

    def add(self, name, data, tolerance=0):
        self.file(name, data)
        self.expect(name, "plain", tolerance, upright(data))

    def refuse(self, name, data, word):
        self.file(name, data)
        self.lines.append(f"{name} refuse {word}")


# --- the pictures ----------------------------------------------------------------------------------
def add_png(golden):
    for mode in ("1", "L", "LA", "RGB", "RGBA", "P"):
        golden.add(f"png_{mode.lower()}.png", saved(image(mode), "PNG"))
    small = draw(1) >> 4
    golden.add("png_grey2.png", png(small >> 2, 2, 0))
    golden.add("png_grey4.png", png(small, 4, 0))
    # Pillow compares the key with samples that it has stretched to 8 bits already.
    golden.file("png_grey4_key.png", png(small, 4, 0, chunk(b"tRNS", b"\0\x07")))
    clear = numpy.where(small == 7, 0, 255)
    golden.expect("png_grey4_key.png", "plain", 0,
                  numpy.concatenate([small * 17] * 3 + [clear], axis=2).astype(numpy.uint8))
    golden.add("png_rgb_interlaced.png", png(draw(3), 8, 2, interlaced=True))
    golden.add("png_grey1_interlaced.png", png(draw(1) >> 7, 1, 0, interlaced=True))
    golden.add("png_gamma.png", png(draw(3), 8, 2, chunk(b"gAMA", struct.pack(">I", 100000))))
    key = struct.pack(">HHH", *(int(v) for v in draw(3)[4, 5]))
    golden.add("png_rgb_key.png", png(draw(3), 8, 2, chunk(b"tRNS", key)))
    colours = chunk(b"PLTE", bytes(range(0, 240, 5))) + chunk(b"tRNS", bytes(range(0, 240, 20)))
    golden.add("png_palette_alpha.png", png(small, 4, 3, colours))
    for channels, colour in ((1, 0), (2, 4), (3, 2), (4, 6)):
        name, wide = f"png_16_{channels}.png", draw(channels, 65535)
        golden.add(name, png(wide, 16, colour))
        kept = wide[:, :, [0, 0, 0, 1]] if channels == 2 else wide
        golden.expect(name, "keep16", 0, kept)
    data = saved(image("RGBA"), "PNG")
    golden.expect("png_rgba.png", "white", 0, on_white(data))
    golden.expect("png_rgba.png", "drop", 0, draw(4)[:, :, :3])
    golden.expect("png_l.png", "rgb", 0, numpy.repeat(draw(1), 3, axis=2))
    texts = PngImagePlugin.PngInfo()
    texts.add_text("plain", "caf\xe9")
    texts.add_text("packed", "again and " * 40, zip=True)
    texts.add_itxt("prompt", "\u96ea a cat \u2014 drawn")
    golden.add("png_texts.png", saved(image("L"), "PNG", pnginfo=texts))
    golden.add("png_exif.png", saved(image("RGB"), "PNG", exif=oriented(6)))
    golden.refuse("png_animated.png", saved(image("RGB"), "PNG", save_all=True,
                                            append_images=[image("RGB").rotate(180)]), "animated")
    golden.refuse("png_lying.png", lying_png(20000, 3000), "more")
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    whole = png(draw(3), 8, 2)
    golden.refuse("png_two_heads.png", whole[:-12] + head + whole[-12:], "damaged")
    golden.refuse("png_head_later.png", whole[:8] + chunk(b"tEXt", b"a\0b") + whole[8:], "damaged")
    golden.refuse("png_huge.png", lying_png(20000, 20000), "limit")


def oriented(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = "a description"
    return exif.tobytes()


def with_parts(data):
    """A JPEG whose profile is cut into two markers, the second first."""
    at = data.index(b"\xff\xe2")
    length = struct.unpack(">H", data[at + 2:at + 4])[0]
    body = data[at + 18:at + 2 + length]
    def part(number, piece):
        inside = b"ICC_PROFILE\0" + bytes([number, 2]) + piece
        return b"\xff\xe2" + struct.pack(">H", len(inside) + 2) + inside
    return data[:at] + part(2, body[200:]) + part(1, body[:200]) + data[at + 2 + length:]


def add_jpeg(golden):
    golden.add("jpeg_grey.jpg", saved(image("L"), "JPEG"))
    for name, sampling in (("444", 0), ("422", 1), ("420", 2)):
        golden.add(f"jpeg_{name}.jpg", saved(image("RGB"), "JPEG", subsampling=sampling))
    golden.add("jpeg_progressive.jpg", saved(image("RGB"), "JPEG", progressive=True))
    golden.add("jpeg_comment.jpg", saved(image("RGB"), "JPEG", comment=b"seen at night"))
    cmyk = saved(image("CMYK"), "JPEG", quality=90)
    golden.add("jpeg_cmyk.jpg", cmyk)
    at = cmyk.index(b"Adobe")
    golden.add("jpeg_ycck.jpg", cmyk[:at + 11] + b"\x02" + cmyk[at + 12:])
    for orientation in range(1, 9):
        golden.add(f"jpeg_turned_{orientation}.jpg",
                   saved(image("RGB"), "JPEG", exif=oriented(orientation)))
    whole = saved(image("RGB"), "JPEG")
    golden.refuse("jpeg_cut.jpg", whole[:len(whole) * 3 // 4], "end")
    golden.refuse("jpeg_damaged.jpg", whole[:-60] + b"\xff\xd9", "damaged")
    at = whole.index(b"\xff\xc0")
    golden.refuse("jpeg_lying.jpg", whole[:at + 5] + struct.pack(">HH", 8000, 8000) +
                  whole[at + 9:], "more")
    scans = saved(image("L"), "JPEG", progressive=True)
    golden.refuse("jpeg_scans.jpg", scans[:-2] + last_scan(scans) * 200 + b"\xff\xd9", "scans")


def last_scan(data):
    return data[data.rindex(b"\xff\xda"):-2]


def add_profiles(golden):
    """Converted within 2: another version of Little CMS, which rounds its tables otherwise."""
    for name, mode, kind in (("icc_rgb.png", "RGB", "PNG"), ("icc_rgba.png", "RGBA", "PNG"),
                             ("icc_grey.png", "L", "PNG"), ("icc_rgb.webp", "RGB", "WEBP"),
                             ("icc_rgb.jpg", "RGB", "JPEG")):
        data = saved(image(mode), kind, icc_profile=profile(mode == "L"))
        golden.add(name, data, 2)
        golden.expect(name, "keep_profile", 0, upright(data, convert=False))
    parts = with_parts(saved(image("RGB"), "JPEG", icc_profile=profile(False)))
    golden.add("icc_parts.jpg", parts, 2)


def add_others(golden):
    golden.add("webp_lossy.webp", saved(image("RGB"), "WEBP"))
    golden.add("webp_lossless.webp", saved(image("RGB"), "WEBP", lossless=True))
    golden.add("webp_alpha.webp", saved(image("RGBA"), "WEBP"))
    golden.add("webp_alpha_lossless.webp", saved(image("RGBA"), "WEBP", lossless=True, exact=True))
    golden.add("webp_turned.webp", saved(image("RGB"), "WEBP", exif=oriented(8)))
    frames = [image("RGB").rotate(180)]
    golden.refuse("webp_animated.webp", saved(image("RGB"), "WEBP", save_all=True,
                                              append_images=frames), "animated")
    for mode in ("1", "L", "P", "RGB"):
        name, data = f"bmp_{mode.lower()}.bmp", saved(image(mode), "BMP")
        golden.file(name, data)  # a palette of greys stays one of colours
        pixels = upright(data)
        golden.expect(name, "plain", 0, numpy.repeat(pixels, 3 // pixels.shape[2], axis=2))
    golden.add("gif_p.gif", saved(image("P"), "GIF"))
    data = saved(image("P"), "GIF", transparency=3)
    pixels = upright(data)
    golden.file("gif_key.gif", data)  # the colour of what cannot be seen is black, not the key's
    golden.expect("gif_key.gif", "plain", 0, pixels * (pixels[:, :, 3:] > 0).astype(numpy.uint8))
    golden.refuse("gif_animated.gif", saved(image("P"), "GIF", save_all=True,
                                            append_images=frames), "animated")
    for mode in ("L", "P", "RGB", "RGBA"):
        golden.add(f"tga_{mode.lower()}.tga", saved(image(mode), "TGA"))
    golden.add("tga_packed.tga", saved(image("RGB"), "TGA", compression="tga_rle"))
    for mode in ("1", "L", "RGB"):
        golden.add(f"pnm_{mode.lower()}.pnm", saved(image(mode), "PPM"))
    size = b"%d %d" % (WIDTH, HEIGHT)
    golden.add("pnm_100.ppm", b"P6 # odd\n" + size + b"\n100\n" + draw(3, 100).tobytes())
    wide = draw(3, 65535)
    golden.add("pnm_16.ppm", b"P6\n" + size + b"\n65535\n" + wide.astype(">u2").tobytes())
    golden.expect("pnm_16.ppm", "keep16", 0, wide)
    golden.refuse("pnm_cut.pgm", b"P5\n" + size + b"\n255\n" + bytes(WIDTH), "samples")
    golden.refuse("not_a_picture.txt", b"A text, which is no picture at all.\n", "no picture")


# --- resizing --------------------------------------------------------------------------------------
def write_resized(count):
    rng = random.Random(3)
    for seed in range(1, count + 1):
        kind, channels = rng.choice(list(FILTERS)), rng.choice([1, 3, 4])
        height, width, to_height, to_width = (int(2 ** rng.uniform(0, 7)) for _ in range(4))
        data, state = bytearray(), seed
        for _ in range(height * width * channels):
            state = (state * 1664525 + 1013904223) % 2**32
            data.append(state >> 24)
        picture = Image.frombytes({1: "L", 3: "RGB", 4: "RGBA"}[channels], (width, height),
                                  bytes(data))
        made = picture.resize((to_width, to_height), FILTERS[kind])
        print(kind, channels, height, width, to_height, to_width, seed,
              "%08x" % zlib.crc32(made.tobytes()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default="tests/golden/pictures")
    parser.add_argument("--resize", type=int, default=0, metavar="N",
                        help="print N resized pictures' checksums instead")
    options = parser.parse_args()
    if options.resize:
        write_resized(options.resize)
        return
    golden = Golden(pathlib.Path(options.folder))
    add_png(golden)
    add_jpeg(golden)
    add_profiles(golden)
    add_others(golden)
    (golden.folder / "expected.txt").write_text("\n".join(golden.lines) + "\n")


if __name__ == "__main__":
    main()
