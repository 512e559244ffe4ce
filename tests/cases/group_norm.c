#include "tests/check.h"

AT_CASES(group_norm) = {
    { "x=1,1 gamma=1 beta=1 groups=1 eps=1e-5" },
    { "x=2,3,3,6 gamma=6 beta=6 groups=3 eps=1e-5 silu=yes" },
    { "x=3,8,8,64 gamma=64:f32 beta=64:f32 groups=32 eps=1e-6" },
    { NULL },
};
AT_CASES(group_norm_bwd) = {
    { "x=2,3,3,6 dy=2,3,3,6 mean=2,3:f32 rstd=2,3:f32 gamma=6 beta=6 groups=3 silu=yes" },
    { NULL },
};
