/* plan_infinite.c -- which node of a plan makes the first number that is not finite. */
#include <math.h>
#include <stdlib.h>

#include "engine/plan_own.h"

/* What nodes write, on the host; as large as the largest so far. */
typedef struct copied {
    at_plan *plan;
    void *data;
    size_t bytes;
} copied;

static bool all_finite(const at_view *v, const void *data)
{
    for (int64_t r = 0; r < at_rows(v); r++)
        for (int64_t c = 0; c < at_cols(v); c++)
            if (!isfinite(at_load(data, r * v->pitch + c, v->dtype)))
                return false;
    return true;
}

static at_status check_view(copied *c, const at_view *v, bool *finite, at_error *err)
{
    const size_t bytes = at_view_bytes(v);
    if (bytes > c->bytes) {
        free(c->data);
        *c = (copied){ .plan = c->plan, .data = malloc(bytes), .bytes = bytes };
        if (!c->data)
            return at_fail(err, AT_NO_MEMORY, "no memory to look at %zu bytes of a node", bytes);
    }
    at_device_download(at_plan_device(c->plan), c->data, v->data, bytes);
    *finite = all_finite(v, c->data);
    return at_device_check(at_plan_device(c->plan), err);
}

static at_status check_node(copied *c, int i, bool *finite, at_error *err)
{
    const at_node_info n = at_plan_node(c->plan, i);
    for (int k = 0; k < n.op->n_operands && *finite; k++) {
        const at_view *v = at_operand_in(n.op, n.args, k);
        if (n.op->operands[k].role == AT_IN || !at_has(v) || !at_dtype_is_float(v->dtype))
            continue;
        const at_status status = check_view(c, v, finite, err);
        if (status != AT_OK)
            return status;
    }
    return AT_OK;
}

at_status at_plan_find_infinite(at_plan *plan, int *node, at_error *err)
{
    at_device *d = at_plan_device(plan);
    copied c = { .plan = plan };
    bool finite = true;
    *node = -1;
    at_device_enter(d);
    at_status status = at_plan_own_ready(plan, err);
    for (int i = 0; i < at_plan_nodes(plan) && finite && status == AT_OK; i++) {
        status = at_plan_own_node(plan, i, err);
        if (status == AT_OK)
            status = check_node(&c, i, &finite, err);
        if (!finite)
            *node = i;
    }
    at_device_leave(d);
    free(c.data);
    return status;
}
