"""Writes the small model as a diffusers folder and as one safetensors file, in bf16.

    python models/demo/save.py FOLDER OUT

FOLDER is the one that was trained in. OUT/diffusers is what StableDiffusionXLPipeline reads;
OUT/demo.safetensors has the same tensors as PART.NAME and the folder's texts as its metadata, from
which `atelier model import` makes demo.h5. FOLDER/metrics.json, where it is, comes along as the
text "metrics".
"""
import os
import sys

import torch
from diffusers import StableDiffusionXLPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import parts
import train_unet

WEIGHTS = ".safetensors"


def load(folder):
    """A pipeline of what was trained, its weights rounded to bf16 and kept as f32."""
    tokenizers = parts.new_tokenizers()
    model = train_unet.Model(len(tokenizers[0]))
    model.load_state_dict(torch.load(os.path.join(folder, "unet.pt"))["average"])
    vae = parts.new_vae()
    vae.load_state_dict(torch.load(os.path.join(folder, "vae_done.pt")))
    for part in (model, vae):
        part.to(torch.bfloat16).to(torch.float32)
    pipeline = StableDiffusionXLPipeline(
        vae=vae, text_encoder=model.encoder_1, text_encoder_2=model.encoder_2,
        tokenizer=tokenizers[0], tokenizer_2=tokenizers[1], unet=model.unet,
        scheduler=parts.new_scheduler(), force_zeros_for_empty_prompt=True, add_watermarker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def full_name(part, name):
    """transformers 5 leaves out text_model, which model files have."""
    whole = name.startswith(("text_model.", "text_projection.")) or "text" not in part
    return f"{part}.{name}" if whole else f"{part}.text_model.{name}"


def gather(root):
    """PART.NAME: tensor, and path: text, of a diffusers folder."""
    tensors, texts = {}, {}
    for folder, _, names in sorted(os.walk(root)):
        part = os.path.relpath(folder, root)
        for name in sorted(names):
            path = os.path.join(folder, name)
            if name.endswith(WEIGHTS):
                tensors.update({full_name(part, k): v for k, v in load_file(path).items()})
            else:
                with open(path, encoding="utf-8") as f:
                    texts[os.path.relpath(path, root)] = f.read()
    return tensors, texts


def main(folder, out):
    root, metrics = os.path.join(out, "diffusers"), os.path.join(folder, "metrics.json")
    load(folder).to(torch.bfloat16).save_pretrained(root)
    tensors, texts = gather(root)
    if os.path.exists(metrics):
        with open(metrics, encoding="utf-8") as f:
            texts["metrics"] = f.read()
    save_file(tensors, os.path.join(out, "demo.safetensors"), texts)
    with safe_open(os.path.join(out, "demo.safetensors"), "pt") as f:
        print(len(list(f.keys())), "tensors,", len(f.metadata()), "texts")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
