#!/usr/bin/env python3
"""Writes Stable Diffusion XL at full size with random bf16 weights, as a folder of diffusers and as a
single file, and what torch computes with it: for checks by hand, with 16 GB of disk and of memory.

    python tests/reference/full_size.py write FOLDER [--small]    FOLDER/sdxl, FOLDER/sdxl.safetensors
    python tests/reference/full_size.py run FOLDER [--bf16]       FOLDER/PART.in and .out.safetensors
    python tests/reference/full_size.py compare A B               relative L2 errors of B by A

The parts run are those of `atelier model run`, at 512x512; so what to do next is

    atelier model import FOLDER/sdxl -o sdxl.h5
    atelier model run sdxl.h5 unet --in FOLDER/unet.in.safetensors --out mine.safetensors
    python tests/reference/full_size.py compare FOLDER/unet.out.safetensors mine.safetensors

The text encoders read the vocabulary that is built in; the folder has no tokenizers. --small makes
the tiny models of pipeline_models.py instead, in seconds. Needs diffusers 0.42.1 and transformers
5.23.0.
"""
import argparse
import json
import math
import pathlib
import time

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
from pipeline_models import MODELS, SDXL_SCHEDULE, unet, vae
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

UNET = unet(
    [320, 640, 1280], "PCC", "CCP", transformer_layers_per_block=[1, 2, 10], sample_size=128,
    attention_head_dim=[5, 10, 20], cross_attention_dim=2048, addition_time_embed_dim=256,
    projection_class_embeddings_input_dim=2816)  # fmt: skip
VAE = vae([128, 256, 512, 512], layers_per_block=2, scaling_factor=0.13025, sample_size=1024,
          force_upcast=True)  # fmt: skip
TOKENS = dict(vocab_size=49408, max_position_embeddings=77, bos_token_id=49406, eos_token_id=2,
              pad_token_id=1)  # fmt: skip
TEXT_1 = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
              num_attention_heads=12, hidden_act="quick_gelu", **TOKENS)  # fmt: skip
TEXT_2 = dict(hidden_size=1280, intermediate_size=5120, num_hidden_layers=32,
              num_attention_heads=20, hidden_act="gelu", projection_dim=1280, **TOKENS)  # fmt: skip
PARTS = ("text_encoder", "text_encoder_2", "unet", "vae")
CLASSES = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel,
           "text_encoder_2": CLIPTextModelWithProjection}  # fmt: skip


# --- models ---------------------------------------------------------------------------------------
def build(part, small):
    """A part in bf16, with weights that keep the size of what they sum."""
    config = {"unet": UNET, "vae": VAE, "text_encoder": TEXT_1, "text_encoder_2": TEXT_2}[part]
    if small:
        unet_config, vae_config, texts = MODELS["odd"][:3]
        config = {"unet": unet_config, "vae": vae_config, "text_encoder": texts[0],
                  "text_encoder_2": texts[1]}[part]  # fmt: skip
    kind = CLASSES[part]
    with torch.device("meta"):
        model = kind(CLIPTextConfig(**config)) if part.startswith("text") else kind(**config)
    model = model.to(torch.bfloat16).to_empty(device="cpu")
    generator = torch.Generator().manual_seed(PARTS.index(part) + 1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() > 1:
                p.normal_(0, 1 / math.sqrt(math.prod(p.shape[1:])), generator=generator)
            else:
                p.normal_(float("norm" in name and "weight" in name), 0.05, generator=generator)
        for name, b in model.named_buffers():
            if name.endswith("position_ids"):
                b.copy_(torch.arange(b.shape[-1]).expand(b.shape))
    return model.eval()


# --- names of the single file ---------------------------------------------------------------------
def renamed(name, pairs):
    for old, new in pairs:
        name = name.replace(old, new)
    return name


def unet_name(name, levels, layers, down_has, up_has):
    """Of the original's blocks, which are numbered through."""
    words = name.split(".")
    inner = [("norm1.", "in_layers.0."), ("conv1.", "in_layers.2."), ("time_emb_proj.", "emb_layers.1."),
             ("norm2.", "out_layers.0."), ("conv2.", "out_layers.3."),
             ("conv_shortcut.", "skip_connection.")]  # fmt: skip
    rest = ".".join(words[4:])
    if words[0] == "down_blocks":
        block, kind, i = int(words[1]), words[2], int(words[3])
        if kind == "downsamplers":
            return f"input_blocks.{(layers + 1) * (block + 1)}.0.op." + words[-1]
        at = f"input_blocks.{1 + (layers + 1) * block + i}."
    elif words[0] == "up_blocks":
        block, kind, i = int(words[1]), words[2], int(words[3])
        if kind == "upsamplers":
            last = (layers + 1) * block + layers
            return f"output_blocks.{last}.{1 + up_has[block]}.conv." + words[-1]
        at = f"output_blocks.{(layers + 1) * block + i}."
    elif words[0] == "mid_block":
        kind = words[1]
        at = f"middle_block.{1 if kind == 'attentions' else 2 * int(words[2])}."
        rest = ".".join(words[3:])
        return at + (rest if kind == "attentions" else renamed(rest, inner))
    else:
        return renamed(name, [
            ("time_embedding.linear_1", "time_embed.0"), ("time_embedding.linear_2", "time_embed.2"),
            ("add_embedding.linear_1", "label_emb.0.0"), ("add_embedding.linear_2", "label_emb.0.2"),
            ("conv_in", "input_blocks.0.0"), ("conv_norm_out", "out.0"), ("conv_out", "out.2")])
    return at + ("1." + rest if kind == "attentions" else "0." + renamed(rest, inner))


def vae_name(name, levels):
    words = name.split(".")
    for i, word in enumerate(words):
        if word == "down_blocks":
            words[i] = "down"
        elif word == "up_blocks":
            words[i], words[i + 1] = "up", str(levels - 1 - int(words[i + 1]))
    name = ".".join(words)
    return renamed(name, [
        ("downsamplers.0.", "downsample."), ("upsamplers.0.", "upsample."),
        ("mid_block.resnets.0", "mid.block_1"), ("mid_block.resnets.1", "mid.block_2"),
        ("mid_block.attentions.0", "mid.attn_1"), ("resnets", "block"),
        ("group_norm", "norm"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"),
        ("to_out.0", "proj_out"), ("conv_shortcut", "nin_shortcut"), ("conv_norm_out", "norm_out")])


def open_clip_names(tensors):
    """The second text encoder as open_clip has it: q, k and v in one, the projection turned."""
    out, fused = {}, {}
    for name, value in tensors.items():
        if name == "text_projection.weight":
            out["text_projection"] = value.t().contiguous()
            continue
        name = renamed(name.removeprefix("text_model."), [
            ("embeddings.token_embedding", "token_embedding"),
            ("embeddings.position_embedding.weight", "positional_embedding"),
            ("encoder.layers", "transformer.resblocks"), ("layer_norm", "ln_"),
            ("final_ln_", "ln_final"), ("self_attn.out_proj", "attn.out_proj"),
            ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj")])
        head, found, tail = name.partition("self_attn.")
        if found:
            letter, _, kind = tail.partition("_proj.")
            fused.setdefault(f"{head}attn.in_proj_{kind}", {})[letter] = value
        else:
            out[name] = value
    for name, parts in fused.items():
        out[name] = torch.cat([parts[letter] for letter in "qkv"])
    out["logit_scale"] = torch.tensor(4.6, dtype=torch.bfloat16)
    return out


def single(part, model):
    """A part's tensors by the names of the single file."""
    tensors = {k: v for k, v in model.state_dict().items() if not k.endswith("position_ids")}
    if part == "unet":
        c = model.config
        has = [["CrossAttn" in t for t in types] for types in (c.down_block_types, c.up_block_types)]
        shape = len(c.block_out_channels), c.layers_per_block, *has
        return {"model.diffusion_model." + unet_name(k, *shape): v for k, v in tensors.items()}
    if part == "vae":
        levels, out = len(model.config.block_out_channels), {}
        for name, value in tensors.items():
            name = vae_name(name, levels)
            if "mid.attn_1" in name and value.dim() == 2:
                value = value[:, :, None, None]
            out["first_stage_model." + name] = value
        return out
    if part == "text_encoder":
        head = "conditioner.embedders.0.transformer."
        names = {k: k if k.startswith("text_model.") else "text_model." + k for k in tensors}
        return {head + names[k]: v for k, v in tensors.items()}
    return {"conditioner.embedders.1.model." + k: v for k, v in open_clip_names(tensors).items()}


# --- what is done ---------------------------------------------------------------------------------
def write(folder, small):
    everything, index = {}, {"_class_name": "StableDiffusionXLPipeline",
                             "_diffusers_version": "0.42.1", "force_zeros_for_empty_prompt": True}
    for part in PARTS:
        begun = time.time()
        model = build(part, small)
        model.save_pretrained(folder / "sdxl" / part, max_shard_size="20GB")
        everything.update(single(part, model))
        library = "transformers" if part.startswith("text") else "diffusers"
        index[part] = [library, type(model).__name__]
        print(part, sum(p.numel() for p in model.parameters()), f"{time.time() - begun:.1f} s")
    EulerDiscreteScheduler.from_config(SDXL_SCHEDULE).save_pretrained(folder / "sdxl" / "scheduler")
    index["scheduler"] = ["diffusers", "EulerDiscreteScheduler"]
    (folder / "sdxl" / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    everything = {name: value.contiguous() for name, value in everything.items()}
    save_file(everything, folder / "sdxl.safetensors")


def inputs(part, model):
    """Numbers by chance, of a batch of 2 for the UNet."""
    generator = torch.Generator().manual_seed(100)

    def chance(*shape):
        return torch.randn(shape, generator=generator)

    if part.startswith("text"):
        ids = torch.randint(0, 49406, (2, 77), generator=generator)
        ids[:, 0], ids[0, 20:], ids[1, 76] = 49406, 49407, 49407
        return {"input_ids": ids}
    if part == "vae":
        return {"z": chance(1, model.config.latent_channels, 64, 64) * 6}
    c = model.config
    pooled = c.projection_class_embeddings_input_dim - 6 * c.addition_time_embed_dim
    return {
        "sample": chance(2, c.in_channels, 64, 64), "timestep": torch.tensor([951.0, 301.0]),
        "encoder_hidden_states": chance(2, 77, c.cross_attention_dim),
        "text_embeds": chance(2, pooled),
        "time_ids": torch.tensor([[512.0, 512, 0, 0, 512, 512], [768.0, 600, 10, 3, 512, 512]]),
    }  # fmt: skip


def outputs(part, model, given, dtype):
    if part == "vae":
        return {"sample": model.decode(given["z"].to(dtype)).sample}
    if part == "unet":
        cond = {"text_embeds": given["text_embeds"].to(dtype), "time_ids": given["time_ids"]}
        return {"sample": model(given["sample"].to(dtype), given["timestep"],
                                given["encoder_hidden_states"].to(dtype),
                                added_cond_kwargs=cond).sample}
    out = model(given["input_ids"], output_hidden_states=True)
    found = {"hidden_states.-2": out.hidden_states[-2], "last_hidden_state": out.last_hidden_state}
    return found if part == "text_encoder" else {**found, "text_embeds": out.text_embeds}


def run(folder, dtype):
    for part in PARTS:
        where = folder / "sdxl" / part
        model = CLASSES[part].from_pretrained(where, torch_dtype=dtype).eval()
        given = inputs(part, model)
        name = "vae_decoder" if part == "vae" else part
        save_file(given, folder / f"{name}.in.safetensors")
        begun = time.time()
        with torch.no_grad():
            found = outputs(part, model, given, dtype)
        print(name, f"{time.time() - begun:.2f} s")
        found = {key: value.float().contiguous() for key, value in found.items()}
        save_file(found, folder / f"{name}.out.safetensors")


def compare(a, b):
    a, b = load_file(a), load_file(b)
    for name, want in a.items():
        error = (b[name].double() - want.double()).norm() / want.double().norm()
        print(name, tuple(want.shape), f"relative L2 error {float(error):.3g}")


def main():
    options = argparse.ArgumentParser(usage=__doc__)
    options.add_argument("what", choices=("write", "run", "compare"))
    options.add_argument("paths", nargs="+", type=pathlib.Path)
    options.add_argument("--small", action="store_true")
    options.add_argument("--bf16", action="store_true")
    o = options.parse_args()
    if o.what == "write":
        write(o.paths[0], o.small)
    elif o.what == "run":
        run(o.paths[0], torch.bfloat16 if o.bf16 else torch.float32)
    else:
        compare(*o.paths)


if __name__ == "__main__":
    main()
