#include "kernels/cublaslt.h"

#include "kernels/symbols.h"

static const at_symbol calls[] = {
#define AT_CUBLASLT_VALUE(NAME, value)
#define AT_CUBLASLT_CALL(returns, name, symbol, args) { offsetof(at_cublaslt, name), #symbol },
#include "kernels/cublaslt.def"
#undef AT_CUBLASLT_CALL
#undef AT_CUBLASLT_VALUE
};

at_status at_cublaslt_open(at_cublaslt *out, void *library, at_error *err)
{
    *out = (at_cublaslt){ 0 };
    const char *missing = at_symbols_find(out, calls, AT_COUNT(calls), library);
    if (missing)
        return at_fail(err, AT_UNSUPPORTED, "cuBLASLt is too old: it has no %s", missing);
    out->version = out->get_version();
    if (out->version < AT_CUBLASLT_VERSION_MIN)
        return at_fail(err, AT_UNSUPPORTED, "cuBLASLt is too old: version %zu, and %d is needed",
                       out->version, AT_CUBLASLT_VERSION_MIN);
    at_status status = at_cublaslt_check(out, out->create(&out->handle), err, "starting");
    if (status != AT_OK)
        at_cublaslt_close(out);
    return status;
}

void at_cublaslt_close(at_cublaslt *c)
{
    if (c->handle)
        c->destroy(c->handle);
    *c = (at_cublaslt){ 0 };
}

at_status at_cublaslt_check(const at_cublaslt *c, at_cublaslt_status status, at_error *err,
                            const char *doing)
{
    return status == AT_CUBLAS_STATUS_SUCCESS
               ? AT_OK
               : at_fail(err, AT_DEVICE, "cuBLASLt: %s failed: %s (%d)", doing,
                         c->status_text(status), status);
}
