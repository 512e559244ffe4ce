#include "tests/check.h"

AT_CASES(conv2d_dgrad) = {
    { "dy=1,1,1,1 w=1,1,1,1 in_size=1,1", .gradients = "-" },
    { "dy=3,5,8,20 w=20,30,3,3 in_size=5,8 pad=1,1,1,1", .gradients = "-" },
    { "dy=2,5,4,5 w=5,4,3,3 in_size=9,7 stride=2,2 pad=1,1,1,1", .gradients = "-" },
    { "dy=2,3,4,33 w=33,50,3,3:f32 in_size=6,8 stride=2,2 pad=0,0,1,1", .gradients = "-" },
    { "dy=2,6,7,4 w=4,3,3,3 in_size=6,7 pad=1,1,1,1 pad_mode=reflect", .gradients = "-" },
    { "dy=2,5,6,4 w=4,3,9,9 in_size=5,6 pad=4,4,4,4 pad_mode=reflect", .gradients = "-" },
    { "dy=2,4,4,6 w=6,20,3,3 in_size=8,8 stride=2,2 pad=1,1,1,1 pad_mode=reflect",
      .gradients = "-" },
    { "dy=2,6,6,64 w=64,60,1,1 in_size=6,6", .gradients = "-" },
    { "dy=2,5,6,24 w=24,72,3,3 in_size=9,11 stride=2,2 pad=1,1,1,1", .gradients = "-" },
    { "dy=2,7,10,16 w=16,12,3,3 in_size=7,9 pad=2,1,0,2 pad_mode=reflect", .gradients = "-" },
    { "dy=1,3,4,8 w=8,5,4,5:f32 in_size=10,13 stride=3,3 pad=1,2,1,0", .gradients = "-" },
    { "dy=2,40,16,4 w=4,4,3,3 in_size=40,16 pad=1,1,1,1", .gradients = "-",
      .types = CHECK_F32 | CHECK_BF16 },
    { NULL },
};

AT_CASES(conv2d_wgrad) = {
    { "dy=1,1,1,1 x=1,1,1,1 kernel=1,1", .gradients = "-" },
    { "dy=3,8,8,20 x=3,8,8,30 kernel=3,3 pad=1,1,1,1 acc=20,30,3,3:f32 bias_acc=20:f32",
      .gradients = "-" },
    { "dy=2,5,4,5 x=2,9,7,4 kernel=3,3 stride=2,2 pad=1,1,1,1", .gradients = "-" },
    { "dy=2,4,4,130 x=2,8,8,50 kernel=3,3 stride=2,2 pad=0,0,1,1 acc=130,50,3,3:f32",
      .gradients = "-" },
    { "dy=2,6,7,4 x=2,6,7,3 kernel=3,3 pad=1,1,1,1 pad_mode=reflect", .gradients = "-" },
    { "dy=2,5,6,8 x=2,5,6,9 kernel=9,9 pad=4,4,4,4 pad_mode=reflect", .gradients = "-" },
    { "dy=2,8,8,64 x=2,8,8,60 kernel=1,1", .gradients = "-" },
    { "dy=2,5,6,72 x=2,9,11,24 kernel=3,3 stride=2,2 pad=1,1,1,1", .gradients = "-" },
    { "dy=2,5,6,72 x=2,9,11,24 kernel=1,1 stride=2,2 acc=72,24,1,1:f32 bias_acc=72:f32",
      .gradients = "-" },
    { "dy=2,24,24,8 x=2,24,24,8 kernel=3,3 pad=1,1,1,1", .gradients = "-",
      .types = CHECK_F32 | CHECK_BF16 },
    { NULL },
};
