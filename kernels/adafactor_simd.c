/* adafactor_simd.c -- bound by memory: the update's size must be known before it is made, and the means
 * before that, so g is read three times and w read and written once. A part of the matrix that fits a
 * cache comes from there the second and third time. */
#include "kernels/adafactor.h"
#include "kernels/optimizer_vec.h"
#include "kernels/variants.h"

AT_SIMD_DECLARE(at_adafactor);

typedef struct job {
    const at_adafactor_args *a;
    at_adafactor_scratch s;
    int64_t n, k;   /* the matrix is n rows of k */
    at_vf factor;   /* of gradients */
    double beta;    /* of the means */
    double row_sum; /* of the new row means */
    float keep, rate;
} job;

/* --- the means -------------------------------------------------------------------------------------- */

/* The sum of g^2 + eps over a row; each square is added to its column, too. */
AT_INLINE double square_row(const job *j, at_dtype type, int64_t r, float *cols)
{
    const void *g = at_row(&j->a->g, r);
    const at_vf eps = at_vf_set(j->a->eps);
    at_vsum sum = { { 0 }, { 0 } };
    for (int64_t c = 0; c < j->k; c += AT_LANES) {
        int n = j->k - c < AT_LANES ? (int)(j->k - c) : AT_LANES;
        at_vf x = at_lanes_load(g, c, type, n) * j->factor;
        at_vf square = at_vf_fma(x, x, eps);
        at_lanes_store(cols, c, AT_F32, at_lanes_load(cols, c, AT_F32, n) + square, n);
        if (n < AT_LANES)
            at_vf_store_n(&square, n, AT_F32, (at_vf){ 0 }, AT_LANES - n);
        at_vsum_add(&sum, square);
    }
    return at_vsum_total(&sum);
}
