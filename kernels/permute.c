/* permute.c -- the axes of a tensor in another order, whatever its type.
 *
 * Axes that stay neighbours are merged first; what is left of the common orders (NCHW to NHWC and
 * back, heads out of tokens) is a batch of matrix transposes or of row copies. Transposes go tile
 * by tile, so that both sides use whole cache lines. */
#include "kernels/permute.h"

#include <string.h>

#include "kernels/parallel.h"
#include "kernels/shape.h"
#include "kernels/variants.h"

static const at_operand permute_operands[] = {
    AT_OPERAND(permute, y, AT_OUT, AT_DENSE, AT_NONE),
    AT_OPERAND(permute, x, AT_IN, AT_DENSE, AT_NONE),
};
static const at_attr permute_attrs[] = { AT_INTS(permute, order, 4) };

static at_status permute_shape(void *args, at_error *err)
{
    at_permute_args *a = args;
    unsigned seen = 0;
    a->y = at_view_like(&a->x, a->x.dtype);
    for (int i = 0; i < a->x.rank; i++) {
        int64_t from = a->order[i];
        if (from < 0 || from >= a->x.rank || (seen >> from & 1u))
            return at_fail(err, AT_INVALID, "permute: order[%d] = %lld is not a new axis of %d", i,
                           (long long)from, (int)a->x.rank);
        seen |= 1u << from;
        a->y.size[i] = a->x.size[from];
    }
    return AT_OK;
}

static at_permute_walk walk_of(const at_permute_args *a)
{
    at_permute_walk w = { { 1, 1, 1, 1 }, { 0 }, at_dtype_bytes(a->x.dtype), a->y.data, a->x.data };
    int64_t stride[AT_RANK_MAX];
    int rank = a->x.rank, first = AT_RANK_MAX - rank;
    for (int i = rank - 1; i >= 0; i--)
        stride[i] = i == rank - 1 ? 1 : stride[i + 1] * a->x.size[i + 1];
    for (int i = 0; i < rank; i++) {
        w.size[first + i] = a->y.size[i];
        w.stride[first + i] = stride[a->order[i]];
    }
    return w;
}

static at_status permute_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_permute_args *a = args;
    at_permute_walk w = walk_of(a);
    int64_t to = 0;
    (void)p, (void)l;
    for (int64_t i = 0; i < w.size[0]; i++)
        for (int64_t j = 0; j < w.size[1]; j++)
            for (int64_t k = 0; k < w.size[2]; k++)
                for (int64_t m = 0; m < w.size[3]; m++, to++) {
                    int64_t from =
                        i * w.stride[0] + j * w.stride[1] + k * w.stride[2] + m * w.stride[3];
                    memcpy(w.y + (size_t)to * w.bytes, w.x + (size_t)from * w.bytes, w.bytes);
                }
    return AT_OK;
}

at_permute_walk at_permute_walk_of(const at_permute_args *a)
{
    at_permute_walk w = walk_of(a);
    int last = AT_RANK_MAX; /* axes from here on are done */
    for (int i = AT_RANK_MAX - 1; i >= 0; i--) {
        if (w.size[i] == 1)
            continue;
        if (last < AT_RANK_MAX && w.stride[i] == w.stride[last] * w.size[last]) {
            w.size[last] *= w.size[i];
            continue;
        }
        last--;
        w.size[last] = w.size[i];
        w.stride[last] = w.stride[i];
    }
    for (int i = 0; i < last; i++) {
        w.size[i] = 1;
        w.stride[i] = 0;
    }
    if (last == AT_RANK_MAX) /* a single element */
        w.stride[AT_RANK_MAX - 1] = 1;
    return w;
}

enum { TILE = 32 };

/* One tile: rows of y from 'k', columns from 'm'; the columns of y are far apart in x. */
static void copy_tile(const at_permute_walk *w, char *y, const char *x, int64_t k, int64_t m)
{
    int64_t k_end = k + TILE < w->size[2] ? k + TILE : w->size[2];
    int64_t m_end = m + TILE < w->size[3] ? m + TILE : w->size[3];
#define COPY(type)                                                           \
    for (int64_t r = k; r < k_end; r++) {                                    \
        type *to = (type *)(void *)y + r * w->size[3];                       \
        const type *from = (const type *)(const void *)x + r * w->stride[2]; \
        for (int64_t c = m; c < m_end; c++)                                  \
            to[c] = from[c * w->stride[3]];                                  \
    }
    switch (w->bytes) {
    case 1: COPY(uint8_t) break;
    case 2: COPY(uint16_t) break;
    case 4: COPY(uint32_t) break;
    case 8: COPY(uint64_t) break;
    }
#undef COPY
}

/* A part is a stripe of TILE rows of one of the matrices that the first two axes number. */
static void permute_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const at_permute_walk *w = ctx;
    int64_t stripes = (w->size[2] + TILE - 1) / TILE;
    (void)worker;
    for (int64_t s = begin; s < end; s++) {
        int64_t matrix = s / stripes, k = s % stripes * TILE;
        int64_t i = matrix / w->size[1], j = matrix % w->size[1];
        const char *x = w->x + (size_t)(i * w->stride[0] + j * w->stride[1]) * w->bytes;
        char *y = w->y + (size_t)(matrix * w->size[2] * w->size[3]) * w->bytes;
        int64_t rows = k + TILE < w->size[2] ? TILE : w->size[2] - k;
        if (w->stride[3] != 1) {
            for (int64_t m = 0; m < w->size[3]; m += TILE)
                copy_tile(w, y, x, k, m);
            continue;
        }
        for (int64_t r = k; r < k + rows; r++)
            memcpy(y + (size_t)(r * w->size[3]) * w->bytes,
                   x + (size_t)(r * w->stride[2]) * w->bytes, (size_t)w->size[3] * w->bytes);
    }
}

static at_status permute_tiles(const void *args, const at_prepared *p, const at_launch *l)
{
    at_permute_walk w = at_permute_walk_of(args);
    (void)p;
    int64_t stripes = w.size[0] * w.size[1] * ((w.size[2] + TILE - 1) / TILE);
    at_parallel(l->stream, stripes,
                at_grain(stripes, 2.0 * TILE * (double)w.size[3] * (double)w.bytes), permute_part,
                &w);
    return AT_OK;
}

AT_CUDA_DECLARE(at_permute);
static const at_variant permute_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("permute", at_permute, AT_ROWS_INDEPENDENT, NULL),
#endif
    { "permute_tiles", AT_CPU, 0, AT_ROWS_INDEPENDENT, NULL, NULL, NULL, NULL, permute_tiles },
    AT_REFERENCE("permute", permute_ref),
};
AT_DEFINE_OP(permute, "axis i of y is axis order[i] of x", permute_operands, permute_attrs,
             permute_shape, NULL, permute_variants);
