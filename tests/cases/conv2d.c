#include "tests/check.h"

/* Kernels 1, 3, 4, 9, strides 1 and 2, paddings of every kind, channels from 1 to several panels,
 * widths below and above a tile. */
AT_CASES(conv2d) = {
    { "x=1,1,1,1 w=1,1,1,1" },
    { "x=1,5,4,3 w=2,3,3,3 bias=2 pad=1,1,1,1" },
    { "x=3,8,8,20 w=40,20,3,3 bias=40 residual=3,8,8,40 pad=1,1,1,1", .gradients = "-" },
    { "x=2,9,7,4 w=5,4,3,3 bias=5 residual=2,5,4,5 stride=2,2 pad=1,1,1,1 relu=yes",
      .gradients = "x w bias residual" },
    { "x=2,8,8,3 w=4,3,3,3 stride=2,2 pad=0,0,1,1", .gradients = "x w" },
    { "x=2,6,7,3 w=4,3,3,3 bias=4 pad=1,1,1,1 pad_mode=reflect", .gradients = "x w bias" },
    { "x=1,14,12,3 w=10,3,9,9 bias=10 pad=4,4,4,4 pad_mode=reflect relu=yes", .gradients = "-" },
    { "x=1,12,11,16 w=3,16,9,9 bias=3 pad=4,4,4,4 pad_mode=reflect", .gradients = "-" },
    { "x=2,6,9,33 w=52,33,3,3 bias=52:f32 stride=2,1 pad=1,0,2,1 relu=yes", .gradients = "-" },
    { "x=2,8,8,64 w=64,64,1,1 bias=64 residual=2,8,8,64", .gradients = "-" },
    { "x=2,9,16,4 w=32,4,3,3:f32 bias=32 pad=1,1,1,1 y_dtype=f32", .gradients = "-",
      .types = CHECK_F32 },
    { "x=2,6,8,64 w=32,64,3,3 bias=32 pad=1,1,1,1 y_dtype=f32", .gradients = "-" },
    { "x=2,40,16,8 w=8,8,3,3 bias=8 residual=2,40,16,8 pad=1,1,1,1", .gradients = "-",
      .types = CHECK_F32 | CHECK_BF16 },
    { "x=1,8,8,48 w=20,48,4,4 stride=4,4", .gradients = "-" },
    { "x=2,17,15,24 w=72,24,3,3 bias=72 stride=2,2 pad=1,1,1,1 relu=yes", .gradients = "-" },
    { "x=2,7,6,16 w=8,16,3,3:f32 bias=8 pad=1,1,1,1", .gradients = "-" },
    { "x=2,6,8,24 w=40,24,3,3 bias=40:f32 residual=2,6,8,40 pad=1,0,1,2 relu=yes",
      .gradients = "-" },
    /* Paddings whose exchange leaves the output's sizes. */
    { "x=2,9,8,16 w=24,16,3,3 bias=24 stride=2,2 pad=1,0,0,1", .gradients = "-" },
    { "x=2,8,8,16 w=24,16,3,3 bias=24 stride=2,2 pad=0,0,1,1", .gradients = "-" },
    { "x=2,5,6,16 w=8,16,3,3:f32 residual=2,5,6,8 pad=1,1,1,1 relu=yes", .gradients = "-" },
    { "x=2,6,5,8 w=4,8,3,3:f32 pad=1,1,1,1 y_dtype=f32", .gradients = "-" },
    { NULL },
};
