/* onednn.h -- the little of oneDNN that is used here, the same for its versions 2 and 3.
 *
 * The library never shares out work: every primitive is made for one thread and for one part of an
 * op, and the parts, whose borders depend on sizes only, are run by our own team. So results depend
 * neither on the number of threads nor on the batch, whatever the library would have chosen for
 * those.
 *
 * A set owns an engine and the primitives of one prepared variant, and for each worker its own
 * memory handles: a worker runs one job at a time, different workers run at once. */
#ifndef AT_KERNELS_ONEDNN_H
#define AT_KERNELS_ONEDNN_H

#include "kernels/op.h"

typedef struct at_dnn at_dnn;

at_status at_dnn_new(at_dnn **out, int workers, at_error *err);
void at_dnn_free(at_dnn *d);
/* Keeps the library to these capability bits; once, before its first use. */
void at_dnn_limit(uint32_t has);
/* The library's own: "2.6.3". */
void at_dnn_version(char *text, size_t text_size);

/* One sample, or part of one, padded with zeros. */
typedef struct at_dnn_conv {
    int64_t b, h, w, ci, co, kh, kw, sh, sw, top, left, bottom, right;
    at_dtype type, y_type, bias_type; /* AT_NONE: no bias */
    int32_t sum, relu;                /* y = relu?(y + ...) */
} at_dnn_conv;

/* y = act(x w (+ y) + bias): x (m, k), y (m, n) dense; w is (k, n) seen through its strides. */
typedef struct at_dnn_product {
    int64_t m, k, n, k_stride, n_stride;
    at_dtype type, y_type, bias_type;
    int32_t sum, act; /* at_act */
} at_dnn_product;

/* Jobs are numbered from 0; equal descriptions get the same number. */
at_status at_dnn_add_conv(at_dnn *d, const at_dnn_conv *c, int *job, at_error *err);
at_status at_dnn_add_conv_wgrad(at_dnn *d, const at_dnn_conv *c, int *job, at_error *err);
at_status at_dnn_add_product(at_dnn *d, const at_dnn_product *p, int *job, at_error *err);
/* y = act(z), both (m, n) dense */
at_status at_dnn_add_act(at_dnn *d, const at_dnn_product *p, int *job, at_error *err);

/* Weights: all jobs of a set must agree on their layout to share one packing. */
bool at_dnn_same_weights(const at_dnn *d, int job, int other);
size_t at_dnn_weight_bytes(const at_dnn *d, int job);
/* Appends a text that tells the layout: equal texts, equal layouts. */
void at_dnn_weight_text(const at_dnn *d, int job, char *text, size_t size);
/* Prepares to turn plain weights of 'type' into a job's layout, or a job's gradient back to plain
 * f32 (Co, Ci, Kh, Kw). */
at_status at_dnn_add_packing(at_dnn *d, int job, at_dtype type, int *packing, at_error *err);
at_status at_dnn_add_unpacking(at_dnn *d, int job, int *unpacking, at_error *err);

/* Bytes that any one job needs while it runs. */
size_t at_dnn_scratch_bytes(const at_dnn *d);

enum { AT_DNN_X, AT_DNN_W, AT_DNN_BIAS, AT_DNN_Y, AT_DNN_SLOTS };
/* Addresses by slot. A weight gradient writes W and BIAS; a packing reads X and writes W. */
at_status at_dnn_run(at_dnn *d, int job, int worker, void *const memory[AT_DNN_SLOTS],
                     void *scratch);

#endif
