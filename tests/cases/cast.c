#include "tests/check.h"

/* Every pair of types in one direction or the other; f8 with and without its scale; what overflows,
 * vanishes and is cut off; parts of more than one run. */
AT_CASES(cast) = {
    { "x=1 to=f32" },
    { "x=3,5 to=bf16", .gradients = "-" },
    { "x=3,5,7,37 to=f16", .gradients = "-" },
    { "x=2,9000 to=f32" },
    { "x=2,9000 to=bf16", .gradients = "-" },
    { "x=5,129 to=f16", "x=-1e5:1e5", .gradients = "-" },
    { "x=5,129 to=bf16", "x=-1e-6:1e-6", .gradients = "-" },
    { "x=5,129 to=f64", .gradients = "-" },
    { "x=5,129:f64 to=f32", .types = CHECK_F32, .gradients = "-" },
    { "x=5,129 to=f8", "x=-600:600", .gradients = "-" },
    { "x=5,129 to=f8", "x=-0.03:0.03", .gradients = "-" },
    { "x=3,129 scale=1 to=f8", "x=-9:9 scale=0.02:0.1", .gradients = "-" },
    { "x=3,5,29 scale=15 to=f8", "x=-9:9 scale=0.02:0.1", .gradients = "-" },
    { "x=3,129:f8 to=f32", "x=-9:9", .types = CHECK_F32, .gradients = "-" },
    { "x=3,5,29:f8 scale=15 to=bf16", "scale=0.02:0.1", .types = CHECK_F32, .gradients = "-" },
    { "x=3,129:f8 scale=1 to=f16", "scale=0.02:0.1", .types = CHECK_F32, .gradients = "-" },
    { "x=5,129 to=i32", "x=-9:9", .gradients = "-" },
    { "x=5,129 to=u8", "x=-100:400", .gradients = "-" },
    { "x=5,129 to=i64", "x=-1e4:1e4", .gradients = "-" },
    { "x=5,129:i32 to=f32", "x=-9:9", .types = CHECK_F32, .gradients = "-" },
    { "x=5,129:u8 to=bf16", "x=0:255", .types = CHECK_F32, .gradients = "-" },
    { "x=5,129:i64 to=i32", "x=-9:9", .types = CHECK_F32, .gradients = "-" },
    { "x=5,129:i64 to=i64", "x=-9:9", .types = CHECK_F32, .gradients = "-" },
    { NULL },
};

AT_CASES(fill) = {
    { "size=1 value=2", .types = CHECK_F32, .gradients = "-" },
    { "size=3,5,7,37 value=-0.3 to=bf16", .types = CHECK_F32, .gradients = "-" },
    { "size=3,9001 value=0.3 to=f16", .types = CHECK_F32, .gradients = "-" },
    { "size=3,9001", .types = CHECK_F32, .gradients = "-" },
    { "size=3,1001 value=0.1 to=f64", .types = CHECK_F32, .gradients = "-" },
    { "size=3,1001 value=-7 to=i64", .types = CHECK_F32, .gradients = "-" },
    { "size=3,5001 value=-7 to=i32", .types = CHECK_F32, .gradients = "-" },
    { "size=3,5001 value=200 to=u8", .types = CHECK_F32, .gradients = "-" },
    { "size=41,13 value=1.5 to=f8", .types = CHECK_F32, .gradients = "-" },
    { NULL },
};
