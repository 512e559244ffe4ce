"""Trains the UNet and the text encoders of the small model, after its autoencoder.

    python models/demo/train_unet.py FOLDER [STEPS]

Reads FOLDER/vae_done.pt, writes FOLDER/unet.pt every minute and goes on from it. Needs what
requirements.txt pins. Two workers of one thread each: threads within a worker would wait for each
other at every layer, workers only do now and then.
"""
import copy
import math
import os
import sys
import time

import numpy
import torch
import torch.distributed as distributed
import torch.nn.functional as F

import parts
import shapes

CAPTIONS, NOISES = 6, 4  # a worker's step: so many captions, each at so many times
SHARED = 10  # steps between two times at which the workers' weights are averaged
RATE, EMA = 1e-3, 0.98
NO_TEXT, EMPTY_TEXT = 0.06, 0.06  # captions left out: zeros, as without a negative prompt, and ""
SAVE_SECONDS = 60
LAST_OF_BRANCH = (".conv2.", "to_out.0", "ff.net.2.", "proj_out", "conv_out")


def new_scenes(rng, vae, tokenizers):
    """Latents of drawn pictures, and their captions' tokens."""
    scenes = [shapes.scene(rng) for _ in range(CAPTIONS)]
    x = torch.from_numpy(numpy.stack([shapes.draw(s) for s in scenes])).permute(0, 3, 1, 2)
    with torch.no_grad():
        posterior = vae.encode(x.to(memory_format=torch.channels_last)).latent_dist
    return posterior, parts.token_ids(tokenizers, [s.text for s in scenes])


class Model(torch.nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.encoder_1, self.encoder_2 = parts.new_text_encoders(vocabulary)
        self.unet = parts.new_unet().to(memory_format=torch.channels_last)
        prepare(self)


def prepare(model):
    """Begins with branches that add nothing and with words that differ enough to be told apart."""
    with torch.no_grad():
        for name, weight in model.unet.named_parameters():
            if any(part in name for part in LAST_OF_BRANCH):
                weight.zero_()
        for encoder in (model.encoder_1, model.encoder_2):
            for name, weight in encoder.named_parameters():
                if "token_embedding" in name:
                    weight.normal_(0, 0.5)
                if "position_embedding" in name:
                    weight.normal_(0, 0.1)


def sizes(count):
    """What a picture is told of its size; now and then another, so that it matters little."""
    told = torch.tensor([[64, 64, 0, 0, 64, 64]]).repeat(count, 1).float()
    other = torch.rand(count) < 0.2
    told[other, :2] = torch.randint(32, 257, (int(other.sum()), 2)).float()
    told[other, 4:] = torch.randint(48, 129, (int(other.sum()), 2)).float()
    return told


def loss_of(model, posterior, ids, alphas, empty):
    chance = torch.rand(CAPTIONS)
    ids[:, chance < EMPTY_TEXT] = empty
    context, pooled = parts.encode((model.encoder_1, model.encoder_2), ids)
    kept = (chance < 1 - NO_TEXT).float()[:, None]
    context, pooled = context * kept[..., None], pooled * kept

    def repeat(t):
        return t.repeat(NOISES, *[1] * (t.dim() - 1))

    count = CAPTIONS * NOISES
    x = torch.cat([posterior.sample() for _ in range(NOISES)]) * parts.SCALING
    noise = torch.randn_like(x)
    # In rising order a caption's times lie evenly over the whole way.
    times = ((torch.arange(count) + torch.rand(count)) / count * 1000).long()
    a = alphas[times][:, None, None, None]
    noisy, wanted = a.sqrt() * x + (1 - a).sqrt() * noise, a.sqrt() * noise - (1 - a).sqrt() * x
    told = {"text_embeds": repeat(pooled), "time_ids": sizes(count)}
    found = model.unet(noisy.contiguous(memory_format=torch.channels_last), times, repeat(context),
                       added_cond_kwargs=told).sample
    return F.mse_loss(found, wanted)


def rate_at(step, steps):
    fall = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps))
    return RATE * min(1, step / 200) * fall


def follow(average, model, step):
    keep = min(EMA, (1 + step / SHARED) / (10 + step / SHARED))
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - keep)


class Training:
    def __init__(self, folder, vocabulary):
        self.path = os.path.join(folder, "unet.pt")
        self.model = Model(vocabulary)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.adam = torch.optim.AdamW(self.model.parameters(), RATE, betas=(0.9, 0.98),
                                      weight_decay=1e-3)
        self.step, self.seconds = 0, 0.0
        if os.path.exists(self.path):
            kept = torch.load(self.path)
            for name in ("model", "average", "adam"):
                getattr(self, name).load_state_dict(kept[name])
            self.step, self.seconds = kept["step"], kept["seconds"]

    def save(self, workers):
        torch.save({"model": self.model.state_dict(), "average": self.average.state_dict(),
                    "adam": self.adam.state_dict(), "step": self.step,
                    "seconds": self.seconds + workers * time.process_time()}, self.path + ".new")
        os.replace(self.path + ".new", self.path)


def share_weights(model, workers):
    """Everyone goes on from the mean of what the workers have come to."""
    with torch.no_grad():
        flat = torch.cat([p.flatten() for p in model.parameters()])
        distributed.all_reduce(flat)
        flat /= workers
        for p, w in zip(model.parameters(), flat.split([p.numel() for p in model.parameters()])):
            p.copy_(w.view_as(p))


def work(rank, folder, steps, workers):
    """One of the workers, which all have the same weights; the first one tells and saves."""
    distributed.init_process_group("gloo", f"file://{folder}/workers", rank=rank,
                                   world_size=workers)
    tokenizers = parts.new_tokenizers()
    vae = parts.new_vae().to(memory_format=torch.channels_last)
    vae.load_state_dict(torch.load(os.path.join(folder, "vae_done.pt")))
    torch.manual_seed(4)
    t = Training(folder, len(tokenizers[0]))
    torch.manual_seed(5 + t.step * workers + rank)
    rng = numpy.random.default_rng([3, t.step, rank])
    alphas = parts.new_scheduler().alphas_cumprod
    empty = parts.token_ids(tokenizers, [""])
    began = saved = time.time()
    start, mean = t.step, 0.0
    while t.step < steps:
        for group in t.adam.param_groups:
            group["lr"] = rate_at(t.step, steps)
        loss = loss_of(t.model, *new_scenes(rng, vae, tokenizers), alphas, empty)
        t.adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(t.model.parameters(), 1.0)
        t.adam.step()
        t.step += 1
        mean += (loss.item() - mean) / min(t.step - start, 100)
        if t.step % SHARED != 0:
            continue
        share_weights(t.model, workers)
        follow(t.average, t.model, t.step)
        if rank == 0 and t.step % (5 * SHARED) == 0:
            print(f"unet {t.step}/{steps}: {mean:.4f}, {time.time() - began:.0f} s, "
                  f"{workers} x {time.process_time():.0f} s of cpu", flush=True)
        if rank == 0 and (time.time() - saved > SAVE_SECONDS or t.step == steps):
            t.save(workers)
            saved = time.time()


def main(folder, steps, workers):
    folder = os.path.abspath(folder)
    if os.path.exists(os.path.join(folder, "workers")):
        os.remove(os.path.join(folder, "workers"))
    torch.multiprocessing.spawn(work, (folder, steps, workers), workers)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 8000, 2)
