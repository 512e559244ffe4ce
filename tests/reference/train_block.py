"""Writes golden/train_block.txt: the losses of a small network trained by torch for 200 steps.

The network has one of everything: convolution, group norm with SiLU, attention, layer norm, GEGLU and
products. Weights and data come from a formula that train_test.c repeats, so that only losses are stored.
Run with torch 2.x: python3 tests/reference/train_block.py > tests/golden/train_block.txt
"""
import torch
import torch.nn.functional as F

STEPS, B, H, W, CIN, C = 200, 4, 8, 8, 8, 16


def numbers(seed, n, scale):
    i = torch.arange(n, dtype=torch.int64)
    bits = (i * 2654435761 + seed * 40503 + 12345) % (1 << 32)
    bits = (bits ^ (bits >> 15)) * 2246822519 % (1 << 32)
    bits = (bits ^ (bits >> 13)) % (1 << 32)
    return ((bits.double() / 2**32 - 0.5) * scale).float()


class Weights:
    def __init__(self):
        self.seed, self.list = 0, []

    def make(self, *shape, scale, base=0.0):
        self.seed += 1
        n = 1
        for s in shape:
            n *= s
        w = (numbers(self.seed, n, scale) + base).reshape(shape).requires_grad_()
        self.list.append(w)
        return w


def main():
    torch.set_num_threads(1)
    p = Weights()
    conv_in = p.make(C, CIN, 3, 3, scale=0.4), p.make(C, scale=0.2)
    norm = p.make(C, scale=0.2, base=1.0), p.make(C, scale=0.2)
    ln1 = p.make(C, scale=0.2, base=1.0), p.make(C, scale=0.2)
    qkv = p.make(3 * C, C, scale=0.8)
    proj = p.make(C, C, scale=0.6), p.make(C, scale=0.2)
    ln2 = p.make(C, scale=0.2, base=1.0), p.make(C, scale=0.2)
    up = p.make(4 * C, C, scale=0.6), p.make(4 * C, scale=0.2)
    down = p.make(C, 2 * C, scale=0.5), p.make(C, scale=0.2)
    conv_out = p.make(CIN, C, 3, 3, scale=0.3), p.make(CIN, scale=0.2)
    x = numbers(1001, B * H * W * CIN, 2.0).reshape(B, H, W, CIN)
    target = numbers(1002, B * H * W * CIN, 2.0).reshape(B, H, W, CIN)
    opt = torch.optim.AdamW(p.list, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)

    for _ in range(STEPS):
        h = F.conv2d(x.permute(0, 3, 1, 2), *conv_in, padding=1)
        n = F.silu(F.group_norm(h, 4, *norm, eps=1e-5))
        t = n.permute(0, 2, 3, 1).reshape(B, H * W, C)
        q, k, v = F.linear(F.layer_norm(t, (C,), *ln1), qkv).chunk(3, dim=-1)
        heads = [z.reshape(B, H * W, 2, C // 2).transpose(1, 2) for z in (q, k, v)]
        a = F.scaled_dot_product_attention(*heads).transpose(1, 2).reshape(B, H * W, C)
        t = t + F.linear(a, *proj)
        value, gate = F.linear(F.layer_norm(t, (C,), *ln2), *up).chunk(2, dim=-1)
        t = t + F.linear(value * F.gelu(gate), *down)
        y = F.conv2d(t.reshape(B, H, W, C).permute(0, 3, 1, 2), *conv_out, padding=1)
        loss = F.mse_loss(y.permute(0, 2, 3, 1), target)
        opt.zero_grad()
        loss.backward()
        opt.step()
        print(f"{loss.item():.9g}")


if __name__ == "__main__":
    main()
