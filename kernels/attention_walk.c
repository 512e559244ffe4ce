/* attention_walk.c -- cuts attention into blocks, and a block into spans of keys and panels of
 * queries. */
#include "kernels/attention.h"

#include <stdlib.h>

/* A block has up to BLOCK_ROWS queries, fewer where their panels and outputs would leave the second
 * cache (BLOCK_BYTES), and fewer again where threads would have less than BLOCKS_EACH to share out.
 * Prefetching the next span while this one is computed was tried: it only moves the cost. */
enum { BLOCK_ROWS = 768, BLOCK_BYTES = 1280 << 10, BLOCKS_EACH = 8, ALIGN = 64, LINE = 64 };

typedef struct walk {
    const at_attention_kernel *kernel;
    const at_attention_args *a;
    int64_t size, padded, stride, span;
    int64_t panels; /* of a block, at most */
    int64_t blocks; /* of a head */
    size_t panel_words;
    size_t scratch_bytes; /* of a thread */
    char *scratch;
} walk;

static int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

static int64_t clamp(int64_t n, int64_t low, int64_t high)
{
    return n < low ? low : n > high ? high : n;
}

/* Everything that follows from the sizes. */
static walk plan_walk(const at_attention_kernel *kernel, const at_attention_args *a, int threads)
{
    walk w = { .kernel = kernel, .a = a };
    int64_t heads = a->q.size[0] * a->heads, queries = a->q.size[1];
    w.size = at_cols(&a->q) / a->heads;
    w.padded = round_up(w.size, kernel->pad);
    /* An odd number of cache lines, so that rows do not fall into the same sets. */
    int64_t lines = (w.padded * kernel->bytes + LINE - 1) / LINE + 1;
    w.stride = (lines % 2 ? lines : lines + 1) * (LINE / 4);
    w.span = w.size <= 128 ? kernel->span : kernel->span_large;
    w.panel_words = (size_t)(w.padded * kernel->width);
    int64_t panels = (queries + kernel->width - 1) / kernel->width;
    int64_t most = clamp(BLOCK_BYTES / ((int64_t)w.panel_words * 8), 2, BLOCK_ROWS / kernel->width);
    w.blocks = (panels + most - 1) / most;
    while (heads * w.blocks < threads * BLOCKS_EACH && w.blocks < panels)
        w.blocks++;
    /* An equal number for each thread, if one more here or there brings that about. */
    for (int64_t more = 0; more < threads && w.blocks + more <= panels; more++)
        if (heads * (w.blocks + more) % threads == 0) {
            w.blocks += more;
            break;
        }
    w.panels = (panels + w.blocks - 1) / w.blocks;
    size_t rows = (size_t)(w.panels * kernel->width);
    size_t words = 2 * (size_t)w.panels * w.panel_words + 2 * rows +
                   (size_t)(w.span * (2 * w.stride + kernel->width));
    w.scratch_bytes = words * 4 + ALIGN;
    return w;
}

/* Lays the block's arrays into the thread's scratch. */
static void carve_scratch(const walk *w, at_attention_block *b, int worker)
{
    uintptr_t base = (uintptr_t)(w->scratch + (size_t)worker * w->scratch_bytes);
    float *p = (float *)((base + ALIGN - 1) / ALIGN * ALIGN);
    size_t rows = (size_t)(w->panels * w->kernel->width);
    b->queries = p, p += (size_t)w->panels * w->panel_words;
    b->out = p, p += (size_t)w->panels * w->panel_words;
    b->key_rows = p, p += w->span * w->stride;
    b->value_rows = p, p += w->span * w->stride;
    b->scores = p, p += w->span * w->kernel->width;
    b->top = p, p += rows;
    b->sum = p;
}

static const void *element(const at_view *v, int64_t row, int64_t col)
{
    return (const char *)v->data + (size_t)(row * v->pitch + col) * at_dtype_bytes(v->dtype);
}

/* Rows of panel p, and the width that the kernel gives them. */
static int64_t panel_width(const walk *w, const at_attention_block *b, int64_t row)
{
    int64_t left = b->rows - row;
    return left >= w->kernel->width ? w->kernel->width : round_up(left, w->kernel->grain);
}

/* One span: every panel of the block that sees a part of it. 'shift' is the number of keys that a
 * causal row 0 of the block sees beyond the first. */
static void attend_span(const walk *w, at_attention_block *b, int64_t key, int64_t visible,
                        int64_t shift)
{
    int64_t panels = (b->rows + w->kernel->width - 1) / w->kernel->width;
    b->key = key;
    b->keys = visible - key < w->span ? visible - key : w->span;
    b->reach = shift - key;
    w->kernel->load_span(b);
    for (int64_t p = 0; p < panels; p++) {
        int64_t row = p * w->kernel->width, width = panel_width(w, b, row), keys = b->keys;
        int64_t last = row + width < b->rows ? row + width - 1 : b->rows - 1;
        b->masked = false;
        if (w->a->causal) {
            keys = clamp(last + b->reach + 1, 0, keys);
            b->masked = row + b->reach + 1 < keys;
        }
        if (keys > 0)
            w->kernel->attend(b, row, width, keys);
    }
}

/* Block i of the heads of all samples; the last of a head first, it is the longest when causal. */
static void attend_block(const walk *w, int64_t i, int worker)
{
    const at_attention_args *a = w->a;
    int64_t head = i / w->blocks % a->heads, sample = i / w->blocks / a->heads;
    int64_t block = w->blocks - 1 - i % w->blocks, queries = a->q.size[1], keys = a->k.size[1];
    int64_t panels = (queries + w->kernel->width - 1) / w->kernel->width;
    int64_t first = panels * block / w->blocks * w->kernel->width;
    int64_t last = panels * (block + 1) / w->blocks * w->kernel->width;
    int64_t row = sample * queries + first, col = head * w->size;
    at_attention_block b = { .type = a->q.dtype,
                             .size = w->size,
                             .padded = w->padded,
                             .stride = w->stride,
                             .scale = at_attention_scale(a->scale, w->size) * 1.44269504f,
                             .q = element(&a->q, row, col),
                             .k = element(&a->k, sample * keys, col),
                             .v = element(&a->v, sample * keys, col),
                             .o = (void *)(uintptr_t)element(&a->o, row, col),
                             .q_pitch = a->q.pitch,
                             .k_pitch = a->k.pitch,
                             .v_pitch = a->v.pitch,
                             .o_pitch = a->o.pitch,
                             .rows = (last < queries ? last : queries) - first };
    if (at_has(&a->lse))
        b.lse = (float *)at_row(&a->lse, sample * a->heads + head) + first;
    carve_scratch(w, &b, worker);

    int64_t length = at_attention_length(&a->lengths, sample, keys),
            shift = first + length - queries;
    int64_t visible = a->causal ? clamp(b.rows + shift, 0, length) : length;
    if (w->kernel->begin)
        w->kernel->begin();
    for (int64_t r = 0; r < b.rows; r += w->kernel->width)
        w->kernel->load_queries(&b, r, panel_width(w, &b, r));
    for (int64_t key = 0; key < visible; key += w->span)
        attend_span(w, &b, key, visible, shift);
    for (int64_t r = 0; r < b.rows; r += w->kernel->width)
        w->kernel->store(&b, r, panel_width(w, &b, r));
    if (w->kernel->end)
        w->kernel->end();
}

static void attend_blocks(void *ctx, int64_t begin, int64_t end, int worker)
{
    for (int64_t i = begin; i < end; i++)
        attend_block(ctx, i, worker);
}

at_status at_attention_prepare(const at_attention_kernel *kernel, const at_attention_args *a,
                               int threads, at_prepared *out, at_error *err)
{
    walk *w = malloc(sizeof *w);
    if (!w)
        return at_fail(err, AT_NO_MEMORY, "attention: no memory for %zu bytes", sizeof *w);
    *w = plan_walk(kernel, a, threads);
    out->state = w;
    out->scratch_bytes = w->scratch_bytes * (size_t)threads;
    return AT_OK;
}

void at_attention_release(at_prepared *p)
{
    free(p->state);
}

void at_attention_walk(const at_attention_args *a, const at_prepared *p, const at_launch *l)
{
    walk w = *(const walk *)p->state;
    w.a = a;
    w.scratch = l->scratch;
    at_parallel_uneven(l->stream, a->q.size[0] * a->heads * w.blocks, 1, attend_blocks, &w);
}
