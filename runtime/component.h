/* component.h -- a part of a model run by itself, from a file of numbers to a file of numbers: how
 * it is held against other programs.
 *
 * Layout in files is that of diffusers and transformers, pictures (B, C, H, W); scaling factors of
 * latents are left to the caller. Names in, and out:
 *
 *     unet            sample, timestep (B), encoder_hidden_states, text_embeds, time_ids, and of
 *                     models with one timestep_cond                               sample
 *     vae_decoder     z                                                           sample
 *     vae_encoder     x                                                           mean, logvar
 *     text_encoder    input_ids   hidden_states.-2, last_hidden_state; with a projection
 *     text_encoder_2              text_embeds
 *
 * The caller owns the model, on whose device it runs; no part that it needs is loaded before. */
#ifndef AT_RUNTIME_COMPONENT_H
#define AT_RUNTIME_COMPONENT_H

#include "models/sdxl.h"

typedef struct at_component_how {
    at_dtype dtype;  /* of weights and layers: AT_F32, AT_BF16 */
    bool fast;       /* plans that are not exact */
    int repeats;     /* it is computed again so often, to be timed */
    double *seconds; /* (repeats), out: of each time, without loading, reading and writing */
} at_component_how;

/* Reads 'from', any kind of file with tensors, whose types are converted where they meet the
 * weights; writes 'to', safetensors in f32, which appears whole. Names that are missing or not
 * known, wrong sizes, numbers that are not finite, in or out, are refused. */
AT_API at_status at_component_run(at_sdxl *m, const char *component, const at_component_how *how,
                                  const char *from, const char *to, at_error *err);

#endif
