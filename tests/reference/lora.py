#!/usr/bin/env python3
"""Writes tests/golden/lora/: adapters for a small model in every naming, and what diffusers and PEFT
make of its weights with them.

    python tests/reference/lora.py tests/golden/lora

The model's weights follow from their names, as in sdxl_tiny.py. expected.txt has

    adapter FILE WEIGHT...      one or more of them, each with its weight
    NAME SIZES A B C            a weight that they change: the sums of its elements times numbers()
                                of NAME with /0, /1, /2 behind it

Needs diffusers, transformers and peft.
"""
import json
import math
import os
import shutil
import sys
import tempfile

import torch
import torch.nn.functional as F
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from sdxl_tiny import numbers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

PARTS = "unet", "text_encoder", "text_encoder_2"
SIZES = {1: 12, 2: 20}


# --- the model ------------------------------------------------------------------------------------
def fill(model, part):
    """Canonical names: CLIP's always with text_model, which transformers 5 leaves out."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(weight(canonical(part, name), p.shape))
    return model.eval()


def canonical(part, name):
    if part != "unet" and not name.startswith(("text_model.", "text_projection")):
        name = "text_model." + name
    return f"{part}.{name}"


def weight(name, shape):
    return numbers(name, tuple(shape), math.sqrt(3 / math.prod(shape[1:]))).float()


def text_model(i):
    config = CLIPTextConfig(vocab_size=64, hidden_size=SIZES[i], intermediate_size=2 * SIZES[i],
                            num_hidden_layers=2, num_attention_heads=2, projection_dim=20,
                            max_position_embeddings=16, bos_token_id=62, eos_token_id=63,
                            pad_token_id=63)
    kind = CLIPTextModel if i == 1 else CLIPTextModelWithProjection
    return fill(kind(config), PARTS[i])


def unet_model():
    return fill(UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16, 16), norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1, 2), attention_head_dim=(1, 2, 2),
        cross_attention_dim=32, use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=8, projection_class_embeddings_input_dim=20 + 6 * 8), "unet")


def pipeline():
    return StableDiffusionXLPipeline(
        vae=None, text_encoder=text_model(1), text_encoder_2=text_model(2), tokenizer=None,
        tokenizer_2=None, unet=unet_model(), scheduler=None)


# --- adapters -------------------------------------------------------------------------------------
DOWN = "down_blocks.1.attentions.0."
BLOCK = DOWN + "transformer_blocks.0."
LINEAR = {
    "unet": [BLOCK + "attn1.to_q", BLOCK + "attn1.to_out.0", BLOCK + "attn2.to_k",
             BLOCK + "attn2.to_v", BLOCK + "ff.net.0.proj", BLOCK + "ff.net.2", DOWN + "proj_in",
             "mid_block.attentions.0.transformer_blocks.1.attn2.to_out.0",
             "up_blocks.1.attentions.2.transformer_blocks.0.attn1.to_v"],
    "text_encoder": ["encoder.layers.1.self_attn.q_proj", "encoder.layers.0.self_attn.out_proj",
                     "encoder.layers.0.mlp.fc1"],
    "text_encoder_2": ["encoder.layers.1.self_attn.k_proj", "encoder.layers.1.self_attn.v_proj",
                       "encoder.layers.0.self_attn.out_proj", "encoder.layers.1.mlp.fc2"],
}
ATTENTION = {part: [m for m in modules if "attn" in m] for part, modules in LINEAR.items()}
EVERYWHERE = [
    "conv_in", "conv_out", "time_embedding.linear_1", "time_embedding.linear_2",
    "add_embedding.linear_1", "add_embedding.linear_2", "down_blocks.0.resnets.1.conv2",
    "down_blocks.0.resnets.0.time_emb_proj", "down_blocks.0.downsamplers.0.conv",
    "down_blocks.1.downsamplers.0.conv", "down_blocks.1.resnets.0.conv_shortcut",
    "down_blocks.2.resnets.1.conv1", "down_blocks.2.attentions.1.proj_out",
    "mid_block.resnets.0.conv1", "mid_block.resnets.1.conv2",
    "up_blocks.0.upsamplers.0.conv", "up_blocks.0.resnets.2.conv_shortcut",
    "up_blocks.1.upsamplers.0.conv", "up_blocks.2.resnets.1.conv1",
    "up_blocks.0.attentions.1.transformer_blocks.1.attn1.to_q",
]
# The same in single files, by hand: this is what the names in the C code are checked against.
SINGLE = [
    "input_blocks_0_0", "out_2", "time_embed_0", "time_embed_2", "label_emb_0_0", "label_emb_0_2",
    "input_blocks_2_0_out_layers_3", "input_blocks_1_0_emb_layers_1", "input_blocks_3_0_op",
    "input_blocks_6_0_op", "input_blocks_4_0_skip_connection", "input_blocks_8_0_in_layers_2",
    "input_blocks_8_1_proj_out", "middle_block_0_in_layers_2", "middle_block_2_out_layers_3",
    "output_blocks_2_2_conv", "output_blocks_2_0_skip_connection", "output_blocks_5_2_conv",
    "output_blocks_7_0_in_layers_2", "output_blocks_1_1_transformer_blocks_1_attn1_to_q",
]


def module_size(pipe, part, module):
    """transformers' text models have text_model or not, by class and version."""
    model = getattr(pipe, part)
    modules = dict(model.named_modules())
    return modules.get(module, modules.get("text_model." + module)).weight.shape


def pair(seed, size, rank):
    """down and up for a weight of that size."""
    down = numbers(seed + "/down", (rank, *size[1:]), 0.5).float()
    up = numbers(seed + "/up", (size[0], rank, *(1 for _ in size[2:])), 0.5).float()
    return down, up


def each(pipe, name, modules=None, rank=2):
    """Every module's part, name, matrices, for an adapter 'name'; ranks differ."""
    for part, names in (modules or LINEAR).items():
        for i, module in enumerate(names):
            size = module_size(pipe, part, module)
            yield part, module, pair(f"{name}/{part}.{module}", size, rank + i % 2)


def long(part, module):
    return module if part == "unet" else "text_model." + module


def kohya(pipe, name, spelling, modules=None, alphas=(1.5,)):
    prefix = {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}
    out = {}
    for i, (part, module, (down, up)) in enumerate(each(pipe, name, modules)):
        key = prefix[part] + spelling(long(part, module)).replace(".", "_")
        out[key + ".lora_down.weight"] = down
        out[key + ".lora_up.weight"] = up
        out[key + ".alpha"] = torch.tensor(alphas[i % len(alphas)])
    return out


def dotted(pipe, name, down_end, up_end, modules=None):
    out = {}
    for part, module, (down, up) in each(pipe, name, modules):
        out[f"{part}.{long(part, module)}{down_end}"] = down
        out[f"{part}.{long(part, module)}{up_end}"] = up
    return out


def processors(pipe, name):
    """What diffusers wrote before it used PEFT."""
    short = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}
    out = {}
    for part, module, halves in each(pipe, name, ATTENTION):
        module = long(part, module)
        if part == "unet":
            module = module.replace("attn1.", "attn1.processor.")
            module = module.replace("attn2.", "attn2.processor.").replace("to_out.0", "to_out")
        else:
            stem, last = module.rsplit(".", 1)
            module = f"{stem}.{short[last]}"
        for half, tensor in zip(("down", "up"), halves):
            out[f"{part}.{module}_lora.{half}.weight"] = tensor
    return out


def with_adapters(pipe, name):
    """The pipeline with PEFT's layers in it, as training scripts make it: ranks and alphas differ."""
    for part in PARTS:
        model = getattr(pipe, part)
        first = LINEAR[part][0]
        config = LoraConfig(r=2, lora_alpha=3, target_modules=LINEAR[part],
                            rank_pattern={first: 4}, alpha_pattern={LINEAR[part][1]: 5},
                            use_rslora=part == "text_encoder_2")
        model.add_adapter(config)
        fill_adapter(model, f"{name}/{part}")
    return pipe


def fill_adapter(model, seed):
    with torch.no_grad():
        for key, p in model.named_parameters():
            if "lora_" in key:
                p.copy_(numbers(f"{seed}/{key}", tuple(p.shape), 0.5).float())


def save_diffusers(folder, file, metadata):
    pipe = with_adapters(pipeline(), file)
    layers = {f"{p}_lora_layers": get_peft_model_state_dict(getattr(pipe, p)) for p in PARTS}
    about = {}
    if metadata:
        about = {f"{p}_lora_adapter_metadata": getattr(pipe, p).peft_config["default"].to_dict()
                 for p in PARTS}
        for config in about.values():
            for key in config:
                if isinstance(config[key], set):
                    config[key] = sorted(config[key])
    StableDiffusionXLPipeline.save_lora_weights(folder, weight_name=file, **layers, **about)


def save_middle(pipe, path):
    """A convolution with a small one in the middle, and linear layers written as convolutions."""
    out = kohya(pipe, "middle", str, {"unet": [DOWN + "proj_in", "conv_in"]})
    for key in list(out):
        if "proj_in" in key and not key.endswith("alpha"):
            out[key] = out[key][:, :, None, None].clone()
    down = numbers("middle/down", (3, 8, 1, 1), 0.5).float()
    mid = numbers("middle/mid", (3, 3, 3, 3), 0.5).float()
    up = numbers("middle/up", (8, 3, 1, 1), 0.5).float()
    for half, tensor in (("down", down), ("mid", mid), ("up", up)):
        out[f"lora_unet_down_blocks_0_resnets_0_conv1.lora_{half}.weight"] = tensor
    out["lora_unet_down_blocks_0_resnets_0_conv1.alpha"] = torch.tensor(2.0)
    save_file(out, path)
    return out


def merge_alphas(out, modules):
    """Layers with alphas of their own, as the scripts that write them understand them: diffusers
    0.42 takes the most frequent one for attention's layers, whose names it does not find again."""
    weights = {}
    for module in modules:
        key = "lora_unet_" + module.replace(".", "_")
        down, up = out[key + ".lora_down.weight"], out[key + ".lora_up.weight"]
        name = f"unet.{module}.weight"
        base = weight(name, (up.shape[0], down.shape[1]))
        weights[name] = base + out[key + ".alpha"] / down.shape[0] * (up @ down)
    return weights


def merge_middle(out):
    """diffusers does not read these: the convolutions themselves are asked what they are together."""
    weights = {}
    for stem in {key.split(".")[0] for key in out}:
        name = {"lora_unet_conv_in": "conv_in",
                "lora_unet_down_blocks_0_resnets_0_conv1": "down_blocks.0.resnets.0.conv1"}
        name = "unet." + name.get(stem, DOWN + "proj_in") + ".weight"
        down, up = out[stem + ".lora_down.weight"], out[stem + ".lora_up.weight"]
        mid = out.get(stem + ".lora_mid.weight")
        k = down.shape[-1] if mid is None else mid.shape[-1]
        x = torch.eye(down.shape[1])[:, :, None, None] * F.pad(torch.ones(1, 1), (k - 1,) * 4)
        y = F.conv2d(x, down)
        y = F.conv2d(y if mid is None else F.conv2d(y, mid), up).transpose(0, 1).flip(2, 3)
        if name.endswith("proj_in.weight"):
            y = y[:, :, 0, 0]
        scale = out[stem + ".alpha"] / down.shape[0]
        weights[name] = weight(name, y.shape) + scale * y
    return weights


# --- what comes of them ---------------------------------------------------------------------------
def changed(pipe):
    """The weights that adapters have been fused into."""
    for part in PARTS:
        for name, module in getattr(pipe, part).named_modules():
            if hasattr(module, "base_layer"):
                yield canonical(part, name) + ".weight", module.base_layer.weight


def show(out, files, weights):
    print("adapter", *(f"{file} {w}" for file, w in files), file=out)
    for name, w in sorted(weights):
        before = weight(name, w.shape)
        assert not torch.equal(before, w), name
        sums = [(w.double() * numbers(f"{name}/{i}", tuple(w.shape), 1)).sum().item()
                for i in range(3)]
        print(name, "x".join(map(str, w.shape)), *(f"{s:.7g}" for s in sums), file=out)


def fused(folder, files):
    pipe = pipeline()
    for i, (file, _) in enumerate(files):
        with tempfile.TemporaryDirectory() as named:  # diffusers goes by the ending
            shutil.copy(os.path.join(folder, file), os.path.join(named, "a.safetensors"))
            pipe.load_lora_weights(named, weight_name="a.safetensors", adapter_name=f"a{i}")
    pipe.set_adapters([f"a{i}" for i in range(len(files))], [w for _, w in files])
    pipe.fuse_lora(components=list(PARTS), adapter_names=[f"a{i}" for i in range(len(files))])
    return changed(pipe)


def save_peft(folder, name, model, part, config):
    """A folder of PEFT's own, and the weights with it merged."""
    path = os.path.join(folder, name)
    peft = get_peft_model(model, config)
    fill_adapter(peft, name)
    peft.save_pretrained(path)
    for extra in "README.md", "tokenizer_config.json":
        if os.path.exists(os.path.join(path, extra)):
            os.remove(os.path.join(path, extra))
    names = [n.removeprefix("base_model.model.") for n, m in peft.named_modules()
             if hasattr(m, "base_layer")]
    merged = dict(peft.merge_and_unload().named_modules())
    return [(canonical(part, n) + ".weight", merged[n].weight) for n in names]


def write_models(folder):
    for part, model in ("unet", unet_model()), ("text", text_model(1)), ("text_2", text_model(2)):
        config = {**model.config} if part == "unet" else model.config.to_diff_dict()
        if part != "unet":
            config["architectures"] = [type(model).__name__]
        config = {k: v for k, v in config.items() if not k.startswith("_name")}
        with open(os.path.join(folder, part + ".json"), "w") as f:
            json.dump(config, f, indent=1, sort_keys=True)
            f.write("\n")


def main(folder):
    torch.set_num_threads(1)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    write_models(folder)
    pipe = pipeline()

    def save(name, tensors):
        save_file(tensors, os.path.join(folder, name))

    single = dict(zip(EVERYWHERE, SINGLE))
    save_diffusers(folder, "metadata.lora", True)
    save_diffusers(folder, "plain.lora", False)
    save("down_up.lora", dotted(pipe, "down_up", ".lora.down.weight", ".lora.up.weight",
                                {"unet": LINEAR["unet"]}))
    save("processors.lora", processors(pipe, "processors"))
    save("linear_layer.lora", dotted(pipe, "linear_layer", ".lora_linear_layer.down.weight",
                                     ".lora_linear_layer.up.weight",
                                     {p: LINEAR[p] for p in PARTS[1:]}))
    save("kohya.lora", kohya(pipe, "kohya", str))
    save("kohya_f16.lora", {k: v.half() for k, v in kohya(
        pipe, "kohya_f16", str, {"unet": LINEAR["unet"][:3]}).items()})
    save("single.lora", kohya(pipe, "single", lambda m: single[m], {"unet": EVERYWHERE}))
    alphas = kohya(pipe, "alphas", str, {"unet": LINEAR["unet"]}, (1.0, 2.0, 3.0))
    save("alphas.lora", alphas)
    middle = save_middle(pipe, os.path.join(folder, "middle.lora"))
    with open(os.path.join(folder, "expected.txt"), "w") as out:
        for files in ([("metadata.lora", 1)], [("plain.lora", 0.75)], [("down_up.lora", 1)],
                      [("processors.lora", 1)], [("linear_layer.lora", 1)], [("kohya.lora", 1)],
                      [("kohya_f16.lora", -2)], [("single.lora", 1)],
                      [("metadata.lora", 0.7), ("kohya.lora", -0.5)]):
            show(out, files, fused(folder, files))
        show(out, [("alphas.lora", 1)], merge_alphas(alphas, LINEAR["unet"]).items())
        show(out, [("middle.lora", 1)], merge_middle(middle).items())
        show(out, [("peft_unet", 1)], save_peft(folder, "peft_unet", unet_model(), "unet", LoraConfig(
            r=4, lora_alpha=6, use_rslora=True, rank_pattern={"attn1.to_q": 2},
            alpha_pattern={"attn2.to_k": 1.5},
            target_modules=LINEAR["unet"][:4] + ["conv_in", "down_blocks.1.resnets.0.conv1"])))
        show(out, [("peft_text", 1)], save_peft(folder, "peft_text", text_model(1), "text_encoder",
             LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "fc2"])))


if __name__ == "__main__":
    main(sys.argv[1])
