#include "tests/check.h"

/* One position, channels around a vector and in slabs, positions in parts, a mean far from zero. */
AT_CASES(mean_std) = {
    { "x=1,1,1,1 eps=1e-5", .gradients = "-" },
    { "x=3,5,7,3 eps=1e-5 unbiased=yes", .gradients = "x" },
    { "x=2,9,20 eps=1e-3", .gradients = "x" },
    { "x=2,13,10,150 eps=1e-5 unbiased=yes", "x=99:101", .types = CHECK_F32, .gradients = "-" },
    { "x=2,113,113,3 eps=1e-5 unbiased=yes", "x=2:4", .types = CHECK_F32, .gradients = "-" },
    { "x=2,30,31,72 eps=1e-5", "x=999.9:1000.1", .types = CHECK_F32, .gradients = "-" },
    { NULL },
};

AT_CASES(mean_std_bwd) = {
    { "x=1,1,1,1 mean=1,1:f32 std=1,1:f32 dmean=1,1:f32 dstd=1,1:f32", "std=0.5:2",
      .gradients = "-" },
    { "x=3,5,7,3 mean=3,3:f32 std=3,3:f32 dmean=3,3:f32 dstd=3,3:f32 unbiased=yes", "std=0.5:2",
      .gradients = "-" },
    { "x=2,21,20,33 mean=2,33:f32 std=2,33:f32 dmean=2,33:f32 dstd=2,33:f32", "std=0.5:2",
      .gradients = "-" },
    { "x=2,113,113,5 mean=2,5:f32 std=2,5:f32 dmean=2,5:f32 dstd=2,5:f32 unbiased=yes", "std=0.5:2",
      .gradients = "-" },
    { NULL },
};

/* A style for each sample, one for all, all of it, a part of it, none of it. */
AT_CASES(adain) = {
    { "x=1,1,1,1 x_mean=1,1:f32 x_std=1,1:f32 mean=1,1:f32 std=1,1:f32 alpha=1",
      "x_std=0.5:2 std=0.5:2", .gradients = "-" },
    { "x=3,5,7,19 x_mean=3,19:f32 x_std=3,19:f32 mean=3,19:f32 std=3,19:f32 alpha=0.25",
      "x_std=0.5:2 std=0.5:2", .gradients = "-" },
    { "x=3,31,5,64 x_mean=3,64:f32 x_std=3,64:f32 mean=1,64:f32 std=1,64:f32 alpha=1",
      "x=0:6 x_mean=2:4 x_std=0.5:2 std=0.5:2", .gradients = "-" },
    { "x=2,21,26,72 x_mean=2,72:f32 x_std=2,72:f32 mean=2,72:f32 std=1,72:f32 alpha=0.5",
      "x=0:6 x_mean=2:4 x_std=0.5:2 std=0.5:2", .gradients = "-" },
    { "x=2,90,5 x_mean=2,5:f32 x_std=2,5:f32 mean=2,5:f32 std=1,5:f32 alpha=0",
      "x_std=0.5:2 std=0.5:2", .gradients = "-" },
    { NULL },
};
