#!/usr/bin/env python3
"""Writes tests/golden/pipelines: what diffusers' pipelines of SDXL draw with small models.

    python tests/reference/clip_merges.py open_clip_torch-3.3.0-py3-none-any.whl --folder FULL
    python tests/reference/pipelines.py FULL [NAME...]

Needs diffusers 0.42.1, transformers 5.23.0, torch 2.15, peft and scipy, on the CPU. Weights and noises
follow from their names (pipeline_models.py), so that only texts and results are stored:

    models/NAME/           a folder as diffusers writes it, without weights and built-in tokenizers
    photo.png, mask.png... what is drawn over
    attention.safetensors  and others: adapters made by peft
    latents.safetensors    what every case ends with, (count, 4, h, w)
    CASE.png, CASE.1.png   the pictures of those that have 'drawn'
    cases.txt              a line for a case, fields parted by tabs: those of at_request (runtime/
                           atelier.h), and: model; noises: the names of the tensors that are drawn, or
                           seed; latent: sizes; bf16, bf16_picture: the relative L2 error of torch's own
                           bf16 pipeline, and that of the picture in levels (root of the mean square)

With names, these cases are run and told about, and nothing is written.
"""
import contextlib
import copy
import importlib.machinery
import json
import pathlib
import shutil
import sys
import types
import warnings

import diffusers
import numpy as np
import peft
import torch
import transformers
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file

torchsde = types.ModuleType("torchsde")
torchsde.__spec__ = importlib.machinery.ModuleSpec("torchsde", None)
torchsde.BrownianInterval = None
sys.modules["torchsde"] = torchsde

import pipeline_models as models  # noqa: E402
from diffusers import (  # noqa: E402
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
    schedulers,
)
from diffusers.models.autoencoders import vae as posterior  # noqa: E402
from diffusers.schedulers import scheduling_dpmsolver_sde as dpm_sde  # noqa: E402
from diffusers.training_utils import _collate_lora_metadata  # noqa: E402

VERSIONS = {"diffusers": "0.42.1", "transformers": "5.23.0", "torch": "2.15."}
FOLDER = pathlib.Path(__file__).parent.parent / "golden" / "pipelines"
SAMPLERS = {
    "euler": (schedulers.EulerDiscreteScheduler, {}),
    "euler_a": (schedulers.EulerAncestralDiscreteScheduler, {}),
    "heun": (schedulers.HeunDiscreteScheduler, {}),
    "dpmpp_2m": (schedulers.DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_karras": (schedulers.DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "dpmpp_2m_sde": (schedulers.DPMSolverMultistepScheduler,
                     {"algorithm_type": "sde-dpmsolver++"}),
    "dpmpp_sde": (dpm_sde.DPMSolverSDEScheduler, {}),
    "ddim": (schedulers.DDIMScheduler, {}),
    "ddpm": (schedulers.DDPMScheduler, {}),
    "unipc": (schedulers.UniPCMultistepScheduler, {}),
    "lcm": (schedulers.LCMScheduler, {}),
}  # fmt: skip

# --- cases ----------------------------------------------------------------------------------------
CAT, SHIP = "a photo of a cat", "An old SHIP; it's 3 o'clock!"
LONG = "a very long prompt about a ship and 12 cats, " * 9
SMALL_SIZE = 56, 40  # width, height: latents of 14x10, where the others' are 13x9
CASES = []


def case(name, model="odd", sampler="euler", steps=5, **fields):
    width, height = SMALL_SIZE if model.startswith("small") else (104, 72)
    fields = dict({"prompt": CAT, "guidance": 5, "width": width, "height": height}, **fields)
    CASES.append(dict(name=name, model=model, sampler=sampler, steps=steps, **fields))


def text_to_picture():
    for i, sampler in enumerate(SAMPLERS):
        steps = 4 + i % 4
        exact = {"bf16": 1} if sampler in ("euler", "heun", "unipc") else {}
        case(f"odd_{sampler}", "odd", sampler, steps, negative=SHIP, **exact, drawn=i == 0)
        case(f"small_{sampler}", "small", sampler, 11 - steps, negative=SHIP, drawn=1, **exact)
        case(f"odd_{sampler}_plain", "odd", sampler, steps, guidance=1, width=72, height=56)
        case(f"small_{sampler}_rescale", "small", sampler, 6, guidance_rescale=0.7, width=24,
             height=40, drawn=1)
    case("none", negative=None, drawn=1)
    case("empty", negative="", guidance=7.5)
    case("small_none", "small", negative=None)
    case("small_empty", "small", negative="")
    case("nothing_asked", prompt="", negative="", guidance=3)
    case("second", prompt_2=SHIP, negative="a dog", negative_2="blue, red")
    case("small_second", "small", prompt_2=SHIP, negative="a dog", negative_2="")
    case("skip", clip_skip=1, negative=SHIP)
    case("small_skip", "small", clip_skip=1, negative=SHIP, guidance=4)
    case("cut", prompt=LONG, negative=LONG + "!" * 90)
    case("small_cut", "small", prompt=LONG, negative=SHIP)
    sizes = dict(original_size=(333, 512), target_size=(640, 600), crop=(31, 7))
    case("told_sizes", **sizes)
    case("small_told_sizes", "small", **sizes, negative_original_size=(99, 101),
         negative_crop=(5, 3), negative_target_size=(1000, 1024))
    case("rescaled", negative=SHIP, guidance=9, guidance_rescale=0.7)
    case("count", negative=SHIP, count=2, sampler="euler_a", drawn=1)
    case("small_count", "small", sampler="dpmpp_2m_sde", count=3, drawn=1)
    case("not_whole", end_at=0.6, steps=7)
    case("square", "small", width=40, height=40, drawn=1)
    case("tall", width=56, height=136, drawn=1)


def schedules():
    zero = dict(prediction="v_prediction", zero_snr=1, spacing="trailing", guidance_rescale=0.7)
    for sampler in ("euler", "ddim", "dpmpp_2m"):
        case(f"zero_snr_{sampler}", sampler=sampler, steps=6, **zero)
    for sigmas in ("karras", "exponential", "beta"):
        for sampler in ("euler", "dpmpp_2m", "unipc"):
            case(f"{sigmas}_{sampler}", sampler=sampler, steps=7, sigmas=sigmas)
    case("linspace_euler", spacing="linspace", steps=6)
    case("linspace_heun", sampler="heun", spacing="linspace", prediction="v_prediction")
    case("linspace_unipc", sampler="unipc", spacing="linspace", prediction="sample")
    case("small_leading", "small", spacing="leading", zero_snr=0, prediction="epsilon", steps=7)
    for steps in (1, 2, 8):
        case(f"lcm_{steps}", "lcm", "lcm", steps, guidance=1.7)
    case("lcm_own", "lcm", None, 4, negative=SHIP, guidance=8, drawn=1, bf16=1)
    case("lcm_euler", "lcm", "euler", 6, guidance=3.5)
    case("own", "odd", None, 4)


def over_pictures():
    for i, strength in enumerate((0.3, 0.55, 1.0)):
        for k, sampler in enumerate(("euler", "unipc", "heun")):
            case(f"over_{sampler}_{strength}", sampler=sampler, steps=5 + k, strength=strength,
                 picture="photo.png", negative=SHIP, width=0, height=0, drawn=k == 0 and i == 1)
            case(f"small_over_{sampler}_{strength}", "small", sampler, 7 - k, strength=strength,
                 picture="photo.png", width=0, height=0, drawn=k == 0 and i == 1)
    for sampler in ("euler_a", "dpmpp_2m_karras", "dpmpp_sde", "ddim", "ddpm", "lcm"):
        case(f"over_{sampler}", sampler=sampler, steps=6, strength=0.55, picture="photo.png",
             width=0, height=0)
    case("over_alpha", picture="alpha.png", strength=0.4, width=0, height=0, drawn=1)
    case("over_grey", "small", picture="grey.png", strength=0.4, width=0, height=0, drawn=1)
    case("over_told", picture="photo.png", strength=0.6, width=0, height=0, crop=(11, 5),
         original_size=(300, 200), negative_original_size=(50, 60), negative_target_size=(70, 80))
    case("over_count", picture="photo.png", strength=0.6, width=0, height=0, count=2, drawn=1)
    case("over_rest", picture="photo.png", begin_at=0.5, steps=7, width=0, height=0)
    case("lcm_over", "lcm", "lcm", 8, picture="photo.png", strength=0.5, width=0, height=0)


def masked():
    ways = dict(picture="photo.png", mask="mask.png")
    for model in ("odd", "nine"):
        for sampler, strengths in (("euler", (0.9999, 0.6, 1.0)), ("unipc", (0.6, 1.0)),
                                   ("dpmpp_2m", (0.9999, 1.0)), ("euler_a", (0.6,))):
            for strength in strengths:
                case(f"{model}_masked_{sampler}_{strength}", model, sampler, 6, strength=strength,
                     **ways, drawn=sampler == "euler" and strength == 1.0)
    case("small_masked", "small", "heun", 5, strength=0.7, **ways, drawn=1, bf16=1)
    for sampler, strength in (("euler", 0.9999), ("unipc", 0.6), ("euler_a", 1.0)):
        case(f"small_nine_masked_{sampler}", "small_nine", sampler, 6, strength=strength, **ways,
             drawn=1, **({"bf16": 1} if strength == 1.0 else {}))
    case("small_masked_whole", "small", "ddim", 5, strength=1.0, **ways, drawn=1)
    case("masked_blur", strength=0.8, mask_blur=3, **ways, drawn=1)
    case("masked_count", strength=0.8, count=2, **ways)
    case("masked_plain", "nine", strength=0.8, guidance=1, **ways)
    case("masked_told", strength=0.6, crop=(11, 5), original_size=(300, 200), **ways)
    case("only_masked", strength=0.8, only_masked=6, **ways, drawn=1)
    case("only_masked_nine", "nine", strength=1.0, only_masked=0, width=72, height=56, **ways,
         drawn=1)
    case("only_masked_small", "small", strength=0.6, only_masked=9, **ways, drawn=1)


def with_others():
    for sampler in ("euler", "dpmpp_2m", "heun", "euler_a"):
        case(f"refined_{sampler}", sampler=sampler, steps=7, negative=SHIP, refiner="refiner",
             refine_from=0.8, drawn=sampler == "euler")
    case("refined_told", steps=6, refiner="refiner", refine_from=0.5, crop=(90, 64),
         original_size=(333, 512))
    case("refined_half", sampler="unipc", steps=6, refiner="refiner", refine_from=0.5)
    case("small_refined", "small", "heun", 5, refiner="small_refiner", refine_from=0.7, negative="",
         drawn=1)
    case("small_refined_own", "small", None, 8, refiner="small_refiner", refine_from=0.6)
    case("small_refiner_alone", "small_refiner", None, picture="photo.png", strength=0.8, width=0,
         height=0, negative=SHIP, bf16=1)
    case("refiner_alone", "refiner", picture="photo.png", strength=0.5, width=0, height=0,
         negative="", aesthetic_score=7.5, negative_aesthetic_score=1.5)
    case("refiner_usual", "refiner", picture="photo.png", strength=0.5, width=0, height=0)
    case("lora", lora=("attention.safetensors:0.8",), negative=SHIP, drawn=1)
    case("lora_second", lora=("convolution.safetensors:1",), sampler="unipc")
    case("lora_both", lora=("attention.safetensors:0.8", "convolution.safetensors:-0.5"), sampler="dpmpp_2m")
    case("small_lora", "small", lora=("small.safetensors:0.8",), negative=SHIP, drawn=1)
    case("small_lora_kohya", "small", "heun", lora=("kohya.safetensors:1.25",), negative=SHIP)
    case("lora_over", lora=("attention.safetensors:0.8",), picture="photo.png", strength=0.5,
         width=0, height=0)
    case("tiled", tile_vae=1, drawn=1, width=104, height=120)
    case("tiled_small", "small", tile_vae=1, drawn=1, width=56, height=72)
    case("tiled_over", tile_vae=1, picture="wide.png", strength=0.5, width=0, height=0, drawn=1)


def seeded():
    for sampler, seed in (("euler", 42), ("euler_a", 2**32 + 5), ("ddpm", 7)):
        case(f"seed_{sampler}", sampler=sampler, seed=seed)
    case("seed_count", "small", "dpmpp_2m_sde", seed=10, count=2)
    case("seed_lcm", "lcm", "lcm", 4, seed=3)
    case("seed_over", sampler="euler_a", seed=11, picture="photo.png", strength=0.55, width=0,
         height=0)
    case("seed_masked", sampler="euler_a", seed=12, picture="photo.png", mask="mask.png",
         strength=0.7)
    case("seed_masked_whole", "nine", "euler_a", seed=13, picture="photo.png", mask="mask.png",
         strength=1.0)
    case("seed_masked_nine", "nine", "euler_a", seed=13, picture="photo.png", mask="mask.png",
         strength=0.7)


# --- inputs ---------------------------------------------------------------------------------------
def photograph(width, height):
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([x * 255 // width, y * 255 // height, (x * y) % 256], -1).astype(np.uint8)
    picture = Image.fromarray(rgb)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((width // 4, height // 5, width * 3 // 4, height * 3 // 4), fill=(230, 40, 60))
    draw.rectangle((width // 8, height // 2, width // 3, height - 9), fill=(20, 90, 200))
    return picture


def write_inputs(folder):
    photo = photograph(101, 77)
    photo.save(folder / "photo.png")
    photograph(117, 88).save(folder / "wide.png")
    photo.convert("L").save(folder / "grey.png")
    alpha = photo.convert("RGBA")
    alpha.putalpha(photo.transpose(Image.Transpose.ROTATE_180).convert("L"))
    alpha.save(folder / "alpha.png")
    mask = Image.new("L", (101, 77), 0)
    draw = ImageDraw.Draw(mask)
    draw.ellipse((20, 15, 70, 60), fill=255)
    draw.rectangle((60, 8, 85, 40), fill=140)
    draw.rectangle((10, 50, 30, 70), fill=120)
    mask.save(folder / "mask.png")


# --- noise ----------------------------------------------------------------------------------------
class Noises:
    """Takes the place of randn_tensor: of picture i of 'count', the tensors named for their use. Where
    there is a generator, the drawing is left to it."""

    def __init__(self, i, count, randn):
        self.i, self.count, self.randn = i, count, randn
        self.used, self.steps, self.masked = [], 0, False

    def give(self, name, size, dtype):
        if name not in self.used:
            self.used.append(name)
        shape = (self.count,) + tuple(size[1:])
        return models.noise(name, shape)[self.i : self.i + 1].to(dtype)

    def first(self, size, generator=None, dtype=None, **_):
        return self.randn(size, generator, dtype=dtype) if generator else self.give("noise", size, dtype)

    def of_step(self, size, generator=None, dtype=None, **_):
        if generator:
            return self.randn(size, generator, dtype=dtype)
        self.steps += 1
        return self.give(f"noise_{self.steps}", size, dtype)

    def of_posterior(self, size, generator=None, dtype=None, **_):
        if generator:
            return self.randn(size, generator, dtype=dtype)
        return self.give("noise_vae_masked" if self.masked else "noise_vae", size, dtype)


@contextlib.contextmanager
def patched(noises):
    """diffusers with its noise from 'noises'."""
    kinds = (StableDiffusionXLPipeline, StableDiffusionXLImg2ImgPipeline,
             StableDiffusionXLInpaintPipeline)  # fmt: skip
    places = [(sys.modules[k.__module__], noises.first) for k in kinds]
    places += [(sys.modules[c.__module__], noises.of_step) for c, _ in SAMPLERS.values()]
    places += [(posterior, noises.of_posterior)]
    places = [(m, f) for m, f in places if hasattr(m, "randn_tensor")]
    before = [m.randn_tensor for m, _ in places]
    masks = StableDiffusionXLInpaintPipeline.prepare_mask_latents

    def prepare_mask_latents(*args, **more):
        noises.masked = True
        return masks(*args, **more)

    class Sampler:
        def __init__(self, x, *_, **__):
            self.x = x

        def __call__(self, *_):
            return noises.of_step(self.x.shape, None, self.x.dtype)

    StableDiffusionXLInpaintPipeline.prepare_mask_latents = prepare_mask_latents
    kept, dpm_sde.BrownianTreeNoiseSampler = dpm_sde.BrownianTreeNoiseSampler, Sampler
    for m, f in places:
        m.randn_tensor = f
    try:
        yield
    finally:
        for (m, _), f in zip(places, before):
            m.randn_tensor = f
        dpm_sde.BrownianTreeNoiseSampler = kept
        StableDiffusionXLInpaintPipeline.prepare_mask_latents = masks


# --- pipelines ------------------------------------------------------------------------------------
class Models:
    """Models by name and type, made once."""

    def __init__(self, full):
        self.full, self.made = full, {}

    def get(self, name, dtype):
        if (name, dtype) not in self.made:
            parts, options = models.make(name, self.full)
            for key, part in parts.items():
                if isinstance(part, torch.nn.Module):
                    parts[key] = part.to(dtype)
            self.made[name, dtype] = parts, options
        parts, options = self.made[name, dtype]
        return dict(parts), dict(options)


def scheduler_of(own, c):
    """The sampler's class from the model's config. What a case changes comes as arguments: in the
    config itself, values that were defaults there do not count for another class."""
    names = {"prediction": "prediction_type", "spacing": "timestep_spacing"}
    changes = {key: c[field] for field, key in names.items() if field in c}
    if "zero_snr" in c:
        changes["rescale_betas_zero_snr"] = bool(c["zero_snr"])
    if "sigmas" in c:
        for rule in ("karras", "exponential", "beta"):
            changes[f"use_{rule}_sigmas"] = c["sigmas"] == rule
    cls, options = SAMPLERS[c["sampler"]] if c["sampler"] else (type(own), {})
    return cls.from_config(own.config, **changes, **options)


def pipeline(kind, name, c, all_models, dtype):
    parts, options = all_models.get(name, dtype)
    parts["scheduler"] = scheduler_of(parts["scheduler"], c)
    loras = [entry.rsplit(":", 1) for entry in c.get("lora", ())]
    if loras:
        parts = {key: copy.deepcopy(part) for key, part in parts.items()}
    pipe = kind(**parts, **options, add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    for file, _ in loras:
        pipe.load_lora_weights(FOLDER, weight_name=file, adapter_name=file.partition(".")[0])
    if loras:
        names = [file.partition(".")[0] for file, _ in loras]
        pipe.set_adapters(names, [float(weight) for _, weight in loras])
    if c.get("tile_vae"):
        pipe.vae = copy.deepcopy(pipe.vae)
        pipe.vae.enable_tiling()
    return pipe


def usual_arguments(c, generator):
    """What all three pipelines take."""
    args = dict(
        prompt=c["prompt"], prompt_2=c.get("prompt_2"), negative_prompt=c.get("negative"),
        negative_prompt_2=c.get("negative_2"), num_inference_steps=c["steps"],
        guidance_scale=c["guidance"], guidance_rescale=c.get("guidance_rescale", 0.0),
        clip_skip=c.get("clip_skip"), original_size=c.get("original_size"),
        target_size=c.get("target_size"), crops_coords_top_left=c.get("crop", (0, 0)),
        negative_original_size=c.get("negative_original_size"),
        negative_target_size=c.get("negative_target_size"),
        negative_crops_coords_top_left=c.get("negative_crop", (0, 0)), generator=generator,
    )  # fmt: skip
    return args


def picture_of(name):
    return Image.open(FOLDER / name)


def arguments(kind, c, pipe):
    if kind is StableDiffusionXLPipeline:
        return dict(width=c["width"], height=c["height"])
    args = {"strength": c["strength"]} if "strength" in c else {}
    args.update(image=picture_of(c["picture"]).convert("RGB"))  # as load_image() gives it
    for field in ("aesthetic_score", "negative_aesthetic_score"):
        if field in c:
            args[field] = c[field]
    if kind is StableDiffusionXLInpaintPipeline:
        mask = picture_of(c["mask"])
        if "mask_blur" in c:
            mask = pipe.mask_processor.blur(mask, blur_factor=c["mask_blur"])
        args.update(mask_image=mask, width=c["width"], height=c["height"])
        if "only_masked" in c:
            args["padding_mask_crop"] = c["only_masked"]
    return args


def kind_of(c):
    if "mask" in c:
        return StableDiffusionXLInpaintPipeline
    return StableDiffusionXLImg2ImgPipeline if "picture" in c else StableDiffusionXLPipeline


def run_pipe(pipe, args):
    """The latents after the last step, and the picture."""
    seen = {}

    def keep(_pipe, _i, _t, tensors):
        seen["latents"] = tensors["latents"].float().clone()
        return {}

    out = pipe(**args, callback_on_step_end=keep)
    return seen["latents"], out.images[0]


def run_one(c, i, all_models, dtype):
    """Picture i of a case: its latents, the picture, the names of the noises."""
    count = c.get("count", 1)
    generator = torch.Generator("cpu").manual_seed(c["seed"] + i) if "seed" in c else None
    kind = kind_of(c)
    pipe = pipeline(kind, c["model"], c, all_models, dtype)
    args = {**usual_arguments(c, generator), **arguments(kind, c, pipe), "output_type": "pil"}
    if "end_at" in c:
        args["denoising_end"] = c["end_at"]
    if "begin_at" in c:
        args["denoising_start"] = c["begin_at"]
    noises = Noises(i, count, diffusers.utils.torch_utils.randn_tensor)
    with patched(noises), torch.no_grad():
        if "refiner" in c:
            args.update(denoising_end=c["refine_from"], output_type="latent")
            latents = pipe(**args).images
            more = {**usual_arguments(c, generator), "image": latents, "output_type": "pil"}
            pipe = pipeline(StableDiffusionXLImg2ImgPipeline, c["refiner"], c, all_models, dtype)
            args = {**more, "denoising_start": c["refine_from"]}
        latents, picture = run_pipe(pipe, args)
    return latents, picture, noises.used


def run(c, all_models, dtype=torch.float32):
    results = [run_one(c, i, all_models, dtype) for i in range(c.get("count", 1))]
    latents = torch.cat([r[0] for r in results]).contiguous()
    assert torch.isfinite(latents).all(), c["name"]
    return latents, [r[1] for r in results], results[0][2]


# --- adapters -------------------------------------------------------------------------------------
def lora_weights(name, model, config):
    """Adds an adapter whose numbers follow from their names."""
    model.add_adapter(config)
    state = peft.get_peft_model_state_dict(model)
    scales = {key: 0.5 / max(value[0].numel(), 1) ** 0.5 for key, value in state.items()}
    return {k: models.numbers(f"{name}.{k}", tuple(v.shape), scales[k]) for k, v in state.items()}


def write_lora(folder, file, model, configs, all_models):
    parts, _ = all_models.get(model, torch.float32)
    parts = {part: copy.deepcopy(parts[part]) for part in configs}
    layers = {part: lora_weights(file, parts[part], config) for part, config in configs.items()}
    told = _collate_lora_metadata(parts)
    for metadata in told.values():  # sets have no order of their own
        metadata.update({k: sorted(v) for k, v in metadata.items() if isinstance(v, set)})
    StableDiffusionXLPipeline.save_lora_weights(
        folder, **{f"{part}_lora_layers": layers[part] for part in configs}, **told, weight_name=file)


def write_kohya(folder, file, like):
    """The same numbers as its trainers write them, with an alpha that is not the rank; without the
    first text encoder, whose names there are not those that transformers 5 gives its modules."""
    heads = {"unet.": "lora_unet_", "text_encoder_2.": "lora_te2_"}
    kinds = {"lora_A": "lora_down", "lora_B": "lora_up"}
    out = {}
    for name, value in load_file(folder / like).items():
        part = next((p for p in heads if name.startswith(p)), None)
        if part:
            path, _, kind = name[len(part) :].removesuffix(".weight").rpartition(".")
            path = heads[part] + path.replace(".", "_")
            out[f"{path}.{kinds[kind]}.weight"] = value
            out[f"{path}.alpha"] = torch.tensor(1.5)
    save_file(out, folder / file)


def write_loras(folder, all_models):
    attention = dict(r=2, lora_alpha=3, target_modules=["to_k", "to_out.0"])
    encoder = dict(r=2, lora_alpha=2, target_modules=["q_proj", "v_proj", "fc1"])
    convolution = dict(r=1, lora_alpha=2, target_modules=["conv1", "proj_in"])
    small = dict(r=1, lora_alpha=2, target_modules=["to_v", "conv_shortcut"])
    little = dict(r=1, lora_alpha=1, target_modules=["out_proj"])
    write_lora(folder, "attention.safetensors", "odd", {
        "unet": peft.LoraConfig(**attention), "text_encoder": peft.LoraConfig(**encoder),
        "text_encoder_2": peft.LoraConfig(**encoder)}, all_models)
    write_lora(folder, "convolution.safetensors", "odd", {
        "unet": peft.LoraConfig(**convolution)}, all_models)
    write_lora(folder, "small.safetensors", "small", {
        "unet": peft.LoraConfig(**small), "text_encoder": peft.LoraConfig(**little),
        "text_encoder_2": peft.LoraConfig(**little)}, all_models)
    write_kohya(folder, "kohya.safetensors", "small.safetensors")


# --- all of it ------------------------------------------------------------------------------------
def number_text(value):
    return ",".join(str(v) for v in value) if isinstance(value, tuple) else str(value)


def line(c, noises, latents):
    shown = {key: value for key, value in c.items() if value is not None and key != "lora"}
    shown["drawn"] = int(c.get("drawn", 0))
    shown["latent"] = tuple(latents.shape[1:])
    if "seed" not in c:
        shown["noises"] = tuple(noises)
    fields = [f"{key}={number_text(value)}" for key, value in shown.items()]
    fields += [f"lora={entry}" for entry in c.get("lora", ())]
    assert not any("\t" in field or "\n" in field for field in fields)
    return "\t".join(fields) + "\n"


def loss(c, all_models, latents, pictures):
    """What torch's own bf16 loses."""
    rough, rough_pictures, _ = run(c, all_models, torch.bfloat16)
    lost = float((rough - latents).norm() / latents.norm())
    a, b = (np.asarray(p[0], np.float64) for p in (pictures, rough_pictures))
    return lost, float(np.sqrt(np.mean((a - b) ** 2)))


def write_all(all_models):
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    for name in models.MODELS:
        parts, options = all_models.get(name, torch.float32)
        models.save(FOLDER / "models" / name, parts, options, models.MODELS[name][3] is None)
    write_inputs(FOLDER)
    write_loras(FOLDER, all_models)
    kept, lines = {}, []
    for c in CASES:
        latents, pictures, noises = run(c, all_models)
        kept[c["name"]] = latents
        if c.get("bf16"):
            lost = loss(c, all_models, latents, pictures)
            c["bf16"], c["bf16_picture"] = (f"{value:.4g}" for value in lost)
        lines.append(line(c, noises, latents))
        for i, picture in enumerate(pictures if c.get("drawn") else []):
            picture.save(FOLDER / (c["name"] + (f".{i}" if i else "") + ".png"), optimize=True)
        print(lines[-1].replace("\t", " ").strip(), flush=True)
    save_file(kept, FOLDER / "latents.safetensors")
    (FOLDER / "cases.txt").write_text("".join(lines))


def main():
    for name, version in VERSIONS.items():
        found = sys.modules[name].__version__
        print(name, found)
        assert found.startswith(version), f"{name} {version} is needed"
    warnings.simplefilter("ignore")
    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(1)
    for cases in (text_to_picture, schedules, over_pictures, masked, with_others, seeded):
        cases()
    assert len({c["name"] for c in CASES}) == len(CASES)
    all_models = Models(sys.argv[1])
    wanted = sys.argv[2:]
    if not wanted:
        write_all(all_models)
    for c in CASES:
        if c["name"] in wanted:
            latents, pictures, noises = run(c, all_models)
            print(json.dumps(c), noises, latents.shape, float(latents.norm()), pictures[0].size)


if __name__ == "__main__":
    main()
