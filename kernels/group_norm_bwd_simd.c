/* group_norm_bwd_simd.c -- gradients of group_norm: the passes of channels.h with the means of a
 * group in between. */
#include "kernels/channels_simd.h"
#include "kernels/variants.h"

AT_SIMD_DECLARE(at_group_norm_bwd);

static void group_norm_start(const at_channels *job, int64_t b, int64_t begin, int64_t end,
                             const at_channels_numbers *n)
{
    const at_group_norm_bwd_args *a = job->args;
    int64_t size = job->cut.cols / a->groups;
    for (int64_t c = begin; c < end; c++) {
        double rstd = at_get(&a->rstd, b, c / size), gamma = at_get(&a->gamma, 0, c);
        double mean = at_get(&a->mean, b, c / size) - at_get_or(&a->add, b, c, 0);
        double shift = at_channels_centre(n, c, mean) * rstd;
        n->coefficient[AT_COEF_SCALE][c] = (float)(rstd * gamma);
        n->coefficient[AT_COEF_SHIFT][c] = (float)(at_get(&a->beta, 0, c) + shift * gamma);
        n->coefficient[AT_COEF_XHAT_SCALE][c] = (float)rstd;
        n->coefficient[AT_COEF_XHAT_SHIFT][c] = (float)shift;
    }
}

/* dx = rstd * (gamma * dz - mean - xhat * slope), the two being means over the group of gamma * dz
 * and of gamma * dz * xhat; and its sum over the positions: the gradient of what was added. */
static void finish_group(const at_channels *job, const at_group_norm_bwd_args *a, int64_t b,
                         int64_t begin, int64_t end, const at_channels_numbers *n)
{
    double rows = (double)job->cut.rows, all = rows * (double)(end - begin), mean = 0, slope = 0;
    double rstd = at_get(&a->rstd, b, begin / (end - begin));
    for (int64_t c = begin; c < end; c++) {
        double gamma = at_get(&a->gamma, 0, c);
        mean += gamma * n->sum[AT_SUM_DZ][c] / all;
        slope += gamma * n->sum[AT_SUM_DZ_XHAT][c] / all;
    }
    for (int64_t c = begin; c < end; c++) {
        double gamma = at_get(&a->gamma, 0, c);
        double shift = (double)n->coefficient[AT_COEF_XHAT_SHIFT][c];
        n->coefficient[AT_COEF_DZ][c] = (float)(rstd * gamma);
        n->coefficient[AT_COEF_U][c] = (float)(-rstd * slope * rstd);
        n->coefficient[AT_COEF_1][c] = (float)(-rstd * (mean + slope * shift));
        if (at_has(&a->dadd))
            at_set(&a->dadd, b, c,
                   rstd * (gamma * n->sum[AT_SUM_DZ][c] - rows * mean -
                           slope * n->sum[AT_SUM_XHAT][c]));
    }
}

static void group_norm_finish(const at_channels *job, int64_t b, int64_t begin, int64_t end,
                              const at_channels_numbers *n)
{
    const at_group_norm_bwd_args *a = job->args;
    int64_t size = job->cut.cols / a->groups;
    for (int64_t c = begin; c < end; c += size)
        finish_group(job, a, b, c, c + size, n);
}

at_status AT_SIMD(at_group_norm_bwd)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_group_norm_bwd_args *a = args;
    (void)p;
    at_channels job = { .way = AT_CHANNELS_BACKWARD,
                        .x = a->x,
                        .x2 = a->x2,
                        .dy = a->dy,
                        .dx = a->dx,
                        .dx2 = a->dx2,
                        .dgamma = a->dgamma,
                        .dbeta = a->dbeta,
                        .args = a,
                        .act = a->silu ? AT_CHANNELS_SILU : AT_CHANNELS_PLAIN,
                        .start = group_norm_start,
                        .finish = group_norm_finish };
    job.cut = at_channels_cut_of(&a->dy, at_cols(&a->dy) / a->groups, AT_CHANNELS_BACKWARD);
    AT_SIMD(at_channels_backward)(&job, l);
    return AT_OK;
}
