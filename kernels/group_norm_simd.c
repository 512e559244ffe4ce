/* group_norm_simd.c -- group_norm: the passes of channels.h with the mean and deviation of a group
 * in between. */
#include "kernels/channels_simd.h"
#include "kernels/variants.h"

AT_SIMD_DECLARE(at_group_norm);

/* What the sample adds to a channel moves its mean and leaves its deviation alone: the sums need
 * not know of it. */
static void finish_group(const at_channels *job, const at_group_norm_args *a, int64_t b,
                         int64_t begin, int64_t end, const at_channels_numbers *n)
{
    double rows = (double)job->cut.rows, all = rows * (double)(end - begin), mean = 0, squares = 0;
    for (int64_t c = begin; c < end; c++)
        mean += (n->sum[AT_SUM_X][c] + rows * at_get_or(&a->add, b, c, 0)) / all;
    for (int64_t c = begin; c < end; c++) {
        double own = n->sum[AT_SUM_X][c] / rows, off = own + at_get_or(&a->add, b, c, 0) - mean;
        squares += n->sum[AT_SUM_XX][c] - own * n->sum[AT_SUM_X][c] + rows * off * off;
    }
    double variance = squares > 0 ? squares / all : 0;
    double rstd = 1 / sqrt(variance + (double)a->eps);
    int64_t g = begin / (end - begin);
    at_set_if(&a->mean, b, g, mean);
    at_set_if(&a->rstd, b, g, rstd);
    for (int64_t c = begin; c < end; c++) {
        double scale = rstd * at_get(&a->gamma, 0, c);
        double rest = at_channels_centre(n, c, mean - at_get_or(&a->add, b, c, 0));
        n->coefficient[AT_COEF_SCALE][c] = (float)scale;
        n->coefficient[AT_COEF_SHIFT][c] = (float)(at_get(&a->beta, 0, c) + rest * scale);
    }
}

static void group_norm_finish(const at_channels *job, int64_t b, int64_t begin, int64_t end,
                              const at_channels_numbers *n)
{
    const at_group_norm_args *a = job->args;
    int64_t size = job->cut.cols / a->groups;
    for (int64_t c = begin; c < end; c += size)
        finish_group(job, a, b, c, c + size, n);
}

at_status AT_SIMD(at_group_norm)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_group_norm_args *a = args;
    (void)p;
    at_channels job = { .x = a->x,
                        .x2 = a->x2,
                        .y = a->y,
                        .y_amax = a->y_amax,
                        .way = AT_CHANNELS_FORWARD,
                        .act = a->silu ? AT_CHANNELS_SILU : AT_CHANNELS_PLAIN,
                        .args = a,
                        .finish = group_norm_finish };
    job.cut = at_channels_cut_of(&a->y, at_cols(&a->y) / a->groups, AT_CHANNELS_FORWARD);
    AT_SIMD(at_channels_forward)(&job, l);
    return AT_OK;
}
