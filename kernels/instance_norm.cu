/* instance_norm.cu -- bound by memory: x is read twice, once where its statistics are given, and y
 * is written once (channels.cu), the gradient reads x and dy twice (channels_bwd.cu); the aim is
 * 80 % of the bandwidth for these bytes. */
#include "kernels/channels.cuh"

struct given_job {
    at_channels_job c;
    at_lines mean_in, rstd_in; /* (B, C) f32 */
};

/* One thread for every sample and channel. */
static __global__ void __launch_bounds__(AT_BLOCK) instance_norm_given(given_job j)
{
    at_wait_for_earlier();
    const int64_t i = (int64_t)blockIdx.x * AT_BLOCK + threadIdx.x;
    const int64_t b = i / j.c.s.cols, c = i % j.c.s.cols;
    if (b >= j.c.s.batch)
        return;
    const float mean = at_line<float>(j.mean_in, b)[c], rstd = at_line<float>(j.rstd_in, b)[c];
    if (j.c.mean.data)
        at_line<float>(j.c.mean, b)[c] = mean;
    if (j.c.rstd.data)
        at_line<float>(j.c.rstd, b)[c] = rstd;
    at_channels_set(j.c, b, c, (double)mean, (double)rstd * at_lines_get(j.c.gamma, 0, c, 1),
                    at_lines_get(j.c.beta, 0, c, 0));
}

static cudaError_t take_given(const at_channels_job *c, const at_instance_norm_args *a,
                              at_queue stream)
{
    const given_job j = { *c, at_lines_of(&a->mean_in), at_lines_of(&a->rstd_in) };
    return AT_LAUNCH_EARLY(instance_norm_given, at_channels_flat(&c->s), AT_BLOCK, 0, stream, j);
}

extern "C" bool at_instance_norm_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_instance_norm_args *>(args);
    return at_is_simd_type(a->x.dtype) && at_is_absent_or_simd(&a->gamma) &&
           at_is_absent_or_simd(&a->beta);
}

extern "C" at_status at_instance_norm_cuda_prepare(const void *args, const at_prepare_in *,
                                                   at_prepared *out, at_error *)
{
    out->scratch_bytes =
        at_channels_cuda_scratch(&static_cast<const at_instance_norm_args *>(args)->x);
    return AT_OK;
}

extern "C" at_status at_instance_norm_cuda(const void *args, const at_prepared *,
                                           const at_launch *l)
{
    const auto *a = static_cast<const at_instance_norm_args *>(args);
    const at_view none = {};
    at_channels_job j = at_channels_job_of(&a->x, &a->x, &none, at_cols(&a->x), l->scratch);
    j.y = at_lines_of(&a->y);
    j.gamma = at_lines_or_none(&a->gamma);
    j.beta = at_lines_or_none(&a->beta);
    j.mean = at_lines_or_none(&a->mean);
    j.rstd = at_lines_or_none(&a->rstd);
    j.eps = a->eps;
    j.act = a->relu ? AT_CHANNELS_RELU : AT_CHANNELS_PLAIN;
    cudaError_t error = at_has(&a->mean_in) ? take_given(&j, a, at_queue_of(l))
                                            : at_channels_measure(&j, a->x.dtype, at_queue_of(l));
    if (error == cudaSuccess)
        error = at_channels_apply(&j, a->x.dtype, at_queue_of(l));
    return at_launched(l, error);
}

/* --- gradient --------------------------------------------------------------------------------- */

extern "C" bool at_instance_norm_bwd_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_instance_norm_bwd_args *>(args);
    return at_is_simd_type(a->x.dtype) && at_is_simd_type(a->dy.dtype) &&
           at_is_absent_or_simd(&a->gamma) && at_is_absent_or_simd(&a->beta);
}

extern "C" at_status at_instance_norm_bwd_cuda_prepare(const void *args, const at_prepare_in *,
                                                       at_prepared *out, at_error *)
{
    const auto *a = static_cast<const at_instance_norm_bwd_args *>(args);
    out->scratch_bytes = at_channels_bwd_cuda_scratch(&a->dy, at_cols(&a->dy));
    return AT_OK;
}

extern "C" at_status at_instance_norm_bwd_cuda(const void *args, const at_prepared *,
                                               const at_launch *l)
{
    const auto *a = static_cast<const at_instance_norm_bwd_args *>(args);
    const at_view none = {};
    at_channels_bwd_job j =
        at_channels_bwd_job_of(&a->dy, &a->x, &none, at_cols(&a->x), l->scratch);
    j.dx = at_lines_of(&a->dx);
    j.gamma = at_lines_or_none(&a->gamma);
    j.beta = at_lines_or_none(&a->beta);
    j.mean = at_lines_of(&a->mean);
    j.rstd = at_lines_of(&a->rstd);
    j.dgamma = at_floats_of(&a->dgamma);
    j.dbeta = at_floats_of(&a->dbeta);
    j.act = a->relu ? AT_CHANNELS_RELU : AT_CHANNELS_PLAIN;
    return at_launched(l, at_channels_bwd_cuda(&j, a->x.dtype, at_stream_of(l)));
}
