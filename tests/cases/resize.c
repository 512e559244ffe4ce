#include "tests/check.h"

/* Every filter, larger and smaller on either axis, by little and by much, both orders of the
 * passes; one line, one element; pictures wider than a tile, more rows than a vector; many
 * channels. 472 lines to 7 have two weights of lanczos within 2.2e-9 of a half (resize.h). */
AT_CASES(resize) = {
    { "x=1,1,1,1 size=1,1 filter=bilinear", .gradients = "-" },
    { "x=2,9,7,3 size=5,13 filter=bilinear", .gradients = "-" },
    { "x=2,9,7,3 size=18,14 filter=bicubic", .gradients = "-" },
    { "x=3,40,21,3 size=11,20 filter=bicubic", .gradients = "-" },
    { "x=1,17,60,4 size=16,9 filter=lanczos", .gradients = "-" },
    { "x=1,5,6,1 size=23,50 filter=lanczos", .gradients = "-" },
    { "x=1,30,33,2 size=3,33 filter=bilinear", .gradients = "-" },
    { "x=2,8,8,40 size=11,13 filter=bicubic_torch", .gradients = "-" },
    { "x=1,9,1,3 size=4,5 filter=bicubic_torch", .gradients = "-" },
    { "x=1,3,2,5 size=40,30 filter=bicubic_torch", .gradients = "-" },
    { "x=2,23,31,3:u8 size=11,45 filter=bilinear", "x=0:255", .types = CHECK_F32,
      .gradients = "-" },
    { "x=2,50,31,3:u8 size=11,30 filter=bicubic", "x=0:255", .types = CHECK_F32, .gradients = "-" },
    { "x=1,19,40,4:u8 size=38,7 filter=lanczos", "x=0:255", .types = CHECK_F32, .gradients = "-" },
    { "x=1,6,5,1:u8 size=33,64 filter=lanczos", "x=0:255", .types = CHECK_F32, .gradients = "-" },
    { "x=1,1,1,3:u8 size=4,3 filter=bicubic", "x=0:255", .types = CHECK_F32, .gradients = "-" },
    { "x=1,300,40,3:u8 size=2,1 filter=bicubic", "x=0:255", .types = CHECK_F32, .gradients = "-" },
    { "x=1,472,2,1:u8 size=7,3 filter=lanczos", "x=0:255", .types = CHECK_F32, .gradients = "-" },
    { "x=2,5,6,9:u8 size=9,4 filter=bilinear", "x=0:255", .types = CHECK_F32, .gradients = "-" },
    { NULL },
};
