"""SDXL's parts as diffusers and transformers compute them, and as OpenVINO does what these describe.

    models_peer.py make FOLDER                        a diffusers folder of random bf16 weights
    models_peer.py input FILE PART ARGUMENTS          inputs of a part, f32, for ARGUMENTS (JSON)
    models_peer.py diffusers|openvino FOLDER PART IN OUT DTYPE CALLS THREADS
    models_peer.py compare OURS THEIRS ...            the relative L2 distance of all results together
    models_peer.py versions

Prints one line of JSON, last. Inputs and outputs have the names and layouts of `atelier model run`."""

import json
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
TEXT = {"text_encoder": dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
                             hidden_act="quick_gelu", projection_dim=768),
        "text_encoder_2": dict(hidden_size=1280, intermediate_size=5120, num_hidden_layers=32,
                               num_attention_heads=20, hidden_act="gelu", projection_dim=1280)}
UNET = dict(sample_size=128, block_out_channels=[320, 640, 1280],
            down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
            up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
            transformer_layers_per_block=[1, 2, 10], attention_head_dim=[5, 10, 20], cross_attention_dim=2048,
            use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816)
VAE = dict(block_out_channels=[128, 256, 512, 512], layers_per_block=2, latent_channels=4, sample_size=1024,
           down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
           scaling_factor=0.13025, force_upcast=True)
SCHEDULER = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="leading",
                 steps_offset=1)


def empty(kind, config):
    """A model without an initialization, which would take minutes, in bf16."""
    with torch.device("meta"):
        model = kind(config) if hasattr(config, "to_dict") else kind.from_config(config)
    return model.to(torch.bfloat16).to_empty(device="cpu")


@torch.no_grad()
def fill(model):
    """Weights so that what goes through keeps its size: uniform, with the deviation 1 / sqrt(inputs)."""
    for name, p in sorted(model.named_parameters()):
        if p.dim() == 1:
            p.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
        else:
            p.uniform_(-1, 1).mul_((3 / (p.numel() / p.shape[0])) ** 0.5)
    for name, buffer in model.named_buffers():
        if name.endswith("position_ids"):
            buffer.copy_(torch.arange(buffer.shape[-1]).expand(buffer.shape))
    return model


def make(folder):
    import diffusers
    import transformers
    folder = Path(folder)
    torch.manual_seed(1)
    index = {"_class_name": "StableDiffusionXLPipeline", "_diffusers_version": diffusers.__version__,
             "force_zeros_for_empty_prompt": True}
    for part, config in TEXT.items():
        kind = transformers.CLIPTextModelWithProjection if part.endswith("2") else transformers.CLIPTextModel
        fill(empty(kind, transformers.CLIPTextConfig(vocab_size=49408, bos_token_id=49406, eos_token_id=49407,
                                                     **config))).save_pretrained(folder / part)
        index[part] = ["transformers", kind.__name__]
    fill(empty(diffusers.AutoencoderKL, VAE)).save_pretrained(folder / "vae")
    fill(empty(diffusers.UNet2DConditionModel, UNET)).save_pretrained(folder / "unet", max_shard_size="20GB")
    diffusers.EulerDiscreteScheduler(**SCHEDULER).save_pretrained(folder / "scheduler")
    index |= {"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
              "scheduler": ["diffusers", "EulerDiscreteScheduler"]}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    return {}


def make_input(path, part, arguments):
    arguments = json.loads(arguments)
    torch.manual_seed(2)
    batch, side = arguments.get("batch", 1), arguments.get("size", 1024) // 8
    if part == "unet":
        size = 8.0 * side
        tensors = {"sample": torch.randn(batch, 4, side, side), "timestep": torch.full((batch,), 500.0),
                   "encoder_hidden_states": torch.randn(batch, 77, 2048), "text_embeds": torch.randn(batch, 1280),
                   "time_ids": torch.tensor([[size, size, 0, 0, size, size]] * batch)}
    elif part == "vae_decoder":
        tensors = {"z": torch.randn(batch, 4, side, side)}
    else:
        ids = torch.randint(0, 49406, (batch, 77), dtype=torch.int32)
        ids[:, 0], ids[:, 20:] = 49406, 49407
        tensors = {"input_ids": ids}
    save_file(tensors, path)
    return {}


class Unet(torch.nn.Module):
    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def forward(self, sample, timestep, encoder_hidden_states, text_embeds, time_ids):
        added = {"text_embeds": text_embeds, "time_ids": time_ids}
        return self.unet(sample, timestep, encoder_hidden_states, added_cond_kwargs=added, return_dict=False)[0]


class Decoder(torch.nn.Module):
    def __init__(self, vae):
        super().__init__()
        self.vae = vae

    def forward(self, z):
        return self.vae.decode(z, return_dict=False)[0]


class Text(torch.nn.Module):
    def __init__(self, text, embeds):
        super().__init__()
        self.text, self.embeds = text, embeds

    def forward(self, input_ids):
        out = self.text(input_ids, output_hidden_states=True)
        return (out.hidden_states[-2], out.text_embeds) if self.embeds else (out.hidden_states[-2],)


def part_of(folder, part, dtype):
    """The module, and the names of what it returns."""
    import diffusers
    import transformers
    if part == "unet":
        model = diffusers.UNet2DConditionModel.from_pretrained(folder, subfolder="unet", torch_dtype=dtype)
        return Unet(model).eval(), ["sample"]
    if part == "vae_decoder":
        model = diffusers.AutoencoderKL.from_pretrained(folder, subfolder="vae", torch_dtype=dtype)
        return Decoder(model).eval(), ["sample"]
    kind = transformers.CLIPTextModelWithProjection if part.endswith("2") else transformers.CLIPTextModel
    model = kind.from_pretrained(folder, subfolder=part, dtype=dtype)
    names = ["hidden_states.-2"] + (["text_embeds"] if part.endswith("2") else [])
    return Text(model, part.endswith("2")).eval(), names


def inputs_of(path, dtype):
    """In the part's order, which is that of forward(); floats in the type but for what stays f32."""
    order = ["sample", "timestep", "encoder_hidden_states", "text_embeds", "time_ids", "z", "input_ids"]
    tensors = load_file(path)
    keep = ("timestep", "time_ids", "input_ids")
    return {n: tensors[n] if n in keep else tensors[n].to(dtype) for n in order if n in tensors}


def results_of(out, names):
    out = out if isinstance(out, (tuple, list)) else (out,)
    return {name: torch.as_tensor(o).float().contiguous() for name, o in zip(names, out)}


def timed(run, calls):
    out = run()
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        out = run()
        seconds.append(time.perf_counter() - start)
    return seconds, out


@torch.no_grad()
def run_diffusers(folder, part, source, target, dtype, calls, threads):
    torch.set_num_threads(int(threads))
    module, names = part_of(folder, part, DTYPES[dtype])
    inputs = inputs_of(source, DTYPES[dtype])
    # channels_last is diffusers' own advice for convolutions on the CPU.
    module = module.to(memory_format=torch.channels_last) if part in ("unet", "vae_decoder") else module
    seconds, out = timed(lambda: module(**inputs), int(calls))
    save_file(results_of(out, names), target)
    return {"seconds": seconds}


@torch.no_grad()
def convert(folder, part, inputs, path):
    import openvino as ov
    module, _ = part_of(folder, part, torch.float32 if part.startswith("text") else torch.bfloat16)
    example = {n: t.to(torch.bfloat16) if t.dtype == torch.float32 and n not in ("timestep", "time_ids") else t
               for n, t in inputs.items()} if not part.startswith("text") else inputs
    shapes = [(n, list(t.shape)) for n, t in inputs.items()]
    model = ov.convert_model(module, example_input=example, input=shapes)
    ov.save_model(model, path, compress_to_fp16=False)


@torch.no_grad()
def run_openvino(folder, part, source, target, dtype, calls, threads):
    import openvino as ov
    inputs = inputs_of(source, torch.float32)
    path = Path(target).with_name(Path(source).stem + ".xml")
    if not path.exists():
        convert(folder, part, inputs, path)
    core = ov.Core()
    model = core.compile_model(str(path), "CPU", {
        "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": int(threads),
        "INFERENCE_PRECISION_HINT": dtype})
    request = model.create_infer_request()
    arrays = []
    for port, tensor in zip(model.inputs, inputs.values()):
        if port.element_type == ov.Type.bf16:
            arrays.append(tensor.to(torch.bfloat16).view(torch.int16).numpy())
            request.set_tensor(port, ov.Tensor(arrays[-1], list(tensor.shape), ov.Type.bf16))
        else:
            arrays.append(tensor.numpy())
            request.set_tensor(port, ov.Tensor(arrays[-1]))
    seconds, _ = timed(request.infer, int(calls))
    names = ["sample"] if not part.startswith("text") else ["hidden_states.-2", "text_embeds"]
    out = []
    for port in model.outputs:
        data = request.get_tensor(port).data
        out.append(torch.from_numpy(data.view("int16")).view(torch.bfloat16) if port.element_type == ov.Type.bf16
                   else torch.from_numpy(data))
    save_file(results_of(out, names), target)
    return {"seconds": seconds}


def compare(*paths):
    off = total = 0.0
    for ours, theirs in zip(paths[::2], paths[1::2]):
        a, b = load_file(ours), load_file(theirs)
        for name in set(a) & set(b):
            off += (a[name].double() - b[name].double()).square().sum().item()
            total += b[name].double().square().sum().item()
    return {"differs": (off / total) ** 0.5 if total else None}


def versions():
    import diffusers
    import openvino
    import transformers
    return {"versions": f"diffusers {diffusers.__version__} and transformers {transformers.__version__} on torch "
                        f"{torch.__version__}, OpenVINO {openvino.__version__}"}


if __name__ == "__main__":
    verbs = {"make": make, "input": make_input, "diffusers": run_diffusers, "openvino": run_openvino,
             "compare": compare, "versions": versions}
    print(json.dumps(verbs[sys.argv[1]](*sys.argv[2:])))
