"""The ops as OpenVINO does them: a model of one op, compiled for latency.

Parameters and results have the type that is measured, so that no conversion is timed. OpenVINO
names images (N, C, H, W); a Transpose on each side says that they lie as NHWC in memory, and what
is left of these when the plugin has chosen its layouts is not counted."""

import sys

import numpy as np
import openvino as ov
from openvino import opset13 as op

import peer

TYPES = {"f32": ov.Type.f32, "bf16": ov.Type.bf16}
TO_NCHW, TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]
RANDOM = np.random.default_rng(1)


def array(sizes, dtype):
    """Random numbers; bf16 as the upper halves of f32 (numpy has no such type)."""
    values = RANDOM.standard_normal(sizes, dtype=np.float32) * np.float32(0.5)
    return (values.view(np.uint32) >> 16).astype(np.uint16) if dtype == "bf16" else values


class Model:
    """Parameters and their data, gathered while an op is described."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.parameters, self.data = [], []
        self.held = []  # OpenVINO reads numpy's memory in place and does not keep it alive
        self.border = ()

    def tensor(self, sizes):
        values = array(sizes, self.dtype)
        self.held.append(values)
        return ov.Tensor(values, list(sizes), TYPES[self.dtype])

    def input(self, sizes):
        self.parameters.append(op.parameter(list(sizes), TYPES[self.dtype]))
        self.data.append(self.tensor(sizes))
        return self.parameters[-1]

    def image(self, sizes):
        self.border = ("Transpose", "Reorder")
        return op.transpose(self.input(sizes), TO_NCHW)

    def constant(self, sizes):
        return op.constant(self.tensor(sizes))

    def channels(self, count):
        """One value a channel, shaped to broadcast over (N, C, H, W)."""
        return op.reshape(self.constant([count]), [1, count, 1, 1], False)

    def compile(self, result, threads):
        model = ov.Model([result], self.parameters)
        compiled = ov.Core().compile_model(model, "CPU", {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": self.dtype,
            "PERF_COUNT": True,
        })
        return Work(compiled, self.data, self.held, self.border)


class Work:
    """A compiled model and its clock: the plugin's own, which counts kernels. The wall clock would
    add copies of inputs and changes of layout that only a model of a single op has."""

    def __init__(self, compiled, data, held, border):
        self.request = compiled.create_infer_request()
        for i, tensor in enumerate(data):
            self.request.set_input_tensor(i, tensor)
        out = compiled.output(0)
        self.request.set_output_tensor(0, ov.Tensor(out.element_type, out.shape))
        self.held = held
        self.border = border
        self.calls = 0

    def infer(self):
        self.request.infer()
        self.calls += 1

    def kernel_us(self):
        """Time of all calls so far: the plugin reports means."""
        mean = sum(node.real_time.total_seconds() for node in self.request.profiling_info
                   if node.node_type not in self.border)
        return mean * 1e6 * self.calls

    def measure(self, seconds):
        self.infer()
        calls, us = self.calls, self.kernel_us()
        wall = peer.measure(self.infer, seconds)
        us = (self.kernel_us() - us) / (self.calls - calls)
        return {"us": us, "us_min": us, "us_wall": wall["us"], "calls": wall["calls"]}


def image_out(node):
    return op.transpose(node, TO_NHWC)


def swish(node):
    return op.multiply(node, op.sigmoid(node))  # the plugin fuses it; op.swish knows f32 only


def conv2d(m, shape):
    stride = shape.attr("stride", [1, 1])
    top, left, bottom, right = shape.attr("pad", [0, 0, 0, 0])
    y = op.convolution(m.image(shape.x), m.constant(shape.w), stride, [top, left],
                       [bottom, right], [1, 1])
    if shape.has("bias"):
        y = op.add(y, m.channels(shape.bias[0]))
    if shape.has("residual"):
        y = op.add(y, m.image(shape.residual))
    return image_out(y)


def linear(m, shape):
    y = op.matmul(m.input(shape.x), m.constant(shape.w), False, True)
    return op.add(y, m.constant(shape.bias)) if shape.has("bias") else y


def attention(m, shape):
    heads = shape.attr("heads", 1)

    def split(sizes):
        b, tokens, channels = sizes
        return op.transpose(op.reshape(m.input(sizes), [b, tokens, heads, channels // heads],
                                       False), [0, 2, 1, 3])

    y = op.scaled_dot_product_attention(split(shape.q), split(shape.k), split(shape.v))
    return op.reshape(op.transpose(y, [0, 2, 1, 3]), list(shape.q), False)


def group_norm_silu(m, shape):
    channels = shape.x[3]
    y = op.group_normalization(m.image(shape.x), m.constant([channels]), m.constant([channels]),
                               shape.attr("groups", 32), shape.attr("eps", 1e-5))
    return image_out(swish(y))


def layer_norm(m, shape):
    y = op.mvn(m.input(shape.x), [-1], True, shape.attr("eps", 1e-5), "inside_sqrt")
    return op.add(op.multiply(y, m.constant(shape.x[-1:])), m.constant(shape.x[-1:]))


def instance_norm(m, shape):
    channels = shape.x[3]
    y = op.mvn(m.image(shape.x), [2, 3], True, shape.attr("eps", 1e-5), "inside_sqrt")
    y = op.add(op.multiply(y, m.channels(channels)), m.channels(channels))
    return image_out(op.relu(y) if shape.attr("relu", "no") == "yes" else y)


def geglu(m, shape):
    halves = op.split(m.input(shape.x), len(shape.x) - 1, 2)
    return op.multiply(halves.output(0), op.gelu(halves.output(1), "erf"))


def add(m, shape):
    return op.add(m.input(shape.a), m.input(shape.b))


def silu(m, shape):
    return swish(m.input(shape.x))


def maker(describe, threads):
    def make(shape, dtype):
        model = Model(dtype)
        return model.compile(describe(model, shape), threads)
    return make


if __name__ == "__main__":
    makers = {
        f.__name__: maker(f, int(sys.argv[1]))
        for f in (conv2d, linear, attention, group_norm_silu, layer_norm, instance_norm, geglu,
                  add, silu)
    }
    peer.serve({"peer": "openvino", "version": ov.__version__}, makers)
