#include "tests/emulator/device.h"

#include "engine/device_cuda.h"
#include "tests/emulator/emulator.h"

static at_status emulated_open(at_device *d, const at_device_options *options, at_error *err)
{
    const at_cuda_files files = { AT_EMULATED_DRIVER, AT_EMULATED_CUBLASLT, AT_EMULATED_CUDNN };
    return at_device_cuda_open(d, &files, options, err);
}

static at_status emulated_check(at_device *d, at_error *err)
{
    at_status status = at_device_cuda.check(d, err);
    return *at_emu_fault() ? at_fail(err, AT_DEVICE, "%s", at_emu_fault()) : status;
}

at_status at_device_emulated(at_device **out, at_error *err)
{
    static at_device_api api;
    api = at_device_cuda;
    api.name = "emulated";
    api.open = emulated_open;
    api.check = emulated_check;
    api.hold = NULL; /* work is done when it is enqueued */
    return at_device_open_api(out, &api, NULL, err);
}
