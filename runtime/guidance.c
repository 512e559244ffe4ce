/* guidance.c -- two answers become one. */
#include "runtime/guidance.h"

#include <math.h>

void at_guide(float *out, const float *uncond, const float *cond, int64_t n, float guidance)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = guidance == 1 ? cond[i] : uncond[i] + guidance * (cond[i] - uncond[i]);
}

/* With n - 1 below, as torch.std() has it; in two passes, so that a large mean costs no digits. */
static double deviation(const float *x, int64_t n)
{
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i];
    for (int64_t i = 0; i < n; i++) {
        const double off = (double)x[i] - sum / (double)n;
        squares += off * off;
    }
    return sqrt(squares / (double)(n - 1));
}

float at_guidance_rescale(const float *guided, const float *cond, int64_t n, float rescale)
{
    const double ratio = deviation(cond, n) / deviation(guided, n);
    return (float)((double)rescale * ratio + (1 - (double)rescale));
}
