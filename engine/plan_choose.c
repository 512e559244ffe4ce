#include "engine/plan_choose.h"

#include <stdlib.h>
#include <string.h>

static const void *key_of(at_arena *arena, const at_op *op, const void *args)
{
    void *key = at_arena_alloc(arena, op->args_size);
    memcpy(key, args, op->args_size);
    for (int i = 0; i < op->n_operands; i++)
        at_operand_of(op, key, i)->tag = 0;
    return key;
}

static int find(const at_calls *calls, const at_op *op, const void *key, uint32_t constants)
{
    for (int i = 0; i < calls->n; i++) {
        const at_call *c = &calls->list[i];
        if (c->op == op && c->constants == constants && !memcmp(c->key, key, op->args_size))
            return i;
    }
    return -1;
}

static at_status no_variant(const at_calls *calls, const at_op *op, const void *args, at_error *err)
{
    char text[256];
    at_args_print(op, args, text, sizeof text);
    return at_fail(err, AT_UNSUPPORTED, "%s: no %svariant on %s for %s", op->name,
                   calls->options->exact ? "exact " : "", calls->device->api->name, text);
}

at_status at_calls_choose(at_calls *calls, const at_op *op, const void *args, uint32_t constants,
                          int *number, at_error *err)
{
    const at_caps *caps = &calls->device->caps;
    const void *key = key_of(calls->arena, op, args);
    *number = find(calls, op, key, constants);
    if (*number >= 0)
        return AT_OK;
    at_call call = { .op = op, .key = key, .constants = constants };
    call.variant = at_op_pick(op, args, caps, calls->options->exact);
    if (!call.variant)
        return no_variant(calls, op, args, err);
    const at_prepare_in in = { .caps = caps,
                               .constants = constants,
                               .exact = calls->options->exact };
    at_status status = at_prepare(call.variant, args, &in, &call.prepared, err);
    if (status != AT_OK)
        return status;
    calls->list = at_grow(calls->list, calls->n, &calls->capacity, sizeof *calls->list);
    *number = calls->n++;
    calls->list[*number] = call;
    return AT_OK;
}

void at_calls_free(at_calls *calls)
{
    for (int i = 0; i < calls->n; i++)
        at_release(calls->list[i].variant, &calls->list[i].prepared);
    free(calls->list);
    calls->list = NULL;
    calls->n = calls->capacity = 0;
}
