#!/usr/bin/env python3
"""Writes tests/golden/samplers.txt: the schedules, samplers and noise of diffusers and torch.

    python tests/reference/samplers.py > tests/golden/samplers.txt

Needs diffusers 0.42.1, torch 2.15 (on the CPU, with AVX2), scipy 1.17 and numpy. torchsde is played
by a stand-in, as its noise is replaced anyway. The file's lines:

    case SAMPLER STEPS STRENGTH CONFIG   CONFIG is put over SDXL base's; STRENGTH - is text to image
    begin EVALUATION NOISE_SCALE
    t ...                                every timestep
    s ...                                every sigma, where the class has some
    x PREDICTION ...                     the latents at the end, and a sum over the way; or "refused",
                                         where Python raises an error or gives what is no number
    y PREDICTION ...                     the same where someone changes the latents after every step
    part AT END BEGIN                    evaluations before denoising_end, first of denoising_start
    randn SEED N N ...                   torch.randn of these sizes, in turns, from one generator
    bits ...                             the numbers' bits, or of more than 40 their FNV-1a
    rescale BY ...                       rescale_noise_cfg of numbers by chance
"""
import importlib.machinery
import json
import sys
import types
import warnings

import numpy as np
import torch

torchsde = types.ModuleType("torchsde")
torchsde.__spec__ = importlib.machinery.ModuleSpec("torchsde", None)
torchsde.BrownianInterval = None
sys.modules["torchsde"] = torchsde

import diffusers.schedulers as schedulers  # noqa: E402
from diffusers.guiders.guider_utils import rescale_noise_cfg  # noqa: E402
from diffusers.schedulers.scheduling_dpmsolver_sde import DPMSolverSDEScheduler  # noqa: E402

SDXL = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "clip_sample": False, "interpolation_type": "linear", "num_train_timesteps": 1000,
    "prediction_type": "epsilon", "sample_max_value": 1.0, "set_alpha_to_one": False,
    "skip_prk_steps": True, "steps_offset": 1, "timestep_spacing": "leading",
    "trained_betas": None, "use_karras_sigmas": False,
}
SAMPLERS = {
    "euler": (schedulers.EulerDiscreteScheduler, {}),
    "euler_a": (schedulers.EulerAncestralDiscreteScheduler, {}),
    "heun": (schedulers.HeunDiscreteScheduler, {}),
    "dpmpp_2m": (schedulers.DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_karras": (schedulers.DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "dpmpp_2m_sde": (schedulers.DPMSolverMultistepScheduler,
                     {"algorithm_type": "sde-dpmsolver++"}),
    "dpmpp_2m_sde_karras": (schedulers.DPMSolverMultistepScheduler,
                            {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True}),
    "dpmpp_sde": (DPMSolverSDEScheduler, {}),
    "ddim": (schedulers.DDIMScheduler, {}),
    "ddpm": (schedulers.DDPMScheduler, {}),
    "unipc": (schedulers.UniPCMultistepScheduler, {}),
    "lcm": (schedulers.LCMScheduler, {}),
}
WITH_RULES = ("euler", "heun", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_sde", "unipc")
RULES = ("karras", "exponential", "beta")
SPACINGS = ("leading", "linspace", "trailing")
PREDICTIONS = ("epsilon", "v_prediction", "sample")
LATENTS = 4
IMAGE = 100000  # the seed of the picture that is drawn over


def draw(seed, n=LATENTS):
    """n numbers from -2 to 2, exact in f32, from a linear congruence."""
    out, state = [], seed
    for _ in range(n):
        state = (state * 1664525 + 1013904223) % 2**32
        out.append((state >> 8) * 2.0**-22 - 2)
    return torch.tensor(out, dtype=torch.float32).reshape(1, n, 1, 1)


def answer(x, t):
    """What stands for the model."""
    wave = np.cos(0.01 * float(t) + np.arange(LATENTS)).astype(np.float32) * np.float32(0.4)
    return x * np.float32(0.55) + torch.from_numpy(wave).reshape(x.shape)


class Noises:
    """noise_1, noise_2, ... in the order of drawing."""

    def __init__(self):
        self.count = 0

    def __call__(self, *_, **__):
        self.count += 1
        return draw(self.count + 1)


def make(sampler, config):
    cls, options = SAMPLERS[sampler]
    return cls.from_config({**SDXL, **config}, **options)


def begin_of(scheduler, steps, strength):
    if strength is None:
        return 0
    return (steps - min(int(steps * strength), steps)) * scheduler.order


def run(scheduler, steps, begin, touched=False):
    """The latents at the end and a sum over all evaluations."""
    noises = Noises()
    sys.modules[type(scheduler).__module__].randn_tensor = noises
    scheduler.set_timesteps(steps)
    scheduler.noise_sampler = noises
    timesteps = scheduler.timesteps[begin:]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    x = draw(1) * scheduler.init_noise_sigma
    if begin > 0:
        x = scheduler.add_noise(draw(IMAGE), draw(1), timesteps[:1])
    path = 0.0
    for i, t in enumerate(timesteps):
        m = answer(scheduler.scale_model_input(x, t), t)
        x = scheduler.step(m, t, x, return_dict=False)[0]
        path += float(x.double().sum()) / (i + 1)
        if touched:
            x = x * 0.75 + draw(IMAGE) * 0.25
    return [float(v) for v in x.flatten()] + [path]


def numbers(values):
    return " ".join("%.8g" % float(v) for v in values)


def trajectory(sampler, steps, begin, config, touched=False):
    try:
        values = run(make(sampler, config), steps, begin, touched)
    except (NotImplementedError, ValueError, IndexError):
        return "refused"
    return numbers(values) if np.isfinite(values).all() else "refused"


def case(sampler, steps, config, strength=None, predictions=PREDICTIONS):
    scheduler = make(sampler, config)
    scheduler.set_timesteps(steps)
    begin = begin_of(scheduler, steps, strength)
    text = json.dumps(config, separators=(",", ":"))
    print("case", sampler, steps, "-" if strength is None else strength, text)
    print("begin", begin, "%.8g" % float(scheduler.init_noise_sigma))
    print("t", numbers(scheduler.timesteps))
    if hasattr(scheduler, "sigmas"):
        print("s", numbers(scheduler.sigmas))
    for prediction in predictions:
        told = {**config, "prediction_type": prediction}
        print("x", prediction, trajectory(sampler, steps, begin, told))


def everything():
    """Every sampler with every spacing and every rule for sigmas at odd numbers of steps."""
    for sampler in SAMPLERS:
        for spacing in SPACINGS if sampler != "lcm" else SPACINGS[:1]:
            rules = (None,) + (RULES if sampler in WITH_RULES else ())
            for rule in rules:
                for steps in (1, 2, 3, 7, 30):
                    config = {"timestep_spacing": spacing}
                    if rule:
                        config["use_%s_sigmas" % rule] = True
                    case(sampler, steps, config)


def zero_snr():
    for sampler in SAMPLERS:
        for spacing in ("trailing", "leading"):
            config = {"timestep_spacing": spacing, "rescale_betas_zero_snr": True}
            for steps in (4, 9):
                case(sampler, steps, config)


def pictures():
    """Begun in the middle."""
    for sampler in SAMPLERS:
        for steps, strength in ((7, 0.3), (10, 0.55), (20, 0.8), (3, 1.0)):
            case(sampler, steps, {}, strength, PREDICTIONS[:1])
        case(sampler, 9, {"timestep_spacing": "trailing"}, 0.5, PREDICTIONS[1:2])


def single_keys():
    betas = [0.001 + 0.0004 * i for i in range(50)]
    for sampler in SAMPLERS:
        for config in (
            {"beta_schedule": "linear"},
            {"beta_schedule": "squaredcos_cap_v2"},
            {"num_train_timesteps": 400, "steps_offset": 0, "original_inference_steps": 40},
            {"num_train_timesteps": 50, "trained_betas": betas},
        ):
            case(sampler, 6, config, None, PREDICTIONS[:1])
    for sampler in ("euler", "heun", "dpmpp_2m_karras", "dpmpp_sde", "unipc"):
        config = {"sigma_min": 0.1, "sigma_max": 9.5, "use_karras_sigmas": True}
        case(sampler, 5, config, None, PREDICTIONS[:1])
        config = {"sigma_min": 0.1, "use_exponential_sigmas": True, "use_karras_sigmas": False}
        if sampler != "dpmpp_2m_karras":
            case(sampler, 5, config, None, PREDICTIONS[:1])
    for sampler in ("euler", "dpmpp_2m", "dpmpp_2m_karras", "dpmpp_2m_sde", "unipc"):
        for steps in (5, 17):
            case(sampler, steps, {"final_sigmas_type": "sigma_min"}, None, PREDICTIONS[:1])
    case("unipc", 6, {"final_sigmas_type": "sigma_min", "use_karras_sigmas": True})
    case("euler", 6, {"interpolation_type": "log_linear"})
    case("euler", 6, {"interpolation_type": "log_linear", "use_karras_sigmas": True})
    case("euler", 6, {"timestep_type": "continuous"})
    for sampler in ("dpmpp_2m", "dpmpp_2m_sde"):
        for config in ({"solver_type": "heun"}, {"solver_order": 1}, {"euler_at_final": True},
                       {"final_sigmas_type": "sigma_min", "lower_order_final": False},
                       {"lambda_min_clipped": -1.5, "timestep_spacing": "trailing"},
                       {"lambda_min_clipped": -1.5, "timestep_spacing": "linspace"}):
            case(sampler, 7, config, None, PREDICTIONS[:1])
    for config in ({"solver_type": "bh1", "final_sigmas_type": "sigma_min"},
                   {"solver_type": "midpoint"}, {"solver_order": 1},
                   {"final_sigmas_type": "sigma_min", "lower_order_final": False}):
        case("unipc", 7, config, None, PREDICTIONS[:1])
    for sampler in ("heun", "ddim", "ddpm", "lcm"):
        case(sampler, 5, {"clip_sample": True, "clip_sample_range": 0.8})
    case("ddim", 5, {"set_alpha_to_one": True})
    for variance in ("fixed_small_log", "fixed_large", None):
        case("ddpm", 5, {"variance_type": variance}, None, PREDICTIONS[:1])
    case("lcm", 5, {"timestep_scaling": 3.0, "original_inference_steps": 25})
    case("lcm", 50, {}, None, PREDICTIONS[:1])
    # One timestep more than asked for.
    for sampler in SAMPLERS:
        if sampler not in ("lcm", "ddim", "ddpm"):
            case(sampler, 61, {"timestep_spacing": "trailing"}, None, PREDICTIONS[:1])


def touched():
    """As inpainting does."""
    for sampler in SAMPLERS:
        for steps in (4, 11):
            print("case", sampler, steps, "-", "{}")
            for prediction in PREDICTIONS:
                told = {"prediction_type": prediction}
                print("y", prediction, trajectory(sampler, steps, 0, told, True))


def parts():
    for sampler, steps in (("euler", 10), ("heun", 7), ("dpmpp_2m", 9), ("ddim", 5)):
        for at in (0.2, 0.5, 0.8):
            scheduler = make(sampler, {})
            scheduler.set_timesteps(steps)
            t = scheduler.timesteps
            cutoff = int(round(1000 - at * 1000))
            left = int((t < cutoff).sum())
            if scheduler.order == 2 and left % 2 == 0:
                left += 1
            print("case", sampler, steps, "-", "{}")
            print("part", at, int((t >= cutoff).sum()), len(t) - left)


def noise():
    for seed, sizes in ((0, (16,)), (1234567, (3, 5, 17, 1, 2, 40)), (2**32 + 5, (15, 31)),
                        (42, (4 * 16 * 20, 4 * 9 * 13)), (7, (4 * 128 * 128,))):
        generator = torch.Generator("cpu").manual_seed(seed)
        print("randn", seed, *sizes)
        for n in sizes:
            bits = torch.randn(n, generator=generator).numpy().view(np.uint32)
            if n <= 40:
                print("bits", " ".join("%08x" % v for v in bits))
            else:
                digest = 0xCBF29CE484222325
                for byte in bits.astype("<u4").tobytes():
                    digest = (digest ^ byte) * 0x100000001B3 % 2**64
                print("bits %016x" % digest)


def rescaling():
    cond, uncond = draw(5, 60), draw(6, 60)
    guided = uncond + 7.5 * (cond - uncond)
    for by in (0.0, 0.3, 0.7, 1.0):
        print("rescale", by, numbers(rescale_noise_cfg(guided, cond, by).flatten()[:6]))


def main():
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    everything()
    zero_snr()
    pictures()
    single_keys()
    touched()
    parts()
    noise()
    rescaling()


if __name__ == "__main__":
    main()
