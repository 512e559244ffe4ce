/* concat.cu -- bound by memory: joining, cutting and its gradient write every byte once and read
 * what they keep once; the aim is 85 % of the bandwidth.
 *
 * All three put parts side by side within a row and zeros where there is none. A row is an axis and
 * all behind it. Only where a pitched view is cut before its last axis do rows end with that one,
 * and parts are then told apart by the row's number. */
#include "kernels/moves.cuh"

enum { PARTS = 4 };

struct concat_part {
    const char *from;
    int64_t step;       /* bytes from row to row */
    int64_t rows;       /* of a stretch */
    int64_t begin, end; /* where it lies in y: bytes of a row, or rows of a stretch */
};

struct concat_job {
    char *to;
    int64_t step;    /* bytes of a row of y */
    int64_t stretch; /* rows of y, counted over again; 0: parts lie beside one another */
    at_walk walk;
    concat_part part[PARTS]; /* begin = end: there is none */
};

__device__ __forceinline__ const char *at_move_from(const concat_job &j, int64_t r, int64_t byte)
{
    const int64_t outer = j.stretch ? r / j.stretch : r;
    const int64_t at = j.stretch ? r - outer * j.stretch : byte;
    const char *from = nullptr;
#pragma unroll
    for (int k = 0; k < PARTS; k++) {
        const concat_part &p = j.part[k];
        if (at < p.begin || at >= p.end)
            continue;
        const int64_t row = j.stretch ? outer * p.rows + at - p.begin : r;
        from = p.from + row * p.step + (j.stretch ? byte : at - p.begin);
    }
    return from;
}

/* --- the layout ------------------------------------------------------------------------------- */

/* 'length' indices along the axis from 'skip' on, which are those of y from 'start' on. */
struct concat_piece {
    const at_view *v;
    int64_t start, skip, length;
};

static int64_t sizes_between(const at_view *v, int64_t first, int64_t end)
{
    int64_t n = 1;
    for (int64_t i = first; i < end; i++)
        n *= v->size[i];
    return n;
}

static bool is_apart(const at_view *v, int64_t axis)
{
    return axis < v->rank - 1 && !at_dense(v);
}

/* Rows of y and its parts in bytes; returns all addresses, steps and lengths, or-ed together. */
static uint64_t lay_out(concat_job *j, const at_view *y, int64_t axis, const concat_piece *pieces,
                        int n)
{
    const int64_t last = y->rank - 1, element = (int64_t)at_dtype_bytes(y->dtype);
    bool apart = false;
    for (int i = 0; i < n; i++)
        apart = apart || is_apart(pieces[i].v, axis);
    /* what one index along the axis takes: rows of a stretch, or bytes of a row */
    const int64_t each =
        apart ? sizes_between(y, axis + 1, last) : sizes_between(y, axis + 1, y->rank) * element;
    const int64_t all = y->size[axis] * each;
    j->to = static_cast<char *>(y->data);
    j->stretch = apart ? all : 0;
    j->walk.rows = sizes_between(y, 0, axis) * (apart ? all : 1);
    j->walk.units = j->step = apart ? at_cols(y) * element : all;
    uint64_t bits = (uint64_t)(uintptr_t)j->to | (uint64_t)j->step;
    for (int i = 0; i < n; i++) {
        const at_view *v = pieces[i].v;
        concat_part *p = &j->part[i];
        const bool pitched = apart || axis == last;
        p->rows = v->size[axis] * each;
        p->step = pitched ? v->pitch * element : p->rows;
        p->from =
            static_cast<const char *>(v->data) + pieces[i].skip * each * (apart ? p->step : 1);
        p->begin = pieces[i].start * each;
        p->end = p->begin + pieces[i].length * each;
        bits |= (uint64_t)(uintptr_t)p->from | (uint64_t)p->step;
        bits |= apart ? 0 : (uint64_t)p->begin | (uint64_t)p->end;
    }
    return bits;
}

static at_status move_pieces(const at_view *y, int64_t axis, const concat_piece *pieces, int n,
                             const at_launch *l)
{
    concat_job j = {};
    const int unit = at_unit_of(lay_out(&j, y, axis, pieces, n));
    return at_launched(l, AT_BY_UNIT(unit, at_move_launch, j, at_queue_of(l)));
}

/* --- the ops ---------------------------------------------------------------------------------- */

extern "C" bool at_concat_cuda_fits(const void *)
{
    return true;
}

extern "C" at_status at_concat_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_concat_args *>(args);
    const at_view *parts[PARTS] = { &a->x0, &a->x1, &a->x2, &a->x3 };
    concat_piece pieces[PARTS];
    int64_t start = 0;
    int n = 0;
    for (int i = 0; i < PARTS; i++) {
        if (!at_has(parts[i]))
            continue;
        pieces[n++] = { parts[i], start, 0, parts[i]->size[a->axis] };
        start += parts[i]->size[a->axis];
    }
    return move_pieces(&a->y, a->axis, pieces, n, l);
}

extern "C" bool at_slice_cuda_fits(const void *)
{
    return true;
}

extern "C" at_status at_slice_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_slice_args *>(args);
    const concat_piece whole = { &a->x, 0, a->start, a->length };
    return move_pieces(&a->y, a->axis, &whole, 1, l);
}

extern "C" bool at_slice_bwd_cuda_fits(const void *)
{
    return true;
}

extern "C" at_status at_slice_bwd_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_slice_bwd_args *>(args);
    const concat_piece whole = { &a->dy, a->start, 0, a->dy.size[a->axis] };
    return move_pieces(&a->dx, a->axis, &whole, 1, l);
}
