/* statistics.cu -- mean_std, its gradient and adain: bound by memory. Each reads x once, and the
 * latter two write as much; the aim is 80 % of the bandwidth. */
#include "kernels/channels.cuh"

/* --- mean_std --------------------------------------------------------------------------------- */

extern "C" bool at_mean_std_cuda_fits(const void *args)
{
    return at_is_simd_type(static_cast<const at_mean_std_args *>(args)->x.dtype);
}

extern "C" at_status at_mean_std_cuda_prepare(const void *args, const at_prepare_in *,
                                              at_prepared *out, at_error *)
{
    out->scratch_bytes = at_channels_cuda_scratch(&static_cast<const at_mean_std_args *>(args)->x);
    return AT_OK;
}

static at_channels_job job_of(const at_view *x, const at_launch *l)
{
    const at_view none = {};
    return at_channels_job_of(x, x, &none, at_cols(x), l->scratch);
}

extern "C" at_status at_mean_std_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_mean_std_args *>(args);
    at_channels_job j = job_of(&a->x, l);
    j.mean = at_lines_of(&a->mean);
    j.std = at_lines_of(&a->std);
    j.eps = a->eps;
    j.freedom -= a->unbiased ? 1 : 0;
    return at_launched(l, at_channels_measure(&j, a->x.dtype, at_queue_of(l)));
}

/* --- mean_std_bwd ----------------------------------------------------------------------------- */

struct mean_std_bwd_job {
    at_channels_job c;
    at_lines mean, std, dmean, dstd; /* (B, C) f32 */
};

/* dx = dmean / rows + dstd * (x - mean) / (std * freedom) */
static __global__ void __launch_bounds__(AT_BLOCK) mean_std_slopes(mean_std_bwd_job j)
{
    const int64_t i = (int64_t)blockIdx.x * AT_BLOCK + threadIdx.x;
    const int64_t b = i / j.c.s.cols, c = i % j.c.s.cols;
    if (b >= j.c.s.batch)
        return;
    const double std = (double)at_line<float>(j.std, b)[c];
    const double slope = (double)at_line<float>(j.dstd, b)[c] / (std * (double)j.c.freedom);
    at_channels_set(j.c, b, c, (double)at_line<float>(j.mean, b)[c], slope,
                    (double)at_line<float>(j.dmean, b)[c] / (double)j.c.s.rows);
}

extern "C" bool at_mean_std_bwd_cuda_fits(const void *args)
{
    return at_is_simd_type(static_cast<const at_mean_std_bwd_args *>(args)->x.dtype);
}

extern "C" at_status at_mean_std_bwd_cuda_prepare(const void *args, const at_prepare_in *,
                                                  at_prepared *out, at_error *)
{
    out->scratch_bytes =
        at_channels_cuda_scratch(&static_cast<const at_mean_std_bwd_args *>(args)->x);
    return AT_OK;
}

extern "C" at_status at_mean_std_bwd_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_mean_std_bwd_args *>(args);
    mean_std_bwd_job j = { job_of(&a->x, l), at_lines_of(&a->mean), at_lines_of(&a->std),
                           at_lines_of(&a->dmean), at_lines_of(&a->dstd) };
    j.c.y = at_lines_of(&a->dx);
    j.c.freedom -= a->unbiased ? 1 : 0;
    cudaError_t error =
        AT_LAUNCH(mean_std_slopes, at_channels_flat(&j.c.s), AT_BLOCK, 0, at_stream_of(l), j);
    if (error == cudaSuccess)
        error = at_channels_apply(&j.c, a->x.dtype, at_queue_of(l));
    return at_launched(l, error);
}

/* --- adain ------------------------------------------------------------------------------------ */

struct adain_job {
    at_channels_job c;
    at_lines x_mean, x_std; /* (B, C) f32 */
    at_lines mean, std;     /* (B, C) f32, or (1, C) with a pitch of 0 */
    float alpha;
};

/* With x = u + x_mean: y = u * (1 - alpha + alpha * std / x_std) + (1 - alpha) * x_mean
 * + alpha * mean. */
static __global__ void __launch_bounds__(AT_BLOCK) adain_styles(adain_job j)
{
    const int64_t i = (int64_t)blockIdx.x * AT_BLOCK + threadIdx.x;
    const int64_t b = i / j.c.s.cols, c = i % j.c.s.cols;
    if (b >= j.c.s.batch)
        return;
    const double x_mean = (double)at_line<float>(j.x_mean, b)[c], alpha = (double)j.alpha;
    const double std = (double)at_line<float>(j.std, b)[c];
    at_channels_set(j.c, b, c, x_mean,
                    1 - alpha + alpha * std / (double)at_line<float>(j.x_std, b)[c],
                    (1 - alpha) * x_mean + alpha * (double)at_line<float>(j.mean, b)[c]);
}

extern "C" bool at_adain_cuda_fits(const void *args)
{
    return at_is_simd_type(static_cast<const at_adain_args *>(args)->x.dtype);
}

extern "C" at_status at_adain_cuda_prepare(const void *args, const at_prepare_in *,
                                           at_prepared *out, at_error *)
{
    out->scratch_bytes = at_channels_cuda_scratch(&static_cast<const at_adain_args *>(args)->x);
    return AT_OK;
}

/* The style's: of every sample, or one for all. */
static at_lines style_of(const at_view *v)
{
    at_lines l = at_lines_of(v);
    l.pitch = v->size[0] > 1 ? l.pitch : 0;
    return l;
}

extern "C" at_status at_adain_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_adain_args *>(args);
    adain_job j = { job_of(&a->x, l),   at_lines_of(&a->x_mean), at_lines_of(&a->x_std),
                    style_of(&a->mean), style_of(&a->std),       a->alpha };
    j.c.y = at_lines_of(&a->y);
    cudaError_t error =
        AT_LAUNCH(adain_styles, at_channels_flat(&j.c.s), AT_BLOCK, 0, at_stream_of(l), j);
    if (error == cudaSuccess)
        error = at_channels_apply(&j.c, a->x.dtype, at_queue_of(l));
    return at_launched(l, error);
}
