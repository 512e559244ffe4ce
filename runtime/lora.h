/* lora.h -- low-rank adapters in safetensors files, added to a model's weights as they are loaded.
 *
 * Names of diffusers (old and new), PEFT and kohya are known, and adapters of convolutions (LoCon,
 * also with a small convolution in the middle). The scale is alpha / rank: alpha comes from tensors
 * beside the matrices, each layer its own; from the file's metadata (lora_adapter_metadata); for a
 * file or folder of PEFT from the adapter_config.json that has to lie with it. Without alpha the
 * scale is 1.
 *
 * Files with other kinds (LoHa, LoKr, DoRA), keys that no weight of the model answers to, sizes
 * that do not fit, numbers that are none, halves without their other half are refused by the key;
 * of a file that is refused nothing stays. At most 64 adapters, each of at most 8 GiB and rank
 * 4096; its matrices stay in memory in the file's type. A list holds adapters in the order of
 * adding; the caller owns it. One thread at a time. */
#ifndef AT_RUNTIME_LORA_H
#define AT_RUNTIME_LORA_H

#include "models/sdxl.h"

typedef struct at_loras at_loras;

AT_API at_loras *at_loras_new(void); /* NULL: no memory */
AT_API void at_loras_free(at_loras *l);
/* Reads the whole file; every key has to fit the model's parts. 'path' may be a folder with one. */
AT_API at_status at_loras_add(at_loras *l, const at_sdxl_about *model, const char *path,
                              double weight, at_error *err);
/* w += the sum over all adapters of weight * scale * up * down, for the part's at_sdxl_load(). It
 * lives as long as the list. */
AT_API at_weight_change at_loras_change(at_loras *l);
/* Whether a weight of this part changes. */
AT_API bool at_loras_touch(const at_loras *l, at_sdxl_part part);

#endif
