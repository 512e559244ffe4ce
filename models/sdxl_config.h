/* sdxl_config.h -- the descriptions of a UNet and of a VAE, read from the config.json that
 * diffusers keeps beside their weights.
 *
 * A key that is not there means what it means to diffusers; of keys that are there twice the last
 * counts, as in Python. A value that the models do not have is refused by the name of its key. A
 * key that nobody knows is passed over, as diffusers does: trainers leave their own in these files.
 *
 * The caller owns everything; nothing is kept. Any thread. */
#ifndef AT_MODELS_SDXL_CONFIG_H
#define AT_MODELS_SDXL_CONFIG_H

#include "models/sdxl_unet.h"
#include "models/sdxl_vae.h"

enum { AT_SDXL_CONFIG_BYTES_MAX = 1 << 20 };

/* Of a UNet2DConditionModel. The file has only the sum of the widths of the pooled text and of the
 * sizes: 'pooled' is the former, the second text encoder's projection_dim. */
AT_API at_status at_sdxl_unet_config_read(at_sdxl_unet_config *out, const char *json, size_t bytes,
                                          int64_t pooled, at_error *err);
/* That width where the encoder is not at hand: what 'sizes' numbers leave of the sum. */
AT_API at_status at_sdxl_unet_config_pooled(int64_t *out, const char *json, size_t bytes,
                                            int64_t sizes, at_error *err);
/* Of an AutoencoderKL. */
AT_API at_status at_sdxl_vae_config_read(at_sdxl_vae_config *out, const char *json, size_t bytes,
                                         at_error *err);

#endif
