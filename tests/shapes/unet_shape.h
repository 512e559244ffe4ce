/* unet_shape.h -- the shape of SDXL's UNet as a graph, for tests of plans: what is alive when, at
 * real sizes. Its parameters are zeros; the model itself, with names and weights, belongs to
 * models/. */
#ifndef AT_TESTS_SHAPES_UNET_SHAPE_H
#define AT_TESTS_SHAPES_UNET_SHAPE_H

#include "engine/build.h"

typedef struct unet_shape {
    at_dtype dtype;
    int64_t batch, height, width; /* of the latent: 128 for a picture of 1024 */
    int64_t channels;             /* 320 */
    int64_t head_size;            /* 64 */
    int64_t context;              /* 2048 */
    int depth[3];                 /* transformer blocks per level: 0, 2, 10 */
    bool trainable;
} unet_shape;

extern const unet_shape unet_shape_sdxl;

typedef struct unet_io {
    at_tensor latent, temb, context, out;
} unet_io;

/* Adds the parameters to the store and the nodes to the graph. */
unet_io unet_describe(at_graph *g, at_params *params, const unet_shape *s);

#endif
