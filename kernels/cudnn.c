#include "kernels/cudnn.h"

#include <string.h>

#include "kernels/cudnn_plans.h"
#include "kernels/symbols.h"

static const at_symbol calls[] = {
#define AT_CUDNN_VALUE(NAME, value)
#define AT_CUDNN_CALL(returns, name, symbol, args) { offsetof(at_cudnn, name), #symbol },
#include "kernels/cudnn.def"
#undef AT_CUDNN_CALL
#undef AT_CUDNN_VALUE
};

at_status at_cudnn_bind(at_cudnn *out, void *library, at_error *err)
{
    *out = (at_cudnn){ 0 };
    const char *missing = at_symbols_find(out, calls, AT_COUNT(calls), library);
    if (missing)
        return at_fail(err, AT_UNSUPPORTED, "cuDNN is too old: it has no %s", missing);
    out->version = out->get_version();
    if (out->version < AT_CUDNN_VERSION_MIN)
        return at_fail(err, AT_UNSUPPORTED, "cuDNN is too old: version %zu, and %d is needed",
                       out->version, AT_CUDNN_VERSION_MIN);
    out->plans = at_cudnn_plans_new();
    return out->plans ? AT_OK : at_fail(err, AT_NO_MEMORY, "no memory for plans of cuDNN");
}

at_status at_cudnn_open(at_cudnn *out, void *library, void *stream, at_error *err)
{
    at_status status = at_cudnn_bind(out, library, err);
    if (status == AT_OK)
        status = at_cudnn_check(out, out->create(&out->handle), err, "starting");
    if (status == AT_OK)
        status = at_cudnn_check(out, out->set_stream(out->handle, stream), err, "taking a stream");
    if (status != AT_OK)
        at_cudnn_close(out);
    return status;
}

at_status at_cudnn_imagine(at_cudnn *c, const char *properties, at_error *err)
{
    int64_t n = (int64_t)strlen(properties) + 1;
    at_cudnn_descriptor *d = &c->imagined;
    at_cudnn_status status = c->make(AT_CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, d);
    if (status == AT_CUDNN_STATUS_SUCCESS)
        status = c->set(*d, AT_CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, AT_CUDNN_TYPE_CHAR, n,
                        properties);
    if (status == AT_CUDNN_STATUS_SUCCESS)
        status = c->finalize(*d);
    return at_cudnn_check(c, status, err, "imagining a GPU");
}

void at_cudnn_close(at_cudnn *c)
{
    at_cudnn_plans_free(c->plans);
    if (c->imagined)
        c->unmake(c->imagined);
    if (c->handle)
        c->destroy(c->handle);
    *c = (at_cudnn){ 0 };
}

at_status at_cudnn_check(const at_cudnn *c, at_cudnn_status status, at_error *err,
                         const char *doing)
{
    char text[256] = "";
    if (status == AT_CUDNN_STATUS_SUCCESS)
        return AT_OK;
    c->last_error(text, sizeof text);
    return at_fail(err, AT_DEVICE, "cuDNN: %s failed with %s%s%s", doing, c->status_text(status),
                   *text ? ": " : "", text);
}
