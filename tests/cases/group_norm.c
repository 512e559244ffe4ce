#include "tests/check.h"

/* One element, groups of one channel, of all, that are no whole vectors; two inputs with the seam
 * inside a group and off a vector's border; what a sample adds; weights of other types; f8 output;
 * a mean far from zero. A group of 64 channels over 3136 positions is cut by positions in f32, the
 * others by channels. The last ones are cut in both ways by a GPU, or just fit into what it shares;
 * they have inputs of two types, and values whose mean is 10,000 times their deviation. */
AT_CASES(group_norm) = {
    { "x=1,1 gamma=1 beta=1 groups=1 eps=1e-5", .gradients = "-" },
    { "x=2,3,3,6 gamma=6 beta=6 groups=3 eps=1e-5 silu=yes", .gradients = "x gamma beta" },
    { "x=2,7,4 x2=2,7,5 add=2,9 gamma=9 beta=9 groups=3 eps=1e-3 silu=yes",
      .gradients = "x x2 add gamma beta" },
    { "x=2,5,6 gamma=6 beta=6 groups=6 eps=1e-5", .gradients = "x gamma" },
    { "x=3,8,8,64 gamma=64:f32 beta=64:f32 groups=32 eps=1e-6", .gradients = "-" },
    { "x=2,9,7,20 gamma=20:bf16 beta=20:f16 groups=1 eps=1e-5", .gradients = "-" },
    { "x=3,5,7,40 x2=3,5,7,56 gamma=96 beta=96:f32 groups=8 eps=1e-5 silu=yes", "x=-2:6 x2=3:5",
      .gradients = "-" },
    { "x=2,6,5,330 add=2,330 gamma=330 beta=330 groups=33 eps=1e-5 silu=yes", "add=-3:3",
      .gradients = "-" },
    { "x=2,11,13,48 gamma=48 beta=48 groups=4 eps=1e-5", "x=99:101", .types = CHECK_F32,
      .gradients = "-" },
    { "x=2,60,60,64 gamma=64 beta=64 groups=1 eps=1e-5 silu=yes", "x=0:3", .gradients = "-" },
    { "x=3,60,60,29 x2=3,60,60,35 add=3,64 gamma=64 beta=64 groups=1 eps=1e-5", .types = CHECK_F32,
      .gradients = "-" },
    { "x=2,4,9,32 gamma=32 beta=32 y_scale=1 groups=4 eps=1e-5 silu=yes", "y_scale=0.01:0.02",
      .gradients = "-" },
    { "x=1,20,30,136 gamma=136 beta=136 groups=1 eps=1e-5 silu=yes", .types = CHECK_BF16,
      .gradients = "-" },
    { "x=2,18,15,40 x2=2,18,15,32 add=2,72 gamma=72 beta=72 y_scale=1 groups=36 eps=1e-5 silu=yes",
      "y_scale=0.01:0.02", .gradients = "-" },
    { "x=2,9,7,16 x2=2,9,7,8:f32 add=2,24:bf16 gamma=24 beta=24 groups=3 eps=1e-5",
      .gradients = "-" },
    { "x=2,30,31,24 gamma=24 beta=24 groups=12 eps=1e-5", "x=999.9:1000.1", .types = CHECK_F32,
      .gradients = "-" },
    { "x=2,9,7,24 add=2,24 gamma=24 beta=24 groups=2 eps=1e-5", "x=999.9:1000.1 add=-0.1:0.1",
      .types = CHECK_F32, .gradients = "-" },
    { NULL },
};

/* The gradient of what is added is nothing where a group is one channel: such a case could only
 * compare one rounding error with another. */
AT_CASES(group_norm_bwd) = {
    { "x=1,1 dy=1,1 mean=1,1:f32 rstd=1,1:f32 gamma=1 beta=1 groups=1", "rstd=0.5:2",
      .gradients = "-" },
    { "x=2,3,3,6 dy=2,3,3,6 mean=2,3:f32 rstd=2,3:f32 gamma=6 beta=6 groups=3 silu=yes",
      "rstd=0.5:2", .gradients = "-" },
    { "x=2,7,4 x2=2,7,5 dy=2,7,9 add=2,9 mean=2,3:f32 rstd=2,3:f32 gamma=9 beta=9 groups=3 "
      "silu=yes",
      "rstd=0.5:2", .gradients = "-" },
    { "x=3,5,7,40 x2=3,5,7,56 dy=3,5,7,96 mean=3,8:f32 rstd=3,8:f32 gamma=96:f32 beta=96:f32 "
      "groups=8",
      "rstd=0.5:2", .gradients = "-" },
    { "x=2,6,5,330 dy=2,6,5,330 add=2,330 mean=2,33:f32 rstd=2,33:f32 gamma=330 beta=330 "
      "groups=33 silu=yes",
      "rstd=0.5:2", .gradients = "-" },
    { "x=1,46,46,20 x2=1,46,46,28 dy=1,46,46,48 add=1,48 mean=1,1:f32 rstd=1,1:f32 gamma=48 "
      "beta=48 groups=1 silu=yes",
      "rstd=1.5:2 mean=-0.1:0.1", .types = CHECK_F32, .gradients = "-" },
    { "x=2,20,30,48 x2=2,20,30,24 dy=2,20,30,72 add=2,72 mean=2,9:f32 rstd=2,9:f32 gamma=72 "
      "beta=72 groups=9 silu=yes",
      "rstd=1.5:2 mean=-0.1:0.1", .gradients = "-" },
    { "x=2,9,7,16 x2=2,9,7,8:f32 dy=2,9,7,24:f32 add=2,24:f32 mean=2,3:f32 rstd=2,3:f32 "
      "gamma=24:bf16 beta=24:f32 groups=3 silu=yes",
      "rstd=0.5:2", .gradients = "-" },
    { NULL },
};
