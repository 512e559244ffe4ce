#include "tests/check.h"

/* Windows apart, side by side and overlapping; borders that no window reaches, that one is cut off
 * at, or that lie inside a larger window; channels below, at and above one and four vectors. Values
 * of one range only (const) make every element of a window equal: the first must win. */
AT_CASES(max_pool2d) = {
    { "x=1,1,1,1 kernel=1,1 stride=1,1" },
    { "x=1,2,2,3 kernel=2,2 stride=2,2" },
    { "x=2,8,6,16 kernel=2,2 stride=2,2 ceil=yes" },
    { "x=3,7,9,37 kernel=2,2 stride=2,2 ceil=yes" },
    { "x=3,7,9,37 kernel=2,2 stride=2,2" },
    { "x=2,9,8,64 kernel=3,3 stride=2,2 ceil=yes" },
    { "x=2,9,8,70 kernel=3,2 stride=1,3" },
    { "x=1,10,11,5 kernel=2,3 stride=4,5" },
    { "x=1,1,3,20 kernel=2,2 stride=2,2 ceil=yes" },
    { "x=1,32,40,128 kernel=2,2 stride=2,2 ceil=yes" },
    { NULL },
};

AT_CASES(max_pool2d_bwd) = {
    { "x=1,1,1,1 dy=1,1,1,1 kernel=1,1 stride=1,1" },
    { "x=1,2,2,3 dy=1,1,1,3 kernel=2,2 stride=2,2" },
    { "x=2,8,6,16 dy=2,4,3,16 kernel=2,2 stride=2,2 ceil=yes" },
    { "x=3,7,9,37 dy=3,4,5,37 kernel=2,2 stride=2,2 ceil=yes" },
    { "x=3,7,9,37 dy=3,3,4,37 kernel=2,2 stride=2,2" },
    { "x=3,7,9,20 dy=3,3,4,20 kernel=2,2 stride=2,2", "x=const:1" },
    { "x=2,9,8,24 dy=2,4,4,24 kernel=3,3 stride=2,2 ceil=yes" },
    { "x=2,9,8,24 dy=2,4,4,24 kernel=3,3 stride=2,2 ceil=yes", "x=const:-1" },
    { "x=2,9,8,10 dy=2,7,3,10 kernel=3,2 stride=1,3" },
    { "x=1,10,11,5 dy=1,3,2,5 kernel=2,3 stride=4,5" },
    { "x=1,16,20,128 dy=1,8,10,128 kernel=2,2 stride=2,2 ceil=yes" },
    { "x=2,7,9,13 dy=2,4,5,13:f32 kernel=2,2 stride=2,2 ceil=yes", .gradients = "-" },
    { "x=2,7,9,13 dy=2,3,4,13:f32 kernel=3,3 stride=2,2", .gradients = "-" },
    { NULL },
};

AT_CASES(avg_pool2d) = {
    { "x=1,1,1,1 kernel=1,1 stride=1,1" },
    { "x=1,2,2,3 kernel=2,2 stride=2,2" },
    { "x=2,8,6,16 kernel=2,2 stride=2,2" },
    { "x=3,7,9,37 kernel=2,2 stride=2,2" },
    { "x=2,9,8,64 kernel=3,3 stride=2,2" },
    { "x=2,9,8,70 kernel=3,2 stride=1,3" },
    { "x=1,10,11,5 kernel=2,3 stride=4,5" },
    { "x=2,12,10,40 kernel=12,10 stride=1,1" },
    { NULL },
};

AT_CASES(avg_pool2d_bwd) = {
    { "dy=1,1,1,1 in_size=1,1 kernel=1,1 stride=1,1" },
    { "dy=1,1,1,3 in_size=2,2 kernel=2,2 stride=2,2" },
    { "dy=2,4,3,16 in_size=8,6 kernel=2,2 stride=2,2" },
    { "dy=3,3,4,37 in_size=7,9 kernel=2,2 stride=2,2" },
    { "dy=2,4,3,64 in_size=9,8 kernel=3,3 stride=2,2" },
    { "dy=2,7,3,70 in_size=9,8 kernel=3,2 stride=1,3" },
    { "dy=1,3,2,5 in_size=10,11 kernel=2,3 stride=4,5" },
    { "dy=2,1,1,40 in_size=12,10 kernel=12,10 stride=1,1" },
    { NULL },
};
