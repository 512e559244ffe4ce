/* statistics_simd.c -- mean_std, its gradient and adain as passes of channels.h: mean_std is the
 * first pass alone, the other two the second alone. */
#include "kernels/channels_simd.h"
#include "kernels/variants.h"

AT_SIMD_DECLARE(at_mean_std);
AT_SIMD_DECLARE(at_mean_std_bwd);
AT_SIMD_DECLARE(at_adain);

static void mean_std_finish(const at_channels *job, int64_t b, int64_t begin, int64_t end,
                            const at_channels_numbers *n)
{
    const at_mean_std_args *a = job->args;
    double rows = (double)job->cut.rows, freedom = a->unbiased ? rows - 1 : rows;
    for (int64_t c = begin; c < end; c++) {
        double sum = n->sum[AT_SUM_X][c], mean = sum / rows;
        double squares = n->sum[AT_SUM_XX][c] - mean * sum;
        at_set(&a->mean, b, c, mean);
        at_set(&a->std, b, c, sqrt((squares > 0 ? squares : 0) / freedom + (double)a->eps));
    }
}

at_status AT_SIMD(at_mean_std)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_mean_std_args *a = args;
    (void)p;
    at_channels job = {
        .way = AT_CHANNELS_FORWARD, .x = a->x, .args = a, .finish = mean_std_finish
    };
    job.cut = at_channels_cut_of(&a->x, 1, job.way);
    AT_SIMD(at_channels_forward)(&job, l);
    return AT_OK;
}

/* dx = dmean / rows + dstd * (x - mean) / (std * freedom) */
static void mean_std_bwd_finish(const at_channels *job, int64_t b, int64_t begin, int64_t end,
                                const at_channels_numbers *n)
{
    const at_mean_std_bwd_args *a = job->args;
    double rows = (double)job->cut.rows, freedom = a->unbiased ? rows - 1 : rows;
    for (int64_t c = begin; c < end; c++) {
        double scale = at_get(&a->dstd, b, c) / (at_get(&a->std, b, c) * freedom);
        double rest = at_channels_centre(n, c, at_get(&a->mean, b, c));
        n->coefficient[AT_COEF_SCALE][c] = (float)scale;
        n->coefficient[AT_COEF_SHIFT][c] = (float)(at_get(&a->dmean, b, c) / rows + rest * scale);
    }
}

at_status AT_SIMD(at_mean_std_bwd)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_mean_std_bwd_args *a = args;
    (void)p;
    at_channels job = {
        .way = AT_CHANNELS_WRITE, .x = a->x, .y = a->dx, .args = a, .finish = mean_std_bwd_finish
    };
    job.cut = at_channels_cut_of(&a->x, 1, job.way);
    AT_SIMD(at_channels_forward)(&job, l);
    return AT_OK;
}

/* With x = u + x_mean: y = u * (1 - alpha + alpha * std / x_std) + (1 - alpha) * x_mean
 * + alpha * mean. */
static void adain_finish(const at_channels *job, int64_t b, int64_t begin, int64_t end,
                         const at_channels_numbers *n)
{
    const at_adain_args *a = job->args;
    int64_t of_mean = a->mean.size[0] > 1 ? b : 0, of_std = a->std.size[0] > 1 ? b : 0;
    double alpha = (double)a->alpha;
    for (int64_t c = begin; c < end; c++) {
        double x_mean = at_get(&a->x_mean, b, c);
        double scale = 1 - alpha + alpha * at_get(&a->std, of_std, c) / at_get(&a->x_std, b, c);
        double rest = at_channels_centre(n, c, x_mean);
        double shift = (1 - alpha) * x_mean + alpha * at_get(&a->mean, of_mean, c);
        n->coefficient[AT_COEF_SCALE][c] = (float)scale;
        n->coefficient[AT_COEF_SHIFT][c] = (float)(shift + rest * scale);
    }
}

at_status AT_SIMD(at_adain)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_adain_args *a = args;
    (void)p;
    at_channels job = {
        .way = AT_CHANNELS_WRITE, .x = a->x, .y = a->y, .args = a, .finish = adain_finish
    };
    job.cut = at_channels_cut_of(&a->x, 1, job.way);
    AT_SIMD(at_channels_forward)(&job, l);
    return AT_OK;
}
