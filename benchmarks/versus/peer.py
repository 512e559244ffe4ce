"""What both peers share: the shape language, the clock, and the conversation with `run`.

A peer is a process that stays up. It reads one request a line from stdin,

    {"make": "conv2d", "shape": "x=2,64,64,640 w=640,640,3,3 pad=1,1,1,1", "dtype": "bf16",
     "seconds": 0.5}

and answers with one line: {"us": median, "us_min": ..., "calls": ...}, or {"skip": "why"} where the
peer has no such op. The work of the last request is kept, so that a row that comes round again is
timed warm and without being built again.
"""

import json
import sys
import time

CALLS_MIN = 3
CALLS_MAX = 1000
SECONDS_MAX = 4.0


class Skip(Exception):
    """The peer cannot do this; its text says why."""


class Shape:
    """Sizes of operands by name (`shape.x`), and attributes (`shape.attr("pad", [0, 0, 0, 0])`).

    The text does not say which fields are attributes, so both live in one dictionary."""

    def __init__(self, text):
        self.fields = {}
        for field in text.split():
            name, _, value = field.partition("=")
            sizes = value.partition(":")[0]  # an operand's own type is Atelier's business
            self.fields[name] = [number(v) for v in sizes.split(",")]

    def __getattr__(self, name):
        try:
            return tuple(self.fields[name])
        except KeyError:
            raise AttributeError(f"this shape has no '{name}'") from None

    def has(self, name):
        return name in self.fields

    def attr(self, name, default):
        value = self.fields.get(name)
        if value is None:
            return default
        return value if isinstance(default, list) else value[0]


def number(text):
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def measure(work, seconds):
    """Median and minimum of single calls, in microseconds; few where a call outlasts the slice."""
    work()
    times = []
    total = 0.0
    while (total < seconds and len(times) < CALLS_MAX) or (
            total < SECONDS_MAX and len(times) < CALLS_MIN):
        start = time.perf_counter()
        work()
        took = time.perf_counter() - start
        times.append(took)
        total += took
    times.sort()
    return {"us": times[len(times) // 2] * 1e6, "us_min": times[0] * 1e6, "calls": len(times)}


def serve(hello, makers):
    """Answers requests until stdin ends. `makers[name](shape, dtype)` returns the work to time: a
    function, or an object that has a `measure` of its own."""
    key, work = None, None
    print(json.dumps(hello), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            wanted = (request["make"], request["shape"], request["dtype"])
            if wanted != key:
                key, work = None, None  # the old operands go before the new ones come
                if request["make"] not in makers:
                    raise Skip("not an op of this peer")
                work = makers[request["make"]](Shape(request["shape"]), request["dtype"])
                key = wanted
            answer = getattr(work, "measure", lambda s: measure(work, s))(request["seconds"])
        except Skip as why:
            answer = {"skip": str(why)}
        except Exception as error:  # one bad row must not end the table
            answer = {"skip": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
        print(json.dumps(answer), flush=True)
