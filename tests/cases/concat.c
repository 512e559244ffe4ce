#include "tests/check.h"

/* Every axis, two to four parts, odd sizes, one long stretch (which is cut for threads),
 * integers. */
AT_CASES(concat) = {
    { "x0=1 x1=1 axis=0" },
    { "x0=2,3,5 x1=2,3,7 axis=2" },
    { "x0=2,1,16 x1=2,9,16 axis=1" },
    { "x0=3,4 x1=2,4 x2=1,4 x3=5,4 axis=0" },
    { "x0=2,3,4,5 x1=2,3,4,1 x2=2,3,4,9 axis=3" },
    { "x0=30000 x1=50001 axis=0", .types = CHECK_F32, .gradients = "-" },
    { "x0=2,7:i32 x1=2,3:i32 axis=1", .types = CHECK_F32 },
    { "x0=2,3,4,16 x1=2,1,4,16 x2=2,5,4,16 axis=1", .gradients = "-" },
    { "x0=5,3,40:u8 x1=5,3,24:u8 x2=5,3,8:u8 axis=2", .types = CHECK_F32 },
    { "x0=3,1200:i64 x1=3,900:i64 axis=1", .types = CHECK_F32 },
    { "x0=1500,4 x1=1500,3 axis=1", .types = CHECK_F32 | CHECK_BF16, .gradients = "-" },
    { NULL },
};

AT_CASES(slice) = {
    { "x=5 axis=0 start=1 length=3" },
    { "x=2,3,11 axis=2 start=4 length=5" },
    { "x=2,9,16 axis=1 start=1 length=8" },
    { "x=2,5,3,4 axis=2 start=2 length=1" },
    { "x=3,6,2,8 axis=1 start=2 length=3", .gradients = "-" },
    { "x=90000 axis=0 start=17 length=80000", .types = CHECK_F32, .gradients = "-" },
    { NULL },
};

AT_CASES(slice_bwd) = {
    { "dy=3 axis=0 start=1 full=5" },
    { "dy=2,3,5 axis=2 start=4 full=11" },
    { "dy=2,8,16 axis=1 start=1 full=9" },
    { "dy=2,5,1,4 axis=2 start=2 full=3" },
    { "dy=3,2,7,8 axis=1 start=2 full=6", .gradients = "-" },
    { "dy=7,1000 axis=1 start=24 full=1080", .types = CHECK_BF16, .gradients = "-" },
    { NULL },
};
