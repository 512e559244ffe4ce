#include "tests/check.h"

/* Nearly opposite momentum and gradient: the sign must be right, it is worth twice the learning
 * rate. */
AT_CASES(lion) = {
    { "w=1 m=1 g=1 hyper=4 beta1=0.9 beta2=0.99", "hyper=0.01:1", .gradients = "-" },
    { "w=37 m=37 g=37 hyper=4 beta1=0.9 beta2=0.99 decay=0.1 low=f16", "hyper=0.01:1",
      .gradients = "-" },
    { "w=5,7,33 m=5,7,33 g=5,7,33 hyper=4 beta1=0.95 beta2=0.98 decay=1", "hyper=0.001:0.01",
      .gradients = "-" },
    { "w=20001 m=20001 g=20001 hyper=4 beta1=0.9 beta2=0.99", "hyper=0.1:1", .gradients = "-" },
    { "w=1000 m=1000 g=1000 hyper=4 beta1=0.5 beta2=0.99", "m=const:1 g=const:-1 hyper=1:1",
      .gradients = "-" },
    { "w=3,50 m=3,50 g=3,50 hyper=4 beta1=0.9 beta2=0.99", "g=const:nan hyper=0:0",
      .gradients = "-" },
    { NULL },
};
