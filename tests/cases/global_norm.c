#include "tests/check.h"

/* One element, parts that are full and short, squares beyond f32 on both sides. */
AT_CASES(global_norm) = {
    { "x=1", .gradients = "-" },
    { "x=37 acc=1", "acc=2:3", .gradients = "-" },
    { "x=5,7,33", .gradients = "-" },
    { "x=16385 acc=1", "acc=0:0", .gradients = "-" },
    { "x=3,200,333", .gradients = "-" },
    { "x=1000", "x=-1e15:1e15", .types = CHECK_F32 | CHECK_BF16, .gradients = "-" },
    { "x=300", "x=-1e25:1e25", .types = CHECK_F32 | CHECK_BF16, .gradients = "-" },
    { "x=300", "x=-1e-25:1e-25", .types = CHECK_F32 | CHECK_BF16, .gradients = "-" },
    { "x=50", "x=const:nan", .gradients = "-" },
    { NULL },
};

AT_CASES(clip_factor) = {
    { "norm=1 max_norm=1", "norm=0:1", .types = CHECK_F32, .gradients = "-" },
    { "norm=1 max_norm=0.5", "norm=1:9", .types = CHECK_F32, .gradients = "-" },
    { "norm=1 max_norm=1", "norm=const:inf", .types = CHECK_F32, .gradients = "-" },
    { "norm=1 max_norm=1", "norm=const:nan", .types = CHECK_F32, .gradients = "-" },
    { NULL },
};
