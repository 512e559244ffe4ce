/* lora.h -- low-rank adapters in safetensors files, added to a model's weights as they are loaded.
 *
 * Names of diffusers, PEFT and kohya are known, with alpha from the tensors or from the file's
 * metadata; adapters of convolutions (LoCon) too. A file with other kinds (LoHa, LoKr, DoRA), a key
 * that no weight of the model answers to, or sizes that do not fit are refused by the key. A list
 * holds adapters in the order of adding; the caller owns it. One thread at a time. */
#ifndef AT_RUNTIME_LORA_H
#define AT_RUNTIME_LORA_H

#include "models/sdxl.h"

typedef struct at_loras at_loras;

AT_API at_loras *at_loras_new(void); /* NULL: no memory */
AT_API void at_loras_free(at_loras *l);
/* Reads the whole file; every key has to fit the model's parts. */
AT_API at_status at_loras_add(at_loras *l, const at_sdxl_about *model, const char *path,
                              double weight, at_error *err);
/* w += the sum over all adapters of weight * scale * up * down, for the part's at_sdxl_load(). It
 * lives as long as the list. */
AT_API at_weight_change at_loras_change(at_loras *l);
/* Whether a weight of this part changes. */
AT_API bool at_loras_touch(const at_loras *l, at_sdxl_part part);

#endif
