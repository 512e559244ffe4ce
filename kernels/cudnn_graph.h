/* cudnn_graph.h -- operation graphs of cuDNN: described, asked for engines, made into plans, run.
 *
 * A description is a straight line of calls that put tensors and operations into a graph. The
 * graph keeps the first failure and does nothing after it, so that only at_cudnn_graph_end() has a
 * status to look at. The graph owns every descriptor that is made for it, its plan's too, and
 * at_cudnn_graph_free() destroys them, the latest first; the at_cudnn and the at_error that it was
 * begun with must outlive what is done with it.
 *
 * An engine together with its settings is a text, "engine 12 k2=3 k5=1": its number and those of
 * its knobs. No shape is part of it, so the same choice can be made at any batch. Engines that are
 * not deterministic, and those that compute in less than the types say, are never offered.
 *
 * A handle of the library belongs to a device: one thread at a time. */
#ifndef AT_KERNELS_CUDNN_GRAPH_H
#define AT_KERNELS_CUDNN_GRAPH_H

#include "kernels/cudnn.h"
#include "kernels/op.h"

enum { AT_CUDNN_RANK = 4, AT_CUDNN_OPERATIONS_MAX = 24, AT_CUDNN_ENGINES_MAX = 64 };
/* Variants offer no more candidates than this, the library's favourites. */
enum { AT_CUDNN_CANDIDATES_MAX = 12 };
/* What addresses of tensors are multiples of; what regions of scratch are. */
enum { AT_CUDNN_ALIGNMENT = 16, AT_CUDNN_REGION = 256 };

typedef struct at_cudnn_graph {
    const at_cudnn *library;
    at_error *err;
    at_status status; /* of the first failure */
    at_cudnn_descriptor *owned;
    int n_owned, owned_max;
    at_cudnn_descriptor operations[AT_CUDNN_OPERATIONS_MAX];
    int n_operations;
    int64_t ids;         /* given to virtual tensors so far */
    uint32_t never;      /* engines with one of these notes are not offered */
    unsigned char *text; /* (text_bytes) all that was said before the end: an equal text is an */
    size_t text_bytes, text_max; /* equal graph */
    at_cudnn_descriptor graph;
    at_cudnn_descriptor plan; /* the last that was made */
    size_t workspace;         /* bytes that it wants */
} at_cudnn_graph;

void at_cudnn_graph_begin(at_cudnn_graph *g, const at_cudnn *library, at_error *err);
void at_cudnn_graph_free(at_cudnn_graph *g);

/* --- describing ------------------------------------------------------------------------------- */

/* A tensor as the library sees it: pictures are N, C, H, W, heads B, H, L, D, whatever the
 * strides, which are counted in elements. */
typedef struct at_cudnn_tensor {
    int64_t id; /* not 0: its place in what a run is given; 0: inside of the graph only */
    at_dtype dtype;
    int64_t size[AT_CUDNN_RANK], stride[AT_CUDNN_RANK];
    bool by_value; /* a run gives its address in the host's memory */
} at_cudnn_tensor;

at_cudnn_descriptor at_cudnn_add_tensor(at_cudnn_graph *g, const at_cudnn_tensor *t);
/* One f32, by value. */
at_cudnn_descriptor at_cudnn_add_scalar(at_cudnn_graph *g, int64_t id);
/* Inside of the graph, in f32 or another type: n, c, h, w with channels innermost. */
at_cudnn_descriptor at_cudnn_add_virtual(at_cudnn_graph *g, at_dtype dtype, const int64_t *size);
/* What those and pictures have: channels innermost. */
void at_cudnn_strides_nhwc(at_cudnn_tensor *t);

/* Where operands are f32: without tensor cores, which round them to ten bits. */
void at_cudnn_keep_f32(at_cudnn_graph *g, at_dtype dtype);

typedef enum at_cudnn_conv_kind {
    AT_CUDNN_FORWARD,
    AT_CUDNN_DATA_GRADIENT,
    AT_CUDNN_FILTER_GRADIENT,
} at_cudnn_conv_kind;

typedef struct at_cudnn_window {
    int64_t stride[2], before[2], after[2]; /* vertical, horizontal */
} at_cudnn_window;

/* Of x (the picture that the window slides over), w and y, or of their gradients, one is written:
 * the one that 'kind' names. */
void at_cudnn_add_convolution(at_cudnn_graph *g, at_cudnn_conv_kind kind,
                              const at_cudnn_window *window, at_cudnn_descriptor x,
                              at_cudnn_descriptor w, at_cudnn_descriptor y);
/* y = mode(x) or mode(x, b); 'mode' is one of AT_CUDNN_POINTWISE_..., b may be NULL. Sizes of 1
 * are repeated. */
void at_cudnn_add_pointwise(at_cudnn_graph *g, int mode, at_cudnn_descriptor x,
                            at_cudnn_descriptor b, at_cudnn_descriptor y);
void at_cudnn_add_product(at_cudnn_graph *g, at_cudnn_descriptor a, at_cudnn_descriptor b,
                          at_cudnn_descriptor c);
/* Over the axes where y's size is 1; AT_CUDNN_REDUCE_TENSOR_... */
void at_cudnn_add_reduction(at_cudnn_graph *g, int operation, at_cudnn_descriptor x,
                            at_cudnn_descriptor y);

/* The same elements under other sizes and strides. */
void at_cudnn_add_reshape(at_cudnn_graph *g, at_cudnn_descriptor x, at_cudnn_descriptor y);

typedef struct at_cudnn_sdpa {
    at_cudnn_descriptor q, k, v, o; /* (B, H, L, D) */
    at_cudnn_descriptor stats;      /* (B, H, Lq, 1) f32, NULL if not wanted: log of the sums */
    at_cudnn_descriptor scale;      /* f32, by value */
} at_cudnn_sdpa;

void at_cudnn_add_sdpa(at_cudnn_graph *g, const at_cudnn_sdpa *s);

/* AT_UNSUPPORTED, and 'err' tells what the library said: there is no such graph. */
at_status at_cudnn_graph_end(at_cudnn_graph *g);

/* --- engines and plans ------------------------------------------------------------------------ */

typedef struct at_cudnn_engine {
    char choice[AT_CHOICE_MAX];
    uint32_t notes;   /* bit i: the library's numerical note i */
    bool compiled;    /* at run time, when its plan is made */
    size_t workspace; /* bytes, as foreseen before there is a plan */
} at_cudnn_engine;

typedef struct at_cudnn_engines {
    int offered; /* by the library, all of them */
    int n;       /* that may be used, the library's favourite first */
    at_cudnn_engine list[AT_CUDNN_ENGINES_MAX];
} at_cudnn_engines;

/* Those that want at most 'most' bytes of workspace. */
at_status at_cudnn_engines_of(at_cudnn_graph *g, size_t most, at_cudnn_engines *out);
/* Makes g->plan; plans that were made before stay good. AT_UNSUPPORTED if the library cannot, or
 * not within 'most' bytes of workspace. After a failure the graph may be asked for another. */
at_status at_cudnn_plan(at_cudnn_graph *g, const char *choice, size_t most);

/* What a tensor's id means for a run. */
typedef struct at_cudnn_binding {
    int64_t id;
    const void *data;
} at_cudnn_binding;

/* Enqueues the plan. The library takes a little memory of the host's own for the call, and gives it
 * back; nothing of the device's. */
at_status at_cudnn_run(const at_cudnn *c, at_cudnn_descriptor plan,
                       const at_cudnn_binding *bindings, int n, void *workspace,
                       const at_launch *l);

#endif
