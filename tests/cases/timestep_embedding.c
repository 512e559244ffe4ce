#include "tests/check.h"

/* The U-Net's, the micro-conditioning's and the guidance embedding's forms. */
AT_CASES(timestep_embedding) = {
    { "t=1 dim=2 max_period=10000", .types = CHECK_F32, .gradients = "-" },
    { "t=3 dim=320 max_period=10000 flip=yes to=f32", "t=0:999", .types = CHECK_F32,
      .gradients = "-" },
    { "t=12 dim=256 max_period=10000 flip=yes to=bf16", "t=0:1024", .types = CHECK_F32,
      .gradients = "-" },
    { "t=2 dim=256 max_period=10000 shift=1 to=f16", "t=0:8000", .types = CHECK_F32,
      .gradients = "-" },
    { NULL },
};
