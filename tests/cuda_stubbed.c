#include "tests/cuda_stubbed.h"

#include <dlfcn.h>
#include <stdio.h>

#include "engine/device_cuda.h"
#include "tests/unit.h"

static void *symbol(const char *name)
{
    void *library = dlopen(AT_CUDA_STUB, RTLD_NOW | RTLD_LOCAL), *found;
    if (!library)
        fail_msg("%s", dlerror());
    found = dlsym(library, name);
    assert_non_null(found);
    dlclose(library);
    return found;
}

cuda_stub *cuda_stub_seen(void)
{
    union {
        void *found;
        cuda_stub_state_fn *state;
    } call = { symbol("cuda_stub_state") };
    return call.state();
}

at_cu_result cuda_stub_launch_on(at_cu_stream stream, int value)
{
    union {
        void *found;
        cuda_stub_launch_fn *launch;
    } call = { symbol("cuda_stub_launch") };
    return call.launch(stream, value);
}

int cuda_stub_set_up(void **state)
{
    *state = dlopen(AT_CUDA_STUB, RTLD_NOW | RTLD_LOCAL);
    cuda_stub *s = cuda_stub_seen();
    *s = (cuda_stub){ .devices = 1,
                      .version = 13000,
                      .sm = 90,
                      .memory = (size_t)256 << 20,
                      .granularity = (size_t)2 << 20 };
    return 0;
}

int cuda_stub_nothing_is_left(void **state)
{
    const cuda_stub *s = cuda_stub_seen();
    int failed = s->wrong || s->live || s->used;
    if (failed)
        printf("FAIL the driver was left with %d objects and %zu bytes: %s\n", s->live, s->used,
               s->wrong ? s->wrong : "they leaked");
    dlclose(*state);
    return failed;
}

static at_status open_stub(at_device *d, const at_device_options *options, at_error *err)
{
    const at_cuda_files files = { AT_CUDA_STUB, "", "" };
    return at_device_cuda_open(d, &files, options, err);
}

at_device_api cuda_stub_api(void)
{
    at_device_api api = at_device_cuda;
    api.open = open_stub;
    api.hold = NULL; /* that is a kernel, and needs a GPU */
    return api;
}

at_device *cuda_stub_open(const at_device_api *api)
{
    at_device *d;
    at_error err;
    if (at_device_open_api(&d, api, NULL, &err) != AT_OK)
        fail_msg("%s", err.text);
    return d;
}
