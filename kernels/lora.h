/* lora.h -- weights seen as matrices: (Co, Ci, Kh, Kw) is Co rows of Ci * Kh * Kw. */
#ifndef AT_KERNELS_LORA_H
#define AT_KERNELS_LORA_H

#include "kernels/ops.h"

enum {
    AT_LORA_ROWS = 16, /* of the weight in a part */
    AT_LORA_PAD = 32,  /* no panel of columns is wider */
};

static inline int64_t at_matrix_cols(const at_view *v)
{
    return at_elements(v) / v->size[0];
}

/* Elements from one matrix row to the next, of a view that has one pitch for all of them: a
 * matrix, or a dense view. */
static inline bool at_is_matrix(const at_view *v)
{
    return v->rank == 2 || at_dense(v);
}

static inline int64_t at_matrix_pitch(const at_view *v)
{
    return v->rank == 2 ? v->pitch : at_matrix_cols(v);
}

/* Floats of scratch: 'down' in panels, then the rows of 'up' and of the product for each worker. */
static inline int64_t at_lora_panels(int64_t rank, int64_t cols)
{
    return rank * (cols + AT_LORA_PAD);
}

static inline int64_t at_lora_worker(int64_t rank)
{
    return AT_LORA_ROWS * (rank + AT_LORA_PAD);
}

#endif
