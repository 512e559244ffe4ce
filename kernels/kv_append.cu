/* kv_append.cu -- bound by memory: every new row is read once and written once; the aim is 80 % of
 * the bandwidth, where there are rows enough to fill a device. */
#include "kernels/elements.cuh"

/* Rows are counted in units, the largest that all addresses and sizes are multiples of. */
struct append_job {
    void *k_cache, *v_cache; /* (B, Lmax, C) */
    const void *k, *v;       /* (B, L, C) */
    const int32_t *pos;      /* (B) */
    int64_t k_cache_pitch, v_cache_pitch, k_pitch, v_pitch, cols;
    int64_t samples, most, rows; /* B, Lmax, L */
};

/* A thread moves a unit of a key and that of its value. A position outside of the cache is a
 * programmer's error, as it is on the processor. */
template <class V>
__global__ void __launch_bounds__(AT_BLOCK) append_rows(append_job j)
{
    at_wait_for_earlier();
    const int64_t n = j.samples * j.rows * j.cols, step = (int64_t)gridDim.x * AT_BLOCK;
    for (int64_t i = (int64_t)blockIdx.x * AT_BLOCK + threadIdx.x; i < n; i += step) {
        const int64_t row = i / j.cols, c = i % j.cols, b = row / j.rows;
        const int64_t pos = j.pos[b], to = b * j.most + pos + row % j.rows;
        if (pos < 0 || pos + j.rows > j.most)
            __trap();
        static_cast<V *>(j.k_cache)[to * j.k_cache_pitch + c] =
            static_cast<const V *>(j.k)[row * j.k_pitch + c];
        static_cast<V *>(j.v_cache)[to * j.v_cache_pitch + c] =
            static_cast<const V *>(j.v)[row * j.v_pitch + c];
    }
}

/* The bits of everything that a unit must divide. */
static uint64_t bits_of(const at_view *v)
{
    const uint64_t bytes = at_dtype_bytes(v->dtype);
    return (uintptr_t)v->data | (uint64_t)v->pitch * bytes | (uint64_t)at_cols(v) * bytes;
}

template <class V>
static cudaError_t launch_append(const at_kv_append_args *a, at_queue stream)
{
    enum { BLOCKS_MAX = 1 << 16 };
    const int64_t bytes = (int64_t)at_dtype_bytes(a->k.dtype), unit = sizeof(V);
    const append_job j = { a->k_cache.data,
                           a->v_cache.data,
                           a->k.data,
                           a->v.data,
                           static_cast<const int32_t *>(a->pos.data),
                           a->k_cache.pitch * bytes / unit,
                           a->v_cache.pitch * bytes / unit,
                           a->k.pitch * bytes / unit,
                           a->v.pitch * bytes / unit,
                           at_cols(&a->k) * bytes / unit,
                           a->k.size[0],
                           a->k_cache.size[1],
                           a->k.size[1] };
    const int64_t blocks = (j.samples * j.rows * j.cols + AT_BLOCK - 1) / AT_BLOCK;
    return AT_LAUNCH_EARLY(append_rows<V>,
                           dim3((unsigned)(blocks < BLOCKS_MAX ? blocks : (int64_t)BLOCKS_MAX)),
                           dim3(AT_BLOCK), 0, stream, j);
}

extern "C" bool at_kv_append_cuda_fits(const void *)
{
    return true;
}

extern "C" at_status at_kv_append_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_kv_append_args *>(args);
    const uint64_t bits =
        bits_of(&a->k_cache) | bits_of(&a->v_cache) | bits_of(&a->k) | bits_of(&a->v);
    const at_queue stream = at_queue_of(l);
    return at_launched(l, bits % 16 == 0  ? launch_append<uint4>(a, stream)
                          : bits % 8 == 0 ? launch_append<uint2>(a, stream)
                          : bits % 4 == 0 ? launch_append<uint32_t>(a, stream)
                          : bits % 2 == 0 ? launch_append<uint16_t>(a, stream)
                                          : launch_append<uint8_t>(a, stream));
}
