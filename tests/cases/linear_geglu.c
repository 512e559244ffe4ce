#include "tests/check.h"

/* Sizes: one output; less than a tile of 128 rows, 128 columns and 64 of depth, a bit more than one
 * of each, several, more than a GPU has multiprocessors; depths and widths that are no multiple of
 * 8; gates where gelu saturates; biases and weights of other types; y in f8. */
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
    { NULL },
};
