"""The pictures that the small model learns: shapes on backgrounds, and sentences about them.

    python models/demo/shapes.py SHEET.png     what they look like

A scene is a list of objects and a background; it is drawn as an array (64, 64, 3) of [-1, 1] and
told as a sentence. Everything follows from a numpy generator.
"""
import sys
from dataclasses import dataclass

import numpy

SIZE = 64
COLOURS = {
    "red": (214, 40, 40), "orange": (242, 140, 30), "yellow": (246, 216, 50),
    "green": (50, 160, 70), "blue": (40, 90, 205), "purple": (135, 60, 170),
    "white": (246, 246, 242), "black": (28, 28, 32),
}
GREY = (150, 150, 152)
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "diamond", "heart")
TEXTURES = ("striped", "checked", "dotted")
SIZES = {"small": (9, 11), "": (12, 18), "large": (19, 24)}
CORNERS = {"": (0, 0), "left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1)}

AXIS = numpy.arange(SIZE, dtype=numpy.float32) + 0.5
X, Y = numpy.meshgrid(AXIS, AXIS)


@dataclass
class Thing:
    shape: str
    colour: str
    x: float
    y: float
    radius: float
    words: str = ""  # a size, as the sentence says it


@dataclass
class Scene:
    text: str
    things: list
    ground: tuple  # colour, texture, second colour; of rgb


# --- shapes: distances from an edge, negative inside, in units of the radius ----------------------


def star(x, y):
    a, b = numpy.float32(0.80901699), numpy.float32(0.58778525)
    x = numpy.abs(x)
    for side in (1, -1):
        over = 2 * numpy.maximum(side * a * x - b * y, 0)
        x, y = x - over * side * a, y + over * b
    x, y = numpy.abs(x), y - 1
    edge = (0.45 * b, 0.45 * a - 1)
    along = numpy.clip((x * edge[0] + y * edge[1]) / (edge[0]**2 + edge[1]**2), 0, 1)
    sign = numpy.sign(y * edge[0] - x * edge[1])
    return numpy.hypot(x - edge[0] * along, y - edge[1] * along) * sign


def heart(x, y):
    x, y = numpy.abs(x) * 0.62, y * 0.62 + 0.55
    round_part = numpy.hypot(x - 0.25, y - 0.75) - 0.35355339
    half = 0.5 * numpy.maximum(x + y, 0)
    rest = numpy.minimum(numpy.hypot(x, y - 1), numpy.hypot(x - half, y - half))
    return numpy.where(x + y > 1, round_part, rest * numpy.sign(x - y)) / 0.62


def cross(x, y):
    x, y = numpy.abs(x), numpy.abs(y)
    return numpy.minimum(numpy.maximum(x - 0.95, y - 0.32), numpy.maximum(x - 0.32, y - 0.95))


DISTANCE = {
    "circle": lambda x, y: numpy.hypot(x, y) - 0.92,
    "square": lambda x, y: numpy.maximum(numpy.abs(x), numpy.abs(y)) - 0.8,
    "triangle": lambda x, y: numpy.maximum(numpy.abs(x) * 0.87 + y * 0.5 - 0.5, -y - 0.72),
    "star": star,
    "ring": lambda x, y: numpy.abs(numpy.hypot(x, y) - 0.7) - 0.24,
    "cross": cross,
    "diamond": lambda x, y: (numpy.abs(x) + numpy.abs(y) - 1) * 0.7071,
    "heart": heart,
}


def draw(scene):
    """(64, 64, 3) f32 of [-1, 1]"""
    picture = draw_ground(*scene.ground)
    for t in scene.things:
        distance = DISTANCE[t.shape]((X - t.x) / t.radius, (t.y - Y) / t.radius)
        cover = numpy.clip(0.5 - distance * t.radius, 0, 1)[..., None]
        picture += cover * (numpy.float32(COLOURS[t.colour]) - picture)
    return picture / 127.5 - 1


def draw_ground(colour, texture, second):
    first, second = numpy.float32(colour), numpy.float32(second)
    if texture == "striped":
        part = (Y.astype(int) // 8) % 2
    elif texture == "checked":
        part = (Y.astype(int) // 16 + X.astype(int) // 16) % 2
    elif texture == "dotted":
        part = numpy.clip(4.2 - numpy.hypot(X % 16 - 8, Y % 16 - 8), 0, 1)
    elif texture == "shaded":
        part = Y / SIZE
    else:
        part = numpy.zeros_like(X)
    return first + part[..., None].astype(numpy.float32) * (second - first)


# --- scenes ---------------------------------------------------------------------------------------


def pick(rng, items):
    return items[rng.integers(len(items))]


def pick_ground(rng, avoid, told):
    """The background and its words; those told of have any colour that no object has."""
    names = [c for c in COLOURS if c not in avoid]
    if not told:
        if rng.random() < 0.5:
            names = [c for c in ("white", "black") if c not in avoid] or names
        elif rng.random() < 0.3:
            return (GREY, "", GREY), ""
        colour = COLOURS[pick(rng, names)]
        return (colour, "", colour), ""
    name, how = pick(rng, names), rng.random()
    colour = numpy.float32(COLOURS[name])
    if how < 0.4:
        word = pick(rng, (f"a {name} background", f"{name}", f"a plain {name} background"))
        return (colour, "", colour), f" on {word}"
    if how < 0.85:
        texture = pick(rng, TEXTURES)
        other = shade(colour)
        return (colour, texture, other), f" on a {texture} {name} background"
    others = [c for c in names if c != name]
    other = pick(rng, others)
    words = f" on a background from {name} to {other}"
    return (colour, "shaded", COLOURS[other]), words


def shade(colour):
    """The second tone of a texture: lighter, of light colours darker."""
    light = colour.mean() > 150
    return colour * 0.72 if light else colour * 0.6 + 0.4 * 255


def single(rng, shape=None, colour=None, told=None):
    shape, colour = shape or pick(rng, SHAPES), colour or pick(rng, list(COLOURS))
    size = pick(rng, ("", "", "small", "large"))
    radius = rng.uniform(*SIZES[size])
    place, words = pick_place(rng)
    free = SIZE / 2 - radius - 1
    jitter = 2.0
    x = SIZE / 2 + place[0] * free + rng.uniform(-jitter, jitter) * (place[0] == 0)
    y = SIZE / 2 + place[1] * free + rng.uniform(-jitter, jitter) * (place[1] == 0)
    ground, on = pick_ground(rng, (colour,), rng.random() < 0.5 if told is None else told)
    name = " ".join(w for w in (size, colour, shape) if w)
    return Scene(sentence(rng, f"{article(name)} {name}", words + on),
                 [Thing(shape, colour, x, y, radius, size)], ground)


def pick_place(rng):
    how = rng.random()
    if how < 0.45:
        return (0, 0), pick(rng, ("", "", " in the middle"))
    if how < 0.8:
        side = pick(rng, ("left", "right", "top", "bottom"))
        word = f" on the {side}" if side in ("left", "right") else f" at the {side}"
        return CORNERS[side], word
    high, side = pick(rng, ("top", "bottom")), pick(rng, ("left", "right"))
    return (CORNERS[side][0], CORNERS[high][1]), f" in the {high} {side} corner"


def article(words):
    return "an" if words.startswith("orange") else "a"


def sentence(rng, subject, rest):
    before = pick(rng, ("", "", "", "a picture of ", "a drawing of "))
    return before + subject + rest


def named(rng, shapes, colours, n):
    """n objects of different colours, now and then of the same shape."""
    colours = rng.permutation(colours)[:n]
    return [(pick(rng, shapes), str(c)) for c in colours]


def pair(rng):
    (s1, c1), (s2, c2) = named(rng, SHAPES, list(COLOURS), 2)
    first, second = (f"{article(c)} {c} {s}" for s, c in ((s1, c1), (s2, c2)))
    r1, r2 = rng.uniform(11, 14, 2)
    how = pick(rng, ("above", "below", "left", "right", "beside", "and", "inside"))
    ground, on = pick_ground(rng, (c1, c2), rng.random() < 0.5)
    if how == "inside":
        return inside(rng, (s1, c1, first), (s2, c2, second), ground, on)
    words = {"left": "to the left of", "right": "to the right of"}.get(how, how)
    a, b = 16 + rng.uniform(-1.5, 1.5), 48 + rng.uniform(-1.5, 1.5)
    x1, y1, x2, y2 = a, 32, b, 32
    if how in ("above", "below"):
        x1, y1, x2, y2 = 32, a, 32, b
    if how in ("below", "right"):
        x1, y1, x2, y2 = x2, y2, x1, y1
    return Scene(sentence(rng, f"{first} {words} {second}", on),
                 [Thing(s1, c1, x1, y1, r1), Thing(s2, c2, x2, y2, r2)], ground)


def inside(rng, inner, outer, ground, on):
    """Only shapes with a wide middle hold another one."""
    shape = outer[0] if outer[0] in ("circle", "square", "heart", "diamond") else "square"
    words = outer[2].rsplit(" ", 1)[0] + " " + shape
    x, y = 32 + rng.uniform(-2, 2, 2)
    return Scene(sentence(rng, f"{inner[2]} inside {words}", on),
                 [Thing(shape, outer[1], x, y, rng.uniform(24, 27)),
                  Thing(inner[0], inner[1], x, y, rng.uniform(9.5, 11))], ground)


def triple(rng):
    things = named(rng, SHAPES, list(COLOURS), 3)
    ground, on = pick_ground(rng, [c for _, c in things], rng.random() < 0.4)
    names = [f"{article(c)} {c} {s}" for s, c in things]
    row = [Thing(s, c, x, 32 + rng.uniform(-1, 1), rng.uniform(9, 10))
           for (s, c), x in zip(things, (11, 32, 53))]
    return Scene(sentence(rng, f"{names[0]}, {names[1]} and {names[2]}", on), row, ground)


def texture(rng):
    a, b = (str(c) for c in rng.permutation(list(COLOURS))[:2])
    kind = pick(rng, TEXTURES)
    words = {"striped": ("{} and {} stripes", "a striped {} and {} pattern"),
             "checked": ("{} and {} checks", "a checked {} and {} pattern"),
             "dotted": ("{1} dots on {0}", "a dotted {} and {} pattern")}[kind]
    return Scene(sentence(rng, pick(rng, words).format(a, b), ""), [],
                 (COLOURS[a], kind, COLOURS[b]))


def scene(rng):
    how = rng.random()
    if how < 0.55:
        return single(rng)
    if how < 0.84:
        return pair(rng)
    return triple(rng) if how < 0.92 else texture(rng)


def words():
    """Every word that a sentence may have."""
    rng, seen = numpy.random.default_rng(0), set()
    for _ in range(4000):
        seen.update(scene(rng).text.replace(",", "").split())
    return sorted(seen)


if __name__ == "__main__":
    from PIL import Image
    generator = numpy.random.default_rng(1)
    sheet = numpy.zeros((8 * 66, 12 * 66, 3), numpy.float32)
    for i in range(96):
        one = scene(generator)
        print(one.text)
        y, x = divmod(i, 12)
        sheet[y * 66:y * 66 + 64, x * 66:x * 66 + 64] = draw(one) * 127.5 + 127.5
    Image.fromarray(sheet.astype(numpy.uint8)).save(sys.argv[1])
