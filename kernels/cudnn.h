/* cudnn.h -- cuDNN's graph interface, opened at run time. No header of it is needed to build.
 *
 * The device "cuda" opens the library and owns the table; variants find it in at_caps, and only
 * where at_caps has AT_CAP_MASK(CUDNN). A table without a handle, told of a GPU that is not there
 * (see at_cudnn_imagine), can make and ask graphs, and run none. One thread at a time. */
#ifndef AT_KERNELS_CUDNN_H
#define AT_KERNELS_CUDNN_H

#include "kernels/base.h"

typedef int at_cudnn_status, at_cudnn_kind, at_cudnn_attribute, at_cudnn_type;
typedef void *at_cudnn_handle, *at_cudnn_descriptor, *at_cudnn_stream;

enum {
#define AT_CUDNN_VALUE(NAME, value) AT_##NAME = (value),
#define AT_CUDNN_CALL(returns, name, symbol, args)
#include "kernels/cudnn.def"
#undef AT_CUDNN_CALL
#undef AT_CUDNN_VALUE
};

typedef struct at_cudnn_plans at_cudnn_plans;

/* The first version whose graphs are those that we build. */
enum { AT_CUDNN_VERSION_MIN = 90000 };

typedef struct at_cudnn {
    size_t version; /* 91900 for 9.19.0 */
    at_cudnn_handle handle;
    at_cudnn_plans *plans;        /* that variants made, kernels/cudnn_plans.h */
    at_cudnn_descriptor imagined; /* without a handle: the properties of the GPU */
#define AT_CUDNN_VALUE(NAME, value)
#define AT_CUDNN_CALL(returns, name, symbol, args) returns(*name) args;
#include "kernels/cudnn.def"
#undef AT_CUDNN_CALL
#undef AT_CUDNN_VALUE
} at_cudnn;

/* The functions of an opened library; no device is touched. */
at_status at_cudnn_bind(at_cudnn *out, void *library, at_error *err);
/* And a handle, in the context that is current. */
at_status at_cudnn_open(at_cudnn *out, void *library, void *stream, at_error *err);
/* Of a bound table: what is asked is asked for the GPU with these properties, the library's own
 * JSON of them. */
at_status at_cudnn_imagine(at_cudnn *c, const char *properties, at_error *err);
void at_cudnn_close(at_cudnn *c);

/* AT_OK for success; else 'err' tells what was being done and what the library said. */
at_status at_cudnn_check(const at_cudnn *c, at_cudnn_status status, at_error *err,
                         const char *doing);

#endif
