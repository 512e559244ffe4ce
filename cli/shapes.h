/* shapes.h -- the shapes that a command works through: those of kernels/shapes.def, or a file's.
 *
 * A line of such a file is an op and a call of it in the language of at_args_parse(); empty lines
 * and lines that begin with # say nothing:
 *
 *     conv2d x=16,64,64,640 w=640,640,3,3 bias=640 pad=1,1,1,1
 *
 * The text belongs to the at_shapes, which the caller frees. One thread. */
#ifndef AT_CLI_SHAPES_H
#define AT_CLI_SHAPES_H

#include "engine/bench.h"

enum { AT_SHAPES_MAX = 1024, AT_SHAPES_BYTES_MAX = 1 << 20 };

typedef struct at_shapes {
    char *text; /* NULL: those of kernels/shapes.def */
    at_bench_shape *rows;
    int count;
} at_shapes;

/* 'path' NULL: those of kernels/shapes.def. */
at_status at_shapes_read(at_shapes *out, const char *path, at_error *err);
void at_shapes_free(at_shapes *s);
/* NULL past the end. */
const at_bench_shape *at_shapes_at(const at_shapes *s, int i);

#endif
