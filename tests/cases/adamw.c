#include "tests/check.h"

/* 'hyper' is drawn from one range: learning rate, bias corrections and factor alike. Factor 0
 * leaves weights and states as they are, whatever the gradient holds. */
AT_CASES(adamw) = {
    { "w=1 m=1 v=1 g=1 hyper=4 beta1=0.9 beta2=0.999 eps=1e-8 decay=0.01", "v=0:1 hyper=0.1:1",
      .gradients = "-" },
    { "w=37 m=37 v=37 g=37 hyper=4 beta1=0.9 beta2=0.95 eps=1e-6 low=f16", "v=0:1 hyper=0.01:1",
      .gradients = "-" },
    { "w=5,7,33 m=5,7,33 v=5,7,33 g=5,7,33 hyper=4 beta1=0.9 beta2=0.999 eps=1e-8 decay=0.1",
      "v=0.001:1 hyper=0.1:0.2", .gradients = "-" },
    { "w=20001 m=20001 v=20001 g=20001 hyper=4 beta1=0.9 beta2=0.999 eps=1e-8 decay=0.1",
      "v=0:1e-6 m=-1e-3:1e-3 g=-1e-3:1e-3 hyper=0.1:1", .gradients = "-" },
    { "w=100 m=100 v=100 g=100 hyper=4 beta1=0 beta2=0 eps=1e-3", "v=0:0 hyper=1:1",
      .gradients = "-" },
    { "w=3,50 m=3,50 v=3,50 g=3,50 hyper=4 beta1=0.9 beta2=0.999 eps=1e-8 decay=0.1",
      "g=const:nan hyper=0:0", .gradients = "-" },
    { NULL },
};
