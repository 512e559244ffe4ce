#include "tests/check.h"

/* States are bytes and must be equal, not just close. Less than a block, whole blocks, a short
 * last one; every code; blocks that are all zero; gradients that are far larger and far smaller
 * than the states. */
#define STATES(n, blocks) \
    "w=" n " m=" n " v=" n " m_scale=" blocks " v_scale=" blocks " g=" n " hyper=4 "
#define BETAS "beta1=0.9 beta2=0.999 eps=1e-8 "

AT_CASES(adamw8bit) = {
    { STATES("1", "1") BETAS, "m=0:255 v=0:255 m_scale=0.1:1 v_scale=0.1:1 hyper=0.1:1",
      .gradients = "-" },
    { STATES("37", "1") BETAS "decay=0.1 low=f16",
      "m=0:255 v=0:255 m_scale=0.1:1 v_scale=0.1:1 hyper=0.1:1", .gradients = "-" },
    { STATES("256", "1") BETAS, "m=0:255 v=0:255 m_scale=0.1:1 v_scale=0.1:1 hyper=0.1:1",
      .gradients = "-" },
    { STATES("20001", "79") BETAS "decay=0.1",
      "m=0:255 v=0:255 m_scale=0.1:1 v_scale=0.1:1 hyper=0.1:1", .gradients = "-" },
    { STATES("1000", "4") BETAS, "m=0:0 v=0:0 m_scale=0:0 v_scale=0:0 hyper=0.1:1",
      .gradients = "-" },
    { STATES("1000", "4") BETAS, "m=0:0 v=0:0 m_scale=0:0 v_scale=0:0 g=0:0 hyper=0.1:1",
      .gradients = "-" },
    { STATES("1000", "4") BETAS,
      "m=0:255 v=0:255 m_scale=1e-6:1e-5 v_scale=1e-12:1e-11 g=-100:100 hyper=0.1:1",
      .gradients = "-" },
    { STATES("5000", "20") BETAS,
      "m=0:255 v=0:255 m_scale=1:2 v_scale=1:2 g=-1e-9:1e-9 hyper=0.1:1", .gradients = "-" },
    { STATES("300", "2") BETAS, "m=0:255 v=0:255 g=const:nan hyper=0:0", .gradients = "-" },
    { NULL },
};
