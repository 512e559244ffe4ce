"""How well the small model draws what it is told.

    python models/demo/measure.py FOLDER              of the folder that was trained in
    python models/demo/measure.py FOLDER --pictures PNGS   of pictures 0.png ... drawn elsewhere
    python models/demo/measure.py --prompts           the prompts, a line each

A small convolutional net, trained apart on drawn pictures of one object (and of pairs), says which
shape and which colour it sees. 200 prompts ask for one object, 50 for a pair; every picture has its
own seed. Writes FOLDER/metrics.json.
"""
import json
import os
import sys

import numpy
import torch
import torch.nn.functional as F

import parts
import shapes

SINGLES, PAIRS = 200, 50
JUDGE_STEPS = 2000
STEPS, GUIDANCE, FIRST_SEED = 20, 4.0, 1000
COLOURS = list(shapes.COLOURS)
CLASSES = len(shapes.SHAPES) + len(COLOURS)


# --- the judge ------------------------------------------------------------------------------------


class Judge(torch.nn.Module):
    """Shape and colour of the object in the picture, or in its first and second half."""

    def __init__(self, objects):
        super().__init__()
        layers, width = [], 3
        for out in (24, 48, 96, 128):
            layers += [torch.nn.Conv2d(width, out, 4, stride=2, padding=1),
                       torch.nn.BatchNorm2d(out), torch.nn.ReLU()]
            width = out
        self.layers = torch.nn.Sequential(*layers)
        self.head = torch.nn.Linear(width * 16, objects * CLASSES)
        self.objects = objects

    def forward(self, x):
        """(B, objects, CLASSES)"""
        return self.head(self.layers(x).flatten(1)).view(len(x), self.objects, CLASSES)


def answers(things):
    return [(shapes.SHAPES.index(t.shape), COLOURS.index(t.colour)) for t in things]


def in_order(things):
    """A pair from left to right, or from top to bottom."""
    return sorted(things, key=lambda t: t.x + t.y)


def draw_scene(rng, objects):
    if objects == 1:
        return shapes.single(rng)
    while True:
        scene = shapes.pair(rng)
        if "inside" not in scene.text:
            return scene


def train_judge(path, objects, steps=JUDGE_STEPS):
    judge = Judge(objects)
    if os.path.exists(path):
        judge.load_state_dict(torch.load(path))
        return judge.eval()
    torch.manual_seed(5)
    rng = numpy.random.default_rng([6, objects])
    adam = torch.optim.AdamW(judge.parameters(), 2e-3)
    plan = torch.optim.lr_scheduler.OneCycleLR(adam, 3e-3, total_steps=steps)
    for _ in range(steps):
        scenes = [draw_scene(rng, objects) for _ in range(32)]
        x = pictures_of(scenes)
        found = judge(x + 0.04 * torch.randn_like(x))
        wanted = torch.tensor([answers(in_order(s.things)) for s in scenes])
        loss = (F.cross_entropy(found[..., :len(shapes.SHAPES)].flatten(0, 1),
                                wanted[..., 0].flatten()) +
                F.cross_entropy(found[..., len(shapes.SHAPES):].flatten(0, 1),
                                wanted[..., 1].flatten()))
        adam.zero_grad()
        loss.backward()
        adam.step()
        plan.step()
    torch.save(judge.state_dict(), path)
    return judge.eval()


def pictures_of(scenes):
    x = numpy.stack([shapes.draw(s) for s in scenes])
    return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()


def judged(judge, x, scenes):
    """(B, objects) of bool: shape is right, colour is right"""
    with torch.no_grad():
        found = judge(x)
    wanted = torch.tensor([answers(in_order(s.things)) for s in scenes])
    return (found[..., :len(shapes.SHAPES)].argmax(-1) == wanted[..., 0],
            found[..., len(shapes.SHAPES):].argmax(-1) == wanted[..., 1])


# --- the measure ----------------------------------------------------------------------------------


def prompts():
    """The same scenes always: 200 of one object, every shape and colour three times, then pairs."""
    rng = numpy.random.default_rng(7)
    asked = [(s, c) for s in shapes.SHAPES for c in COLOURS]
    asked = [asked[i] for _ in range(4) for i in rng.permutation(len(asked))][:SINGLES]
    return ([shapes.single(rng, s, c) for s, c in asked],
            [draw_scene(rng, 2) for _ in range(PAIRS)])


def draw_all(pipeline, texts, first_seed):
    """(B, 3, 64, 64) of [-1, 1], each as if it was drawn alone"""
    drawn = []
    for i in range(0, len(texts), 25):
        part = texts[i:i + 25]
        generators = [torch.Generator().manual_seed(first_seed + i + k) for k in range(len(part))]
        drawn.append(pipeline(part, num_inference_steps=STEPS, guidance_scale=GUIDANCE, height=64,
                              width=64, generator=generators, output_type="pt").images)
    return torch.cat(drawn) * 2 - 1


def read_all(folder, count):
    from PIL import Image
    pictures = [numpy.asarray(Image.open(os.path.join(folder, f"{i}.png")).convert("RGB"))
                for i in range(count)]
    return torch.from_numpy(numpy.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def share(flags):
    return round(flags.float().mean().item(), 4)


def measure(folder, draw):
    result = {"steps": STEPS, "guidance": GUIDANCE, "first_seed": FIRST_SEED}
    for name, scenes, objects in zip(("single", "pair"), prompts(), (1, 2)):
        judge = train_judge(os.path.join(folder, f"judge_{name}.pt"), objects)
        rng = numpy.random.default_rng(8)
        real = [draw_scene(rng, objects) for _ in range(500)]
        drawn = draw([s.text for s in scenes], FIRST_SEED if objects == 1 else FIRST_SEED + SINGLES)
        for what, x, told in (("drawn_by_hand", pictures_of(real), real), (name, drawn, scenes)):
            shape, colour = judged(judge, x, told)
            both = (shape & colour).all(-1)
            result.setdefault(what if what == name else f"judge_{name}", {}).update(
                prompts=len(told), both=share(both), shape=share(shape.all(-1)),
                colour=share(colour.all(-1)))
            if what == name:
                print(*[s.text for s, good in zip(scenes, both) if not good], sep="\n")
    return result


def main(folder, pictures):
    import save
    if pictures:
        ready = read_all(pictures, SINGLES + PAIRS)
        result = measure(folder, lambda texts, seed: ready[seed - FIRST_SEED:][:len(texts)])
    else:
        pipeline = save.load(folder)
        result = measure(folder, lambda texts, seed: draw_all(pipeline, texts, seed))
        result["parameters"] = sum(parts.count(p) for p in (
            pipeline.unet, pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2))
    text = json.dumps(result, indent=1)
    print(text)
    if not pictures:
        with open(os.path.join(folder, "metrics.json"), "w", encoding="utf-8") as f:
            f.write(text + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "--prompts":
        print(*[s.text for scenes in prompts() for s in scenes], sep="\n")
    else:
        main(sys.argv[1], sys.argv[3] if sys.argv[2:3] == ["--pictures"] else None)
