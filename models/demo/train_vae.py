"""Trains the autoencoder of the small model.

    python models/demo/train_vae.py FOLDER [STEPS]

Writes FOLDER/vae.pt every minute and goes on from it; FOLDER/vae_done.pt, once when latents stay
as they are and once at the end. Needs what requirements.txt pins.
"""
import math
import os
import sys
import time

import numpy
import torch

import parts
import shapes

BATCH, RATE, KL = 16, 2e-3, 2e-4
CUT, CUT_STEPS = 32, 0.6  # side of a piece of a picture, which most of the training sees
ENCODER_STEPS = 1 / 3  # then latents stay as they are, and the UNet's training can begin beside it
SAVE_SECONDS = 60


def batch(rng, side=shapes.SIZE):
    """Pictures, or two pieces of each, whose corners are multiples of 8."""
    pictures = [shapes.draw(shapes.scene(rng)) for _ in range(BATCH * side // shapes.SIZE)]
    if side < shapes.SIZE:
        corners = 8 * rng.integers(0, (shapes.SIZE - side) // 8 + 1, (BATCH, 2))
        pictures = [pictures[i // 2][y:y + side, x:x + side] for i, (y, x) in enumerate(corners)]
    pictures = numpy.stack(pictures)
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).to(memory_format=torch.channels_last)


def edges(x):
    return x[..., 1:, :] - x[..., :-1, :], x[..., :, 1:] - x[..., :, :-1]


def loss_of(vae, x, learns_latents):
    with torch.set_grad_enabled(learns_latents):
        posterior = vae.encode(x).latent_dist
    y = vae.decode(posterior.sample()).sample
    off = y - x
    flat = off.abs().mean()
    sharp = sum((a - b).abs().mean() for a, b in zip(edges(y), edges(x)))
    kl = posterior.kl().mean() / posterior.mean[0].numel()
    return flat + off.square().mean() + 0.5 * sharp + KL * kl, flat


def prepare(vae):
    """Begins as a nearly linear thing: branches add nothing at first, other convolutions keep the
    size of what they read, and there is little noise on the latents, which else hides them."""
    with torch.no_grad():
        for name, weight in vae.named_parameters():
            if ".conv2." in name or "to_out.0" in name or (name.endswith("bias")):
                weight.zero_() if "norm" not in name else None
            elif weight.dim() == 4:
                weight.normal_(0, (weight.shape[1] * weight[0, 0].numel()) ** -0.5)
        vae.quant_conv.weight[4:] *= 0.1
        vae.quant_conv.bias[4:] = -5


def rate_at(step, steps):
    fall = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps))
    return RATE * min(1, (step + 1) / 50) * fall


def standardize(vae, rng):
    """Latents of mean 0 and deviation 1 per channel, times the scaling factor, without a change of
    what is decoded: moved into the two convolutions around them."""
    with torch.no_grad():
        z = torch.cat([vae.encode(batch(rng)).latent_dist.mean for _ in range(64)])
        mean, std = z.mean((0, 2, 3)), z.std((0, 2, 3)) * parts.SCALING
        before, after = vae.quant_conv, vae.post_quant_conv
        after.bias += after.weight[:, :, 0, 0] @ mean
        after.weight *= std[None, :, None, None]
        before.bias[:4] = (before.bias[:4] - mean) / std
        before.weight[:4] /= std[:, None, None, None]
        before.bias[4:] -= 2 * std.log()


def main(folder, steps):
    torch.manual_seed(1)
    path = os.path.join(folder, "vae.pt")
    os.makedirs(folder, exist_ok=True)
    vae = parts.new_vae().to(memory_format=torch.channels_last)
    prepare(vae)
    adam = torch.optim.AdamW(vae.parameters(), RATE, betas=(0.9, 0.98), weight_decay=1e-4)
    start, seconds = 0, 0.0
    if os.path.exists(path):
        kept = torch.load(path)
        vae.load_state_dict(kept["vae"])
        adam.load_state_dict(kept["adam"])
        start, seconds = kept["step"], kept["seconds"]
    rng = numpy.random.default_rng([2, start])
    began = saved = time.time()
    mean = 0.0
    for step in range(start, steps):
        for group in adam.param_groups:
            group["lr"] = rate_at(step, steps)
        side = CUT if step < CUT_STEPS * steps else shapes.SIZE
        if step == int(ENCODER_STEPS * steps):
            standardize(vae, rng)
            torch.save(vae.state_dict(), os.path.join(folder, "vae_done.pt"))
        learns_latents = step < ENCODER_STEPS * steps
        vae.post_quant_conv.requires_grad_(learns_latents)
        loss, flat = loss_of(vae, batch(rng, side), learns_latents)
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        adam.step()
        mean += (flat.item() - mean) / min(step - start + 1, 50)
        if step % 50 == 49:
            print(f"vae {step + 1}/{steps}: {mean:.4f}, {time.time() - began:.0f} s, "
                  f"{time.process_time():.0f} s of cpu", flush=True)
        if time.time() - saved > SAVE_SECONDS or step + 1 == steps:
            torch.save({"vae": vae.state_dict(), "adam": adam.state_dict(), "step": step + 1,
                        "seconds": seconds + time.process_time()}, path + ".new")
            os.replace(path + ".new", path)
            saved = time.time()
    torch.save(vae.state_dict(), os.path.join(folder, "vae_done.pt"))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3000)
