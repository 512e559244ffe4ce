"""The parts of the small model, with SDXL's classes: their configurations, and a new pipeline."""
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

import shapes

SCALING = 0.13025
LATENTS = shapes.SIZE // 4  # on a side: pictures this small want finer ones than SDXL's
TOKENS = 77
WIDTHS = (64, 96)  # of the text encoders


# --- tokenizer ------------------------------------------------------------------------------------


def byte_letters():
    """The 256 letters that CLIP writes bytes as, in CLIP's order."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in kept]
    return [chr(b) for b in kept] + [chr(256 + i) for i in range(len(rest))]


def learn_merges(words):
    """Joins the most frequent pair until every word is one token; other words stay in pieces."""
    pieces = [[*w[:-1], w[-1] + "</w>"] for w in words]
    merges = []
    while any(len(p) > 1 for p in pieces):
        count = {}
        for p in pieces:
            for pair in zip(p, p[1:]):
                count[pair] = count.get(pair, 0) + 1
        best = max(count, key=lambda pair: (count[pair], pair))
        merges.append(best)
        for p in pieces:
            i = 0
            while i + 1 < len(p):
                if (p[i], p[i + 1]) == best:
                    p[i:i + 2] = ["".join(best)]
                i += 1
    return merges


def new_tokenizers():
    """The second pads with "!", as SDXL's does."""
    letters = byte_letters()
    merges = learn_merges([w for w in shapes.words() if len(w) > 1])
    tokens = letters + [c + "</w>" for c in letters] + ["".join(m) for m in merges]
    tokens = list(dict.fromkeys(tokens)) + ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {t: i for i, t in enumerate(tokens)}
    return [CLIPTokenizer(vocab=dict(vocabulary), merges=list(merges), pad_token=pad,
                          model_max_length=TOKENS) for pad in ("<|endoftext|>", "!")]


# --- networks -------------------------------------------------------------------------------------


def new_vae():
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 3, up_block_types=["UpDecoderBlock2D"] * 3,
        block_out_channels=[16, 32, 48], layers_per_block=1, norm_num_groups=2,
        latent_channels=4, sample_size=shapes.SIZE, scaling_factor=SCALING)


def new_text_encoders(vocabulary):
    """SDXL reads the last layer but one; the last of the second gives the pooled text."""
    shared = dict(vocab_size=vocabulary, max_position_embeddings=TOKENS, num_hidden_layers=3,
                  bos_token_id=vocabulary - 2, eos_token_id=vocabulary - 1)
    first = CLIPTextConfig(hidden_size=WIDTHS[0], intermediate_size=4 * WIDTHS[0],
                           num_attention_heads=2, hidden_act="quick_gelu",
                           pad_token_id=vocabulary - 1, **shared)
    second = CLIPTextConfig(hidden_size=WIDTHS[1], intermediate_size=4 * WIDTHS[1],
                            num_attention_heads=3, hidden_act="gelu", pad_token_id=0,
                            projection_dim=WIDTHS[1], **shared)
    return CLIPTextModel(first), CLIPTextModelWithProjection(second)


def new_unet():
    """Three levels as SDXL has them, of 16, 8 and 4 latents; the finest does not read the text."""
    return UNet2DConditionModel(
        sample_size=LATENTS, in_channels=4, out_channels=4,
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        block_out_channels=[32, 64, 128], layers_per_block=1,
        transformer_layers_per_block=[1, 1, 1], attention_head_dim=[1, 2, 4],
        cross_attention_dim=sum(WIDTHS), norm_num_groups=8, use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=WIDTHS[1] + 6 * 32)


def new_scheduler():
    return EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
        prediction_type="v_prediction", timestep_spacing="trailing")


def count(module):
    return sum(p.numel() for p in module.parameters())


def token_ids(tokenizers, texts):
    """(2, B, 77)"""
    return torch.tensor([t(texts, padding="max_length", max_length=TOKENS,
                           truncation=True)["input_ids"] for t in tokenizers])


def encode(encoders, ids):
    """What the UNet reads: (B, 77, sum of widths), (B, width of the second)"""
    first = encoders[0](ids[0], output_hidden_states=True)
    second = encoders[1](ids[1], output_hidden_states=True)
    context = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1)
    return context, second.text_embeds


if __name__ == "__main__":
    tokenizers = new_tokenizers()
    encoders = new_text_encoders(len(tokenizers[0]))
    for part in (*encoders, new_unet(), new_vae()):
        print(type(part).__name__, count(part))
