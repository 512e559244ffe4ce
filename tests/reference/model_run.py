#!/usr/bin/env python3
"""Writes tests/golden/model_run: two small models of SDXL's kind, and what diffusers and transformers
compute with their parts.

    python tests/reference/model_run.py

NAME.PART is a part's config.json, NAME.model_index the pipeline's. NAME.safetensors has for each
component its inputs, COMPONENT.in.TENSOR, its outputs in f64 rounded to f32, COMPONENT.out.TENSOR, and
the relative error that torch makes of these in bf16, COMPONENT.loss.TENSOR. Weights follow from their
names, "unet.conv_in.weight", as in sdxl_tiny.py. Needs diffusers 0.42.1, transformers 5.23.0, torch,
safetensors and numpy.
"""
import json
import pathlib
import tempfile

import diffusers
import torch
import transformers
from safetensors.torch import save_file
from sdxl_configs import unet, vae
from sdxl_tiny import numbers, weight

assert diffusers.__version__ == "0.42.1" and transformers.__version__ == "5.23.0"

FOLDER = pathlib.Path(__file__).parent.parent / "golden" / "model_run"
BATCH = 2

QUICK = dict(
    vocab_size=61, hidden_size=39, intermediate_size=53, num_hidden_layers=3, num_attention_heads=3,
    max_position_embeddings=11, hidden_act="quick_gelu", eos_token_id=2)  # fmt: skip
GELU = dict(
    vocab_size=97, hidden_size=40, intermediate_size=72, num_hidden_layers=4, num_attention_heads=5,
    max_position_embeddings=9, hidden_act="gelu", eos_token_id=90, projection_dim=28)  # fmt: skip
IDS = {
    "text_encoder": [[59, 4, 17, 2, 33, 60, 60, 60, 60], [59, 60, 0, 0, 0, 0, 0, 0, 0]],
    "text_encoder_2": [[89, 4, 95, 90, 0, 0, 0, 0, 0], [89, 12, 96, 3, 70, 70, 90, 90, 1]],
}

# "inpaint" has all that there is; "refiner" one encoder, five sizes and four levels. The sizes are
# height and width of the UNet's latent, of the VAE's, and of its picture.
MODELS = {
    "inpaint": dict(
        sizes=[(9, 13), (5, 7), (11, 14)],
        index=dict(_class_name="StableDiffusionXLInpaintPipeline"),
        text_encoder=(transformers.CLIPTextModel, QUICK),
        text_encoder_2=(transformers.CLIPTextModelWithProjection, GELU),
        unet=unet(
            [24, 40, 56], "CPC", "PCC", in_channels=9, layers_per_block=[1, 2, 1],
            norm_num_groups=8, transformer_layers_per_block=[1, 2, 1], attention_head_dim=[2, 5, 4],
            cross_attention_dim=79, time_cond_proj_dim=12, addition_time_embed_dim=6,
            projection_class_embeddings_input_dim=64),
        vae=vae([16, 24], norm_num_groups=8, scaling_factor=0.5)),
    "refiner": dict(
        sizes=[(11, 6), (3, 4), (13, 15)],
        index=dict(
            _class_name="StableDiffusionXLImg2ImgPipeline", force_zeros_for_empty_prompt=False,
            requires_aesthetics_score=True),
        text_encoder_2=(transformers.CLIPTextModelWithProjection, GELU),
        unet=unet(
            [12, 18, 18, 24], "PCCP", "PCCP", norm_num_groups=6, layers_per_block=1,
            attention_head_dim=[1, 3, 2, 4], transformer_layers_per_block=2,
            cross_attention_dim=40, addition_time_embed_dim=10, out_channels=5, in_channels=5,
            projection_class_embeddings_input_dim=78),
        vae=vae(
            [10, 15, 20], layers_per_block=2, latent_channels=5, norm_num_groups=5,
            use_quant_conv=False)),
}  # fmt: skip


def fill(part, model):
    with torch.no_grad():
        for name, value in model.named_parameters():
            if part.startswith("text") and not name.startswith("text_"):
                name = "text_model." + name
            value.copy_(weight(f"{part}.{name}", *value.shape))
    return model.eval()


def make(part, spec):
    if part == "unet":
        return fill(part, diffusers.UNet2DConditionModel(**spec).double())
    if part == "vae":
        return fill(part, diffusers.AutoencoderKL(**spec).double())
    return fill(part, spec[0](transformers.CLIPTextConfig(**spec[1])).double())


def number(component, name, *shape):
    return numbers(f"{component}.{name}", shape, 1)


# --- components: their inputs, and what a model makes of them -------------------------------------
def unet_inputs(config, size):
    pooled = GELU["projection_dim"]
    sizes = config["projection_class_embeddings_input_dim"] - pooled
    sizes //= config["addition_time_embed_dim"]
    inputs = {
        "sample": number("unet", "sample", BATCH, config.get("in_channels", 4), *size),
        "timestep": torch.tensor([981, 7]),
        "encoder_hidden_states": number("unet", "text", BATCH, 9, config["cross_attention_dim"]),
        "text_embeds": number("unet", "pooled", BATCH, pooled),
        "time_ids": numbers("unet.time_ids", (BATCH, sizes), 400, 450).float(),
    }
    if "time_cond_proj_dim" in config:
        inputs["timestep_cond"] = number("unet", "cond", BATCH, config["time_cond_proj_dim"])
    return inputs


def run_unet(model, inputs, dtype):
    more = {k: v.to(dtype) for k, v in inputs.items() if v.dtype == torch.float64}
    return {
        "sample": model(
            more["sample"], inputs["timestep"], more["encoder_hidden_states"],
            timestep_cond=more.get("timestep_cond"),
            added_cond_kwargs={"text_embeds": more["text_embeds"], "time_ids": inputs["time_ids"]},
        ).sample
    }  # fmt: skip


def run_decoder(model, inputs, dtype):
    return {"sample": model.decode(inputs["z"].to(dtype)).sample}


def run_encoder(model, inputs, dtype):
    latent = model.encode(inputs["x"].to(dtype)).latent_dist
    return {"mean": latent.mean, "logvar": latent.logvar}


def run_text(model, inputs, dtype):
    out = model(inputs["input_ids"], output_hidden_states=True)
    found = {"hidden_states.-2": out.hidden_states[-2], "last_hidden_state": out.last_hidden_state}
    if "text_embeds" in out:
        found["text_embeds"] = out.text_embeds
    return found


def components(spec):
    at = spec["sizes"]
    latent = spec["vae"].get("latent_channels", 4)
    yield "unet", "unet", run_unet, unet_inputs(spec["unet"], at[0])
    yield "vae_decoder", "vae", run_decoder, {"z": number("vae", "z", BATCH, latent, *at[1])}
    yield "vae_encoder", "vae", run_encoder, {"x": number("vae", "x", BATCH, 3, *at[2])}
    for part, ids in IDS.items():
        if part in spec:
            yield part, part, run_text, {"input_ids": torch.tensor(ids)}


# --- files ----------------------------------------------------------------------------------------
def config_text(model):
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return (pathlib.Path(folder) / "config.json").read_text()


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    for name, spec in MODELS.items():
        tensors = {}
        (FOLDER / f"{name}.model_index").write_text(json.dumps(spec["index"]) + "\n")
        for component, part, run, inputs in components(spec):
            model = make(part, spec[part])
            exact = run(model, inputs, torch.float64)
            (FOLDER / f"{name}.{part}").write_text(config_text(model.float()))
            rounded = run(make(part, spec[part]).bfloat16(), inputs, torch.bfloat16)
            for key, value in inputs.items():
                value = value.float() if value.dtype == torch.float64 else value
                tensors[f"{component}.in.{key}"] = value.contiguous()
            for key, value in exact.items():
                loss = (rounded[key].double() - value).norm() / value.norm()
                tensors[f"{component}.out.{key}"] = value.float().contiguous()
                tensors[f"{component}.loss.{key}"] = loss.float().reshape(1)
                print(name, component, key, tuple(value.shape), f"{loss:.3g}")
        save_file(tensors, FOLDER / f"{name}.safetensors")


if __name__ == "__main__":
    main()
