/* attention_slabs.cu -- heads of 257 to 512 elements: bound by arithmetic, 4 * D operations a pair
 * of query and key on tensor cores, beside some 20 bytes a pair that pass through the L2 cache; the
 * aim is 45 % of the peak of mma.sync at D = 512 and 16,384 keys.
 *
 * The output of such a head is too wide for a warp's registers, so it takes three steps over a slab
 * of queries: their scores with all keys, in f32; each row's weights, in the operands' type, over
 * the scores' own memory; the products of the weights with the values. The slab is as large as
 * scratch allows, at most 512 queries: with 16,384 keys their scores stay in an H100's L2 cache.
 * Candidate 1 takes slabs of up to 1,024, which fill the device better where there are few keys.
 *
 * Keys are cut into parts whose sums are added up in order, by sizes of the keys only. A query's
 * bytes depend on its own row and the keys: not on its slab, nor on the batch.
 *
 * Weights are rounded before the second product. Few of them would not average that out: with a
 * mask, or with fewer than 256 keys, heads go to attention.cu's plain kernel. */
#include "kernels/attention.cuh"
#include "kernels/product_parts.cuh"

enum { SLAB_SIZE_MIN = 257, SLAB_KEYS_MIN = 256, SLAB_ALIGN = 64, SLABS_MAX = 4096 };

/* --- scores and values ------------------------------------------------------------------------ */

/* Both products: C (rows, cols) = A B^T, or its parts one below the other. */
template <at_along B>
struct slab_product {
    at_matrix<AT_ALONG_K> a; /* (rows, depth) */
    at_matrix<B> b;          /* (cols, depth) */
    at_sums_end end;         /* y: C, or the sums of part 0 */
    int64_t rows, cols, tiles;
    at_parts cut; /* of the depth */
};

template <class T, class TILE, at_along B>
__global__ void __launch_bounds__(TILE::THREADS, (AT_TILE_BLOCKS<T, TILE>))
    slab_multiply(slab_product<B> j)
{
    at_wait_for_earlier();
    const int number = (int)(blockIdx.x / j.tiles), k = number * j.cut.length, depth = j.a.depth;
    at_product_part part = at_product_part_of<TILE>(blockIdx.x % j.tiles, j.rows, j.cols, depth);
    part.k_begin = k;
    part.k_end = depth - k > j.cut.length ? k + j.cut.length : depth;
    at_sums_end end = j.end;
    end.y.data = at_line<float>(end.y, number * j.rows);
    at_product_block<T, TILE>(j.a, j.b, end, part);
}

/* --- weights ---------------------------------------------------------------------------------- */

struct slab_weights {
    at_lines scores;  /* (rows, keys) f32 */
    at_lines weights; /* (rows, padded keys): a row lies in the first half of its scores */
    float *factor;    /* (rows): 1 / the sum of a row's weights */
    float *lse;       /* (rows) or NULL */
    int64_t rows, keys, padded;
    float scale; /* scale * log2(e) */
};

/* A row's scores become what they weigh, 2^(score * scale - top), with zeros behind them. What is
 * stored lies over scores of the same span, or of an earlier one: all of the row's threads have
 * loaded theirs before. */
template <class T>
__global__ void __launch_bounds__(AT_BLOCK_MAX) slab_weigh(slab_weights j)
{
    AT_SHARED(float[AT_WARPS_MAX], room);
    at_wait_for_earlier();
    const int64_t r = at_kept_row(), span = at_kept_span();
    const bool again = span < j.keys;
    float v[AT_KEPT][AT_PACK], top = -INFINITY, sum = 0;
    if (r >= j.rows) /* whole warps, in blocks that have no barrier */
        return;
    for (int64_t base = 0; base < j.keys; base += span) {
        at_kept_load<float>(v, j.scores, r, base, j.keys, -INFINITY);
        AT_FOR_KEPT(k, i)
        top = fmaxf(top, v[k][i]);
    }
    top = at_row_max(top, room) * j.scale;
    __syncwarp(); /* where a warp has a row, the maximum's shuffles order no memory */
    for (int64_t base = 0; base < j.keys; base += span) {
        if (again) {
            at_kept_load<float>(v, j.scores, r, base, j.keys, -INFINITY);
            __syncthreads();
        }
        AT_FOR_KEPT(k, i)
        sum += v[k][i] = exp2f(fmaf(v[k][i], j.scale, -top));
        at_kept_store<T>(j.weights, r, base, j.padded, v);
    }
    sum = at_row_sum(sum, room);
    if (threadIdx.x > 0)
        return;
    j.factor[r] = 1 / sum;
    if (j.lse)
        j.lse[r] = (top + log2f(sum)) * AT_LN2;
}

/* --- output ----------------------------------------------------------------------------------- */

struct slab_output {
    at_lines o;          /* (rows, D) */
    const float *sums;   /* (parts, rows, at_sums_pitch(D)) */
    const float *factor; /* (rows) */
    int64_t rows, size, parts;
};

template <class T>
__global__ void __launch_bounds__(AT_BLOCK) slab_close(slab_output j)
{
    at_wait_for_earlier();
    const int64_t c = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * AT_PACK;
    const int64_t pitch = at_sums_pitch(j.size), part = j.rows * pitch;
    int64_t r = (int64_t)blockIdx.y * blockDim.y + threadIdx.y;
    for (; c < j.size && r < j.rows; r += (int64_t)gridDim.y * blockDim.y) {
        float v[AT_PACK] = {}, w[AT_PACK];
        for (int64_t i = 0; i < j.parts; i++) {
            at_pack_load(w, j.sums + i * part + r * pitch + c, j.size - c, true, 0.0f);
#pragma unroll
            for (int k = 0; k < AT_PACK; k++)
                v[k] += w[k];
        }
#pragma unroll
        for (int k = 0; k < AT_PACK; k++)
            v[k] *= j.factor[r];
        at_pack_store(at_line<T>(j.o, r) + c, v, j.size - c, j.o.wide);
    }
}

/* --- slabs ------------------------------------------------------------------------------------ */

/* How a call is cut, and what one slab has in scratch: scores, sums of the parts, factors. */
struct slab_plan {
    int64_t rows;             /* of a slab: all but a head's last have them */
    int64_t padded;           /* keys, rounded up to whole packs */
    int64_t sums_at, factors; /* in scratch, in floats; factors follow the sums */
    at_parts cut;             /* of the keys */
    size_t bytes;
};

static slab_plan slab_plan_of(const at_attention_args *a, int candidate)
{
    enum { LEAST = 1024, TILES_DOWN = 4 }; /* parts for slabs of four large tiles' rows */
    const int64_t most = candidate == 1 ? 1024 : 512, size = at_cols(&a->q) / a->heads;
    slab_plan p = {};
    p.padded = at_sums_pitch(a->k.size[1]);
    p.cut = at_parts_of(p.padded, TILES_DOWN * at_tiles_across<at_tile_large>(size), LEAST);
    const int64_t each = p.padded + p.cut.parts * at_sums_pitch(size) + 1; /* floats of a query */
    const int64_t room = (int64_t)(AT_WORKSPACE_MAX / sizeof(float)) / each;
    p.rows = (room < most ? room : most) / SLAB_ALIGN * SLAB_ALIGN;
    if (p.rows > a->q.size[1])
        p.rows = a->q.size[1];
    p.sums_at = p.rows * p.padded;
    p.factors = p.sums_at + p.cut.parts * p.rows * at_sums_pitch(size);
    p.bytes = (size_t)(p.factors + p.rows) * sizeof(float);
    return p;
}

/* The queries of one head from 'first' on. */
struct slab {
    int64_t query, key, col; /* first rows of q and of k and v; the head's first column */
    int64_t rows;
    float *lse;
};

/* The part of an operand that begins at a row and a column. */
template <class T>
static at_lines lines_from(const at_view *v, int size, int64_t row, int64_t col)
{
    at_lines l = at_lines_of_heads(v, size);
    l.data = static_cast<T *>(l.data) + row * l.pitch + col;
    return l;
}

template <class T, at_along B>
static cudaError_t launch_product(slab_product<B> j, at_queue stream)
{
    if (at_tile_of(j.rows, j.cols, j.cut.parts, 0) == AT_TILE_LARGE) {
        j.tiles = at_tiles_in<at_tile_large>(j.rows, j.cols);
        return at_product_launch<at_tile_large>(slab_multiply<T, at_tile_large, B>, j,
                                                j.tiles * j.cut.parts, stream);
    }
    j.tiles = at_tiles_in<at_tile_small>(j.rows, j.cols);
    return at_product_launch<at_tile_small>(slab_multiply<T, at_tile_small, B>, j,
                                            j.tiles * j.cut.parts, stream);
}

template <class T>
static cudaError_t launch_scores(const at_attention_args *a, const slab_plan &p, const slab &s,
                                 float *scratch, at_queue stream)
{
    const int64_t size = at_cols(&a->q) / a->heads, keys = a->k.size[1];
    const at_lines q = lines_from<T>(&a->q, (int)size, s.query, s.col);
    const at_lines k = lines_from<T>(&a->k, (int)size, s.key, s.col);
    slab_product<AT_ALONG_K> j = {};
    j.a = at_matrix_of<AT_ALONG_K>(q, s.rows, size, a->q.dtype);
    j.b = at_matrix_of<AT_ALONG_K>(k, keys, size, a->q.dtype);
    j.end.y = { scratch, p.padded, AT_F32, true };
    j.rows = s.rows;
    j.cols = keys;
    j.cut = { 1, (int)size };
    return launch_product<T>(j, stream);
}

template <class T>
static cudaError_t launch_weights(const at_attention_args *a, const slab_plan &p, const slab &s,
                                  float *scratch, at_queue stream)
{
    const at_tiles t = at_row_tiles_of(s.rows, p.padded);
    const slab_weights j = { { scratch, p.padded, AT_F32, true },
                             { scratch, 2 * p.padded, a->q.dtype, true },
                             scratch + p.factors,
                             s.lse,
                             s.rows,
                             a->k.size[1],
                             p.padded,
                             at_heads_of(a).scale * AT_LOG2E };
    return AT_LAUNCH_EARLY(slab_weigh<T>, t.grid, t.block, 0, stream, j);
}

/* Beyond the keys the weights are zeros, and the values are taken for zeros. */
template <class T>
static cudaError_t launch_values(const at_attention_args *a, const slab_plan &p, const slab &s,
                                 float *scratch, at_queue stream)
{
    const int64_t size = at_cols(&a->q) / a->heads;
    const at_lines weights = { scratch, 2 * p.padded, a->q.dtype, true };
    const at_lines v = lines_from<T>(&a->v, (int)size, s.key, s.col);
    slab_product<AT_ALONG_OUTER> j = {};
    j.a = at_matrix_of<AT_ALONG_K>(weights, s.rows, p.padded, a->q.dtype);
    j.b = at_matrix_of<AT_ALONG_OUTER>(v, size, a->k.size[1], a->q.dtype);
    j.end.y = { scratch + p.sums_at, at_sums_pitch(size), AT_F32, true };
    j.rows = s.rows;
    j.cols = size;
    j.cut = p.cut;
    return launch_product<T>(j, stream);
}

template <class T>
static cudaError_t launch_output(const at_attention_args *a, const slab_plan &p, const slab &s,
                                 const float *scratch, at_queue stream)
{
    const int64_t size = at_cols(&a->q) / a->heads;
    const at_tiles t = at_tiles_of(s.rows, size);
    const slab_output j = { lines_from<T>(&a->o, (int)size, s.query, s.col),
                            scratch + p.sums_at,
                            scratch + p.factors,
                            s.rows,
                            size,
                            p.cut.parts };
    return AT_LAUNCH_EARLY(slab_close<T>, t.grid, t.block, 0, stream, j);
}

/* Slabs use the same scratch one after the other. */
template <class T>
static cudaError_t launch_slab(const at_attention_args *a, const slab_plan &p, const slab &s,
                               float *scratch, at_queue stream)
{
    cudaError_t error = launch_scores<T>(a, p, s, scratch, stream);
    if (error == cudaSuccess)
        error = launch_weights<T>(a, p, s, scratch, stream);
    if (error == cudaSuccess)
        error = launch_values<T>(a, p, s, scratch, stream);
    return error == cudaSuccess ? launch_output<T>(a, p, s, scratch, stream) : error;
}

template <class T>
static cudaError_t launch_slabs(const at_attention_args *a, const slab_plan &p, float *scratch,
                                at_queue stream)
{
    const int64_t queries = a->q.size[1], size = at_cols(&a->q) / a->heads;
    cudaError_t error = cudaSuccess;
    for (int64_t head = 0; head < a->q.size[0] * a->heads; head++)
        for (int64_t i = 0; i < queries && error == cudaSuccess; i += p.rows) {
            const int64_t b = head / a->heads, left = queries - i;
            float *lse = at_floats_of(&a->lse);
            const slab s = { b * queries + i, b * a->k.size[1], head % a->heads * size,
                             left < p.rows ? left : p.rows,
                             lse ? lse + head * a->lse.pitch + i : nullptr };
            error = launch_slab<T>(a, p, s, scratch, stream);
        }
    return error;
}

extern "C" bool at_attention_slabs_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_attention_args *>(args);
    if (!at_heads_fit(a) || a->q.dtype == AT_F32 || a->causal || at_has(&a->lengths) ||
        at_cols(&a->q) / a->heads < SLAB_SIZE_MIN || a->k.size[1] < SLAB_KEYS_MIN)
        return false;
    const int64_t rows = slab_plan_of(a, 0).rows, queries = a->q.size[1];
    return rows > 0 && a->q.size[0] * a->heads * ((queries + rows - 1) / rows) <= SLABS_MAX;
}

extern "C" int at_attention_slabs_cuda_candidates(const void *args, const at_caps *)
{
    const auto *a = static_cast<const at_attention_args *>(args);
    return slab_plan_of(a, 1).rows > slab_plan_of(a, 0).rows ? 2 : 1;
}

extern "C" at_status at_attention_slabs_cuda_prepare(const void *args, const at_prepare_in *in,
                                                     at_prepared *out, at_error *)
{
    const auto *a = static_cast<const at_attention_args *>(args);
    at_candidate_keep(out, in->candidate);
    out->scratch_bytes = slab_plan_of(a, in->candidate).bytes;
    return AT_OK;
}

extern "C" at_status at_attention_slabs_cuda(const void *args, const at_prepared *prepared,
                                             const at_launch *l)
{
    const auto *a = static_cast<const at_attention_args *>(args);
    const slab_plan p = slab_plan_of(a, at_candidate_of(prepared));
    auto *scratch = static_cast<float *>(l->scratch);
    return at_launched(l, a->q.dtype == AT_BF16
                              ? launch_slabs<__nv_bfloat16>(a, p, scratch, at_queue_of(l))
                              : launch_slabs<__half>(a, p, scratch, at_queue_of(l)));
}
