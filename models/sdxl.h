/* sdxl.h -- a model file of Stable Diffusion XL, and its parts in a device's memory.
 *
 * A model file is a checkpoint. Its tensors are named PART.NAME, PART one of sdxl_parts.def, NAME
 * as diffusers and transformers write it; its texts are the files of a diffusers folder under their
 * paths there: "model_index.json", "unet/config.json", "scheduler/scheduler_config.json",
 * "tokenizer/vocab.json". A part that is not there is refused when it is asked for; a refiner has
 * no first text encoder. A file without tokenizers has the ones that are built in, one without a
 * scheduler SDXL base's.
 *
 * Opening reads configurations and checks every tensor's name, type and sizes; weights come with
 * at_sdxl_load(), a part at a time, and go with at_sdxl_drop(), before which every plan made from
 * them is gone. The caller owns the model and the device, which outlives it. One thread at a
 * time. */
#ifndef AT_MODELS_SDXL_H
#define AT_MODELS_SDXL_H

#include "models/clip_text.h"
#include "models/clip_tokenizer.h"
#include "models/sdxl_unet.h"
#include "models/sdxl_vae.h"

typedef enum at_sdxl_part {
#define AT_SDXL_PART(NAME, folder) AT_SDXL_##NAME,
#include "models/sdxl_parts.def"
#undef AT_SDXL_PART
    AT_SDXL_PARTS
} at_sdxl_part;

AT_API const char *at_sdxl_part_name(at_sdxl_part part);
/* AT_SDXL_PARTS: there is none of this name. */
AT_API at_sdxl_part at_sdxl_part_named(const char *name);

/* What the file says, weights aside. Of parts that are not there the configurations are zeros. */
typedef struct at_sdxl_about {
    bool has[AT_SDXL_PARTS];
    at_sdxl_unet_config unet;
    at_sdxl_vae_config vae;
    at_clip_text_config text[2];
    const char *scheduler; /* scheduler_config.json */
    size_t scheduler_bytes;
    bool zeros_for_no_negative; /* force_zeros_for_empty_prompt */
    bool asks_aesthetics_score; /* requires_aesthetics_score: five sizes, the last a score */
} at_sdxl_about;

typedef struct at_sdxl at_sdxl;

/* 'trust_folder' as in at_checkpoint_options, or NULL. */
AT_API at_status at_sdxl_open(at_sdxl **out, const char *path, at_device *device,
                              const char *trust_folder, at_error *err);
AT_API void at_sdxl_close(at_sdxl *m);
AT_API at_device *at_sdxl_device(const at_sdxl *m);
AT_API const at_sdxl_about *at_sdxl_about_of(const at_sdxl *m);
/* 0 and 1. NULL: the encoder is not there. */
AT_API const at_clip_tokenizer *at_sdxl_tokenizer(const at_sdxl *m, int i);
/* The file's checksum over all of its tensors' checksums, as 16 hexadecimal digits: the weights'
 * name in recipes, the same for the same weights whatever file they came from. */
AT_API const char *at_sdxl_hash(const at_sdxl *m);
/* The type that most of a part's bytes have in the file; AT_NONE: it is not there. */
AT_API at_dtype at_sdxl_stored_dtype(const at_sdxl *m, at_sdxl_part part);

/* What is added to weights on their way into memory: the sum of low-rank updates, say. 'touches'
 * tells whether 'name', PART.NAME, changes; 'add' adds to w, (elements) f32. */
typedef struct at_weight_change {
    bool (*touches)(void *context, const char *name);
    at_status (*add)(void *context, const char *name, float *w, int64_t elements, at_error *err);
    void *context;
} at_weight_change;

/* Loads a part with weights of 'dtype' (AT_F32, AT_BF16): where they lie in the file, if that has
 * the type and the device uses the host's memory, else a copy. 'change' may be NULL. A part that is
 * loaded already is not loaded again: drop it first. */
AT_API at_status at_sdxl_load(at_sdxl *m, at_sdxl_part part, at_dtype dtype,
                              const at_weight_change *change, at_error *err);
AT_API void at_sdxl_drop(at_sdxl *m, at_sdxl_part part);

/* Of a loaded part, else NULL. */
AT_API at_params *at_sdxl_store(at_sdxl *m, at_sdxl_part part);
AT_API const at_sdxl_unet *at_sdxl_unet_of(const at_sdxl *m);
AT_API const at_sdxl_vae *at_sdxl_vae_of(const at_sdxl *m);
AT_API const at_clip_text *at_sdxl_text_of(const at_sdxl *m, int i);
AT_API at_dtype at_sdxl_dtype(const at_sdxl *m, at_sdxl_part part);

#endif
