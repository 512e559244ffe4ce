/* block_emulated.c -- tests/block.c on the emulated device: in four orders of threads, and with a
 * fault inside of a captured plan, which must be told in a sentence. */
#include <string.h>

#include "engine/build.h"
#include "engine/plan.h"
#include "tests/block.h"
#include "tests/emulator/device.h"
#include "tests/emulator/emulator.h"
#include "tests/told.h"

static const char *set_order(int i)
{
    static const at_emu_order orders[] = { AT_EMU_FORWARD, AT_EMU_RUN_AHEAD, AT_EMU_RANDOM };
    if (i >= (int)AT_COUNT(orders))
        return NULL;
    at_emu_configure(&(at_emu_settings){ .order = orders[i], .seed = 5, .quiet = true });
    return at_emu_order_name(orders[i]);
}

/* Memory that is gone by the time of a replay: the run fails, and says who wanted what. */
static void a_fault_in_a_replay_is_told(void)
{
    enum { ROWS = 4, COLS = 64, BYTES = ROWS * COLS * sizeof(float) };
    const int64_t size[] = { ROWS, COLS };
    at_device *d;
    at_plan *plan;
    at_error err = { 0 };
    test_must(at_device_emulated(&d, &err), &err);
    at_params *params = at_params_new(d);
    at_graph *g = at_graph_new();
    at_tensor x = at_graph_input(g, "x", AT_F32, 2, size), y = at_scale(g, x, 2, 0);
    at_graph_output(g, y, "y");
    test_must(at_plan_new(&plan, d, params, g, NULL, &err), &err);
    void *memory = at_device_alloc_zeroed(d, BYTES);
    at_plan_bind(plan, x, memory);
    for (int i = 0; i < 3; i++)
        test_must(at_plan_run(plan, &err), &err);
    at_device_free(d, memory, BYTES);
    if (at_plan_run(plan, &err) == AT_OK || !strstr(err.text, "launching a captured plan failed") ||
        !strstr(err.text, "which no allocation covers"))
        test_failed("a replay that reads freed memory says '%s'", err.text);
    at_plan_free(plan);
    at_graph_free(g);
    at_params_free(params);
    at_device_close(d);
}

const block_place block_here = { "emulated", at_device_emulated, set_order,
                                 a_fault_in_a_replay_is_told };
