#!/usr/bin/env python3
"""Writes tests/golden/optimizers.txt: ten steps of each optimizer on a small weight, in f64.

    python tests/reference/optimizers.py > tests/golden/optimizers.txt

Needs torch and numpy. AdamW and clipping are torch's own; Adafactor follows the formula of
transformers' Adafactor (relative_step=False, scale_parameter=False, warmup_init=False, beta1=None),
Lion its paper's. Attributes are rounded to f32 first, because that is what the ops are given.
"""
import numpy
import torch
from golden import case, expect, f32, put, run

STEPS = 10
SHOWN = (1, 2, STEPS)  # steps after which everything is compared


def draws(seed, *shape):
    """Numbers of very different sizes, exact in f32."""
    r = numpy.random.RandomState(seed)
    x = r.standard_normal(shape) * 10.0 ** r.uniform(-3, 1, shape)
    return x.astype(numpy.float32).astype(numpy.float64)


def factors(step):
    return 0.25 if step % 4 == 3 else 1.0


def adamw(n, lr, beta1, beta2, eps, decay, seed):
    lr, beta1, beta2, eps, decay = (f32(x) for x in (lr, beta1, beta2, eps, decay))
    w = torch.tensor(draws(seed, n), requires_grad=True)
    optimizer = torch.optim.AdamW([w], lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=decay)
    case("adamw", w=n, m=n, v=n, g=n, hyper=4, beta1=beta1, beta2=beta2, eps=eps, decay=decay)
    put("w", w.detach())
    put("m", numpy.zeros(n))
    put("v", numpy.zeros(n))
    for t in range(1, STEPS + 1):
        g = draws(seed + t, n)
        put("g", g)
        put("hyper", [lr, 1 - beta1**t, 1 - beta2**t, factors(t)])
        run()
        w.grad = torch.tensor(g * factors(t))
        optimizer.step()
        if t in SHOWN:
            expect("w", w.detach())
            expect("m", optimizer.state[w]["exp_avg"])
            expect("v", optimizer.state[w]["exp_avg_sq"])


def lion(n, lr, beta1, beta2, decay, seed):
    lr, beta1, beta2, decay = (f32(x) for x in (lr, beta1, beta2, decay))
    w, m = draws(seed, n), numpy.zeros(n)
    case("lion", w=n, m=n, g=n, hyper=4, beta1=beta1, beta2=beta2, decay=decay)
    put("w", w)
    put("m", m)
    for t in range(1, STEPS + 1):
        g = draws(seed + t, n)
        put("g", g)
        put("hyper", [lr, 1, 1, factors(t)])
        run()
        g = g * factors(t)
        w = w * (1 - lr * decay) - lr * numpy.sign(beta1 * m + (1 - beta1) * g)
        m = beta2 * m + (1 - beta2) * g
        if t in SHOWN:
            expect("w", w)
            expect("m", m)


def adafactor(n, k, lr, eps, clip, decay, seed):
    lr, eps, clip, decay = (f32(x) for x in (lr, eps, clip, decay))
    w, row, col = torch.tensor(draws(seed, n, k)), torch.zeros(n).double(), torch.zeros(k).double()
    size = "%d,%d" % (n, k)
    case("adafactor", w=size, row=n, col=k, g=size, hyper=4, eps=eps, clip=clip, decay=decay)
    put("w", w)
    put("row", row)
    put("col", col)
    for t in range(1, STEPS + 1):
        drawn = draws(seed + t, n, k)
        beta = f32(1 - t**-0.8)
        put("g", drawn)
        put("hyper", [lr, 1, beta, factors(t)])
        run()
        g = torch.tensor(drawn) * factors(t)
        squares = g**2 + eps
        row = beta * row + (1 - beta) * squares.mean(dim=-1)
        col = beta * col + (1 - beta) * squares.mean(dim=-2)
        row_factor = (row / row.mean(dim=-1, keepdim=True)).rsqrt().unsqueeze(-1)
        update = row_factor * col.unsqueeze(-2).rsqrt() * g
        update = update / (update.norm(2) / update.numel() ** 0.5 / clip).clamp(min=1.0) * lr
        w = w - decay * lr * w - update
        if t in SHOWN:
            expect("w", w)
            expect("row", row)
            expect("col", col)


def clipping(n, max_norm, seed):
    g = torch.tensor(draws(seed, n))
    p = torch.zeros(n).double().requires_grad_()
    p.grad = g.clone()
    norm = torch.nn.utils.clip_grad_norm_([p], max_norm)
    case("global_norm", x=n)
    put("x", g)
    run()
    expect("norm", [norm])
    case("clip_factor", norm=1, max_norm=max_norm)
    put("norm", [norm])
    run()
    expect("factor", [(p.grad / g)[0]])
    expect("bad", [0])


def ema(n, decay, seed):
    decay, e = f32(decay), draws(seed, n)
    case("ema", e=n, w=n, decay=1)
    put("e", e)
    put("decay", [decay])
    for t in range(1, STEPS + 1):
        w = draws(seed + t, n)
        put("w", w)
        run()
        e = decay * e + (1 - decay) * w
    expect("e", e)


adamw(33, 1e-3, 0.9, 0.999, 1e-8, 0.01, seed=100)
adamw(17, 0.1, 0.8, 0.95, 1e-3, 0, seed=200)
lion(33, 1e-2, 0.9, 0.99, 0.1, seed=300)
adafactor(7, 19, 1e-2, 1e-30, 1.0, 0.1, seed=400)
adafactor(1, 20, 0.1, 1e-3, 0.5, 0, seed=500)
clipping(40, 1.0, seed=600)
clipping(40, 1000.0, seed=601)
ema(21, 0.999, seed=700)
