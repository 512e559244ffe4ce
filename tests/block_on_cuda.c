/* block_on_cuda.c -- tests/block.c on a GPU, which orders its threads as it likes. */
#include "cli/device.h"
#include "tests/block.h"

static at_status open_cuda(at_device **out, at_error *err)
{
    at_error why;
    return at_command_device(out, "cuda", &(at_device_options){ 0 }, &why, err);
}

static const char *any_order(int i)
{
    return i < 3 ? "any" : NULL;
}

const block_place block_here = { "cuda", open_cuda, any_order, NULL };
