#include "tests/check.h"

/* One column, columns around a vector, a text's 77, long rows; scores so large that only the
 * largest counts; a negative scale. */
AT_CASES(softmax) = {
    { "x=1,1", .gradients = "-" },
    { "x=5,3", .gradients = "x" },
    { "x=3,4,17 scale=0.125", "x=-20:20", .gradients = "x" },
    { "x=2,3,9,77 scale=-2", "x=-10:10", .gradients = "-" },
    { "x=7,1024 scale=0.5", "x=-4:4", .gradients = "-" },
    { "x=3,9001", "x=-6:6", .gradients = "-" },
    { "x=2,17000 scale=-1", "x=-6:6", .gradients = "-" },
    { "x=9,100", "x=-3e4:3e4", .gradients = "-" },
    { NULL },
};

AT_CASES(softmax_bwd) = {
    { "y=1,1 dy=1,1", .gradients = "-" },
    { "y=5,3 dy=5,3", "y=0:0.5", .gradients = "-" },
    { "y=3,4,17 dy=3,4,17 scale=0.125", "y=0:0.1", .gradients = "-" },
    { "y=7,1030 dy=7,1030 scale=-2", "y=0:0.002", .gradients = "-" },
    { "y=1,17000 dy=1,17000", "y=0:0.0001", .gradients = "-" },
    { NULL },
};

/* Rows longer and shorter than eps, rows of zeros, squares that leave f32's range. */
AT_CASES(l2_normalize) = {
    { "x=1,1 eps=1e-12", .gradients = "-" },
    { "x=5,3 eps=1e-12", .gradients = "x" },
    { "x=3,4,17 eps=1e-6", .gradients = "x" },
    { "x=7,256 eps=1e-12", .gradients = "-" },
    { "x=1,17000 eps=1e-12", .gradients = "-" },
    { "x=4,515 eps=1e3", .gradients = "-" },
    { "x=4,20 eps=1e-12", "x=const:0", .gradients = "-" },
    { "x=4,40 eps=1e-12", "x=-1e30:1e30", .types = CHECK_F32 | CHECK_BF16, .gradients = "-" },
    { NULL },
};

AT_CASES(l2_normalize_bwd) = {
    { "x=5,3 dy=5,3 eps=1e-12", .gradients = "-" },
    { "x=3,4,17 dy=3,4,17 eps=1e-6", .gradients = "-" },
    { "x=7,256 dy=7,256 eps=1e-12", .gradients = "-" },
    { "x=1,17000 dy=1,17000 eps=1e-12", .gradients = "-" },
    { "x=4,515 dy=4,515 eps=1e3", .gradients = "-" },
    { NULL },
};
