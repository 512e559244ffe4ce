/* random.cu -- bound by arithmetic, not memory: ten rounds of two long products for four numbers,
 * then about thirty operations for each; the aim is 60 % of the integer rate. philox.h gives every
 * device the same bits. */
#include "kernels/philox.h"

#include "kernels/picture.cuh"

struct random_job {
    at_lines y;            /* (rows, cols): runs of samples' elements */
    const int64_t *key;    /* (3) seed, purpose, step */
    const int64_t *sample; /* (B) */
    int64_t rows, cols;
    int64_t runs; /* of a sample */
    int kind;
};

/* Elements i to i + 3 of a sample; i is a multiple of four. */
__device__ __forceinline__ void draw_block(float *v, const at_philox_key &key, int64_t sample,
                                           int64_t i, int kind)
{
    const at_philox_words w = at_philox(at_philox_counter(i / 4, sample), key);
    if (kind == AT_RANDOM_UNIFORM) {
        v[0] = at_uniform_of(w.w0);
        v[1] = at_uniform_of(w.w1);
        v[2] = at_uniform_of(w.w2);
        v[3] = at_uniform_of(w.w3);
    } else {
        const at_pair p = at_normal_of(w.w0, w.w1), q = at_normal_of(w.w2, w.w3);
        v[0] = p.a;
        v[1] = p.b;
        v[2] = q.a;
        v[3] = q.b;
    }
}

template <class T>
__global__ void __launch_bounds__(AT_BLOCK) draw_numbers(random_job j)
{
    const int64_t c = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * AT_PACK;
    const at_philox_key key = at_random_key(j.key[0], j.key[1], j.key[2]);
    int64_t r = (int64_t)blockIdx.y * blockDim.y + threadIdx.y;
    for (; c < j.cols && r < j.rows; r += (int64_t)gridDim.y * blockDim.y) {
        const int64_t sample = j.sample[r / j.runs], i = r % j.runs * j.cols + c;
        float v[AT_PACK] = {};
        if (i % 4 == 0) {
#pragma unroll
            for (int k = 0; k < AT_PACK; k += 4)
                draw_block(v + k, key, sample, i + k, j.kind);
        } else { /* a pitched row whose length is no multiple of four */
#pragma unroll 1
            for (int k = 0; k < AT_PACK; k++) {
                const float drawn = at_random_element(key, sample, i + k, j.kind);
#pragma unroll
                for (int n = 0; n < AT_PACK; n++) /* an index would send v to memory */
                    v[n] = n == k ? drawn : v[n];
            }
        }
        at_pack_store(at_line<T>(j.y, r) + c, v, j.cols - c, j.y.wide);
    }
}

template <class T>
static cudaError_t launch_draw(const random_job &j, cudaStream_t stream)
{
    const at_tiles t = at_tiles_spread(at_tiles_of(j.rows, j.cols));
    return AT_LAUNCH(draw_numbers<T>, t.grid, t.block, 0, stream, j);
}

extern "C" bool at_random_cuda_fits(const void *args)
{
    const at_dtype type = static_cast<const at_random_args *>(args)->y.dtype;
    return at_is_simd_type(type) || type == AT_F64;
}

/* A vector has one element a sample, each in a row's place. */
extern "C" at_status at_random_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_random_args *>(args);
    const int64_t B = a->y.size[0];
    random_job j = {};
    j.key = static_cast<const int64_t *>(a->key.data);
    j.sample = static_cast<const int64_t *>(a->sample.data);
    j.kind = a->kind;
    j.rows = B;
    j.cols = at_elements(&a->y) / B;
    j.runs = 1;
    if (a->y.rank == 1 || at_dense(&a->y)) {
        j.y = at_lines_joined(&a->y, j.cols);
    } else {
        j.y = at_lines_of(&a->y);
        j.rows = at_rows(&a->y);
        j.cols = at_cols(&a->y);
        j.runs = j.rows / B;
    }
    if (a->y.dtype == AT_F64)
        return at_launched(l, launch_draw<double>(j, at_stream_of(l)));
    return at_launched(l, AT_BY_TYPE(a->y.dtype, launch_draw, j, at_stream_of(l)));
}
