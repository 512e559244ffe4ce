/* cast.c -- y = x in another type, with the scale that goes with f8; and y = a value everywhere. */
#include <math.h>
#include <string.h>

#include "kernels/amax.h"
#include "kernels/parallel.h"
#include "kernels/shape.h"
#include "kernels/variants.h"

static const at_operand cast_operands[] = {
    AT_OPERAND(cast, y, AT_OUT, AT_BATCHED | AT_OVERLAY, AT_NONE),
    AT_OPERAND(cast, amax, AT_OUT, AT_OPTIONAL, AT_F32),
    AT_OPERAND(cast, x, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(cast, scale, AT_IN, AT_BATCHED | AT_OPTIONAL, AT_F32),
};
static const at_attr cast_attrs[] = {
    AT_ENUM(cast, to, AT_CAST_TYPES),
};

static at_status cast_shape(void *args, at_error *err)
{
    at_cast_args *a = args;
    at_dtype to = at_cast_type(a->to), from = a->x.dtype;
    if (at_has(&a->scale)) {
        if ((to == AT_F8) == (from == AT_F8))
            return at_fail(err, AT_INVALID, "cast: a scale goes with f8, this is %s to %s",
                           at_dtype_name(from), at_dtype_name(to));
        if (a->scale.rank != 1 || a->scale.size[0] != 1)
            AT_TRY(at_expect_vector("cast", "scale", &a->scale, at_rows(&a->x), err));
    }
    a->y = at_view_like(&a->x, to);
    a->amax = at_view_vector(AT_F32, 1);
    return AT_OK;
}

/* --- reference -------------------------------------------------------------------------------- */

/* i64 to i64 without the detour through a double, which has 53 bits. */
static void cast_element(const at_cast_args *a, int64_t r, int64_t c, double x, double factor)
{
    if (a->x.dtype == AT_I64 && a->y.dtype == AT_I64)
        ((int64_t *)at_row(&a->y, r))[c] = ((const int64_t *)at_row(&a->x, r))[c];
    else
        at_set(&a->y, r, c, x * factor);
}

static at_status cast_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_cast_args *a = args;
    double amax = 0;
    (void)p, (void)l;
    int64_t rows = at_rows(&a->x), cols = at_cols(&a->x);
    for (int64_t r = 0; r < rows; r++) {
        double scale = at_has(&a->scale) ? at_get(&a->scale, 0, at_cols(&a->scale) > 1 ? r : 0) : 1;
        double factor = a->y.dtype == AT_F8 ? 1 / scale : scale;
        for (int64_t c = 0; c < cols; c++) {
            double x = at_get(&a->x, r, c);
            amax = fabs(x) > amax ? fabs(x) : amax;
            cast_element(a, r, c, x, factor);
        }
    }
    if (at_has(&a->amax))
        at_set(&a->amax, 0, 0, amax);
    return AT_OK;
}

/* --- fill ------------------------------------------------------------------------------------- */

static const at_operand fill_operands[] = {
    AT_OPERAND(fill, y, AT_OUT, 0, AT_NONE),
};
static const at_attr fill_attrs[] = {
    AT_INTS(fill, size, AT_RANK_MAX),
    AT_FLOAT(fill, value),
    AT_ENUM(fill, to, AT_CAST_TYPES),
};

static at_status fill_shape(void *args, at_error *err)
{
    at_fill_args *a = args;
    return at_expect_size_attr("fill", a->size, at_cast_type(a->to), &a->y, err);
}

static at_status fill_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_fill_args *a = args;
    (void)p, (void)l;
    int64_t rows = at_rows(&a->y), cols = at_cols(&a->y);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++)
            at_set(&a->y, r, c, (double)a->value);
    return AT_OK;
}

enum { PIECE = 4096 }; /* bytes: a multiple of every element's size */

typedef struct fill_job {
    const at_fill_args *a;
    bool zero;
    _Alignas(64) unsigned char piece[PIECE];
} fill_job;

static void fill_run(void *ctx, const int64_t *first, int64_t n)
{
    const fill_job *j = ctx;
    size_t element = at_dtype_bytes(j->a->y.dtype), bytes = (size_t)n * element;
    char *to = (char *)j->a->y.data + (size_t)first[0] * element;
    if (j->zero) {
        memset(to, 0, bytes);
        return;
    }
    for (size_t i = 0; i < bytes; i += PIECE)
        memcpy(to + i, j->piece, bytes - i < PIECE ? bytes - i : PIECE);
}

static at_status fill_rows(const void *args, const at_prepared *p, const at_launch *l)
{
    fill_job j = { .a = args, .zero = true };
    size_t element = at_dtype_bytes(j.a->y.dtype);
    (void)p;
    for (size_t i = 0; i < PIECE / element; i++)
        at_store(j.piece, (int64_t)i, j.a->y.dtype, (double)j.a->value);
    for (size_t i = 0; i < element; i++)
        j.zero = j.zero && !j.piece[i];
    at_parallel_runs(l->stream, (const at_view *const[]){ &j.a->y }, 1, fill_run, &j);
    return AT_OK;
}

/* --- variants --------------------------------------------------------------------------------- */

static bool cast_fits(const void *args)
{
    const at_cast_args *a = args;
    return at_is_simd_type(a->x.dtype) && at_is_simd_type(a->y.dtype);
}

AT_SIMD_DECLARE(at_cast);
AT_CUDA_DECLARE(at_cast);
static const at_variant cast_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("cast", at_cast, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("cast", at_cast, AT_ROWS_INDEPENDENT, cast_fits, at_amax_prepare, NULL),
    AT_REFERENCE("cast", cast_ref),
};
AT_DEFINE_OP(cast, "y = x as " AT_CAST_TYPES, cast_operands, cast_attrs, cast_shape, NULL,
             cast_variants);

AT_CUDA_DECLARE(at_fill);
static const at_variant fill_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("fill", at_fill, AT_ROWS_INDEPENDENT, NULL),
#endif
    { "fill_rows", AT_CPU, 0, AT_ROWS_INDEPENDENT, NULL, NULL, NULL, NULL, fill_rows },
    AT_REFERENCE("fill", fill_ref),
};
AT_DEFINE_OP(fill, "y = value", fill_operands, fill_attrs, fill_shape, NULL, fill_variants);
