/* guidance.h -- what is made of a model's two answers before a sampler gets them.
 *
 * The op diffusion_step guides by itself; these are its host's twins, and the rescaling, which
 * needs sums over all latents of a picture. */
#ifndef AT_RUNTIME_GUIDANCE_H
#define AT_RUNTIME_GUIDANCE_H

#include "kernels/base.h"

/* out = uncond + guidance * (cond - uncond), all (n). 'out' may be one of the two. */
AT_API void at_guide(float *out, const float *uncond, const float *cond, int64_t n, float guidance);

/* What 'guided' has to be multiplied by so that its standard deviation comes nearer to that of
 * 'cond', by 'rescale' of the way: diffusers' rescale_noise_cfg() (Lin et al., Common diffusion
 * noise schedules and sample steps are flawed, section 3.4). Both are (n), one picture's. */
AT_API float at_guidance_rescale(const float *guided, const float *cond, int64_t n, float rescale);

#endif
