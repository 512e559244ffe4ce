#include "tests/check.h"

/* One channel, fewer channels than a panel, a panel and a bit, the channels of style nets; one
 * position, positions that fill blocks and parts and that do not. */
AT_CASES(gram) = {
    { "x=1,1,1 scale=1" },
    { "x=3,2,3,5 scale=0.5", .types = CHECK_F32 | CHECK_BF16 | CHECK_F16 | CHECK_F64 },
    { "x=2,130,33 scale=0.01" },
    { "x=3,3,45,64 scale=0.001", .types = CHECK_F32 | CHECK_BF16 },
    { "x=1,9,17,97 scale=1", "x=0:1", .types = CHECK_F32 | CHECK_F16 },
    { "x=2,2177,17 scale=0.0001", .types = CHECK_F32 | CHECK_BF16 },
    { "x=1,1,128 scale=1" },
    { "x=3,1100,15 scale=0.001", "x=-10:10", .types = CHECK_F32 },
    { "x=2,70,150 scale=0.01", .types = CHECK_F32 | CHECK_BF16, .gradients = "-" },
    { "x=1,2060,72 scale=0.001", .types = CHECK_BF16, .gradients = "-" },
    { NULL },
};

AT_CASES(gram_bwd) = {
    { "x=1,1,1 dy=1,1,1:f32 scale=1", .gradients = "-" },
    { "x=3,2,3,5 dy=3,5,5:f32 scale=0.5", .gradients = "-" },
    { "x=2,130,33 dy=2,33,33:f32 scale=0.01", "dy=10:20", .gradients = "-" },
    { "x=3,5,13,64 dy=3,64,64:f32 scale=0.1", .types = CHECK_F32 | CHECK_BF16, .gradients = "-" },
    { "x=1,66,150 dy=1,150,150:f32 scale=1", .types = CHECK_F32 | CHECK_F16, .gradients = "-" },
    { "x=2,70,136 dy=2,136,136:f32 scale=1", .types = CHECK_F32 | CHECK_BF16, .gradients = "-" },
    { NULL },
};
