/* cudnn_engine.c -- engines of the emulated cuDNN: what its heuristics offer for a graph, plans,
 * and the addresses of a run.
 *
 * The engines are there to be chosen among, and most to be left alone:
 *   10  sums in f64
 *   11  sums in pieces that go through its workspace; its knob is their length
 *   12  cuts sums at borders that depend on the batch: its rows are not those of a batch of one
 *   13  marked non-deterministic; it writes NaN, so that a choice of it is seen
 *   14  marked as rounding its f32 inputs to bf16, which it does
 *   15  wants more workspace than there is; writes NaN
 *   16  is offered, and no plan can be made of it
 *   17  multiplies f32 on tensor cores, and so as TF32: its inputs lose bits without a word of it
 * They are offered worst first. */
#include <string.h>

#include "kernels/op.h"
#include "tests/emulator/cudnn_bag.h"
#include "tests/emulator/machine.h"

#define BAD(...)         at_dnn_fail(AT_CUDNN_STATUS_BAD_PARAM, __VA_ARGS__)
#define UNSUPPORTED(...) at_dnn_fail(AT_CUDNN_STATUS_NOT_SUPPORTED, __VA_ARGS__)
#define GOOD             AT_CUDNN_STATUS_SUCCESS

enum { KNOB_TILE_SIZE = 2, KNOB_LAST = 1, NO_NOTE = -1, WORKSPACE_ALIGNMENT = 16 };

typedef struct engine {
    at_dnn_engine index;
    int note;
    int64_t knob; /* as heuristics set it */
    size_t workspace_bytes;
} engine;

static const engine engines[] = {
    { AT_DNN_ENGINE_UNFINISHED, NO_NOTE, 0, 0 },
    { AT_DNN_ENGINE_TF32, AT_CUDNN_NUMERICAL_NOTE_TENSOR_CORE, 0, 0 },
    { AT_DNN_ENGINE_NONDETERMINISTIC, AT_CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC, 0, 0 },
    { AT_DNN_ENGINE_TOO_BIG, NO_NOTE, 0, AT_WORKSPACE_MAX + 1 },
    { AT_DNN_ENGINE_DOWN_CONVERTS, AT_CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS, 0, 0 },
    { AT_DNN_ENGINE_SPLIT_BY_BATCH, NO_NOTE, 0, 0 },
    { AT_DNN_ENGINE_WORKSPACE, NO_NOTE, 1, 4096 },
    { AT_DNN_ENGINE_PLAIN, NO_NOTE, 0, 0 },
};

static const engine *engine_at(int64_t index)
{
    for (size_t i = 0; i < AT_COUNT(engines); i++)
        if ((int64_t)engines[i].index == index)
            return &engines[i];
    return NULL;
}

static bool is_f32(const at_dnn *graph)
{
    const at_dnn_program *p = graph->program;
    return p->tensors[p->steps[0].in[0]].type == AT_CUDNN_DATA_FLOAT;
}

/* Whether a graph has an engine, in a mode of the heuristics. */
static bool is_offered(const at_dnn *graph, const engine *e, int mode)
{
    bool rounds = e->index == AT_DNN_ENGINE_DOWN_CONVERTS || e->index == AT_DNN_ENGINE_TF32;
    if (graph->refused)
        return false;
    if (mode == AT_CUDNN_HEUR_MODE_FALLBACK || graph->compiled == AT_DNN_FALLBACK_ONLY)
        return mode == AT_CUDNN_HEUR_MODE_FALLBACK && e->index == AT_DNN_ENGINE_PLAIN;
    if (graph->compiled == AT_DNN_FEW_AT_RUN_TIME && e->workspace_bytes)
        return false;
    return !rounds || is_f32(graph);
}

/* In any mode. */
static bool has_engine(const at_dnn *graph, const engine *e)
{
    return is_offered(graph, e, AT_CUDNN_HEUR_MODE_A) ||
           is_offered(graph, e, AT_CUDNN_HEUR_MODE_FALLBACK);
}

/* --- engines ---------------------------------------------------------------------------------- */

static at_cudnn_status put_notes(at_dnn *d, const engine *e, const at_dnn *graph)
{
    const int compiled = AT_CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION;
    int notes[2], n = 0;
    if (e->note != NO_NOTE)
        notes[n++] = e->note;
    if (!is_f32(graph)) /* 16-bit operands are multiplied there without a loss */
        notes[n++] = AT_CUDNN_NUMERICAL_NOTE_TENSOR_CORE;
    at_cudnn_status status =
        at_dnn_put(d, AT_CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, AT_CUDNN_TYPE_NUMERICAL_NOTE, n, notes);
    return status != GOOD
               ? status
               : at_dnn_put(d, AT_CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, AT_CUDNN_TYPE_BEHAVIOR_NOTE,
                            graph->compiled != AT_DNN_PRECOMPILED, &compiled);
}

at_cudnn_status at_dnn_finish_engine(at_dnn *d)
{
    const at_dnn *graph = at_dnn_ref(d, AT_CUDNN_ATTR_ENGINE_OPERATION_GRAPH);
    int64_t index = at_dnn_i64(d, AT_CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
    const engine *e = engine_at(index);
    if (!e || !has_engine(graph, e))
        return UNSUPPORTED("the graph has no engine %lld%s%s", (long long)index,
                           graph->refused ? ": " : "", graph->refused ? graph->refused : "");
    return put_notes(d, e, graph);
}

static at_cudnn_status put_workspace(at_dnn *d, at_cudnn_attribute name, const engine *e)
{
    const int64_t bytes = (int64_t)e->workspace_bytes;
    return at_dnn_put(d, name, AT_CUDNN_TYPE_INT64, 1, &bytes);
}

/* --- heuristics ------------------------------------------------------------------------------- */

typedef struct made {
    at_dnn *engine, *knob, *config;
} made;

static at_cudnn_status put_ref(at_dnn *d, at_cudnn_attribute name, const at_dnn *of)
{
    return at_dnn_put(d, name, AT_CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &of);
}

static at_cudnn_status fill_made(made *m, const engine *e, const at_dnn *graph)
{
    const int64_t index = e->index;
    const int type = KNOB_TILE_SIZE;
    const at_cudnn_status all[] = {
        put_ref(m->engine, AT_CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph),
        at_dnn_put(m->engine, AT_CUDNN_ATTR_ENGINE_GLOBAL_INDEX, AT_CUDNN_TYPE_INT64, 1, &index),
        put_notes(m->engine, e, graph),
        at_dnn_put(m->knob, AT_CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, AT_CUDNN_TYPE_KNOB_TYPE, 1, &type),
        at_dnn_put(m->knob, AT_CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, AT_CUDNN_TYPE_INT64, 1, &e->knob),
        put_ref(m->config, AT_CUDNN_ATTR_ENGINECFG_ENGINE, m->engine),
        put_ref(m->config, AT_CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, m->knob),
        put_workspace(m->config, AT_CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE, e),
    };
    m->engine->finalized = m->knob->finalized = m->config->finalized = true;
    for (size_t i = 0; i < AT_COUNT(all); i++)
        if (all[i] != GOOD)
            return all[i];
    return GOOD;
}

/* An engine's configuration, as heuristics hand it out. */
static at_cudnn_status make_config(const engine *e, const at_dnn *graph, at_dnn **out)
{
    made m = { at_dnn_new(AT_CUDNN_BACKEND_ENGINE_DESCRIPTOR),
               at_dnn_new(AT_CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR),
               at_dnn_new(AT_CUDNN_BACKEND_ENGINECFG_DESCRIPTOR) };
    at_cudnn_status status = m.engine && m.knob && m.config
                                 ? fill_made(&m, e, graph)
                                 : at_dnn_fail(AT_CUDNN_STATUS_INTERNAL_ERROR, "no memory");
    at_dnn_leave(m.engine);
    at_dnn_leave(m.knob);
    if (status != GOOD) {
        at_dnn_leave(m.config);
        m.config = NULL;
    }
    *out = m.config;
    return status;
}

at_cudnn_status at_dnn_finish_heuristics(at_dnn *d)
{
    const at_dnn *graph = at_dnn_ref(d, AT_CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
    int mode = at_dnn_enum(d, AT_CUDNN_ATTR_ENGINEHEUR_MODE);
    at_dnn *configs[AT_COUNT(engines)];
    int n = 0;
    at_cudnn_status status = GOOD;
    if (mode != AT_CUDNN_HEUR_MODE_A && mode != AT_CUDNN_HEUR_MODE_FALLBACK)
        return BAD("heuristics of mode %d", mode);
    for (size_t i = 0; i < AT_COUNT(engines) && status == GOOD; i++)
        if (is_offered(graph, &engines[i], mode)) {
            status = make_config(&engines[i], graph, &configs[n]);
            n += status == GOOD;
        }
    if (status == GOOD)
        status = at_dnn_put(d, AT_CUDNN_ATTR_ENGINEHEUR_RESULTS, AT_CUDNN_TYPE_BACKEND_DESCRIPTOR,
                            n, configs);
    while (n)
        at_dnn_leave(configs[--n]);
    return status;
}

/* --- configurations and plans ----------------------------------------------------------------- */

/* The setting of a configuration's one knob. */
static int64_t knob_of(const at_dnn *config)
{
    const at_dnn_field *f = at_dnn_field_of(config, AT_CUDNN_ATTR_ENGINECFG_KNOB_CHOICES);
    return f && f->count
               ? at_dnn_i64(((at_dnn **)f->elements)[0], AT_CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE)
               : 0;
}

at_cudnn_status at_dnn_finish_config(at_dnn *d)
{
    const at_dnn_field *f = at_dnn_field_of(d, AT_CUDNN_ATTR_ENGINECFG_KNOB_CHOICES);
    const at_dnn *e = at_dnn_ref(d, AT_CUDNN_ATTR_ENGINECFG_ENGINE);
    if (f && f->count > 1)
        return UNSUPPORTED("%lld knobs are set, an engine has one", (long long)f->count);
    if (f && f->count) {
        int type = at_dnn_enum(((at_dnn **)f->elements)[0], AT_CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE);
        int64_t value = knob_of(d);
        if (type != KNOB_TILE_SIZE || value < 0 || value > KNOB_LAST)
            return UNSUPPORTED("knob %d cannot be %lld", type, (long long)value);
    }
    return put_workspace(d, AT_CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE,
                         engine_at(at_dnn_i64(e, AT_CUDNN_ATTR_ENGINE_GLOBAL_INDEX)));
}

static const at_dnn *config_of(const at_dnn *plan)
{
    return at_dnn_ref(plan, AT_CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
}

static const engine *engine_of(const at_dnn *plan)
{
    const at_dnn *e = at_dnn_ref(config_of(plan), AT_CUDNN_ATTR_ENGINECFG_ENGINE);
    return engine_at(at_dnn_i64(e, AT_CUDNN_ATTR_ENGINE_GLOBAL_INDEX));
}

static const at_dnn *graph_of(const at_dnn *plan)
{
    const at_dnn *e = at_dnn_ref(config_of(plan), AT_CUDNN_ATTR_ENGINECFG_ENGINE);
    return at_dnn_ref(e, AT_CUDNN_ATTR_ENGINE_OPERATION_GRAPH);
}

at_cudnn_status at_dnn_finish_plan(at_dnn *d)
{
    const engine *e = engine_of(d);
    if (e->index == AT_DNN_ENGINE_UNFINISHED)
        return UNSUPPORTED("engine %d cannot be compiled", (int)e->index);
    if (!at_dnn_field_of(d, AT_CUDNN_ATTR_EXECUTION_PLAN_HANDLE) &&
        !at_dnn_field_of(d, AT_CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP))
        return BAD("a plan is for a handle, or for the properties of a device");
    return put_workspace(d, AT_CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, e);
}

/* --- addresses -------------------------------------------------------------------------------- */

at_cudnn_status at_dnn_check_pack(const at_dnn *d)
{
    const at_dnn_field *ids = at_dnn_field_of(d, AT_CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    const int64_t *id = ids->elements;
    if (at_dnn_field_of(d, AT_CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS)->count != ids->count)
        return BAD("a pack has other numbers of ids and addresses");
    for (int64_t i = 0; i < ids->count; i++)
        for (int64_t k = 0; k < i; k++)
            if (id[i] == id[k])
                return BAD("id %lld is twice in a pack", (long long)id[i]);
    return GOOD;
}

/* The address of a tensor in a pack; NULL: it has none there. */
static void *address_of(const at_dnn *pack, int64_t id)
{
    const at_dnn_field *ids = at_dnn_field_of(pack, AT_CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    void *const *at = at_dnn_field_of(pack, AT_CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS)->elements;
    for (int64_t i = 0; i < ids->count; i++)
        if (((const int64_t *)ids->elements)[i] == id)
            return at[i];
    return NULL;
}

static bool is_device(const void *p, size_t bytes)
{
    bool live = false;
    return at_emu_memory_covers(p, bytes, &live) && live;
}

static at_cudnn_status set_address(at_dnn_tensor *t, const at_dnn *pack)
{
    void *p = address_of(pack, t->id);
    size_t bytes = at_dnn_extent(t);
    bool live;
    if (!p)
        return at_dnn_fail(AT_CUDNN_STATUS_BAD_PARAM_NULL_POINTER,
                           "tensor %lld has no address in the pack", (long long)t->id);
    if (t->by_value) {
        if (at_emu_memory_covers(p, bytes, &live))
            return BAD("tensor %lld is passed by value from device memory", (long long)t->id);
        memcpy(&t->value, p, sizeof t->value);
        return GOOD;
    }
    if ((uintptr_t)p % (uintptr_t)t->alignment)
        return at_dnn_fail(AT_CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER,
                           "tensor %lld at %p is not aligned to %lld", (long long)t->id, p,
                           (long long)t->alignment);
    if (!is_device(p, bytes))
        return BAD("tensor %lld, %zu bytes at %p, is not in device memory", (long long)t->id, bytes,
                   p);
    t->data = p;
    return GOOD;
}

/* Whether a step may read in place what it writes: element by element, from the same places. */
static bool is_in_place(const at_dnn_program *p, int from, int to)
{
    const at_dnn_tensor *a = &p->tensors[from], *b = &p->tensors[to];
    bool same = a->type == b->type && a->rank == b->rank;
    for (int i = 0; i < a->rank && same; i++)
        same = a->size[i] == b->size[i] && a->stride[i] == b->stride[i];
    for (int i = 0; i < p->n_steps && same; i++)
        for (int k = 0; k < AT_DNN_INPUTS_MAX; k++)
            if (p->steps[i].in[k] == from)
                same = p->steps[i].kind == AT_DNN_POINTWISE && p->steps[i].out[0] == to;
    return same;
}

/* What is written lies nowhere else. */
static at_cudnn_status check_apart(const at_dnn_program *p)
{
    for (int i = 0; i < p->n_steps; i++)
        for (int o = 0; o < 2; o++) {
            int to = p->steps[i].out[o];
            for (int from = 0; from < p->n_tensors && to >= 0; from++)
                if (from != to && p->tensors[to].data &&
                    p->tensors[from].data == p->tensors[to].data && !is_in_place(p, from, to))
                    return BAD("tensors %lld and %lld lie in the same place",
                               (long long)p->tensors[from].id, (long long)p->tensors[to].id);
        }
    return GOOD;
}

static at_cudnn_status set_workspace(at_dnn_program *p, const engine *e, const at_dnn *pack)
{
    const at_dnn_field *f = at_dnn_field_of(pack, AT_CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
    p->workspace = f ? *(void *const *)f->elements : NULL;
    p->workspace_bytes = e->workspace_bytes;
    if (!e->workspace_bytes)
        return GOOD;
    if (!p->workspace)
        return at_dnn_fail(AT_CUDNN_STATUS_BAD_PARAM_NULL_POINTER,
                           "a workspace of %zu bytes is missing", e->workspace_bytes);
    if ((uintptr_t)p->workspace % WORKSPACE_ALIGNMENT)
        return at_dnn_fail(AT_CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER,
                           "the workspace at %p is not aligned to %d", p->workspace,
                           WORKSPACE_ALIGNMENT);
    if (!is_device(p->workspace, e->workspace_bytes))
        return at_dnn_fail(AT_CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT,
                           "%p has no %zu bytes of device memory for a workspace", p->workspace,
                           e->workspace_bytes);
    for (int i = 0; i < p->n_tensors; i++) {
        const char *t = p->tensors[i].data, *w = p->workspace;
        if (t && t < w + e->workspace_bytes && w < t + at_dnn_extent(&p->tensors[i]))
            return BAD("tensor %lld lies in the workspace", (long long)p->tensors[i].id);
    }
    return GOOD;
}

at_cudnn_status at_dnn_address(at_dnn_program *out, const at_dnn *plan, const at_dnn *pack)
{
    const engine *e = engine_of(plan);
    at_cudnn_status status = GOOD;
    *out = *graph_of(plan)->program;
    out->engine = e->index;
    out->knob = knob_of(config_of(plan));
    for (int i = 0; i < out->n_tensors && status == GOOD; i++)
        if (!out->tensors[i].is_virtual)
            status = set_address(&out->tensors[i], pack);
    if (status == GOOD)
        status = check_apart(out);
    return status == GOOD ? set_workspace(out, e, pack) : status;
}
