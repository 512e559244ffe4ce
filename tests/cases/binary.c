#include "tests/check.h"

/* Every kind; every way to lay b over a, with rows shorter and longer than a pattern and a vector,
 * in b's type and in f32. What a suffix begins with is no multiple of the samples: not cut. */
AT_CASES(binary) = {
    { "a=1 b=1 kind=add" },
    { "a=3,5 b=3,5 kind=add" },
    { "a=3,5,7,37 b=3,5,7,37 kind=add b_scale=-0.5" },
    { "a=2,9000 b=2,9000 kind=sub" },
    { "a=5,129 b=5,129 kind=mul" },
    { "a=5,129 b=5,129:f32 kind=mul b_scale=3" },
    { "a=5,129 b=5,129 kind=div", "b=0.5:2" },
    { "a=5,129 b=5,129 kind=max", .gradients = "-" },
    { "a=5,129 b=5,129 kind=min", .gradients = "-" },
    { "a=5,33 b=5,33 kind=mul", "a=1e20:2e20 b=1e15:2e15", .types = CHECK_F32 | CHECK_BF16,
      .gradients = "-" },
    { "a=2,5,7,37 b=37 kind=add spread=suffix" },
    { "a=2,5,7,37 b=7,37 kind=mul spread=suffix" },
    { "a=2,3,70,67 b=3,70,67:f32 kind=add spread=suffix" },
    { "a=2,3,4,5 b=3,4,5 kind=add spread=suffix b_scale=2" },
    { "a=2,40,50,3 b=3 kind=sub spread=suffix" },
    { "a=2,40,50,3 b=3:f32 kind=div spread=suffix", "b=0.5:2" },
    { "a=130 b=130 kind=add spread=suffix" },
    { "a=3,5,7,37 b=3,37 kind=add spread=per_sample" },
    { "a=3,5,7,137 b=3,137:f32 kind=mul spread=per_sample" },
    { "a=3,40,50,4 b=3,4 kind=add spread=per_sample" },
    { "a=3,4 b=3,4 kind=add spread=per_sample" },
    { "a=2,9000 b=1 kind=mul spread=scalar" },
    { "a=3,5,7,37 b=1:f32 kind=add spread=scalar b_scale=0.25" },
    { "a=1 b=1 kind=sub spread=scalar" },
    { NULL },
};

AT_CASES(lerp) = {
    { "a=1 b=1 t=1", .gradients = "a b" },
    { "a=3,5,7,2 b=3,5,7,2 t=3", "t=0:1", .gradients = "a b" },
    { "a=3,5,7,37 b=3,5,7,37 t=1", "t=0:1", .gradients = "-" },
    { "a=3,9000 b=3,9000 t=3", "t=-1:2", .gradients = "-" },
    { "a=2,41,67,24 b=2,41,67,24 t=2", "t=0:1", .gradients = "-" },
    { "a=5 b=5 t=5", "t=0:1", .gradients = "-" },
    { NULL },
};
