/* instance_norm_simd.c -- instance_norm and its gradient: the passes of channels.h, every channel
 * by itself. */
#include "kernels/channels_simd.h"
#include "kernels/variants.h"

AT_SIMD_DECLARE(at_instance_norm);
AT_SIMD_DECLARE(at_instance_norm_bwd);

static void instance_norm_finish(const at_channels *job, int64_t b, int64_t begin, int64_t end,
                                 const at_channels_numbers *n)
{
    const at_instance_norm_args *a = job->args;
    double rows = (double)job->cut.rows;
    for (int64_t c = begin; c < end; c++) {
        double mean, rstd;
        if (job->way == AT_CHANNELS_FORWARD) {
            mean = n->sum[AT_SUM_X][c] / rows;
            double variance = n->sum[AT_SUM_XX][c] / rows - mean * mean;
            rstd = 1 / sqrt((variance > 0 ? variance : 0) + (double)a->eps);
        } else {
            mean = at_get(&a->mean_in, b, c);
            rstd = at_get(&a->rstd_in, b, c);
        }
        at_set_if(&a->mean, b, c, mean);
        at_set_if(&a->rstd, b, c, rstd);
        double scale = rstd * at_get_or(&a->gamma, 0, c, 1);
        n->coefficient[AT_COEF_SCALE][c] = (float)scale;
        n->coefficient[AT_COEF_SHIFT][c] =
            (float)(at_get_or(&a->beta, 0, c, 0) + at_channels_centre(n, c, mean) * scale);
    }
}

at_status AT_SIMD(at_instance_norm)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_instance_norm_args *a = args;
    (void)p;
    at_channels_way way = at_has(&a->mean_in) ? AT_CHANNELS_WRITE : AT_CHANNELS_FORWARD;
    at_channels job = { .x = a->x,
                        .y = a->y,
                        .way = way,
                        .args = a,
                        .act = a->relu ? AT_CHANNELS_RELU : AT_CHANNELS_PLAIN,
                        .finish = instance_norm_finish };
    job.cut = at_channels_cut_of(&a->x, 1, way);
    AT_SIMD(at_channels_forward)(&job, l);
    return AT_OK;
}

/* --- gradient --------------------------------------------------------------------------------- */

static void instance_norm_start(const at_channels *job, int64_t b, int64_t begin, int64_t end,
                                const at_channels_numbers *n)
{
    const at_instance_norm_bwd_args *a = job->args;
    for (int64_t c = begin; c < end; c++) {
        double rstd = at_get(&a->rstd, b, c), gamma = at_get_or(&a->gamma, 0, c, 1);
        double shift = at_channels_centre(n, c, at_get(&a->mean, b, c)) * rstd;
        n->coefficient[AT_COEF_SCALE][c] = (float)(rstd * gamma);
        n->coefficient[AT_COEF_SHIFT][c] = (float)(at_get_or(&a->beta, 0, c, 0) + shift * gamma);
        n->coefficient[AT_COEF_XHAT_SCALE][c] = (float)rstd;
        n->coefficient[AT_COEF_XHAT_SHIFT][c] = (float)shift;
    }
}

static void instance_norm_bwd_finish(const at_channels *job, int64_t b, int64_t begin, int64_t end,
                                     const at_channels_numbers *n)
{
    const at_instance_norm_bwd_args *a = job->args;
    double rows = (double)job->cut.rows;
    for (int64_t c = begin; c < end; c++) {
        double rstd = at_get(&a->rstd, b, c), scale = rstd * at_get_or(&a->gamma, 0, c, 1);
        double mean = n->sum[AT_SUM_DZ][c] / rows, slope = n->sum[AT_SUM_DZ_XHAT][c] / rows;
        double shift = (double)n->coefficient[AT_COEF_XHAT_SHIFT][c];
        n->coefficient[AT_COEF_DZ][c] = (float)scale;
        n->coefficient[AT_COEF_U][c] = (float)(-scale * slope * rstd);
        n->coefficient[AT_COEF_1][c] = (float)(-scale * (mean + slope * shift));
    }
}

at_status AT_SIMD(at_instance_norm_bwd)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_instance_norm_bwd_args *a = args;
    (void)p;
    at_channels job = { .way = AT_CHANNELS_BACKWARD,
                        .x = a->x,
                        .dy = a->dy,
                        .dx = a->dx,
                        .dgamma = a->dgamma,
                        .dbeta = a->dbeta,
                        .args = a,
                        .start = instance_norm_start,
                        .act = a->relu ? AT_CHANNELS_RELU : AT_CHANNELS_PLAIN,
                        .finish = instance_norm_bwd_finish };
    job.cut = at_channels_cut_of(&a->x, 1, AT_CHANNELS_BACKWARD);
    AT_SIMD(at_channels_backward)(&job, l);
    return AT_OK;
}
