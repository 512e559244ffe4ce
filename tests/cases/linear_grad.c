#include "tests/check.h"

AT_CASES(linear_dgrad) = {
    { "dy=1,1 w=1,1", .gradients = "-" },
    { "dy=3,5,7 w=7,9 residual=3,5,9", .gradients = "-" },
    { "dy=2,70,53 w=53,137", .gradients = "-" },
    { "dy=2,3,16,64 w=64,96:f32 residual=2,3,16,96", .gradients = "-" },
    { "dy=150,100 w=100,64:bf16", .types = CHECK_F32 | CHECK_BF16, .gradients = "-" },
    { "dy=1,20,1000 w=1000,33", .gradients = "-" },
    { "dy=2,40,64 w=64,136", .types = CHECK_F32 | CHECK_BF16, .gradients = "-" },
    { "dy=2,40,64 w=64,48 residual=2,40,48", .types = CHECK_BF16 | CHECK_F16, .gradients = "-" },
    { NULL },
};

AT_CASES(linear_wgrad) = {
    { "dy=1,1 x=1,1", .gradients = "-" },
    { "dy=3,5,7 x=3,5,9 acc=7,9:f32 bias_acc=7:f32", .gradients = "-" },
    { "dy=2,70,53 x=2,70,137", .gradients = "-" },
    { "dy=150,170 x=150,64 acc=170,64:f32", .gradients = "-" },
    { "dy=2,2,16,165 x=2,2,16,197 bias_acc=165:f32", .gradients = "-" },
    { "dy=2,150,325 x=2,150,500 acc=325,500:f32 bias_acc=325:f32", .gradients = "-" },
    { "dy=2,800,9 x=2,800,70 acc=9,70:f32 bias_acc=9:f32", .types = CHECK_F32 | CHECK_BF16,
      .gradients = "-" },
    { "dy=2,40,136 x=2,40,72", .types = CHECK_F32 | CHECK_BF16, .gradients = "-" },
    { "dy=2,40,48 x=2,40,64 acc=48,64:f32 bias_acc=48:f32", .gradients = "-" },
    { NULL },
};
