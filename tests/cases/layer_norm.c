#include "tests/check.h"

/* One element, less than a vector, a vector and a bit, the models' rows; several parts; no weights,
 * one of them, other types; f8 output; a mean far from zero. */
AT_CASES(layer_norm) = {
    { "x=1,1 eps=1e-5", .gradients = "-" },
    { "x=5,3 gamma=3 beta=3 eps=1e-5", .gradients = "x gamma beta" },
    { "x=3,4,17 gamma=17 beta=17 eps=1e-12", .gradients = "x gamma beta" },
    { "x=2,6,20 eps=1e-3", .gradients = "x" },
    { "x=2,31,64 gamma=64:f32 eps=1e-5", .gradients = "-" },
    { "x=3,7,2,77 beta=77:bf16 eps=1e-5", .gradients = "-" },
    { "x=2,90,320 gamma=320:f16 beta=320:f32 eps=1e-5", "x=-3:5", .gradients = "-" },
    { "x=13,768 gamma=768:f32 beta=768:f32 eps=1e-5", .gradients = "-" },
    { "x=9,1283 gamma=1283 beta=1283 eps=1e-5", "x=999:1001", .types = CHECK_F32,
      .gradients = "-" },
    { "x=1,17000 gamma=17000:f32 beta=17000 eps=1e-5", "x=-1:3", .gradients = "-" },
    { "x=7,200 gamma=200 beta=200 y_scale=1 eps=1e-5", "y_scale=0.01:0.02", .gradients = "-" },
    { NULL },
};

AT_CASES(layer_norm_bwd) = {
    { "x=1,1 dy=1,1 mean=1:f32 rstd=1:f32", "rstd=0.5:2", .gradients = "-" },
    { "x=5,3 dy=5,3 gamma=3 mean=5:f32 rstd=5:f32", "rstd=0.5:2", .gradients = "-" },
    { "x=3,4,17 dy=3,4,17 gamma=17:f32 mean=12:f32 rstd=12:f32", "rstd=0.5:2", .gradients = "-" },
    { "x=2,140,64 dy=2,140,64 gamma=64 mean=280:f32 rstd=280:f32", "rstd=0.5:2", .gradients = "-" },
    { "x=2,45,330 dy=2,45,330 gamma=330:bf16 mean=90:f32 rstd=90:f32", "rstd=0.5:2",
      .gradients = "-" },
    { "x=1,17000 dy=1,17000 gamma=17000 mean=1:f32 rstd=1:f32", "rstd=0.5:2", .gradients = "-" },
    { "x=13,768 dy=13,768 mean=13:f32 rstd=13:f32", "rstd=0.5:2", .gradients = "-" },
    { NULL },
};
