/* group_norm.cu -- bound by memory: where a group fits into a block's shared memory, x is read once
 * and y is written once, elsewhere x is read twice (channels.cu), and the gradient reads x and dy
 * twice (channels_bwd.cu); the aim is 80 % of the bandwidth for these bytes. */
#include "kernels/channels.cuh"

extern "C" bool at_group_norm_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_group_norm_args *>(args);
    return at_is_simd_type(a->x.dtype) && at_is_absent_or_simd(&a->x2) &&
           at_is_absent_or_simd(&a->add) && at_is_simd_type(a->gamma.dtype) &&
           at_is_simd_type(a->beta.dtype);
}

extern "C" at_status at_group_norm_cuda_prepare(const void *args, const at_prepare_in *,
                                                at_prepared *out, at_error *)
{
    out->scratch_bytes =
        at_channels_cuda_scratch(&static_cast<const at_group_norm_args *>(args)->y);
    return AT_OK;
}

extern "C" at_status at_group_norm_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_group_norm_args *>(args);
    at_channels_job j = at_channels_job_of(&a->y, &a->x, &a->x2, a->groups, l->scratch);
    j.y = at_lines_of(&a->y);
    j.add = at_lines_or_none(&a->add);
    j.gamma = at_lines_of(&a->gamma);
    j.beta = at_lines_of(&a->beta);
    j.mean = at_lines_or_none(&a->mean);
    j.rstd = at_lines_or_none(&a->rstd);
    j.y_scale = at_floats_of(&a->y_scale);
    j.y_amax = at_floats_of(&a->y_amax);
    j.eps = a->eps;
    j.act = a->silu ? AT_CHANNELS_SILU : AT_CHANNELS_PLAIN;
    cudaError_t error = at_channels_measure(&j, a->x.dtype, at_stream_of(l));
    if (error == cudaSuccess)
        error = at_channels_apply(&j, a->x.dtype, at_stream_of(l));
    return at_launched(error);
}

/* --- gradient --------------------------------------------------------------------------------- */

extern "C" bool at_group_norm_bwd_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_group_norm_bwd_args *>(args);
    return at_is_simd_type(a->x.dtype) && at_is_simd_type(a->dy.dtype) &&
           at_is_absent_or_simd(&a->x2) && at_is_absent_or_simd(&a->add) &&
           at_is_simd_type(a->gamma.dtype) && at_is_simd_type(a->beta.dtype);
}

extern "C" at_status at_group_norm_bwd_cuda_prepare(const void *args, const at_prepare_in *,
                                                    at_prepared *out, at_error *)
{
    const auto *a = static_cast<const at_group_norm_bwd_args *>(args);
    out->scratch_bytes = at_channels_bwd_cuda_scratch(&a->dy, a->groups);
    return AT_OK;
}

extern "C" at_status at_group_norm_bwd_cuda(const void *args, const at_prepared *,
                                            const at_launch *l)
{
    const auto *a = static_cast<const at_group_norm_bwd_args *>(args);
    at_channels_bwd_job j = at_channels_bwd_job_of(&a->dy, &a->x, &a->x2, a->groups, l->scratch);
    j.dx = at_lines_of(&a->dx);
    j.dx2 = at_lines_or_none(&a->dx2);
    j.add = at_lines_or_none(&a->add);
    j.dadd = at_lines_or_none(&a->dadd);
    j.gamma = at_lines_of(&a->gamma);
    j.beta = at_lines_of(&a->beta);
    j.mean = at_lines_of(&a->mean);
    j.rstd = at_lines_of(&a->rstd);
    j.dgamma = at_floats_of(&a->dgamma);
    j.dbeta = at_floats_of(&a->dbeta);
    j.act = a->silu ? AT_CHANNELS_SILU : AT_CHANNELS_PLAIN;
    return at_launched(at_channels_bwd_cuda(&j, a->x.dtype, at_stream_of(l)));
}
