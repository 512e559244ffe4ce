#include "tests/check.h"

#define WIDE (CHECK_F32 | CHECK_F16)

/* Head sizes that fill registers and that do not, 1 to several panels, spans and blocks, few
 * queries and many; lengths from nothing to everything; scores so large that the softmax is a
 * choice.
 *
 * loose 2 in bf16: variants that multiply pairs of bf16 round the probabilities to 2^-9 each, and
 * in the first rows of a causal head there are too few of them for that to average out. loose 10
 * in f32: scores of 400 have an error of 3e-5 in f32, and so have the probabilities. Where 8,000
 * outputs are sums of 260 values each, values of one sign keep them away from zero, where rounded
 * probabilities would miss the tolerance in one of a thousand. Heads of more than 256 elements with
 * many keys: several samples, heads, slabs of queries, parts of the keys. */
AT_CASES(attention) = {
    { "q=1,1,1 k=1,1,1 v=1,1,1 heads=1" },
    { "q=3,1,64 k=3,9,64 v=3,9,64 lengths=3 heads=1", "lengths=0:9" },
    { "q=2,5,60 k=2,33,60 v=2,33,60 lengths=2 heads=3 causal=yes", "lengths=3:33" },
    { "q=1,8,80 k=1,300,80 v=1,300,80 heads=1 scale=0.5", "q=-4:4 k=-4:4" },
    { "q=2,9,14 k=2,7,14 v=2,7,14 heads=2" },
    { "q=1,16,40 k=1,16,40 v=1,16,40 heads=1 causal=yes", .types = WIDE },
    { "q=1,16,40 k=1,16,40 v=1,16,40 heads=1 causal=yes", .loose = 2, .types = CHECK_BF16 },
    { "q=3,77,32 k=3,77,32 v=3,77,32 heads=2 causal=yes", .types = WIDE },
    { "q=3,77,32 k=3,77,32 v=3,77,32 heads=2 causal=yes", .loose = 2, .types = CHECK_BF16 },
    { "q=3,49,32 k=3,77,32 v=3,77,32 lengths=3 heads=2", "lengths=20:77" },
    { "q=3,49,8 k=3,77,8 v=3,77,8 lengths=3 heads=1", "lengths=0:5", .types = WIDE },
    { "q=3,49,8 k=3,77,8 v=3,77,8 lengths=3 heads=1", "lengths=0:5", .loose = 2,
      .types = CHECK_BF16 },
    { "q=2,130,10 k=2,129,10 v=2,129,10 lengths=2 heads=1 causal=yes", "lengths=0:129",
      .types = WIDE },
    { "q=2,130,10 k=2,129,10 v=2,129,10 lengths=2 heads=1 causal=yes", "lengths=0:129", .loose = 2,
      .types = CHECK_BF16 },
    { "q=1,97,20 k=1,560,20 v=1,560,20 heads=1 causal=yes", "q=-3:3 k=-3:3" },
    { "q=1,200,20 k=1,140,20 v=1,140,20 heads=1 causal=yes", .types = WIDE },
    { "q=1,200,20 k=1,140,20 v=1,140,20 heads=1 causal=yes", .loose = 2, .types = CHECK_BF16 },
    { "q=1,34,64 k=1,64,64 v=1,64,64 heads=1", "q=-30:30 k=-30:30", .loose = 10 },
    { "q=1,34,512 k=1,150,512 v=1,150,512 heads=1", .gradients = "-" },
    { "q=2,33,64 k=2,40,64 v=2,40,64 heads=4" },
    { "q=1,500,16 k=1,20,16 v=1,20,16 heads=1" },
    { "q=2,3,272 k=2,70,272 v=2,70,272 lengths=2 heads=1", "lengths=0:70" },
    { "q=1,70,136 k=1,70,136 v=1,70,136 heads=1 causal=yes", .types = WIDE },
    { "q=1,70,136 k=1,70,136 v=1,70,136 heads=1 causal=yes", .loose = 2, .types = CHECK_BF16 },
    { "q=1,1030,8 k=1,260,8 v=1,260,8 heads=1", "v=0:1", .types = CHECK_BF16 },
    { "q=2,34,272 k=2,300,272 v=2,300,272 heads=1", .types = CHECK_BF16 },
    { "q=1,520,260 k=1,256,260 v=1,256,260 heads=1", "v=0:1", .types = CHECK_BF16 },
    { "q=1,70,1024 k=1,261,1024 v=1,261,1024 heads=2", .types = CHECK_F16 },
    { "q=1,1,260 k=1,8200,260 v=1,8200,260 heads=1", .types = CHECK_BF16 },
    { "q=2,4,12 k=2,5,12 v=2,5,12 lengths=2 heads=2 causal=yes", "lengths=3:5",
      .types = CHECK_F64 },
    { NULL },
};
