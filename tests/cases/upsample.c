#include "tests/check.h"

/* Twice the size, uneven factors, smaller, one axis only; channels below, at and above a vector. */
AT_CASES(upsample_nearest) = {
    { "x=1,1,1,1 size=1,1" },
    { "x=1,1,1,3 size=5,4" },
    { "x=2,4,5,16 size=8,10" },
    { "x=3,7,5,37 size=14,10" },
    { "x=2,5,9,4 size=7,13" },
    { "x=1,9,13,8 size=4,5" },
    { "x=2,6,6,20 size=6,17" },
    { "x=1,16,16,33 size=32,3" },
    { "x=1,40,32,64 size=80,64" },
    { "x=2,8,6,3:u8 size=5,15", .types = CHECK_F32, .gradients = "-" },
    { NULL },
};

AT_CASES(upsample_nearest_bwd) = {
    { "dy=1,1,1,1 size=1,1" },
    { "dy=1,5,4,3 size=1,1" },
    { "dy=2,8,10,16 size=4,5" },
    { "dy=3,14,10,37 size=7,5" },
    { "dy=2,7,13,4 size=5,9" },
    { "dy=1,4,5,8 size=9,13" }, /* most positions were never taken: zero */
    { "dy=2,6,17,20 size=6,6" },
    { "dy=1,32,3,33 size=16,16" },
    { "dy=1,80,64,64 size=40,32" },
    { NULL },
};
