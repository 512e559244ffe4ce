/* concat.c -- joining and cutting along an axis: rows are copied whole, whatever their type.
 *
 * With the axes before the cut one as "outer" and it with all behind it as one stretch of memory,
 * both are the same copy: stretches of one tensor to a place within stretches of another. Only when
 * the last axis itself is cut may the rows be pitched views; the reference takes what is left. */
#include <string.h>

#include "kernels/parallel.h"
#include "kernels/shape.h"
#include "kernels/variants.h"

/* A tensor as rows of bytes: 'rows' of 'bytes', 'step' bytes from one to the next. */
typedef struct stretch {
    char *data;
    int64_t rows;
    size_t bytes, step;
} stretch;

static size_t bytes_from(const at_view *v, int axis)
{
    size_t bytes = at_dtype_bytes(v->dtype);
    for (int i = axis; i < v->rank; i++)
        bytes *= (size_t)v->size[i];
    return bytes;
}

/* Cuts a view before 'axis'. Axes behind it lie in one piece only in a dense tensor; the tables ask
 * for that, except on the last axis. */
static stretch stretch_of(const at_view *v, int64_t axis)
{
    stretch s = { v->data, 1, bytes_from(v, (int)axis), 0 };
    for (int i = 0; i < axis; i++)
        s.rows *= v->size[i];
    s.step = axis == v->rank - 1 ? (size_t)v->pitch * at_dtype_bytes(v->dtype) : s.bytes;
    return s;
}

typedef struct copy {
    char *to;
    const char *from;
    size_t to_step, from_step, bytes;
} copy;

static void copy_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const copy *c = ctx;
    (void)worker;
    for (int64_t r = begin; r < end; r++)
        memcpy(c->to + (size_t)r * c->to_step, c->from + (size_t)r * c->from_step, c->bytes);
}

/* 'bytes' of each row of 'from', starting at 'from_at', to 'to_at' within each row of 'to'. */
static void copy_rows(const at_stream *stream, const stretch *to, size_t to_at, const stretch *from,
                      size_t from_at, size_t bytes)
{
    enum { PIECE = 64 * 1024 };
    copy c = { to->data + to_at, from->data + from_at, to->step, from->step, bytes };
    int64_t rows = to->rows;
    if (rows == 1 && bytes > PIECE) { /* one long stretch: cut it, so that threads share it */
        int64_t whole = (int64_t)(bytes / PIECE);
        c.to_step = c.from_step = c.bytes = PIECE;
        at_parallel(stream, whole, 1, copy_part, &c);
        size_t done = (size_t)whole * PIECE;
        memcpy(c.to + done, c.from + done, bytes - done);
        return;
    }
    at_parallel(stream, rows, at_grain(rows, 2 * (double)bytes), copy_part, &c);
}

static at_status expect_axis(const char *op, const at_view *v, int64_t axis, at_error *err)
{
    if (axis < 0 || axis >= v->rank)
        return at_fail(err, AT_INVALID, "%s: axis %lld of a tensor with %d axes", op,
                       (long long)axis, (int)v->rank);
    return AT_OK;
}

/* A pitched view is one stretch a row only when the last axis is cut; the reference takes the
 * rest. */
static bool is_cut(const at_view *v, int64_t axis)
{
    return !at_has(v) || axis == v->rank - 1 || at_dense(v);
}

/* --- concat ----------------------------------------------------------------------------------- */

static const at_operand concat_operands[] = {
    AT_OPERAND(concat, y, AT_OUT, AT_DENSE, AT_NONE),
    AT_OPERAND(concat, x0, AT_IN, 0, AT_NONE),
    AT_OPERAND(concat, x1, AT_IN, 0, AT_NONE),
    AT_OPERAND(concat, x2, AT_IN, AT_OPTIONAL, AT_NONE),
    AT_OPERAND(concat, x3, AT_IN, AT_OPTIONAL, AT_NONE),
};
static const at_attr concat_attrs[] = { AT_INT(concat, axis) };

enum { PARTS = 4 };

static void parts_of(const at_concat_args *a, const at_view *parts[PARTS])
{
    parts[0] = &a->x0;
    parts[1] = &a->x1;
    parts[2] = &a->x2;
    parts[3] = &a->x3;
}

static at_status concat_shape(void *args, at_error *err)
{
    at_concat_args *a = args;
    const at_view *parts[PARTS];
    parts_of(a, parts);
    AT_TRY(expect_axis("concat", &a->x0, a->axis, err));
    a->y = at_view_like(&a->x0, a->x0.dtype);
    for (int i = 0; i < PARTS; i++) {
        char name[] = { 'x', (char)('0' + i), 0 };
        if (!at_has(parts[i]))
            continue;
        if (parts[i]->dtype != a->x0.dtype)
            return at_fail(err, AT_INVALID, "concat: %s is %s, but x0 is %s", name,
                           at_dtype_name(parts[i]->dtype), at_dtype_name(a->x0.dtype));
        at_view like = a->x0;
        if (parts[i]->rank == like.rank)
            like.size[a->axis] = parts[i]->size[a->axis];
        AT_TRY(at_expect_like("concat", name, parts[i], &like, err));
        if (i)
            a->y.size[a->axis] += parts[i]->size[a->axis];
    }
    return AT_OK;
}

static at_status concat_rows(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_concat_args *a = args;
    const at_view *parts[PARTS];
    stretch to = stretch_of(&a->y, a->axis);
    size_t at = 0;
    (void)p;
    parts_of(a, parts);
    for (int i = 0; i < PARTS; i++) {
        if (!at_has(parts[i]))
            continue;
        stretch from = stretch_of(parts[i], a->axis);
        copy_rows(l->stream, &to, at, &from, 0, from.bytes);
        at += from.bytes;
    }
    return AT_OK;
}

/* Element by element, through the indices of all axes. */
static void copy_elements(const at_view *to, const at_view *from, int64_t axis, int64_t to_start,
                          int64_t from_start, int64_t length)
{
    int64_t inner = 1, outer = 1;
    for (int i = 0; i < from->rank; i++)
        if (i != axis)
            *(i < axis ? &outer : &inner) *= from->size[i];
    int64_t to_cols = at_cols(to), from_cols = at_cols(from);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t k = 0; k < length; k++)
            for (int64_t i = 0; i < inner; i++) {
                int64_t t = (o * to->size[axis] + to_start + k) * inner + i;
                int64_t f = (o * from->size[axis] + from_start + k) * inner + i;
                at_set(to, t / to_cols, t % to_cols, at_get(from, f / from_cols, f % from_cols));
            }
}

static at_status concat_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_concat_args *a = args;
    const at_view *parts[PARTS];
    int64_t at = 0;
    (void)p, (void)l;
    parts_of(a, parts);
    for (int i = 0; i < PARTS; i++)
        if (at_has(parts[i])) {
            copy_elements(&a->y, parts[i], a->axis, at, 0, parts[i]->size[a->axis]);
            at += parts[i]->size[a->axis];
        }
    return AT_OK;
}

static bool concat_fits(const void *args)
{
    const at_concat_args *a = args;
    return is_cut(&a->x0, a->axis) && is_cut(&a->x1, a->axis) && is_cut(&a->x2, a->axis) &&
           is_cut(&a->x3, a->axis);
}

AT_CUDA_DECLARE(at_concat);
static const at_variant concat_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("concat", at_concat, AT_ROWS_INDEPENDENT, NULL),
#endif
    { "concat_rows", AT_CPU, 0, AT_ROWS_INDEPENDENT, concat_fits, NULL, NULL, NULL, concat_rows },
    AT_REFERENCE("concat", concat_ref),
};
AT_DEFINE_OP(concat, "y = x0 | x1 | x2 | x3 along an axis", concat_operands, concat_attrs,
             concat_shape, NULL, concat_variants);

/* --- slice ------------------------------------------------------------------------------------ */

static const at_operand slice_operands[] = {
    AT_OPERAND(slice, y, AT_OUT, AT_DENSE, AT_NONE),
    AT_OPERAND(slice, x, AT_IN, 0, AT_NONE),
};
static const at_attr slice_attrs[] = {
    AT_INT(slice, axis),
    AT_INT(slice, start),
    AT_INT(slice, length),
};

static at_status expect_range(const char *op, int64_t start, int64_t length, int64_t size,
                              at_error *err)
{
    if (start >= 0 && length > 0 && start <= size - length)
        return AT_OK;
    return at_fail(err, AT_INVALID, "%s: elements %lld to %lld of %lld", op, (long long)start,
                   (long long)(start + length), (long long)size);
}

static at_status slice_shape(void *args, at_error *err)
{
    at_slice_args *a = args;
    AT_TRY(expect_axis("slice", &a->x, a->axis, err));
    AT_TRY(expect_range("slice", a->start, a->length, a->x.size[a->axis], err));
    a->y = at_view_like(&a->x, a->x.dtype);
    a->y.size[a->axis] = a->length;
    return AT_OK;
}

static at_status slice_rows(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_slice_args *a = args;
    stretch to = stretch_of(&a->y, a->axis), from = stretch_of(&a->x, a->axis);
    (void)p;
    copy_rows(l->stream, &to, 0, &from, (size_t)a->start * bytes_from(&a->x, (int)a->axis + 1),
              to.bytes);
    return AT_OK;
}

static at_status slice_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_slice_args *a = args;
    (void)p, (void)l;
    copy_elements(&a->y, &a->x, a->axis, 0, a->start, a->length);
    return AT_OK;
}

static bool slice_fits(const void *args)
{
    const at_slice_args *a = args;
    return is_cut(&a->x, a->axis);
}

AT_CUDA_DECLARE(at_slice);
static const at_variant slice_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("slice", at_slice, AT_ROWS_INDEPENDENT, NULL),
#endif
    { "slice_rows", AT_CPU, 0, AT_ROWS_INDEPENDENT, slice_fits, NULL, NULL, NULL, slice_rows },
    AT_REFERENCE("slice", slice_ref),
};
AT_DEFINE_OP(slice, "y = x[start : start + length] along an axis", slice_operands, slice_attrs,
             slice_shape, NULL, slice_variants);

/* --- slice_bwd -------------------------------------------------------------------------------- */

static const at_operand slice_bwd_operands[] = {
    AT_OPERAND(slice_bwd, dx, AT_OUT, AT_DENSE, AT_NONE),
    AT_OPERAND(slice_bwd, dy, AT_IN, 0, AT_NONE),
};
static const at_attr slice_bwd_attrs[] = {
    AT_INT(slice_bwd, axis),
    AT_INT(slice_bwd, start),
    AT_INT(slice_bwd, full),
};

static at_status slice_bwd_shape(void *args, at_error *err)
{
    at_slice_bwd_args *a = args;
    AT_TRY(expect_axis("slice_bwd", &a->dy, a->axis, err));
    AT_TRY(expect_range("slice_bwd", a->start, a->dy.size[a->axis], a->full, err));
    a->dx = at_view_like(&a->dy, a->dy.dtype);
    a->dx.size[a->axis] = a->full;
    return AT_OK;
}

/* All elements are zero bytes: so is every type's zero. */
static void clear_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const stretch *s = ctx;
    (void)worker;
    for (int64_t r = begin; r < end; r++)
        memset(s->data + (size_t)r * s->step, 0, s->bytes);
}

static at_status slice_bwd_rows(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_slice_bwd_args *a = args;
    stretch to = stretch_of(&a->dx, a->axis), from = stretch_of(&a->dy, a->axis);
    (void)p;
    at_parallel(l->stream, to.rows, at_grain(to.rows, (double)to.bytes), clear_part, &to);
    copy_rows(l->stream, &to, (size_t)a->start * bytes_from(&a->dy, (int)a->axis + 1), &from, 0,
              from.bytes);
    return AT_OK;
}

static at_status slice_bwd_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_slice_bwd_args *a = args;
    (void)p, (void)l;
    for (int64_t r = 0; r < at_rows(&a->dx); r++)
        for (int64_t c = 0; c < at_cols(&a->dx); c++)
            at_set(&a->dx, r, c, 0);
    copy_elements(&a->dx, &a->dy, a->axis, a->start, 0, a->dy.size[a->axis]);
    return AT_OK;
}

static bool slice_bwd_fits(const void *args)
{
    const at_slice_bwd_args *a = args;
    return is_cut(&a->dy, a->axis);
}

AT_CUDA_DECLARE(at_slice_bwd);
static const at_variant slice_bwd_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("slice_bwd", at_slice_bwd, AT_ROWS_INDEPENDENT, NULL),
#endif
    { "slice_bwd_rows", AT_CPU, 0, AT_ROWS_INDEPENDENT, slice_bwd_fits, NULL, NULL, NULL,
      slice_bwd_rows },
    AT_REFERENCE("slice_bwd", slice_bwd_ref),
};
AT_DEFINE_OP(slice_bwd, "dx = zeros with dy put in along an axis", slice_bwd_operands,
             slice_bwd_attrs, slice_bwd_shape, NULL, slice_bwd_variants);
