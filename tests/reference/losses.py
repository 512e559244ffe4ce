#!/usr/bin/env python3
"""Writes tests/golden/losses.txt: torch's losses and their gradients on small inputs, in f64.

    python tests/reference/losses.py > tests/golden/losses.txt

Needs torch and numpy.
"""
import numpy
import torch
import torch.nn.functional as F
from golden import case, expect, f32, put, run


def draws(seed, *shape, scale=1.0):
    x = numpy.random.RandomState(seed).standard_normal(shape) * scale
    return torch.tensor(x.astype(numpy.float32).astype(numpy.float64))


def sizes(x):
    return ",".join(str(n) for n in x.shape)


def distance(shape, delta, weighted, seed, dloss=1.5):
    x, target = draws(seed, *shape).requires_grad_(), draws(seed + 1, *shape)
    weight = draws(seed + 2, shape[0]).abs() if weighted else torch.ones(shape[0]).double()
    each = (x - target) ** 2
    if delta:
        each = F.huber_loss(x, target, reduction="none", delta=f32(delta))
    each = each.flatten(1).mean(dim=1)
    loss = (weight * each).mean()
    (loss * dloss).backward()
    extra = {"weight": shape[0]} if weighted else {}
    for op in ("mse", "mse_bwd"):
        more = dict(extra, dloss="1:f32") if op == "mse_bwd" else extra
        case(op, x=sizes(x), target=sizes(x), **more, delta=f32(delta))
        put("x", x.detach())
        put("target", target)
        if weighted:
            put("weight", weight)
        if op == "mse_bwd":
            put("dloss", [dloss])
        run()
        if op == "mse":
            expect("loss", loss.detach())
            expect("per_sample", each.detach())
        else:
            expect("dx", x.grad)


def choice(rows, classes, ignored, smoothing, seed, ruled_out=(), dloss=2.0):
    """Rows in 'ignored' have the target -100, classes in 'ruled_out' score minus infinity."""
    x = draws(seed, rows, classes, scale=3)
    x[:, list(ruled_out)] = -numpy.inf
    x.requires_grad_()
    target = numpy.random.RandomState(seed + 1).randint(len(ruled_out), classes, rows)
    target[list(ignored)] = -100
    smoothing = f32(smoothing)
    loss = F.cross_entropy(x, torch.tensor(target), ignore_index=-100, label_smoothing=smoothing)
    (loss * dloss).backward()
    lse = torch.logsumexp(x.detach(), dim=1)
    case("cross_entropy", x=sizes(x), target=rows, ignore=-100, smoothing=smoothing)
    put("x", x.detach())
    put("target", target)
    run()
    expect("loss", loss.detach())
    expect("lse", lse)
    case("cross_entropy_bwd", x=sizes(x), target=rows, lse="%d:f32" % rows, dloss="1:f32",
         ignore=-100, smoothing=smoothing)
    put("x", x.detach())
    put("target", target)
    put("lse", lse)
    put("dloss", [dloss])
    run()
    expect("dx", x.grad)


distance((3, 5, 7), 0, False, seed=10)
distance((2, 3, 4, 5), 0, True, seed=20)
distance((3, 19), 0.5, False, seed=30)
distance((4, 2, 9), 1.25, True, seed=40)
choice(6, 19, (), 0, seed=50)
choice(6, 19, (1, 4), 0, seed=60)
choice(7, 37, (0,), 0.1, seed=70)
choice(5, 21, (2,), 0, seed=80, ruled_out=(0, 1, 2))
choice(3, 5, (), 1, seed=90)
