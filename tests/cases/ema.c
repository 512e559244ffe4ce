#include "tests/check.h"

AT_CASES(ema) = {
    { "e=1 w=1 decay=1", "decay=0.9:1", .types = CHECK_F32, .gradients = "-" },
    { "e=5,7,33 w=5,7,33 decay=1", "decay=const:0.9999", .types = CHECK_F32, .gradients = "-" },
    { "e=20001 w=20001 decay=1", "decay=0:1", .types = CHECK_F32, .gradients = "-" },
    { "e=100 w=100 decay=1", "decay=const:0", .types = CHECK_F32, .gradients = "-" },
    { "e=100 w=100 decay=1", "decay=const:1", .types = CHECK_F32, .gradients = "-" },
    { NULL },
};
