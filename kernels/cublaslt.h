/* cublaslt.h -- cuBLASLt, opened at run time. No header of it is needed to build.
 *
 * The device "cuda" opens the library and owns the table; variants find it in at_caps, and only
 * where at_caps has AT_CAP_MASK(CUBLASLT). */
#ifndef AT_KERNELS_CUBLASLT_H
#define AT_KERNELS_CUBLASLT_H

#include "kernels/base.h"

/* The library's types; its enumerations are ints. */
typedef int at_cublaslt_status, at_cublaslt_type, at_cublaslt_compute, at_cublaslt_config;
typedef int at_cublaslt_desc_attribute, at_cublaslt_preference_attribute;
typedef void *at_cublaslt_handle, *at_cublaslt_stream;
typedef void *at_cublaslt_desc, *at_cublaslt_layout, *at_cublaslt_preference;

/* How a product is computed. It holds no addresses, and means the same to every call of this
 * version of the library. */
typedef struct at_cublaslt_algo {
    uint64_t data[8];
} at_cublaslt_algo;

typedef struct at_cublaslt_found {
    at_cublaslt_algo algo;
    size_t workspace_bytes;
    at_cublaslt_status state;
    float waves;
    int reserved[4];
} at_cublaslt_found;

enum {
#define AT_CUBLASLT_VALUE(NAME, value) AT_##NAME = (value),
#define AT_CUBLASLT_CALL(returns, name, symbol, args)
#include "kernels/cublaslt.def"
#undef AT_CUBLASLT_CALL
#undef AT_CUBLASLT_VALUE
};

/* The first version whose products are those that we ask for. */
enum { AT_CUBLASLT_VERSION_MIN = 120000 };

typedef struct at_cublaslt {
    size_t version; /* 130100 for 13.1.0 */
    at_cublaslt_handle handle;
#define AT_CUBLASLT_VALUE(NAME, value)
#define AT_CUBLASLT_CALL(returns, name, symbol, args) returns(*name) args;
#include "kernels/cublaslt.def"
#undef AT_CUBLASLT_CALL
#undef AT_CUBLASLT_VALUE
} at_cublaslt;

/* The functions of an opened library, and a handle in the context that is current. */
at_status at_cublaslt_open(at_cublaslt *out, void *library, at_error *err);
void at_cublaslt_close(at_cublaslt *c);

/* AT_OK for success; else 'err' tells what was being done and what the library said. */
at_status at_cublaslt_check(const at_cublaslt *c, at_cublaslt_status status, at_error *err,
                            const char *doing);

#endif
