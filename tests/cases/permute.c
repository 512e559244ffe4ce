#include "tests/check.h"

AT_CASES(permute) = {
    { "x=7 order=0" },
    { "x=5,9 order=1,0" },
    { "x=3,5,7 order=2,0,1" },
    { "x=3,5,7 order=0,1,2" },
    { "x=2,3,33,35 order=0,2,3,1", .gradients = "-" }, /* NCHW to NHWC */
    { "x=2,33,35,3 order=0,3,1,2", .gradients = "-" }, /* and back */
    { "x=2,7,4,16 order=0,2,1,3" },                    /* heads out of tokens */
    { "x=2,3,4,5 order=3,2,1,0" },
    { "x=2,1,4,5 order=1,3,0,2" },
    { "x=2,67,4:u8 order=2,1,0", .types = CHECK_F32 },
    { "x=40,3:i64 order=1,0", .types = CHECK_F32 },
    { "x=3,7,1 order=1,0,2" },
    { "x=1,1,1 order=2,0,1" },
    { "x=3,67,130 order=0,2,1", .gradients = "-" }, /* several tiles, ragged */
    { "x=130,150:u8 order=1,0", .types = CHECK_F32 },
    { "x=70,90:i64 order=1,0", .types = CHECK_F32 },
    { "x=31,70:i64 order=1,0", .types = CHECK_F32 },
    { "x=3,64,64:u8 order=0,2,1", .types = CHECK_F32 },
    { "x=1,3,70,130 order=0,2,3,1", .gradients = "-" }, /* tiles that are narrow one way */
    { "x=1,70,130,3 order=0,3,1,2", .gradients = "-" }, /* and the other */
    { "x=600,4,5 order=0,2,1", .types = CHECK_F32 | CHECK_BF16, .gradients = "-" },
    { "x=300,3,2,3 order=0,3,2,1", .types = CHECK_F32, .gradients = "-" },
    { "x=2,77,3,64 order=0,2,1,3", .gradients = "-" },
    { "x=2,300,3,1 order=0,2,1,3", .gradients = "-" },
    { NULL },
};
