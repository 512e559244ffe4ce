"""The small models of pipelines.py: SDXL's parts as diffusers and transformers make them, whose
weights follow from their names (PART.NAME), as in tests/shapes/sdxl_file.c."""
import math
import pathlib

import numpy
import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers import schedulers as all_schedulers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

TOKENIZERS = pathlib.Path(__file__).parent.parent / "golden" / "clip"


# --- numbers that follow from names ---------------------------------------------------------------
def numbers(name, shape, scale, shift=0.0):
    """splitmix64, begun by FNV-1a of the name, rounded to f32."""
    mask, seed = (1 << 64) - 1, 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 & mask
    n = numpy.arange(1, math.prod(shape) + 1, dtype=numpy.uint64)
    z = numpy.uint64(seed) + n * numpy.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    u = ((z ^ (z >> numpy.uint64(31))) >> numpy.uint64(11)) / 4503599627370496.0 - 1
    return torch.from_numpy((shift + scale * u).astype(numpy.float32).reshape(shape))


def noise(name, shape):
    """What stands for N(0, 1): as large, but uniform."""
    return numbers(name, shape, math.sqrt(3))


def fill(part, model):
    """Sums keep the size of what is summed; what leaves the UNet and the VAE is smaller."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if part.startswith("text_encoder") and not name.startswith("text_"):
                name = "text_model." + name
            shape = tuple(p.shape)
            scale = math.sqrt(3 / math.prod(shape[1:])) if len(shape) > 1 else 0.1
            shift = float(len(shape) == 1 and "norm" in name and "weight" in name)
            p.copy_(numbers(f"{part}.{name}", shape, scale, shift))
    return model.eval().requires_grad_(False)


# --- configs --------------------------------------------------------------------------------------
def unet(channels, down, up, **more):
    """'down' and 'up' have a letter for each block: C with attention, P plain."""
    blocks = {"C": "CrossAttn", "P": ""}
    return dict(
        block_out_channels=channels,
        down_block_types=[blocks[c] + "DownBlock2D" for c in down],
        up_block_types=[blocks[c] + "UpBlock2D" for c in up],
        use_linear_projection=True,
        addition_embed_type="text_time",
        **more,
    )


def vae(channels, **more):
    return dict(
        block_out_channels=channels,
        down_block_types=["DownEncoderBlock2D"] * len(channels),
        up_block_types=["UpDecoderBlock2D"] * len(channels),
        **more,
    )


def text(width, layers, heads, act, **more):
    return dict(
        hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
        num_attention_heads=heads, hidden_act=act, max_position_embeddings=77, **more)  # fmt: skip


SDXL_SCHEDULE = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "clip_sample": False, "interpolation_type": "linear", "num_train_timesteps": 1000,
    "prediction_type": "epsilon", "sample_max_value": 1.0, "set_alpha_to_one": False,
    "skip_prk_steps": True, "steps_offset": 1, "timestep_spacing": "leading",
    "trained_betas": None, "use_karras_sigmas": False,
}  # fmt: skip

# The full vocabulary, so that the tokenizers that are built in serve; token 49407 ends a text.
FULL = dict(vocab_size=49408, bos_token_id=49406, eos_token_id=2, pad_token_id=1)
TEXT_1 = text(16, 3, 2, "quick_gelu", **FULL)
TEXT_2 = text(20, 4, 5, "gelu", projection_dim=12, **FULL)
VAE = vae([8, 8, 16, 16], layers_per_block=1, norm_num_groups=4, scaling_factor=0.13025,
          sample_size=64, force_upcast=True)  # fmt: skip
ODD = dict(
    channels=[24, 40, 56], down="PCC", up="CCP", norm_num_groups=8, attention_head_dim=[2, 5, 4],
    layers_per_block=1, transformer_layers_per_block=[1, 1, 2], cross_attention_dim=36,
    addition_time_embed_dim=8, projection_class_embeddings_input_dim=60, sample_size=[9, 13],
)  # fmt: skip
REFINER = unet(
    [8, 16, 16, 24], "PCCP", "PCCP", norm_num_groups=2, layers_per_block=1,
    attention_head_dim=[1, 2, 4, 3], transformer_layers_per_block=1, cross_attention_dim=20,
    addition_time_embed_dim=6, projection_class_embeddings_input_dim=42, sample_size=[9, 13],
)  # fmt: skip
# Two levels, so that latents are a quarter as wide as pictures; small tokenizers of its own.
SMALL = dict(
    channels=[12, 20], down="CC", up="CC", norm_num_groups=4, layers_per_block=2,
    attention_head_dim=[3, 2], transformer_layers_per_block=[2, 1], addition_time_embed_dim=10,
    sample_size=10)  # fmt: skip
SMALL_VAE = vae([8, 12, 16], layers_per_block=2, norm_num_groups=2, scaling_factor=0.5,
                sample_size=32, force_upcast=False)  # fmt: skip

SMALL_TEXTS = (text(24, 2, 3, "quick_gelu"), text(20, 3, 2, "gelu", projection_dim=18))
V = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True,
     "timestep_spacing": "trailing"}  # fmt: skip
PLAIN = {"force_zeros_for_empty_prompt": False}

# A model: its UNet, VAE, text encoders, tokenizers (None: SDXL's), schedule, and options.
MODELS = {
    "odd": (unet(**ODD), VAE, (TEXT_1, TEXT_2), None, ("EulerDiscreteScheduler", {}), {}),
    "nine": (unet(**ODD, in_channels=9), VAE, (TEXT_1, TEXT_2), None,
             ("EulerDiscreteScheduler", {}), {}),
    "lcm": (unet(**ODD, time_cond_proj_dim=14), VAE, (TEXT_1, TEXT_2), None,
            ("LCMScheduler", {"original_inference_steps": 50}), {}),
    "refiner": (REFINER, VAE, (None, TEXT_2), None, ("EulerDiscreteScheduler", {}),
                {"requires_aesthetics_score": True, "force_zeros_for_empty_prompt": False}),
    "small": (unet(**SMALL, cross_attention_dim=44, projection_class_embeddings_input_dim=78),
              SMALL_VAE, SMALL_TEXTS, ("mixed", "old"), ("EulerDiscreteScheduler", V), PLAIN),
    "small_nine": (unet(**SMALL, in_channels=9, cross_attention_dim=44,
                        projection_class_embeddings_input_dim=78),
                   SMALL_VAE, SMALL_TEXTS, ("mixed", "old"), ("EulerDiscreteScheduler", V), PLAIN),
    "small_refiner": (unet(**SMALL, cross_attention_dim=20, flip_sin_to_cos=False, freq_shift=1,
                           projection_class_embeddings_input_dim=68),
                      SMALL_VAE, (None, SMALL_TEXTS[1]), ("mixed", "old"),
                      ("DDIMScheduler", V), {**PLAIN, "requires_aesthetics_score": True}),
}  # fmt: skip


# --- models ---------------------------------------------------------------------------------------
def tokenizer_of(own, full, which):
    if own is None:
        pad = ("<|endoftext|>", "!")[which]
        return CLIPTokenizer.from_pretrained(full, pad_token=pad, model_max_length=77)
    return CLIPTokenizer.from_pretrained(TOKENIZERS / own[which], model_max_length=77)


def encoder_of(config, tokenizer, which):
    config = dict(config)
    if "vocab_size" not in config:
        config.update(
            vocab_size=len(tokenizer), bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)  # fmt: skip
    kind = (CLIPTextModel, CLIPTextModelWithProjection)[which]
    return fill(("text_encoder", "text_encoder_2")[which], kind(CLIPTextConfig(**config)))


def make(name, full):
    """The parts of a model, as its pipelines take them. 'full': a folder with the vocabulary."""
    unet_config, vae_config, texts, own, (scheduler, schedule), options = MODELS[name]
    tokenizers = [tokenizer_of(own, full, i) if texts[i] else None for i in range(2)]
    encoders = [encoder_of(texts[i], tokenizers[i], i) if texts[i] else None for i in range(2)]
    kind = getattr(all_schedulers, scheduler)
    parts = dict(
        unet=fill("unet", UNet2DConditionModel(**unet_config)),
        vae=fill("vae", AutoencoderKL(**vae_config)),
        text_encoder=encoders[0], text_encoder_2=encoders[1],
        tokenizer=tokenizers[0], tokenizer_2=tokenizers[1],
        scheduler=kind.from_config({**SDXL_SCHEDULE, **schedule}),
    )  # fmt: skip
    return parts, options


def save(folder, parts, options, built_in):
    """A folder as diffusers writes it, without the weights."""
    kind = StableDiffusionXLPipeline if parts["text_encoder"] else StableDiffusionXLImg2ImgPipeline
    pipe = kind(**parts, **options, add_watermarker=False)
    pipe.save_pretrained(folder)
    for path in sorted(folder.glob("**/*"), reverse=True):
        if path.suffix == ".safetensors" or (built_in and path.parent.name.startswith("tokenizer")):
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()


__all__ = ["MODELS", "EulerDiscreteScheduler", "make", "noise", "numbers", "save"]
