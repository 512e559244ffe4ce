#include "tests/check.h"

/* Ids below, inside and above the table; rows that several positions share. */
AT_CASES(embedding) = {
    { "table=5,3 ids=4", "ids=0:4" },
    { "table=49,24 ids=3,7", "ids=-1:50" },
    { "table=9,16 ids=2,3,4 y_dtype=f32", "ids=0:8", .gradients = "-" },
    { "table=9,700 ids=11", "ids=0:8", .gradients = "-" },
    { NULL },
};

AT_CASES(embedding_bwd) = {
    { "dy=4,3 ids=4 vocabulary=5", "ids=0:4" },
    { "dy=3,7,24 ids=3,7 vocabulary=49", "ids=-1:50" },
    { "dy=40,130 ids=40 vocabulary=6 acc=6,130:f32", "ids=0:5", .types = CHECK_F32 | CHECK_BF16 },
    { NULL },
};
