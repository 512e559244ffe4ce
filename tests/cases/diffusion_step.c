#include "tests/check.h"

/* Every operand present and absent; latents smaller than a vector and larger than a part; rows that
 * use guidance 1 and coefficients of 0 (coef=0:1 has both now and then, const has nothing else). */
AT_CASES(diffusion_step) = {
    { "x=1,1 cond=1,1 coef=1,8", .gradients = "-" },
    { "x=2,3,5,4 cond=2,3,5,4 uncond=2,3,5,4 coef=2,8", "coef=-2:2", .gradients = "-" },
    { "x=3,7,4 cond=3,7,4 uncond=3,7,4 h0=3,7,4 coef=3,8", .gradients = "-" },
    { "x=3,9,7,4 cond=3,9,7,4 h0=3,9,7,4 h1=3,9,7,4 coef=3,8", .gradients = "-" },
    { "x=2,9,7,4 cond=2,9,7,4 noise=2,9,7,4 coef=2,8", .gradients = "-" },
    { "x=3,33,19,4 cond=3,33,19,4 uncond=3,33,19,4 h0=3,33,19,4 h1=3,33,19,4 "
      "noise=3,33,19,4 coef=3,8",
      .gradients = "-" },
    { "x=3,33,40,4 cond=3,33,40,4 uncond=3,33,40,4 h0=3,33,40,4 noise=3,33,40,4 coef=3,8",
      "coef=const:1", .gradients = "-" },
    { "x=3,33,40,4 cond=3,33,40,4 uncond=3,33,40,4 h0=3,33,40,4 noise=3,33,40,4 coef=3,8",
      "coef=const:0", .gradients = "-" },
    { NULL },
};
