/* request.h -- what a request must be like, and what it means where it leaves something open.
 * Plain data; any thread. */
#ifndef AT_RUNTIME_REQUEST_H
#define AT_RUNTIME_REQUEST_H

#include "models/sdxl.h"
#include "runtime/atelier.h"

enum {
    AT_REQUEST_COUNT_MAX = 64,
    AT_REQUEST_STEPS_MAX = 1000,
    AT_REQUEST_SIDE_MAX = 16384, /* of what is drawn, in pixels */
    AT_REQUEST_LORAS_MAX = 64,
    AT_REQUEST_CLIP_SKIP_MAX = 64,
    AT_REQUEST_TOLD_MAX = 1 << 20, /* of the sizes that the model is told */
    AT_REQUEST_BLUR_MAX = 1024
};
#define AT_REQUEST_GUIDANCE_MAX 1000.0
#define AT_REQUEST_SCORE_MAX    100.0
#define AT_REQUEST_WEIGHT_MAX   1000.0

/* The same request with nothing left open but the way's names. 'about' is the model's. */
at_status at_request_resolve(at_request *out, const at_request *r, const at_sdxl_about *about,
                             at_error *err);

/* What a UNet is told of sizes, (about->unet.sizes) numbers: of the prompt's row, or of the one
 * beside it. 'over': over a picture, or as a refiner. */
at_status at_request_sizes(float *out, const at_request *resolved, const at_sdxl_about *about,
                           bool negative, bool over, at_error *err);

#endif
