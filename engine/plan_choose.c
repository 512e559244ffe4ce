#include "engine/plan_choose.h"

#include <stdlib.h>
#include <string.h>

#include "engine/tuning_try.h"

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

at_status at_calls_choose(at_calls *calls, const at_op *op, const void *args, uint32_t constants,
                          int *number, at_error *err)
{
    const at_plan_options *o = calls->options;
    const void *key = key_of(calls->arena, op, args);
    const at_tuning_call what = { op, args, constants, o->exact };
    at_call call = { .op = op, .key = key, .constants = constants };
    at_status status = AT_OK;
    at_error why = { 0 };
    *number = find(calls, op, key, constants);
    if (*number >= 0)
        return AT_OK;
    if (o->tuning && o->tune)
        status = at_tuning_learn(o->tuning, calls->device, &what, &why);
    if (status == AT_OK)
        status =
            at_tuning_choose(o->tuning, calls->device, &what, &call.variant, &call.prepared, &why);
    if (status != AT_OK)
        return at_fail(err, status, "%s: %s", calls->device->api->name, why.text);
    calls->list = at_grow(calls->list, calls->n, &calls->capacity, sizeof *calls->list);
    *number = calls->n++;
    calls->list[*number] = call;
    return AT_OK;
}

void at_calls_free(at_calls *calls)
{
    if (calls->n)
        at_device_enter(calls->device);
    for (int i = 0; i < calls->n; i++)
        at_release(calls->list[i].variant, &calls->list[i].prepared);
    if (calls->n)
        at_device_leave(calls->device);
    free(calls->list);
    calls->list = NULL;
    calls->n = calls->capacity = 0;
}
