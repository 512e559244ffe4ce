#include "tests/check.h"

/* Halves shorter than a vector, a vector and a bit, longer than a part; gates where gelu
 * saturates. */
AT_CASES(geglu) = {
    { "x=1,2", .gradients = "x" },
    { "x=3,10", "x=-3:3", .gradients = "x" },
    { "x=3,5,74", "x=-8:8", .gradients = "-" },
    { "x=2,3,64", "x=-40:40", .gradients = "-" },
    { "x=2,3,20000", "x=-4:4", .gradients = "-" },
    { "x=2,9,7,258", "x=-4:4", .gradients = "-" },
    { "x=3,74 y_scale=1", "x=-8:8 y_scale=0.02:0.1", .types = CHECK_F32 | CHECK_BF16,
      .gradients = "-" },
    { NULL },
};

AT_CASES(geglu_bwd) = {
    { "x=1,2 dy=1,1", .gradients = "-" },
    { "x=3,10 dy=3,5", "x=-3:3", .gradients = "-" },
    { "x=3,5,74 dy=3,5,37", "x=-8:8", .gradients = "-" },
    { "x=2,3,64 dy=2,3,32", "x=-40:40", .gradients = "-" },
    { "x=2,3,20000 dy=2,3,10000", "x=-4:4", .gradients = "-" },
    { "x=3,74 dy=3,37:f32", "x=-4:4", .gradients = "-" },
    { NULL },
};
