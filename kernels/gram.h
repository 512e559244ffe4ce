/* gram.h -- how a Gram matrix is cut up: by sizes only, so that its bytes depend on nothing
 * else.
 *
 * The positions of a sample are cut into parts; each part sums its own matrix in f32, and the
 * parts are added up in order in f64. Several samples are worked on at a time when each has few
 * parts. */
#ifndef AT_KERNELS_GRAM_H
#define AT_KERNELS_GRAM_H

#include "kernels/ops.h"

enum {
    AT_GRAM_BLOCK = 128,      /* positions that are widened and multiplied at a time */
    AT_GRAM_PART = 1024,      /* positions that are worth a matrix of their own */
    AT_GRAM_MATRICES = 16,    /* at once, at most, */
    AT_GRAM_BYTES = 16 << 20, /* and no more of them than fit in this */
    AT_GRAM_ROWS = 64,        /* positions of a part of the gradient */
    AT_GRAM_PAD = 32,         /* no panel of columns is wider, so no more of them are made up */
};

typedef struct at_gram_plan {
    int64_t positions, channels;
    int64_t padded;   /* channels, with those that fill up the last panel */
    int64_t parts;    /* of a sample */
    int64_t part;     /* positions of a part, a multiple of AT_GRAM_BLOCK */
    int64_t together; /* samples that are worked on at a time */
} at_gram_plan;

static inline at_gram_plan at_gram_plan_of(const at_view *x)
{
    at_gram_plan p = { .channels = at_cols(x), .positions = at_rows(x) / x->size[0] };
    p.padded = p.channels + AT_GRAM_PAD;
    int64_t room = AT_GRAM_BYTES / (p.padded * p.padded * (int64_t)sizeof(float));
    room = room < 1 ? 1 : room < AT_GRAM_MATRICES ? room : AT_GRAM_MATRICES;
    int64_t wanted = p.positions / AT_GRAM_PART;
    p.parts = wanted < 1 ? 1 : wanted < room ? wanted : room;
    int64_t blocks = (p.positions + AT_GRAM_BLOCK - 1) / AT_GRAM_BLOCK;
    p.part = (blocks + p.parts - 1) / p.parts * AT_GRAM_BLOCK;
    p.parts = (p.positions + p.part - 1) / p.part;
    p.together = room / p.parts;
    p.together = p.together < x->size[0] ? p.together : x->size[0];
    return p;
}

/* Scratch: the matrices of the samples worked on, then a block of positions for each worker. */
static inline int64_t at_gram_matrix(const at_gram_plan *p)
{
    return p->padded * p->padded;
}

static inline int64_t at_gram_worker(const at_gram_plan *p)
{
    return AT_GRAM_BLOCK * p->padded;
}

/* Scratch of the gradient: dy + dy^T of one sample, then for each worker its positions, widened,
 * and what becomes of them in one panel. */
static inline int64_t at_gram_bwd_worker(const at_gram_plan *p)
{
    return AT_GRAM_ROWS * (p->padded + AT_GRAM_PAD);
}

#endif
