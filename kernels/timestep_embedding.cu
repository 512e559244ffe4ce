/* timestep_embedding.cu -- bound by the launch: a few thousand numbers a step, so there is no rate
 * to aim at. Exponent, frequency and product are each rounded to f32 as the reference does; the
 * functions are those of f64, which a GPU computes within two last places. */
#include "kernels/elements.cuh"

struct embedding_job {
    at_lines y;     /* (R, dim) */
    const float *t; /* (R) */
    int64_t rows, half;
    int64_t sin_at, cos_at; /* columns where the two begin */
    float log_period;       /* -ln(max_period) */
    float width;            /* dim / 2 - shift */
};

__device__ __forceinline__ void put(const at_lines &l, int64_t row, int64_t c, double v)
{
    switch (l.dtype) {
    case AT_F32: at_line<float>(l, row)[c] = (float)v; break;
    case AT_BF16: at_line<__nv_bfloat16>(l, row)[c] = static_cast<__nv_bfloat16>((float)v); break;
    case AT_F16: at_line<__half>(l, row)[c] = static_cast<__half>((float)v); break;
    default: at_line<double>(l, row)[c] = v;
    }
}

__global__ void __launch_bounds__(AT_BLOCK) embed_timesteps(embedding_job j)
{
    at_wait_for_earlier();
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    const float w = (float)exp((double)__fdiv_rn(__fmul_rn(j.log_period, (float)i), j.width));
    int64_t r = (int64_t)blockIdx.y * blockDim.y + threadIdx.y;
    for (; i < j.half && r < j.rows; r += (int64_t)gridDim.y * blockDim.y) {
        double s, c;
        sincos((double)__fmul_rn(j.t[r], w), &s, &c);
        put(j.y, r, j.sin_at + i, s);
        put(j.y, r, j.cos_at + i, c);
    }
}

extern "C" bool at_timestep_embedding_cuda_fits(const void *args)
{
    const at_dtype type = static_cast<const at_timestep_embedding_args *>(args)->y.dtype;
    return at_is_simd_type(type) || type == AT_F64;
}

extern "C" at_status at_timestep_embedding_cuda(const void *args, const at_prepared *,
                                                const at_launch *l)
{
    const auto *a = static_cast<const at_timestep_embedding_args *>(args);
    const int64_t half = a->dim / 2;
    const embedding_job j = { at_lines_of(&a->y),
                              at_floats_of(&a->t),
                              a->t.size[0],
                              half,
                              a->flip ? half : 0,
                              a->flip ? 0 : half,
                              (float)-log((double)a->max_period),
                              (float)half - a->shift };
    const at_tiles t = at_tiles_of(j.rows, j.half * AT_PACK);
    return at_launched(l, AT_LAUNCH_EARLY(embed_timesteps, t.grid, t.block, 0, at_queue_of(l), j));
}
