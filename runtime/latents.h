/* latents.h -- between pictures and latents: a model's VAE, one picture at a time.
 *
 * On the host a picture is (height, width, 3) f32 of [-1, 1], latents are (channels, height, width)
 * f32, scaled as the UNet knows them. The VAE has to be loaded; at_latents_load() does. One thread
 * at a time. */
#ifndef AT_RUNTIME_LATENTS_H
#define AT_RUNTIME_LATENTS_H

#include "runtime/model.h"

typedef enum at_latents_way { AT_LATENTS_ENCODE, AT_LATENTS_DECODE } at_latents_way;
/* Loads the VAE in the type that it has this way: where its config says so, encoding is in f32. */
at_status at_latents_load(at_model *m, at_latents_way way, at_error *err);

/* Whole, or in tiles as diffusers has them: of the config's sample_size, a quarter of which
 * overlaps and is blended. */
typedef enum at_latents_tiles { AT_LATENTS_WHOLE, AT_LATENTS_TILED } at_latents_tiles;

/* 'size' is that of the latents: channels, height, width. */
at_status at_latents_decode(at_model *m, float *picture, const float *latents,
                            const int64_t size[3], at_latents_tiles tiles, at_error *err);

/* What the VAE makes of a picture: (h, w, 2 * channels), mean | log of the variance; 'size' is
 * that of the latents to come. */
at_status at_latents_encode(at_model *m, float *moments, const float *picture,
                            const int64_t size[3], at_latents_tiles tiles, at_error *err);

/* diffusers' inpainting does not know latents_mean and latents_std when it encodes. */
typedef enum at_latents_scaling { AT_LATENTS_NORMALIZED, AT_LATENTS_SCALED } at_latents_scaling;

/* One of the pictures that the moments stand for: mean + deviation * noise, scaled. */
void at_latents_sample(float *latents, const float *moments, const float *noise,
                       const at_sdxl_vae_config *vae, const int64_t size[3],
                       at_latents_scaling scaling);

/* 8-bit samples from [-1, 1] and back, n of them. */
void at_latents_to_u8(uint8_t *out, const float *picture, int64_t n);
void at_latents_from_u8(float *out, const uint8_t *picture, int64_t n);

#endif
