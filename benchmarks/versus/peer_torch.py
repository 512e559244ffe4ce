"""The ops as torch does them, eagerly, each in the layout that is fastest there.

Operands come in Atelier's layouts: activations NHWC or tokens by channels, weights as stored
(O, I, kh, kw) and (N, K). For torch NHWC is a channels_last tensor; heads are a transposed view, as
every model makes them."""

import sys

import torch
import torch.nn.functional as F

import peer

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def tensor(sizes, dtype):
    return torch.randn(sizes, dtype=torch.float32).mul_(0.5).to(DTYPES[dtype])


def image(sizes, dtype):
    """(N, H, W, C) in memory, (N, C, H, W) by name: a channels_last tensor."""
    return tensor(sizes, dtype).permute(0, 3, 1, 2)


def conv_of(shape):
    stride = shape.attr("stride", [1, 1])
    top, left, bottom, right = shape.attr("pad", [0, 0, 0, 0])
    if (top, left) != (bottom, right):
        raise peer.Skip("torch pads convolutions symmetrically")
    return stride, [top, left]


def conv2d(shape, dtype):
    stride, pad = conv_of(shape)
    x = image(shape.x, dtype)
    w = tensor(shape.w, dtype).contiguous(memory_format=torch.channels_last)
    bias = tensor(shape.bias, dtype) if shape.has("bias") else None
    if not shape.has("residual"):
        return lambda: F.conv2d(x, w, bias, stride, pad)
    residual = image(shape.residual, dtype)
    return lambda: F.conv2d(x, w, bias, stride, pad).add_(residual)


def conv2d_gradient(shape, dtype, x_sizes, w_sizes, mask):
    stride, pad = conv_of(shape)
    x = image(x_sizes, dtype)
    w = tensor(w_sizes, dtype).contiguous(memory_format=torch.channels_last)
    dy = image(shape.dy, dtype)
    backward = torch.ops.aten.convolution_backward
    bias_sizes = [w_sizes[0]]
    return lambda: backward(dy, x, w, bias_sizes, stride, pad, [1, 1], False, [0, 0], 1, mask)


def conv2d_dgrad(shape, dtype):
    x_sizes = (shape.dy[0], *shape.in_size, shape.w[1])
    return conv2d_gradient(shape, dtype, x_sizes, shape.w, [True, False, False])


def conv2d_wgrad(shape, dtype):
    w_sizes = (shape.dy[3], shape.x[3], *shape.kernel)
    return conv2d_gradient(shape, dtype, shape.x, w_sizes, [False, True, True])


def linear(shape, dtype):
    x, w = tensor(shape.x, dtype), tensor(shape.w, dtype)
    bias = tensor(shape.bias, dtype) if shape.has("bias") else None
    return lambda: F.linear(x, w, bias)


def linear_dgrad(shape, dtype):
    dy, w = tensor(shape.dy, dtype), tensor(shape.w, dtype)
    return lambda: torch.mm(dy, w)


def linear_wgrad(shape, dtype):
    dy, x = tensor(shape.dy, dtype), tensor(shape.x, dtype)
    return lambda: (torch.mm(dy.t(), x), dy.sum(0))


def attention(shape, dtype):
    heads = shape.attr("heads", 1)

    def split(sizes):
        b, tokens, channels = sizes
        t = tensor((b, tokens, heads, channels // heads), dtype)
        return t.transpose(1, 2)  # (B, H, L, D), heads interleaved in memory

    q, k, v = split(shape.q), split(shape.k), split(shape.v)
    return lambda: F.scaled_dot_product_attention(q, k, v)


def group_norm_silu(shape, dtype):
    x = image(shape.x, dtype)
    scale, shift = tensor(shape.x[3:], dtype), tensor(shape.x[3:], dtype)
    groups = shape.attr("groups", 32)
    eps = shape.attr("eps", 1e-5)
    return lambda: F.silu(F.group_norm(x, groups, scale, shift, eps), inplace=True)


def layer_norm(shape, dtype):
    x = tensor(shape.x, dtype)
    scale, shift = tensor(shape.x[-1:], dtype), tensor(shape.x[-1:], dtype)
    eps = shape.attr("eps", 1e-5)
    return lambda: F.layer_norm(x, shape.x[-1:], scale, shift, eps)


def instance_norm(shape, dtype):
    x = image(shape.x, dtype)
    scale, shift = tensor(shape.x[3:], dtype), tensor(shape.x[3:], dtype)
    eps = shape.attr("eps", 1e-5)
    if shape.attr("relu", "no") == "yes":
        return lambda: F.instance_norm(x, weight=scale, bias=shift, eps=eps).relu_()
    return lambda: F.instance_norm(x, weight=scale, bias=shift, eps=eps)


def geglu(shape, dtype):
    x = tensor(shape.x, dtype)
    half = shape.x[-1] // 2
    a, gate = x[..., :half], x[..., half:]
    return lambda: a * F.gelu(gate)


def add(shape, dtype):
    a, b = tensor(shape.a, dtype), tensor(shape.b, dtype)
    return lambda: torch.add(a, b)


def silu(shape, dtype):
    x = tensor(shape.x, dtype)
    return lambda: F.silu(x)


MAKERS = {
    f.__name__: f
    for f in (conv2d, conv2d_dgrad, conv2d_wgrad, linear, linear_dgrad, linear_wgrad, attention,
              group_norm_silu, layer_norm, instance_norm, geglu, add, silu)
}

if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    torch.manual_seed(1)
    with torch.inference_mode():
        peer.serve({"peer": "torch", "version": torch.__version__}, MAKERS)
