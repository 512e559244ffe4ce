#!/usr/bin/env python3
"""Writes tests/golden/sdxl_configs: configs of UNets and VAEs as diffusers saves them, what the small
ones compute, and digests of the names and shapes that the full-size ones have.

    python tests/reference/sdxl_configs.py

NAME.unet and NAME.vae are config.json; values.txt has, for each small model, its output in f64 and the
relative error that torch makes of it in bf16; digests.txt a line for each full-size one: its name, how
many tensors and elements there are, and the sum of the hashes of their lines. Weights and inputs follow
from their names, as in sdxl_tiny.py. Needs diffusers 0.42.1, torch and numpy.
"""
import contextlib
import pathlib

import diffusers
import torch
from sdxl_tiny import numbers, picture, show, weight

FOLDER = pathlib.Path(__file__).parent.parent / "golden" / "sdxl_configs"
BATCH, TOKENS = 2, 7


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


# Of a small UNet also the pooled text's width, and height and width of the latent.
SMALL = {
    "odd": (10, 9, 13, unet(
        [24, 40, 56], "CPC", "PCC", in_channels=9, layers_per_block=[1, 2, 1], norm_num_groups=8,
        transformer_layers_per_block=[1, 2, 1], attention_head_dim=[2, 5, 4], cross_attention_dim=20,
        flip_sin_to_cos=False, freq_shift=1, norm_eps=1e-4, addition_time_embed_dim=6,
        projection_class_embeddings_input_dim=40, sample_size=[9, 13])),
    "ssd": (16, 10, 7, unet(
        [16, 32, 48], "PCC", "CCP", norm_num_groups=16, attention_head_dim=[1, 4, 3],
        transformer_layers_per_block=[0, [2, 1], [1, 3]], mid_block_type="UNetMidBlock2D",
        reverse_transformer_layers_per_block=[[2, 1, 3], [1, 2, 1], 1], cross_attention_dim=24,
        time_cond_proj_dim=12, addition_time_embed_dim=8, projection_class_embeddings_input_dim=64,
        sample_size=16)),
    "two": (12, 5, 6, unet(
        [12, 20], "CC", "CC", norm_num_groups=4, layers_per_block=3, attention_head_dim=2,
        mid_block_type=None, cross_attention_dim=18, out_channels=5, addition_time_embed_dim=10,
        projection_class_embeddings_input_dim=72)),
    "four": (14, 11, 17, unet(
        [8, 16, 16, 24], "PCCP", "PCCP", norm_num_groups=2, layers_per_block=1,
        attention_head_dim=[1, 2, 4, 3], transformer_layers_per_block=2, cross_attention_dim=22,
        time_cond_proj_dim=10, addition_time_embed_dim=4, projection_class_embeddings_input_dim=38,
        act_fn="swish")),
}  # fmt: skip

# Of a small VAE also height and width of the latent, and of the picture.
SMALL_VAES = {
    "odd": (5, 7, 11, 14, vae(
        [16, 24], latent_channels=3, norm_num_groups=8, scaling_factor=0.5,
        latents_mean=[-1.6574, 1.886, 0.25], latents_std=[8.4927, 5.9022, 1.5])),
    "plain": (3, 4, 13, 15, vae(
        [8, 16, 24], layers_per_block=3, latent_channels=5, norm_num_groups=4, shift_factor=0.1159,
        use_quant_conv=False, use_post_quant_conv=False, mid_block_add_attention=False)),
    "one": (6, 5, 6, 5, vae([20], layers_per_block=2, norm_num_groups=5, latent_channels=2)),
}  # fmt: skip

SDXL = dict(
    channels=[320, 640, 1280], down="PCC", up="CCP", sample_size=128, cross_attention_dim=2048,
    attention_head_dim=[5, 10, 20], addition_time_embed_dim=256,
    projection_class_embeddings_input_dim=2816)  # fmt: skip
BASE = dict(SDXL, transformer_layers_per_block=[1, 2, 10])
FULL = {
    "base": unet(**BASE),
    "refiner": unet(
        [384, 768, 1536, 1536], "PCCP", "PCCP", sample_size=128, attention_head_dim=[6, 12, 24, 24],
        transformer_layers_per_block=4, cross_attention_dim=1280, addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2560),
    "inpainting": unet(**BASE, in_channels=9),
    "lcm": unet(**BASE, time_cond_proj_dim=256),
    "ssd_1b": unet(
        **SDXL, transformer_layers_per_block=[0, [2, 2], [4, 4]], mid_block_type="UNetMidBlock2D",
        reverse_transformer_layers_per_block=[[4, 4, 10], [2, 1, 1], 1]),
}  # fmt: skip
FULL_VAES = {
    "base": vae([128, 256, 512, 512], layers_per_block=2, scaling_factor=0.13025, sample_size=1024),
    "sixteen": vae(
        [128, 256, 512, 512], layers_per_block=2, latent_channels=16, use_quant_conv=False,
        use_post_quant_conv=False, scaling_factor=0.3611, shift_factor=0.1159, sample_size=1024),
}  # fmt: skip


# --- models ---------------------------------------------------------------------------------------
def fill(model):
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(weight(name, *value.shape))
    return model.eval()


def run_unet(model, size, dtype):
    pooled, height, width, config = size
    add = config["projection_class_embeddings_input_dim"] - pooled
    sizes = add // config["addition_time_embed_dim"]
    guidance = config.get("time_cond_proj_dim")
    return model(
        picture("latent", BATCH, height, width, config.get("in_channels", 4)).to(dtype),
        numbers("time", (BATCH,), 400, 450).float(),
        numbers("context", (BATCH, TOKENS, config["cross_attention_dim"]), 1).to(dtype),
        timestep_cond=numbers("guidance", (BATCH, guidance), 1).to(dtype) if guidance else None,
        added_cond_kwargs={
            "text_embeds": numbers("pooled", (BATCH, pooled), 1).to(dtype),
            "time_ids": numbers("sizes", (BATCH, sizes), 400, 450).float(),
        },
    ).sample


def run_decoder(model, size, dtype):
    latent = picture("latent", BATCH, size[0], size[1], size[4].get("latent_channels", 4))
    return model.decode(latent.to(dtype)).sample


def run_encoder(model, size, dtype):
    return model._encode(picture("picture", BATCH, size[2], size[3], 3).to(dtype))


def show_outputs(name, model, run, size):
    exact = run(model.double(), size, torch.float64)
    rounded = run(model.bfloat16(), size, torch.bfloat16).double()
    show(name, exact.permute(0, 2, 3, 1).flatten().tolist())
    show(name + ".bf16", [float((rounded - exact).norm() / exact.norm())])


def show_digest(name, model):
    total = elements = 0
    tensors = model.state_dict()
    for key, value in tensors.items():
        h = 0xCBF29CE484222325
        for byte in f"{key} {'x'.join(map(str, value.shape))}".encode():
            h = (h ^ byte) * 0x100000001B3 & (1 << 64) - 1
        total = total + h & (1 << 64) - 1
        elements += value.numel()
    print(name, len(tensors), elements, f"{total:016x}")


@torch.no_grad()
def main():
    kinds = {
        "unet": (diffusers.UNet2DConditionModel, SMALL, FULL, {"unet": run_unet}),
        "vae": (
            diffusers.AutoencoderKL, SMALL_VAES, FULL_VAES,
            {"decoder": run_decoder, "encoder": run_encoder}),
    }  # fmt: skip
    FOLDER.mkdir(exist_ok=True)
    with open(FOLDER / "values.txt", "w") as f, contextlib.redirect_stdout(f):
        for kind, (cls, small, _, runs) in kinds.items():
            for name, size in small.items():
                model = cls(**size[-1])
                (FOLDER / f"{name}.{kind}").write_text(model.to_json_string())
                for part, run in runs.items():
                    model = fill(cls(**size[-1]).double())
                    show_outputs(f"{name}.{part}", model, run, size)
    with open(FOLDER / "digests.txt", "w") as f, contextlib.redirect_stdout(f):
        for kind, (cls, _, full, _) in kinds.items():
            for name, config in full.items():
                with torch.device("meta"):
                    model = cls(**config)
                (FOLDER / f"{name}.{kind}").write_text(model.to_json_string())
                show_digest(f"{name}.{kind}", model)


if __name__ == "__main__":
    main()
