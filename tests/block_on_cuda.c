/* block_on_cuda.c -- tests/block.c on a GPU, which orders its threads as it likes. */
#include "tests/block.h"

static at_status open_cuda(at_device **out, at_error *err)
{
    return at_device_open(out, "cuda", NULL, err);
}

static const char *any_order(int i)
{
    return i < 3 ? "any" : NULL;
}

const block_place block_here = { "cuda", open_cuda, any_order, NULL };
