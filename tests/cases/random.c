#include "tests/check.h"

/* Both kinds and all types; samples shorter than a block of four, than a chunk, and longer; keys
 * and samples beyond 32 bits. */
AT_CASES(random) = {
    { "key=3 sample=1 size=1 kind=normal", "key=0:100 sample=0:9", .types = CHECK_F32,
      .gradients = "-" },
    { "key=3 sample=5 size=5 kind=uniform to=f64", "key=0:100 sample=0:9", .types = CHECK_F32,
      .gradients = "-" },
    { "key=3 sample=3 size=3,7 kind=uniform to=f32", "key=0:100 sample=0:9", .types = CHECK_F32,
      .gradients = "-" },
    { "key=3 sample=3 size=3,5,9,4 kind=normal to=f32", "key=-9e15:9e15 sample=-9e15:9e15",
      .types = CHECK_F32, .gradients = "-" },
    { "key=3 sample=2 size=2,3,301 kind=normal to=bf16", "key=0:100 sample=0:9", .types = CHECK_F32,
      .gradients = "-" },
    { "key=3 sample=2 size=2,3,301 kind=uniform to=f16", "key=0:100 sample=0:9", .types = CHECK_F32,
      .gradients = "-" },
    { "key=3 sample=2 size=2,40,40,4 kind=normal to=f16", "key=0:100 sample=0:9",
      .types = CHECK_F32, .gradients = "-" },
    { "key=3 sample=1 size=1,70001 kind=normal to=f32", "key=0:100 sample=0:9", .types = CHECK_F32,
      .gradients = "-" },
    { NULL },
};
