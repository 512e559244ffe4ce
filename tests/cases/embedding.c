#include "tests/check.h"

/* Ids below, inside and above the table; rows that several positions share. */
AT_CASES(embedding) = {
    { "table=5,3 ids=4", "ids=0:4" },
    { "table=49,24 ids=3,7", "ids=-1:50" },
    { "table=9,16 ids=2,3,4 y_dtype=f32", "ids=0:8", .gradients = "-" },
    { "table=9,700 ids=11", "ids=0:8", .gradients = "-" },
    { "table=9,37 ids=2,7 y_dtype=bf16", "ids=-1:9", .gradients = "-" },
    { "table=9,40:f8 ids=2,7 y_dtype=f16", "ids=-1:9", .types = CHECK_F32, .gradients = "-" },
    { "table=3,9 ids=300", "ids=0:2", .types = CHECK_F32, .gradients = "-" },
    { NULL },
};

AT_CASES(embedding_bwd) = {
    { "dy=4,3 ids=4 vocabulary=5", "ids=0:4" },
    { "dy=3,7,24 ids=3,7 vocabulary=49", "ids=-1:50" },
    { "dy=40,130 ids=40 vocabulary=6 acc=6,130:f32", "ids=0:5", .types = CHECK_F32 | CHECK_BF16 },
    { "dy=700,16 ids=700 vocabulary=9", "ids=-1:9", .gradients = "-" },
    { "dy=20,8 ids=20 vocabulary=3000", "ids=1000:1020", .types = CHECK_F32, .gradients = "-" },
    { "dy=1000,8 ids=1000 vocabulary=40", "ids=0:5000", .types = CHECK_F32, .gradients = "-" },
    { "dy=7,2080 ids=7 vocabulary=3", "ids=0:2", .types = CHECK_BF16, .gradients = "-" },
    { NULL },
};
