#include "tests/check.h"

/* Sizes: one output; less than a tile of 128 rows, 128 columns and 64 of depth, a bit more than one
 * of each, several, more than a GPU has multiprocessors; depths and widths that are no multiple of
 * 8; gates where gelu saturates; biases and weights of other types; y in f8 and in other types.
 *
 * In f8: as a tensor core takes it, in numbers whose sums fit into the 14 bits that it keeps (in
 * steps of 2^-8 they end below 64); depths that it does not take; beside other types. */
AT_CASES(linear_geglu) = {
    { "x=1,1 w=2,1", .gradients = "-" },
    { "x=1,8 w=2,8 bias=2", .gradients = "-" },
    { "x=3,2,37 w=54,37 bias=54", .gradients = "-" },
    { "x=3,5,40 w=26,40 bias=26", .gradients = "-" },
    { "x=2,65,64 w=272,64 bias=272:f32", .gradients = "-" },
    { "x=2,3,9,328 w=144,328 bias=144:f16", .gradients = "-" },
    { "x=3,43,72 w=264,72", "x=-3:3", .gradients = "-" },
    { "x=1,130,136 w=96,136 bias=96", "x=-2:2 bias=-8:8", .gradients = "-" },
    { "x=2,9,24 w=40,24 bias=40", "bias=-40:40", .gradients = "-" },
    { "x=4,48 w=32,48:f32 bias=32", .gradients = "-" },
    { "x=2,33,72 w=144,72 bias=144 y_scale=1", "y_scale=0.02:0.1", .types = CHECK_F32 | CHECK_BF16,
      .gradients = "-" },
    { "x=5,16 w=50,16 y_scale=1", "y_scale=0.02:0.1", .types = CHECK_F32 | CHECK_BF16,
      .gradients = "-" },
    { "x=1,16897,8 w=2,8 bias=2", .types = CHECK_BF16, .gradients = "-" },
    { "x=3,40 w=24,40 bias=24 y_dtype=f32", .types = CHECK_BF16 | CHECK_F16, .gradients = "-" },
    { "x=3,5,48:f8 w=48,48:f8 bias=48 x_scale=1 w_scale=1 y_dtype=bf16",
      "x=0.5:1 w=0.5:1 bias=-40:-5 x_scale=1:2 w_scale=0.5:1", .types = CHECK_F32 | CHECK_BF16,
      .gradients = "-" },
    { "x=2,65,144:f8 w=272,144:f8 bias=272 x_scale=1 w_scale=1 y_scale=1",
      "x=0.5:0.75 w=0.5:0.75 bias=-75:-35 x_scale=1.8:2.2 w_scale=0.5:0.55 y_scale=1.5:2",
      .types = CHECK_BF16 | CHECK_F16, .gradients = "-" },
    { "x=3,43,80:f8 w=264,80:f8 x_scale=1 w_scale=1 y_dtype=bf16",
      "x=0.5:1 w=0.5:1 x_scale=0.05:0.1 w_scale=0.2:0.3", .types = CHECK_BF16, .gradients = "-" },
    { "x=1,9,640:f8 w=32,640:f8 bias=32 x_scale=1 w_scale=1 y_dtype=bf16",
      "x=0.5:0.75 w=const:0.25 bias=-60:-40 x_scale=0.4:0.6 w_scale=const:1", .types = CHECK_BF16,
      .gradients = "-" },
    { "x=1,2,640:f8 w=272,640:f8 x_scale=1 w_scale=1 y_scale=1",
      "x=const:0.25 w=0.5:0.75 x_scale=0.02:0.03 w_scale=const:1 y_scale=0.01:0.02",
      .types = CHECK_BF16, .gradients = "-" },
    { "x=4,40:f8 w=24,40:f8 bias=24 x_scale=1 w_scale=1 y_dtype=f32", .types = CHECK_F32,
      .gradients = "-" },
    { "x=2,2064:f8 w=4,2064:f8 x_scale=1 w_scale=1 y_dtype=f16", "x_scale=0.01:0.02",
      .types = CHECK_F16, .gradients = "-" },
    { "x=2,5,64 w=40,64:f8 w_scale=1 bias=40", .gradients = "-" },
    { "x=1,17,32:f8 w=48,32 x_scale=1 bias=48 y_scale=1", "y_scale=0.1:0.2", .types = CHECK_BF16,
      .gradients = "-" },
    { NULL },
};
