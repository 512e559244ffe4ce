#include "runtime/lora.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/device.h"
#include "kernels/ops.h"
#include "kernels/shape.h"
#include "runtime/lora_own.h"

enum { LORAS_MAX = 64 };

/* What is added to a weight; all adapters together stay far from what f32 and bf16 hold. */
static const double added_max = 1e30;

struct at_loras {
    at_lora items[LORAS_MAX];
    int count;
    bool touches[AT_SDXL_PARTS];
    at_device *cpu; /* opened for the first sum */
    void *scratch;
    size_t scratch_bytes;
};

at_loras *at_loras_new(void)
{
    return calloc(1, sizeof(at_loras));
}

void at_loras_free(at_loras *l)
{
    if (!l)
        return;
    for (int i = 0; i < l->count; i++)
        at_lora_free(&l->items[i]);
    if (l->cpu) {
        at_device_free(l->cpu, l->scratch, l->scratch_bytes);
        at_device_close(l->cpu);
    }
    free(l);
}

static at_status check_weight(const at_lora *lora, const char *path, double weight, at_error *err)
{
    for (int i = 0; i < lora->count; i++)
        if (!(fabs(weight) * lora->updates[i].largest < added_max))
            return at_fail(err, AT_INVALID, "%.200s: with weight %g it adds up to %g to %s", path,
                           weight, fabs(weight) * lora->updates[i].largest, lora->updates[i].name);
    return AT_OK;
}

at_status at_loras_add(at_loras *l, const at_sdxl_about *model, const char *path, double weight,
                       at_error *err)
{
    if (l->count == LORAS_MAX)
        return at_fail(err, AT_UNSUPPORTED, "%.200s: more than %d adapters", path, LORAS_MAX);
    if (!isfinite(weight))
        return at_fail(err, AT_INVALID, "%.200s: the weight is %g, expected a number", path,
                       weight);
    at_lora *lora = &l->items[l->count];
    at_status status = at_lora_read(lora, model, path, err);
    if (status == AT_OK)
        status = check_weight(lora, path, weight, err);
    if (status != AT_OK) {
        at_lora_free(lora);
        return status;
    }
    lora->weight = weight;
    l->count++;
    for (int i = 0; i < lora->count; i++)
        l->touches[lora->updates[i].part] = true;
    return AT_OK;
}

bool at_loras_touch(const at_loras *l, at_sdxl_part part)
{
    return l->touches[part];
}

/* --- the sum ---------------------------------------------------------------------------------- */

static int by_name(const void *name, const void *update)
{
    return strcmp(name, ((const at_lora_update *)update)->name);
}

static const at_lora_update *find(const at_lora *lora, const char *name)
{
    return bsearch(name, lora->updates, (size_t)lora->count, sizeof *lora->updates, by_name);
}

static bool touches(void *context, const char *name)
{
    const at_loras *l = context;
    for (int i = 0; i < l->count; i++)
        if (find(&l->items[i], name))
            return true;
    return false;
}

/* Room for a call, kept for the next one. */
static at_status make_room(at_loras *l, size_t bytes, at_error *err)
{
    if (bytes <= l->scratch_bytes)
        return AT_OK;
    at_device_free(l->cpu, l->scratch, l->scratch_bytes);
    l->scratch = at_device_alloc(l->cpu, bytes);
    l->scratch_bytes = l->scratch ? bytes : 0;
    return l->scratch ? AT_OK
                      : at_fail(err, AT_NO_MEMORY, "no memory to merge adapters: %zu bytes", bytes);
}

static at_status run(at_loras *l, const at_lora_args *args, at_error *err)
{
    const at_prepare_in in = { .caps = &l->cpu->caps };
    const at_variant *v;
    at_prepared prepared = { 0 };
    AT_TRY(at_op_choose(&at_op_lora, args, &in, &v, &prepared, err));
    at_status status = make_room(l, prepared.scratch_bytes, err);
    if (status == AT_OK) {
        const at_launch launch = { .stream = &l->cpu->stream, .scratch = l->scratch, .err = err };
        status = v->run(args, &prepared, &launch);
    }
    at_release(v, &prepared);
    return status;
}

static at_status merge(at_loras *l, const at_lora_update *u, double weight, float *w,
                       int64_t elements, at_error *err)
{
    static const int64_t one = 1;
    float strength = (float)(weight * u->scale);
    const int64_t size[] = { u->up.size[0], u->down.size[1] };
    if (elements != size[0] * size[1])
        return at_fail(err, AT_INVALID, "%s has %lld elements, expected %lld x %lld", u->name,
                       (long long)elements, (long long)size[0], (long long)size[1]);
    at_lora_args args = { .w = at_view_of(AT_F32, 2, size),
                          .up = u->up,
                          .down = u->down,
                          .strength = at_view_of(AT_F32, 1, &one),
                          .scale = 1 };
    args.w.data = w;
    args.strength.data = &strength;
    AT_TRY(at_op_shape(&at_op_lora, &args, 0, err));
    args.y.data = w;
    return run(l, &args, err);
}

static at_status add(void *context, const char *name, float *w, int64_t elements, at_error *err)
{
    at_loras *l = context;
    at_status status = AT_OK;
    if (!l->cpu)
        status = at_device_open(&l->cpu, "cpu", &(at_device_options){ 0 }, err);
    for (int i = 0; i < l->count && status == AT_OK; i++) {
        const at_lora_update *u = find(&l->items[i], name);
        if (u)
            status = merge(l, u, l->items[i].weight, w, elements, err);
    }
    return status;
}

at_weight_change at_loras_change(at_loras *l)
{
    return (at_weight_change){ touches, add, l };
}
