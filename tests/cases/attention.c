#include "tests/check.h"

/* Head sizes that fill registers and that do not, 1 to several panels, spans and blocks, few queries and
 * many; lengths from nothing to everything; scores so large that the softmax is a choice. */
AT_CASES(attention) = {
    { "q=1,1,1 k=1,1,1 v=1,1,1 heads=1" },
    { "q=3,1,64 k=3,9,64 v=3,9,64 lengths=3 heads=1", "lengths=0:9" },
    { "q=2,5,60 k=2,33,60 v=2,33,60 lengths=2 heads=3 causal=yes", "lengths=3:33" },
    { "q=1,8,80 k=1,300,80 v=1,300,80 heads=1 scale=0.5", "q=-4:4 k=-4:4" },
    { "q=2,9,14 k=2,7,14 v=2,7,14 heads=2" },
    { "q=1,16,40 k=1,16,40 v=1,16,40 heads=1 causal=yes" },
    { "q=3,77,128 k=3,77,128 v=3,77,128 heads=2 causal=yes" },
    { "q=3,49,128 k=3,77,128 v=3,77,128 lengths=3 heads=2", "lengths=0:77" },
    { "q=2,130,66 k=2,129,66 v=2,129,66 lengths=2 heads=2 causal=yes", "lengths=0:129" },
    { "q=1,97,160 k=1,260,160 v=1,260,160 heads=2 causal=yes", "q=-3:3 k=-3:3" },
    { "q=1,200,128 k=1,140,128 v=1,140,128 heads=1 causal=yes" },
    { "q=1,64,64 k=1,64,64 v=1,64,64 heads=1", "q=-30:30 k=-30:30" },
    { "q=1,101,512 k=1,150,512 v=1,150,512 heads=1" },
    { "q=1,500,16 k=1,20,16 v=1,20,16 heads=1" },
    { "q=2,4,12 k=2,5,12 v=2,5,12 lengths=2 heads=2 causal=yes", "lengths=3:5", .types = CHECK_F64 },
    { NULL },
};
