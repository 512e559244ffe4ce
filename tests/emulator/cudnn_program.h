/* cudnn_program.h -- a finalized graph of the emulated cuDNN as plain data, and the interpreter.
 *
 * cudnn_graph.c writes a program once for a graph; an execution copies it, with addresses, an
 * engine and a workspace filled in, so that nothing of it need live on when the copy is replayed.
 * Values between steps are dense arrays of f32; a tensor's values are rounded to its type when it
 * is produced, virtual or not. */
#ifndef AT_TESTS_EMULATOR_CUDNN_PROGRAM_H
#define AT_TESTS_EMULATOR_CUDNN_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    AT_DNN_RANK_MAX = 8,
    AT_DNN_TENSORS_MAX = 40,
    AT_DNN_STEPS_MAX = 24,
    AT_DNN_INPUTS_MAX = 4,
    AT_DNN_SPATIAL = 2
};

/* What the library offers, by global index. What they are for stands in cudnn_engine.c. */
typedef enum at_dnn_engine {
    AT_DNN_ENGINE_PLAIN = 10,
    AT_DNN_ENGINE_WORKSPACE = 11,
    AT_DNN_ENGINE_SPLIT_BY_BATCH = 12,
    AT_DNN_ENGINE_NONDETERMINISTIC = 13,
    AT_DNN_ENGINE_DOWN_CONVERTS = 14,
    AT_DNN_ENGINE_TOO_BIG = 15,
    AT_DNN_ENGINE_UNFINISHED = 16,
    AT_DNN_ENGINE_TF32 = 17,
} at_dnn_engine;

typedef struct at_dnn_tensor {
    int64_t id;
    int type, rank; /* AT_CUDNN_DATA_... */
    int64_t size[AT_DNN_RANK_MAX], stride[AT_DNN_RANK_MAX];
    int64_t alignment;
    bool is_virtual, by_value;
    void *data;  /* of an execution: device memory */
    float value; /* of an execution: what is passed by value */
} at_dnn_tensor;

typedef enum at_dnn_step_kind {
    AT_DNN_CONV,      /* in: x, w; out: y */
    AT_DNN_DGRAD,     /* in: dy, w; out: dx */
    AT_DNN_WGRAD,     /* in: dy, x; out: dw */
    AT_DNN_POINTWISE, /* in: x, b; out: y */
    AT_DNN_MATMUL,    /* in: a, b; out: c */
    AT_DNN_REDUCTION, /* in: x; out: y */
    AT_DNN_RESHAPE,   /* in: x; out: y, a view of it with its axes exchanged */
    AT_DNN_SDPA,      /* in: q, k, v, scale; out: o, stats */
} at_dnn_step_kind;

typedef struct at_dnn_step {
    at_dnn_step_kind kind;
    int mode;                          /* of a pointwise operation or a reduction */
    int in[AT_DNN_INPUTS_MAX], out[2]; /* places in 'tensors'; -1: not there */
    int64_t before[AT_DNN_SPATIAL], after[AT_DNN_SPATIAL]; /* padding */
    int64_t stride[AT_DNN_SPATIAL], dilation[AT_DNN_SPATIAL];
} at_dnn_step;

typedef struct at_dnn_program {
    at_dnn_tensor tensors[AT_DNN_TENSORS_MAX];
    at_dnn_step steps[AT_DNN_STEPS_MAX]; /* each after those that it reads from */
    int n_tensors, n_steps;
    at_dnn_engine engine;
    int64_t knob; /* its one setting */
    void *workspace;
    size_t workspace_bytes;
} at_dnn_program;

size_t at_dnn_type_bytes(int type); /* 0: not a type of this library */
/* Bytes from a tensor's first element to the end of its last. */
size_t at_dnn_extent(const at_dnn_tensor *t);
int64_t at_dnn_elements(const at_dnn_tensor *t);
/* Whether y is x with its axes in another order: sizes and strides go together. */
bool at_dnn_is_transposed(const at_dnn_tensor *x, const at_dnn_tensor *y);

/* An at_emu_call_fn: runs an at_dnn_program. */
void at_dnn_program_run(void *program);

#endif
