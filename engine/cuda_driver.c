#define _GNU_SOURCE
#include "engine/cuda_driver.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>

#include "kernels/symbols.h"

static const at_symbol calls[] = {
#define AT_CUDA_VALUE(NAME, value)
#define AT_CUDA_CALL(name, base, suffix, args) { offsetof(at_cuda_driver, name), #base #suffix },
#include "engine/cuda_driver.def"
#undef AT_CUDA_CALL
#undef AT_CUDA_VALUE
};

static at_status start(at_cuda_driver *out, const char *library, at_error *err)
{
    at_cu_result result = out->init(0);
    if (result == AT_CUDA_ERROR_STUB_LIBRARY)
        return at_fail(err, AT_NOT_FOUND,
                       "there is no NVIDIA driver: %s is the toolkit's stand-in for linking",
                       library);
    if (result == AT_CUDA_ERROR_NO_DEVICE)
        return at_fail(err, AT_NOT_FOUND, "the NVIDIA driver is here, and finds no device");
    at_status status = at_cuda_check(out, result, err, "starting the NVIDIA driver");
    if (status != AT_OK)
        return status;
    status = at_cuda_check(out, out->driver_version(&out->version), err,
                           "asking the NVIDIA driver for its version");
    if (status == AT_OK && out->version < AT_CUDA_DRIVER_VERSION_MIN)
        return at_fail(err, AT_UNSUPPORTED,
                       "the NVIDIA driver is too old: it serves CUDA %d.%d, and %d.%d is needed",
                       out->version / 1000, out->version % 1000 / 10,
                       AT_CUDA_DRIVER_VERSION_MIN / 1000, AT_CUDA_DRIVER_VERSION_MIN % 1000 / 10);
    return status;
}

at_status at_cuda_driver_open(at_cuda_driver *out, const char *library, at_error *err)
{
    library = library ? library : "libcuda.so.1";
    *out = (at_cuda_driver){ 0 };
    /* RTLD_NODELETE: it stays when we close it, as its threads would not survive that. */
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!handle) {
        const char *why = dlerror();
        return at_fail(err, AT_NOT_FOUND, "there is no NVIDIA driver: %s", why ? why : library);
    }
    const char *missing = at_symbols_find(out, calls, AT_COUNT(calls), handle);
    dlclose(handle);
    if (missing)
        return at_fail(err, AT_UNSUPPORTED, "the NVIDIA driver is too old: %s has no %s", library,
                       missing);
    return start(out, library, err);
}

at_status at_cuda_check(const at_cuda_driver *driver, at_cu_result result, at_error *err,
                        const char *doing, ...)
{
    if (result == AT_CUDA_SUCCESS)
        return AT_OK;
    const char *name = NULL, *text = NULL;
    char what[256];
    va_list args;
    va_start(args, doing);
    vsnprintf(what, sizeof what, doing, args);
    va_end(args);
    /* It knows no name for codes that are newer than itself. */
    if (driver->error_name(result, &name) != AT_CUDA_SUCCESS || !name)
        name = "an error without a name";
    if (driver->error_string(result, &text) != AT_CUDA_SUCCESS || !text)
        text = "no description";
    at_status status = result == AT_CUDA_ERROR_OUT_OF_MEMORY ? AT_NO_MEMORY : AT_DEVICE;
    return at_fail(err, status, "cuda: %s failed with %s (%d): %s", what, name, result, text);
}
