#!/usr/bin/env python3
"""The rows of `atelier bench ops` in torch, each in the fastest of the ways that torch has for it.

    peer_gpu.py --rows ROWS.json --out TORCH.json [--device cuda] [--seconds 0.3] [--limit 200]

ROWS.json is a list of {"op", "shape", "dtype"}. On a GPU calls are captured into a CUDA graph and timed by
events, over sets of operands that together are larger than any cache (SETS_BYTES), so that no input is found
in the L2; "us" is the median of single calls. "us_warm" is the same with one set, where it would fit.

Operands come in Atelier's layouts: pictures NHWC, which is torch's channels_last, tokens by channels, weights
as stored, heads a transposed view. Exit status: 0 the file is written (a row may be skipped, with its
reason), 2 it could not be, 3 there is no torch or no GPU."""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "versus"))
sys.dont_write_bytecode = True

from peer import Shape, Skip  # noqa: E402  the path above comes first

try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    print(f"peer_gpu: there is no torch here: {error}", file=sys.stderr)
    sys.exit(3)

SETS_BYTES = 320 << 20  # more than 250 MB and several times any L2
SETS_MAX = 64
CALLS_OF_A_GRAPH_MAX = 256
GRAPH_SECONDS = 2e-3  # a replay is at least so long, or CALLS_OF_A_GRAPH_MAX calls
REPLAYS_MIN = 5
REPLAYS_MAX = 200
L2_BYTES = 50 << 20
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16,
          "f8": torch.float8_e4m3fn}


# --- operands ---------------------------------------------------------------------------------------


class Maker:
    """What a row's operands are made with: the device, the row's type, its fields."""

    def __init__(self, row, options):
        self.shape, self.row = Shape(row["shape"]), row
        self.device = options.device
        self.dtype = DTYPES[row["dtype"]]
        self.types = {f.partition("=")[0]: f.partition(":")[2] for f in row["shape"].split() if ":" in f}
        self.compiling = options.compile

    def has(self, name):
        return self.shape.has(name)

    def attr(self, name, default):
        return self.shape.attr(name, default)

    def random(self, sizes, dtype=None):
        x = torch.randn([int(n) for n in sizes], device=self.device, dtype=torch.float32) * 0.5
        return x.to(dtype or self.dtype)

    def tensor(self, name, dtype=None):
        """An operand of the row, or None."""
        if not self.has(name):
            return None
        named = DTYPES.get(self.types.get(name, ""))
        return self.random(self.shape.fields[name], dtype or named)

    def image(self, name):
        """(N, H, W, C) in memory, (N, C, H, W) by name."""
        x = self.tensor(name)
        return None if x is None else x.permute(0, 3, 1, 2)

    def weight(self, name):
        w = self.tensor(name)
        return w.contiguous(memory_format=torch.channels_last) if w.dim() == 4 else w

    def heads(self, name):
        b, tokens, channels = self.shape.fields[name]
        n = int(self.attr("heads", 1))
        return self.tensor(name).view(b, tokens, n, channels // n).transpose(1, 2)

    def compiled(self, function):
        return torch.compile(function, dynamic=False) if self.compiling else None


# A maker of ops.def's op answers a function that makes one set of operands, and {how: work on a set}.
MAKERS = {}


def op(function):
    MAKERS[function.__name__] = function
    return function


def ways(eager, compiled=None, **more):
    found = {"eager": eager, "compiled": compiled, **more}
    return {how: work for how, work in found.items() if work}


def activation(kind):
    table = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu, "none": lambda x: x,
             "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x), "sigmoid": torch.sigmoid,
             "tanh": torch.tanh, "exp": torch.exp, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh")}
    if kind not in table:
        raise Skip(f"torch's '{kind}' is not written here")
    return table[kind]


# --- products and convolutions ----------------------------------------------------------------------


def conv_of(m):
    top, left, bottom, right = m.attr("pad", [0, 0, 0, 0])
    if (top, left) != (bottom, right) or m.attr("pad_mode", "zero") != "zero":
        raise Skip("torch's convolutions pad symmetrically, with zeros")
    return m.attr("stride", [1, 1]), [top, left]


@op
def conv2d(m):
    stride, pad = conv_of(m)

    def operands():
        return m.image("x"), m.weight("w"), m.tensor("bias"), m.image("residual")

    def run(x, w, bias, residual):
        y = F.conv2d(x, w, bias, stride, pad)
        return y if residual is None else y.add_(residual)

    return operands, ways(run, m.compiled(run) if m.has("residual") else None)


def conv_gradient(m, x_sizes, w_sizes, mask):
    stride, pad = conv_of(m)
    backward = torch.ops.aten.convolution_backward

    def operands():
        x = m.image("x") if m.has("x") else m.random(x_sizes).permute(0, 3, 1, 2)
        w = m.weight("w") if m.has("w") else m.random(w_sizes).contiguous(memory_format=torch.channels_last)
        return m.image("dy"), x, w

    return operands, ways(lambda dy, x, w: backward(dy, x, w, [w_sizes[0]], stride, pad, [1, 1], False,
                                                    [0, 0], 1, mask))


@op
def conv2d_dgrad(m):
    s = m.shape
    return conv_gradient(m, (s.dy[0], *s.in_size, s.w[1]), s.w, [True, False, False])


@op
def conv2d_wgrad(m):
    s = m.shape
    return conv_gradient(m, s.x, (s.dy[3], s.x[3], *s.kernel), [False, True, True])


def product_f8(x, w, a, b, bias):
    return torch._scaled_mm(x, w, scale_a=a, scale_b=b, bias=bias, out_dtype=torch.bfloat16,
                            use_fast_accum=True)


def operands_f8(m):
    def operands():
        x, w = m.tensor("x"), m.tensor("w")
        one = torch.ones((), device=m.device)
        return x.view(-1, x.shape[-1]), w.t(), one, one.clone(), m.tensor("bias", torch.bfloat16)

    return operands


def linear_geglu_f8(m):
    def run(x, w, a, b, bias):
        y, gate = product_f8(x, w, a, b, bias).chunk(2, -1)
        y = y * F.gelu(gate)
        return (y / a).to(torch.float8_e4m3fn) if m.has("y_scale") else y

    return operands_f8(m), ways(run, m.compiled(run))


@op
def linear(m):
    if m.types.get("x") == "f8":
        return operands_f8(m), ways(product_f8)
    act = activation(m.attr("act", "none"))

    def operands():
        return m.tensor("x"), m.tensor("w"), m.tensor("bias"), m.tensor("residual")

    def run(x, w, bias, residual):
        y = F.linear(x, w, bias)
        return act(y if residual is None else y.add_(residual))

    fused = m.has("residual") or m.attr("act", "none") != "none"
    return operands, ways(run, m.compiled(run) if fused else None)


@op
def linear_geglu(m):
    if m.types.get("x") == "f8":
        return linear_geglu_f8(m)

    def run(x, w, bias):
        a, gate = F.linear(x, w, bias).chunk(2, -1)
        return a * F.gelu(gate)

    return lambda: (m.tensor("x"), m.tensor("w"), m.tensor("bias")), ways(run, m.compiled(run))


@op
def linear_dgrad(m):
    def operands():
        dy = m.tensor("dy")
        return dy.view(-1, dy.shape[-1]), m.tensor("w")

    return operands, ways(torch.mm)


@op
def linear_wgrad(m):
    def operands():
        dy, x = m.tensor("dy"), m.tensor("x")
        return dy.view(-1, dy.shape[-1]), x.view(-1, x.shape[-1])

    return operands, ways(lambda dy, x: (torch.mm(dy.t(), x), dy.sum(0)))


@op
def gram(m):
    scale = float(m.attr("scale", 1))

    def operands():
        x = m.tensor("x")
        return (x.view(x.shape[0], -1, x.shape[-1]),)

    return operands, ways(lambda x: torch.bmm(x.transpose(1, 2), x).mul_(scale))


# --- attention --------------------------------------------------------------------------------------


def backends():
    from torch.nn.attention import SDPBackend
    names = {"cudnn": "CUDNN_ATTENTION", "flash": "FLASH_ATTENTION", "efficient": "EFFICIENT_ATTENTION",
             "math": "MATH"}
    return {how: getattr(SDPBackend, name) for how, name in names.items() if hasattr(SDPBackend, name)}


@op
def attention(m):
    from torch.nn.attention import sdpa_kernel
    causal = m.attr("causal", "no") == "yes"

    def by(backend):
        def run(q, k, v):
            with sdpa_kernel([backend]):
                return F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return run

    return lambda: (m.heads("q"), m.heads("k"), m.heads("v")), {h: by(b) for h, b in backends().items()}


@op
def attention_bwd(m):
    from torch.nn.attention import sdpa_kernel

    def by(backend):
        def run(*inputs):
            q, k, v, dout = inputs
            return torch.autograd.grad(run.forward[id(q)], (q, k, v), dout, retain_graph=True)

        def first(q, k, v, dout):
            with sdpa_kernel([backend]), torch.enable_grad():
                run.forward[id(q)] = F.scaled_dot_product_attention(q, k, v)

        run.forward, run.first, run.graph = {}, first, False
        return run

    def operands():
        q, k, v = (m.heads(name).detach().requires_grad_() for name in "qkv")
        return q, k, v, m.heads("dout")

    return operands, {how: by(b) for how, b in backends().items() if how != "math"}


# --- norms and elementwise --------------------------------------------------------------------------


@op
def group_norm(m):
    groups, eps, silu = int(m.attr("groups", 32)), float(m.attr("eps", 1e-5)), m.attr("silu", "no") == "yes"

    def operands():
        return m.image("x"), m.image("x2"), m.tensor("add"), m.tensor("gamma"), m.tensor("beta")

    def run(x, x2, add, gamma, beta):
        if x2 is not None:
            x = torch.cat([x, x2], 1)
        if add is not None:
            x = x + add[:, :, None, None]
        y = F.group_norm(x, groups, gamma, beta, eps)
        return F.silu(y) if silu else y

    return operands, ways(run, m.compiled(run))


def norm_backward(m, run, names, images):
    """Through autograd, which keeps what it needs of the forward."""
    def operands():
        x = (m.image if images else m.tensor)("x").detach().requires_grad_()
        return (x, (m.image if images else m.tensor)("dy"),
                *(m.tensor(name).detach().requires_grad_() for name in names if m.has(name)))

    def work(x, dy, *weights):
        return torch.autograd.grad(work.forward[id(x)], (x, *weights), dy, retain_graph=True)

    def first(x, dy, *weights):
        with torch.enable_grad():
            work.forward[id(x)] = run(x, *weights)

    work.forward, work.first, work.graph = {}, first, False
    return operands, ways(work)


@op
def group_norm_bwd(m):
    groups, silu = int(m.attr("groups", 32)), m.attr("silu", "no") == "yes"
    if m.has("x2"):
        raise Skip("two inputs are not written here")

    def run(x, gamma=None, beta=None):
        y = F.group_norm(x, groups, gamma, beta, 1e-5)
        return F.silu(y) if silu else y

    return norm_backward(m, run, ("gamma", "beta"), True)


@op
def layer_norm(m):
    size, eps = m.shape.x[-1:], float(m.attr("eps", 1e-5))
    run = lambda x, gamma, beta: F.layer_norm(x, size, gamma, beta, eps)  # noqa: E731
    return lambda: (m.tensor("x"), m.tensor("gamma"), m.tensor("beta")), ways(run, m.compiled(run))


@op
def layer_norm_bwd(m):
    size = m.shape.x[-1:]
    return norm_backward(m, lambda x, gamma=None: F.layer_norm(x, size, gamma), ("gamma",), False)


@op
def instance_norm(m):
    relu, eps = m.attr("relu", "no") == "yes", float(m.attr("eps", 1e-5))

    def run(x, gamma, beta):
        y = F.instance_norm(x, weight=gamma, bias=beta, eps=eps)
        return F.relu(y) if relu else y

    return lambda: (m.image("x"), m.tensor("gamma"), m.tensor("beta")), ways(run, m.compiled(run))


@op
def geglu(m):
    def run(x):
        a, gate = x.chunk(2, -1)
        return a * F.gelu(gate)

    return lambda: (m.tensor("x"),), ways(run, m.compiled(run))


@op
def geglu_bwd(m):
    def run(x, dy):
        a, gate = x.chunk(2, -1)
        tail = torch.erf(gate * 0.70710678) * 0.5 + 0.5
        slope = tail + gate * torch.exp(-0.5 * gate * gate) * 0.39894228
        return torch.cat([dy * gate * tail, dy * a * slope], -1)

    return lambda: (m.tensor("x"), m.tensor("dy")), ways(run, m.compiled(run))


@op
def softmax(m):
    return lambda: (m.tensor("x"),), ways(lambda x: torch.softmax(x, -1))


@op
def softmax_bwd(m):
    backward = torch.ops.aten._softmax_backward_data
    return lambda: (m.tensor("dy"), m.tensor("y")), ways(lambda dy, y: backward(dy, y, -1, dy.dtype))


@op
def unary(m):
    return lambda: (m.tensor("x"),), ways(activation(m.attr("kind", "")))


@op
def binary(m):
    kinds = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div}
    run, spread = kinds.get(m.attr("kind", "add")), m.attr("spread", "same")
    if not run:
        raise Skip(f"torch's '{m.attr('kind', '')}' is not written here")

    def operands():
        a, b = m.tensor("a"), m.tensor("b")
        if spread == "per_sample":
            b = b.view(b.shape[0], *[1] * (a.dim() - 2), b.shape[-1])
        return a, b

    return operands, ways(run)


@op
def cast(m):
    to = DTYPES[m.attr("to", "f32")]
    return lambda: (m.tensor("x"),), ways(lambda x: x.to(to))


@op
def permute(m):
    order = [int(n) for n in m.attr("order", [])]
    return lambda: (m.tensor("x"),), ways(lambda x: x.permute(order).contiguous())


@op
def concat(m):
    axis = int(m.attr("axis", 0))
    return lambda: (m.tensor("x0"), m.tensor("x1")), ways(lambda *parts: torch.cat(parts, axis))


@op
def upsample_nearest(m):
    size = [int(n) for n in m.attr("size", [])]
    return lambda: (m.image("x"),), ways(lambda x: F.interpolate(x, size=size, mode="nearest"))


@op
def mse(m):
    if m.has("weight"):
        raise Skip("torch's mse has no weights")
    return lambda: (m.tensor("x"), m.tensor("target")), ways(F.mse_loss)


@op
def cross_entropy(m):
    words = m.shape.x[-1]

    def operands():
        x = m.tensor("x")
        rows = x.numel() // words
        return x.view(rows, words), torch.randint(words, (rows,), device=m.device)

    smoothing = float(m.attr("smoothing", 0))
    return operands, ways(lambda x, t: F.cross_entropy(x, t, label_smoothing=smoothing))


# --- optimizers -------------------------------------------------------------------------------------


@op
def adamw(m):
    step = torch.ops.aten._fused_adamw_

    def operands():
        w, g, a = (m.tensor(name, torch.float32) for name in "wgm")
        return w, g, a, m.tensor("v", torch.float32).abs_(), torch.ones((), device=m.device)

    def run(w, g, a, v, n):
        step([w], [g], [a], [v], [], [n], lr=1e-4, beta1=0.9, beta2=0.999, weight_decay=0.01, eps=1e-8,
             amsgrad=False, maximize=False)

    return operands, ways(run)


@op
def ema(m):
    return lambda: (m.tensor("e", torch.float32), m.tensor("w", torch.float32)), \
        ways(lambda e, w: e.lerp_(w, 0.001))


@op
def global_norm(m):
    return lambda: (m.tensor("x", torch.float32),), ways(torch.linalg.vector_norm)


# --- the clock --------------------------------------------------------------------------------------


def bytes_of(operands):
    return sum(t.numel() * t.element_size() for t in operands if t is not None)


class GpuClock:
    """Calls captured into a graph where that can be done, else enqueued; timed by events."""

    def __init__(self, seconds):
        self.seconds = seconds

    def once(self, calls):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in "be")
        begin.record()
        calls()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) * 1e-3

    def captured(self, work, sets, count):
        """Results stay alive until their set comes round again: no call writes into the last one's cache."""
        kept = [None] * len(sets)

        def calls():
            for i in range(count):
                kept[i % len(sets)] = work(*sets[i % len(sets)])

        if not getattr(work, "graph", True):
            return calls
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            calls()
        self.kept = kept
        return graph.replay

    def time(self, work, sets):
        """Median seconds of a call."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for one in sets[:1] * 3 + sets:
                work(*one)
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        single = min(self.once(lambda: work(*sets[0])) for _ in range(3))
        count = min(CALLS_OF_A_GRAPH_MAX, max(len(sets), int(GRAPH_SECONDS / single) + 1))
        replay = self.captured(work, sets, count)
        self.once(replay)
        times, total = [], 0.0
        while len(times) < REPLAYS_MAX and (total < self.seconds or len(times) < REPLAYS_MIN):
            times.append(self.once(replay))
            total += times[-1]
        self.kept = None
        return statistics.median(times) / count


class CpuClock:
    """To try this program where there is no GPU; its times mean little."""

    def __init__(self, seconds):
        self.seconds = seconds

    def time(self, work, sets):
        work(*sets[0])
        times, total = [], 0.0
        while total < self.seconds or len(times) < 3:
            start = time.perf_counter()
            work(*sets[len(times) % len(sets)])
            times.append(time.perf_counter() - start)
            total += times[-1]
        return statistics.median(times)


def make_sets(make, room):
    """Sets of operands, enough that a set is out of the caches when it comes round again."""
    sets = [make()]
    bytes_each = max(1, bytes_of(sets[0]))
    count = min(SETS_MAX, -(-SETS_BYTES // bytes_each) + 1, max(1, room // (2 * bytes_each)))
    while len(sets) < count:
        sets.append(make())
    return sets


def room_of(device):
    if device == "cpu":
        return 1 << 30
    return torch.cuda.mem_get_info()[0]


def time_row(row, clock, options):
    """{"us", "how", ...} of the fastest way, or {"skip": why}."""
    if row["op"] not in MAKERS:
        raise Skip("not an op of this peer")
    make, found = MAKERS[row["op"]](Maker(row, options))
    sets = make_sets(make, room_of(options.device))
    times, refused = {}, {}
    for how, work in found.items():
        try:
            for one in sets if hasattr(work, "first") else []:
                work.first(*one)
            times[how] = clock.time(work, sets)
        except Exception as error:  # a way that torch does not have for this shape
            refused[how] = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}" if str(error) else \
                type(error).__name__
    if not times:
        raise Skip("; ".join(f"{how}: {why}" for how, why in refused.items()))
    how = min(times, key=times.get)
    answer = {"us": times[how] * 1e6, "how": how, "sets": len(sets),
              "ways": {name: seconds * 1e6 for name, seconds in times.items()}}
    if bytes_of(sets[0]) < L2_BYTES // 2 and options.device != "cpu" and not hasattr(found[how], "first"):
        answer["us_warm"] = clock.time(found[how], sets[:1]) * 1e6
    return answer


# --- peaks ------------------------------------------------------------------------------------------


def peaks(clock, options):
    """What torch reaches here: products of 8192 and a copy of a gigabyte, read and written."""
    side, elements = (8192, 1 << 29) if options.device != "cpu" else (256, 1 << 16)
    answer = {}
    a, b = (torch.randn(side, side, device=options.device).to(torch.bfloat16) for _ in "ab")
    answer["bf16_flops"] = 2 * side ** 3 / clock.time(torch.mm, [(a, b)])
    try:
        one = torch.ones((), device=options.device)
        x, y = a.to(torch.float8_e4m3fn), b.to(torch.float8_e4m3fn).t()
        product = lambda x, y: torch._scaled_mm(x, y, one, one, out_dtype=torch.bfloat16)  # noqa: E731
        answer["f8_flops"] = 2 * side ** 3 / clock.time(product, [(x, y)])
    except Exception as error:
        print(f"peer_gpu: no f8 product: {type(error).__name__}", file=sys.stderr)
    x = torch.randn(elements // 2, device=options.device).to(torch.bfloat16)
    answer["copy_bytes"] = 4 * x.numel() / clock.time(lambda y, x: y.copy_(x), [(torch.empty_like(x), x)])
    return answer


# --- the program ------------------------------------------------------------------------------------


def parse_options():
    parser = argparse.ArgumentParser(prog="peer_gpu.py", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--seconds", type=float, default=0.1, help="of every way of a row")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds in all; the rest is skipped")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    return parser.parse_args()


def settings():
    torch.manual_seed(1)
    torch.backends.cudnn.benchmark = True  # torch's own tuning of convolutions
    torch.backends.cuda.matmul.allow_tf32 = True


def forget(options):
    """What the last row has left: memory, and compiled code, of which torch keeps only a few for a function."""
    if options.compile:
        torch._dynamo.reset()
    if options.device != "cpu":
        torch.cuda.empty_cache()


def time_rows(rows, clock, options):
    end = time.monotonic() + options.limit
    document = {"torch": torch.__version__, "cudnn": torch.backends.cudnn.version(), "device": options.device,
                "peaks": peaks(clock, options), "results": []}
    if options.device != "cpu":
        document["gpu"] = torch.cuda.get_device_name()
    for row in rows:
        forget(options)
        try:
            if time.monotonic() > end:
                raise Skip("the time was up")
            answer = time_row(row, clock, options)
        except Skip as why:
            answer = {"skip": str(why)}
        except Exception as error:  # one bad row must not end the table
            answer = {"skip": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
        document["results"].append({**row, **answer})
        save(document, options.out)  # whoever ends this program keeps what it has
        said = f"{answer['us']:.1f} us, {answer['how']}" if "us" in answer else f"skipped: {answer['skip']}"
        print(f"{row['op']} {row['shape']}: {said}", flush=True)
    return document


def save(document, path):
    draft = Path(path).with_suffix(".part")
    draft.write_text(json.dumps(document, indent=1) + "\n")
    os.replace(draft, path)


def main():
    options = parse_options()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("peer_gpu: torch finds no GPU here", file=sys.stderr)
        return 3
    rows = json.loads(Path(options.rows).read_text())
    clock = (GpuClock if options.device == "cuda" else CpuClock)(options.seconds)
    settings()
    with torch.no_grad():
        save(time_rows(rows, clock, options), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
