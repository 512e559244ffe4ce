#include "tests/check.h"

/* Sizes: one element, less than a vector and a panel, several panels and blocks of rows; few rows,
 * which have a variant of their own; every activation, every optional operand, weights of other
 * types. */
AT_CASES(linear) = {
    { "x=1,1 w=1,1" },
    { "x=3,1,5 w=7,5 bias=7" },
    { "x=3,2,37 w=53,37 bias=53 residual=3,2,53", .gradients = "x w bias residual" },
    { "x=2,20,37 w=53,37 bias=53 residual=2,20,53 act=gelu", .gradients = "-" },
    { "x=3,40,64 w=130,64 act=relu", .gradients = "-" },
    { "x=3,40,64 w=96,64 bias=96:f32 act=quick_gelu", .gradients = "-" },
    { "x=3,40,64 w=96,64:f32 bias=96:bf16 act=silu", .gradients = "-" },
    { "x=2,39,300 w=52,300 bias=52 y_dtype=f32", .gradients = "-" },
    { "x=1,150,33 w=300,33 bias=300", .gradients = "-" },
    { "x=3,1,300 w=200,300:bf16 bias=200 act=gelu", .types = CHECK_F32 | CHECK_BF16,
      .gradients = "-" },
    { "x=4,300 w=100,300:f16 bias=100 act=silu", .types = CHECK_F32 | CHECK_F16, .gradients = "-" },
    { "x=2,3,16,64 w=64,64 residual=2,3,16,64", .gradients = "-" },
    { "x=300,64 w=48,64 bias=48", .gradients = "-" },
    { "x=5,130 w=3,130 bias=3", "x=-100:100 w=-100:100", .gradients = "-" },
    { "x=3,2,7 w=5,7 bias=5 act=gelu", .gradients = "x w bias" },
    { "x=3,2,7 w=5,7 bias=5 act=quick_gelu", .gradients = "x w bias" },
    { "x=3,2,7 w=5,7 act=silu", .gradients = "x w" },
    { "x=3,2,7 w=5,7 bias=5 residual=3,2,5 act=relu", .gradients = "x w bias residual" },
    { "x=4,40:f8 w=24,40:f8 x_scale=1 w_scale=1 bias=24 y_dtype=f32", .types = CHECK_F32,
      .gradients = "-" },
    { "x=1,4,40:f8 w=24,40:f8 x_scale=4 w_scale=24 y_scale=1 y_dtype=f8 act=gelu",
      "y_scale=0.1:0.2", .types = CHECK_F32, .gradients = "-" },
    { NULL },
};
