#include "tests/check.h"

/* Sizes: one element, less than a vector, a vector and a bit, many rows; values where each function
 * bends, saturates and overflows. */
AT_CASES(unary) = {
    { "x=1 kind=silu" },
    { "x=3,5 kind=silu", "x=-90:90" },
    { "x=2,8,8,37 kind=silu", "x=-8:8" },
    { "x=2,3,70,24 kind=gelu", "x=-6:6" },
    { "x=5,129 kind=quick_gelu", "x=-20:20" },
    { "x=5,129 kind=relu" },
    { "x=5,129 kind=sigmoid", "x=-100:100" },
    { "x=5,129 kind=tanh", "x=-2:2" },
    { "x=5,129 kind=tanh", "x=-50:50" },
    { "x=5,129 kind=exp", "x=-100:80", .types = CHECK_F32 | CHECK_BF16 },
    { "x=5,129 kind=clamp a=-0.5 b=0.25" },
    { "x=3,9000 kind=scale a=0.5 b=0.5" },
    { "x=5,129 kind=sqrt", "x=0.1:4" },
    { NULL },
};

AT_CASES(unary_bwd) = {
    { "x=3,5 dy=3,5 kind=silu", "x=-90:90" },
    { "x=2,8,8,37 dy=2,8,8,37 kind=silu", "x=-8:8" },
    { "x=2,3,70,24 dy=2,3,70,24 kind=gelu", "x=-6:6" },
    { "x=5,129 dy=5,129 kind=quick_gelu", "x=-20:20" },
    { "x=5,129 dy=5,129 kind=relu" },
    { "x=5,129 dy=5,129 kind=sigmoid", "x=-20:20" },
    { "x=5,129 dy=5,129 kind=tanh", "x=-3:3" },
    { "x=5,129 dy=5,129 kind=exp", "x=-10:10" },
    { "x=5,129 dy=5,129 kind=clamp a=-0.5 b=0.25" },
    { "x=3,9000 dy=3,9000 kind=scale a=0.5 b=0.5" },
    { "x=5,129 dy=5,129 kind=sqrt", "x=0.1:4" },
    { NULL },
};
