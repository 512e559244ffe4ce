/* plan.c -- choosing, preparing, laying out, running. */
#include "engine/plan_own.h"

#include <stdlib.h>
#include <string.h>

#include "engine/arena.h"
#include "engine/lane_marks.h"
#include "engine/layout.h"
#include "engine/plan_choose.h"

typedef struct step {
    at_node *node;
    void *args;  /* with addresses */
    int call;    /* of the plan's calls: its variant and what that prepared */
    int scratch; /* block, -1: none */
    uint64_t versions[AT_FORMS_MAX];
    void *forms[AT_FORMS_MAX];
} step;

/* Nodes that touch a memory: the first, and the last of each lane. -1: none. */
typedef struct use {
    int first, last[AT_LANE_COUNT];
} use;

/* What a tensor's memory is. */
typedef struct place {
    int block;    /* in the arena; -1: not there */
    void *memory; /* inputs, outputs, parameters */
    bool owned;
    use use;
} place;

struct at_plan {
    at_arena *arena;
    at_device *device;
    at_params *params;
    at_graph *graph;
    at_plan_options options;
    step *steps;
    int n_steps;
    at_calls calls;
    at_lanes *lanes;
    at_lane_marks marks; /* with 'base' */
    place *places;       /* [id - 1] */
    at_block *blocks;
    int n_blocks, blocks_capacity;
    at_plan_bytes bytes;
    void *base; /* of the arena; NULL until committed */
    bool addresses_set;
    void *captured;
    bool ran;
    at_plan_notes notes;
};

/* --- nodes ------------------------------------------------------------------------------------ */

static at_view *operand(const step *s, int i)
{
    return at_operand_of(s->node->op, s->args, i);
}

static const at_variant *variant_of(const at_plan *plan, const step *s)
{
    return plan->calls.list[s->call].variant;
}

static const at_prepared *prepared_of(const at_plan *plan, const step *s)
{
    return &plan->calls.list[s->call].prepared;
}

static at_tensor_info *base_of(const at_plan *plan, int32_t id)
{
    return at_graph_tensor(plan->graph, at_graph_tensor(plan->graph, id)->base);
}

static uint32_t constants_of(const at_plan *plan, const step *s)
{
    uint32_t mask = 0;
    for (int i = 0; i < s->node->op->n_operands; i++) {
        const at_view *v = operand(s, i);
        if (at_has(v) && s->node->op->operands[i].role == AT_IN &&
            at_graph_tensor(plan->graph, v->tag)->param)
            mask |= 1u << i;
    }
    return mask;
}

static at_status choose_all(at_plan *plan, at_error *err)
{
    plan->n_steps = at_graph_nodes(plan->graph);
    plan->steps = at_arena_alloc(plan->arena, (size_t)plan->n_steps * sizeof *plan->steps);
    plan->notes.seconds = at_arena_alloc(plan->arena, (size_t)plan->n_steps * sizeof(double));
    for (int i = 0; i < plan->n_steps; i++) {
        step *s = &plan->steps[i];
        s->node = at_graph_node(plan->graph, i);
        s->args = at_arena_alloc(plan->arena, s->node->op->args_size);
        memcpy(s->args, s->node->args, s->node->op->args_size);
        s->scratch = -1;
        at_status status = at_calls_choose(&plan->calls, s->node->op, s->args,
                                           constants_of(plan, s), &s->call, err);
        if (status != AT_OK)
            return status;
    }
    return AT_OK;
}

/* --- memory ----------------------------------------------------------------------------------- */

static at_lane lane_of(const at_plan *plan, int i)
{
    return plan->device->api->lane_stream ? plan->steps[i].node->lane : AT_LANE_COMPUTE;
}

/* The number of a tensor's memory among those that nodes touch: a storage's slices share one. */
static int memory_of(const at_plan *plan, const at_tensor_info *base)
{
    return base->param ? at_graph_tensors(plan->graph) + base->param->storage->index
                       : base->view.tag - 1;
}

/* Tells the lanes of every node, what it reads and what it writes. */
static void find_waits(at_plan *plan)
{
    at_touch touches[AT_OPERANDS_MAX];
    plan->lanes =
        at_lanes_new(plan->n_steps, at_graph_tensors(plan->graph) + at_params_count(plan->params));
    for (int i = 0; i < plan->n_steps; i++) {
        const step *s = &plan->steps[i];
        int n = 0;
        for (int k = 0; k < s->node->op->n_operands; k++) {
            const at_view *v = operand(s, k);
            if (at_has(v))
                touches[n++] = (at_touch){ memory_of(plan, base_of(plan, v->tag)),
                                           s->node->op->operands[k].role != AT_IN };
        }
        at_lanes_add(plan->lanes, lane_of(plan, i), touches, n);
    }
    at_lanes_end(plan->lanes);
}

static use no_use(void)
{
    use u = { .first = -1 };
    for (int k = 0; k < AT_LANE_COUNT; k++)
        u.last[k] = -1;
    return u;
}

static void find_uses(at_plan *plan)
{
    int n = at_graph_tensors(plan->graph);
    plan->places = at_arena_alloc(plan->arena, (size_t)n * sizeof *plan->places);
    for (int i = 0; i < n; i++)
        plan->places[i] = (place){ .block = -1, .use = no_use() };
    for (int i = 0; i < plan->n_steps; i++) {
        const step *s = &plan->steps[i];
        for (int k = 0; k < s->node->op->n_operands; k++) {
            const at_view *v = operand(s, k);
            if (!at_has(v))
                continue;
            use *u = &plan->places[base_of(plan, v->tag)->view.tag - 1].use;
            u->first = u->first < 0 ? i : u->first;
            u->last[lane_of(plan, i)] = i;
        }
    }
}

static bool lives_in_arena(const at_tensor_info *t)
{
    return t->storage == AT_STORAGE_TEMP && !t->is_output;
}

/* Alive from 'first', as long as the last nodes of 'u' need it and lanes have not joined them. */
static at_block block_for(const at_plan *plan, size_t bytes, int first, const use *u)
{
    at_block b = { .bytes = bytes, .first = first, .last = first, .lane = lane_of(plan, first) };
    for (int k = 0; k < AT_LANE_COUNT; k++) {
        b.last = u->last[k] > b.last ? u->last[k] : b.last;
        b.until[k] = at_lanes_until(plan->lanes, u->last, (at_lane)k);
    }
    return b;
}

static int new_block(at_plan *plan, size_t bytes, const use *u)
{
    plan->blocks =
        at_grow(plan->blocks, plan->n_blocks, &plan->blocks_capacity, sizeof *plan->blocks);
    plan->blocks[plan->n_blocks] = block_for(plan, bytes, u->first, u);
    return plan->n_blocks++;
}

/* True if node i is the last that needs it: all others are done when it begins. */
static bool ends_with(const at_plan *plan, const use *u, int i)
{
    for (int k = 0; k < AT_LANE_COUNT; k++)
        if (u->last[k] >= 0 && u->last[k] != i && !at_lanes_before(plan->lanes, u->last[k], i))
            return false;
    return true;
}

/* The input of step i whose memory output 'out' may take over: the first of its shape and type, if
 * this node is the last to need it and it is the whole of its memory. */
static at_tensor_info *overlaid(const at_plan *plan, int i, int out)
{
    const step *s = &plan->steps[i];
    const at_view *o = operand(s, out);
    if (!(s->node->op->operands[out].flags & AT_OVERLAY))
        return NULL;
    for (int k = 0; k < s->node->op->n_operands; k++) {
        const at_view *v = operand(s, k);
        if (s->node->op->operands[k].role != AT_IN || !at_same_shape(v, o) || v->dtype != o->dtype)
            continue;
        at_tensor_info *base = base_of(plan, v->tag);
        bool whole = at_dense(v) && at_elements(v) == at_elements(&base->view);
        for (int m = 0; m < s->node->op->n_operands; m++) { /* nothing else may look at it */
            const at_view *other = operand(s, m);
            if (m != k && at_has(other) && base_of(plan, other->tag) == base)
                whole = false;
        }
        if (whole && lives_in_arena(base) &&
            ends_with(plan, &plan->places[base->view.tag - 1].use, i))
            return base;
        return NULL;
    }
    return NULL;
}

static void make_blocks(at_plan *plan)
{
    for (int i = 0; i < plan->n_steps; i++) {
        step *s = &plan->steps[i];
        bool taken = false;
        for (int k = 0; k < s->node->op->n_operands; k++) {
            const at_view *v = operand(s, k);
            if (s->node->op->operands[k].role != AT_OUT || !at_has(v))
                continue;
            at_tensor_info *t = base_of(plan, v->tag);
            place *p = &plan->places[t->view.tag - 1];
            if (!lives_in_arena(t) || p->block >= 0)
                continue;
            at_tensor_info *in = taken ? NULL : overlaid(plan, i, k);
            if (in) {
                p->block = plan->places[in->view.tag - 1].block;
                at_block *b = &plan->blocks[p->block];
                *b = block_for(plan, b->bytes, b->first, &p->use);
                taken = true;
            } else {
                p->block = new_block(plan, at_view_bytes(&t->view), &p->use);
            }
        }
    }
}

/* A parameter that no node touches, such as one whose f8 has taken its place, is no weight. */
static void count_in_out(at_plan *plan)
{
    for (int id = 1; id <= at_graph_tensors(plan->graph); id++) {
        const at_tensor_info *t = at_graph_tensor(plan->graph, id);
        if (t->base != id)
            continue;
        if (t->storage == AT_STORAGE_INPUT || t->is_output)
            plan->bytes.in_out += at_view_bytes(&t->view);
        else if (t->storage == AT_STORAGE_PARAM && plan->places[id - 1].use.first >= 0)
            plan->bytes.weights += at_view_bytes(&t->view);
    }
}

static at_param *form_param(const at_plan *plan, const step *s, int f)
{
    const at_form *form = &prepared_of(plan, s)->forms[f];
    return at_graph_tensor(plan->graph, operand(s, form->operand)->tag)->param;
}

/* Bytes of forms; those that another node of this plan has already asked for count once. */
static size_t count_forms(const at_plan *plan, bool only_missing)
{
    size_t bytes = 0;
    for (int i = 0; i < plan->n_steps; i++) {
        const step *s = &plan->steps[i];
        const at_prepared *p = prepared_of(plan, s);
        for (int f = 0; f < p->n_forms; f++) {
            at_param *param = form_param(plan, s, f);
            bool seen = only_missing && at_params_has_form(plan->params, param, p->forms[f].key);
            for (int j = 0; j < i && !seen; j++) {
                const step *t = &plan->steps[j];
                const at_prepared *q = prepared_of(plan, t);
                for (int g = 0; g < q->n_forms && !seen; g++)
                    seen = form_param(plan, t, g) == param &&
                           !strcmp(q->forms[g].key, p->forms[f].key);
            }
            bytes += seen ? 0 : p->forms[f].bytes;
        }
    }
    return bytes;
}

/* Where a device has a workspace, scratch up to its size lies there, and the plan has it whether it
 * is used or not: so the plan's bytes do not depend on which variants are chosen. It is nobody
 * else's, from the first node to the last. */
static int new_workspace(at_plan *plan, size_t bytes)
{
    use all = no_use();
    all.first = 0;
    int block = new_block(plan, bytes, &all);
    at_block *b = &plan->blocks[block];
    b->lane = AT_LANE_COMPUTE;
    b->last = plan->n_steps - 1;
    for (int k = 0; k < AT_LANE_COUNT; k++)
        b->until[k] = plan->n_steps;
    return block;
}

/* Scratch of its own, for node i: alive at that node only, or, on another lane, until it is
 * joined. */
static int new_scratch(at_plan *plan, int i, size_t bytes)
{
    use u = no_use();
    u.first = u.last[lane_of(plan, i)] = i;
    return new_block(plan, bytes, &u);
}

/* The workspace serves the compute lane, whose nodes follow one another. */
static void place_scratch(at_plan *plan)
{
    size_t room = plan->n_steps ? plan->device->api->workspace_bytes : 0;
    int workspace = room ? new_workspace(plan, room) : -1;
    plan->bytes.workspace = room;
    for (int i = 0; i < plan->n_steps; i++) {
        size_t scratch = prepared_of(plan, &plan->steps[i])->scratch_bytes;
        bool fits = scratch <= room && lane_of(plan, i) == AT_LANE_COMPUTE;
        if (!scratch)
            continue;
        plan->steps[i].scratch = fits ? workspace : new_scratch(plan, i, scratch);
        if (scratch > plan->bytes.workspace)
            plan->bytes.workspace = scratch;
    }
}

static void lay_out(at_plan *plan)
{
    find_waits(plan);
    find_uses(plan);
    make_blocks(plan);
    plan->bytes.activations = at_layout_bound(plan->blocks, plan->n_blocks);
    place_scratch(plan);
    plan->bytes.arena = at_layout(plan->blocks, plan->n_blocks);
    plan->bytes.bound = at_layout_bound(plan->blocks, plan->n_blocks);
    plan->bytes.forms = count_forms(plan, false);
    count_in_out(plan);
}

/* --- life ------------------------------------------------------------------------------------- */

at_status at_plan_new(at_plan **out, at_device *device, at_params *params, at_graph *graph,
                      const at_plan_options *options, at_error *err)
{
    at_plan *plan = calloc(1, sizeof *plan);
    *out = plan;
    AT_ASSERT(plan, "no memory for a plan");
    plan->arena = at_arena_new();
    plan->device = device;
    plan->params = params;
    plan->graph = graph;
    plan->options = options ? *options : (at_plan_options){ 0 };
    plan->calls = (at_calls){ device, &plan->options, plan->arena, NULL, 0, 0 };
    at_status status = choose_all(plan, err);
    if (status != AT_OK) {
        at_plan_free(plan);
        *out = NULL;
        return status;
    }
    lay_out(plan);
    return AT_OK;
}

void at_plan_free(at_plan *plan)
{
    if (!plan)
        return;
    if (plan->captured)
        plan->device->api->capture_free(plan->device, plan->captured);
    for (int i = 0; plan->places && i < at_graph_tensors(plan->graph); i++)
        if (plan->places[i].owned)
            at_device_free(plan->device, plan->places[i].memory,
                           at_view_bytes(&at_graph_tensor(plan->graph, i + 1)->view));
    at_lane_marks_close(&plan->marks);
    at_lanes_free(plan->lanes);
    at_calls_free(&plan->calls);
    free(plan->blocks);
    at_arena_free(plan->arena);
    free(plan);
}

at_plan_bytes at_plan_memory(const at_plan *plan)
{
    return plan->bytes;
}

/* True for an input or output that is still without memory. */
static bool lacks_memory(const at_plan *plan, int32_t id)
{
    const at_tensor_info *t = at_graph_tensor(plan->graph, id);
    return t->base == id && (t->storage == AT_STORAGE_INPUT || t->is_output) &&
           !plan->places[id - 1].memory && !t->param;
}

at_status at_plan_commit(at_plan *plan, at_error *err)
{
    if (plan->base)
        return AT_OK;
    size_t needed = count_forms(plan, true), there = at_device_memory_free(plan->device);
    for (int id = 1; id <= at_graph_tensors(plan->graph); id++)
        if (lacks_memory(plan, id))
            needed += at_view_bytes(&at_graph_tensor(plan->graph, id)->view);
    if (plan->bytes.arena > plan->device->range_mapped)
        needed += plan->bytes.arena - plan->device->range_mapped;
    if (needed > there)
        return at_fail(err, AT_NO_MEMORY,
                       "the plan needs %zu bytes more on %s (%zu of them working memory), and %zu "
                       "are there",
                       needed, plan->device->api->name, plan->bytes.arena, there);
    at_status status =
        at_device_arena(plan->device, plan->bytes.arena ? plan->bytes.arena : 1, &plan->base, err);
    if (status != AT_OK)
        return status;
    for (int id = 1; id <= at_graph_tensors(plan->graph); id++) {
        if (!lacks_memory(plan, id))
            continue;
        size_t bytes = at_view_bytes(&at_graph_tensor(plan->graph, id)->view);
        place *p = &plan->places[id - 1];
        p->memory = at_device_alloc(plan->device, bytes);
        p->owned = p->memory != NULL;
        if (!p->memory) {
            plan->base = NULL;
            return at_fail(err, AT_NO_MEMORY, "no memory for %zu bytes of input or output", bytes);
        }
    }
    status = at_lane_marks_open(&plan->marks, plan->device, plan->lanes, plan->n_steps, err);
    if (status != AT_OK)
        plan->base = NULL;
    return status;
}

/* --- addresses -------------------------------------------------------------------------------- */

static void *address_of(const at_plan *plan, int32_t id)
{
    const at_tensor_info *t = at_graph_tensor(plan->graph, id), *base = base_of(plan, id);
    const place *p = &plan->places[base->view.tag - 1];
    char *memory = base->param     ? base->param->view.data
                   : p->block >= 0 ? (char *)plan->base + plan->blocks[p->block].offset
                                   : p->memory;
    return memory ? memory + (size_t)t->offset * at_dtype_bytes(t->view.dtype) : NULL;
}

static void set_addresses(at_plan *plan)
{
    for (int i = 0; i < plan->n_steps; i++) {
        step *s = &plan->steps[i];
        for (int k = 0; k < s->node->op->n_operands; k++) {
            at_view *v = operand(s, k);
            if (at_has(v))
                v->data = address_of(plan, v->tag);
        }
        for (int f = 0; f < AT_FORMS_MAX; f++)
            s->versions[f] = 0;
    }
    plan->addresses_set = true;
}

/* Brings the forms of a step's weights up to date. */
static at_status refresh_forms(at_plan *plan, step *s, at_error *err)
{
    const at_prepared *p = prepared_of(plan, s);
    for (int f = 0; f < p->n_forms; f++) {
        at_param *param = form_param(plan, s, f);
        if (s->versions[f] == at_param_version(param))
            continue;
        s->forms[f] = at_params_form(plan->params, param, p, f);
        if (!s->forms[f])
            return at_fail(err, AT_NO_MEMORY, "no memory for a form of %s: %zu bytes", param->name,
                           p->forms[f].bytes);
        s->versions[f] = at_param_version(param);
        operand(s, p->forms[f].operand)->data = s->forms[f];
    }
    return AT_OK;
}

void at_plan_bind(at_plan *plan, at_tensor t, void *memory)
{
    at_tensor_info *base = base_of(plan, t.id);
    place *p = &plan->places[base->view.tag - 1];
    AT_ASSERT(base->storage == AT_STORAGE_INPUT || base->is_output,
              "only inputs and outputs can be bound");
    AT_ASSERT(!p->owned, "bound after the plan had allocated its own memory for it");
    AT_ASSERT(!plan->captured, "bound after the plan was captured");
    p->memory = memory;
    plan->addresses_set = false;
}

/* Where the memory of an input or output lies, committing first. */
static at_status locate(at_plan *plan, at_tensor t, void **memory, at_error *err)
{
    at_status status = at_plan_commit(plan, err);
    if (status != AT_OK)
        return status;
    const at_tensor_info *base = base_of(plan, t.id);
    AT_ASSERT(base->storage != AT_STORAGE_TEMP || base->is_output,
              "the tensor is neither an input nor an output");
    AT_ASSERT(at_dense(&at_graph_tensor(plan->graph, t.id)->view), "copy of a pitched view");
    *memory = address_of(plan, t.id);
    return AT_OK;
}

at_status at_plan_set(at_plan *plan, at_tensor t, const void *host, at_error *err)
{
    void *memory;
    at_status status = locate(plan, t, &memory, err);
    if (status == AT_OK)
        at_device_upload(plan->device, memory, host,
                         at_view_bytes(&at_graph_tensor(plan->graph, t.id)->view));
    return status;
}

at_status at_plan_get(at_plan *plan, at_tensor t, void *host, at_error *err)
{
    void *memory;
    at_status status = locate(plan, t, &memory, err);
    if (status == AT_OK)
        at_device_download(plan->device, host, memory,
                           at_view_bytes(&at_graph_tensor(plan->graph, t.id)->view));
    return status == AT_OK ? at_device_check(plan->device, err) : status;
}

/* --- running ---------------------------------------------------------------------------------- */

static at_status ready(at_plan *plan, at_error *err)
{
    at_status status = at_plan_commit(plan, err);
    if (status == AT_OK && !plan->addresses_set)
        set_addresses(plan);
    for (int i = 0; i < plan->n_steps && status == AT_OK; i++)
        status = refresh_forms(plan, &plan->steps[i], err);
    return status;
}

static at_status run_step(at_plan *plan, step *s, const at_stream *stream, at_error *err)
{
    at_error why = { 0 };
    const at_launch launch = {
        stream,
        s->scratch >= 0 ? (char *)plan->base + plan->blocks[s->scratch].offset : NULL,
        &why,
    };
    at_status status = variant_of(plan, s)->run(s->args, prepared_of(plan, s), &launch);
    if (status == AT_OK)
        return AT_OK;
    char text[256];
    at_args_print(s->node->op, s->args, text, sizeof text);
    return at_fail(err, status, "%s failed (%s%s%s) for %s", variant_of(plan, s)->name,
                   at_status_name(status), *why.text ? ": " : "", why.text, text);
}

static at_status run_on_lane(at_plan *plan, int i, at_error *err)
{
    at_lane lane = lane_of(plan, i);
    at_status status = at_lane_marks_before(&plan->marks, i, lane, err);
    if (status == AT_OK)
        status = run_step(plan, &plan->steps[i], &plan->marks.streams[lane], err);
    return status == AT_OK ? at_lane_marks_after(&plan->marks, i, lane, err) : status;
}

static at_status launch_all(at_plan *plan, at_error *err)
{
    at_status status = at_lane_marks_begin(&plan->marks, err);
    for (int i = 0; i < plan->n_steps && status == AT_OK; i++)
        status = run_on_lane(plan, i, err);
    return status == AT_OK ? at_lane_marks_before(&plan->marks, plan->n_steps, AT_LANE_COMPUTE, err)
                           : status;
}

/* Parameters that the nodes write have new contents. */
static void touch_written(at_plan *plan)
{
    for (int i = 0; i < plan->n_steps; i++) {
        const step *s = &plan->steps[i];
        for (int k = 0; k < s->node->op->n_operands; k++) {
            const at_view *v = operand(s, k);
            if (!at_has(v) || s->node->op->operands[k].role == AT_IN)
                continue;
            at_tensor_info *base = base_of(plan, v->tag);
            if (base->param)
                at_param_touch(base->param);
        }
    }
}

/* The first run is plain: libraries may still set themselves up. The second is captured where the
 * device can; from then on a run is one replay. */
static at_status run_captured(at_plan *plan, at_error *err)
{
    const at_device_api *api = plan->device->api;
    if (!plan->captured) {
        at_status status = api->capture_begin(plan->device, err);
        if (status != AT_OK)
            return status;
        at_status launched = launch_all(plan, err);
        status = api->capture_end(plan->device, &plan->captured, launched == AT_OK ? err : NULL);
        if (launched != AT_OK && plan->captured)
            api->capture_free(plan->device, plan->captured);
        if (launched != AT_OK)
            plan->captured = NULL;
        if (launched != AT_OK || status != AT_OK)
            return launched != AT_OK ? launched : status;
    }
    return api->replay(plan->device, plan->captured, err);
}

/* A run that is given up has not joined its lanes; the next must not meet what they still do. */
static at_status launch_plain(at_plan *plan, at_error *err)
{
    at_status status = launch_all(plan, err);
    if (status != AT_OK)
        at_device_wait(plan->device);
    return status;
}

static at_status run_entered(at_plan *plan, at_error *err)
{
    at_status status = ready(plan, err);
    if (status != AT_OK)
        return status;
    if (plan->ran && plan->device->api->replay)
        status = run_captured(plan, err);
    else
        status = launch_plain(plan, err);
    if (status != AT_OK)
        return status;
    plan->ran = true;
    touch_written(plan);
    return AT_OK;
}

at_status at_plan_run(at_plan *plan, at_error *err)
{
    at_device_enter(plan->device);
    at_status status = run_entered(plan, err);
    at_device_leave(plan->device);
    return status;
}

/* --- for plan_profile.c ----------------------------------------------------------------------- */

at_status at_plan_own_ready(at_plan *plan, at_error *err)
{
    return ready(plan, err);
}

at_status at_plan_own_node(at_plan *plan, int i, at_error *err)
{
    return run_step(plan, &plan->steps[i], &plan->device->stream, err);
}

void at_plan_own_ran(at_plan *plan)
{
    plan->ran = true;
    touch_written(plan);
}

at_plan_notes *at_plan_own_notes(at_plan *plan)
{
    return &plan->notes;
}

/* --- looking at it ---------------------------------------------------------------------------- */

int at_plan_nodes(const at_plan *plan)
{
    return plan->n_steps;
}

at_node_info at_plan_node(const at_plan *plan, int i)
{
    AT_ASSERT(i >= 0 && i < plan->n_steps, "node %d of %d", i, plan->n_steps);
    const step *s = &plan->steps[i];
    return (at_node_info){
        .op = s->node->op,
        .args = s->args,
        .variant = variant_of(plan, s),
        .choice = prepared_of(plan, s)->choice,
        .scope = s->node->scope,
        .cost = at_op_cost(s->node->op, s->args),
        .scratch = prepared_of(plan, s)->scratch_bytes,
        .seconds = plan->notes.seconds[i],
        .lane = lane_of(plan, i),
        .waits = *at_lanes_waits(plan->lanes, i),
    };
}

at_graph *at_plan_graph(const at_plan *plan)
{
    return plan->graph;
}

at_plan_times at_plan_timing(const at_plan *plan)
{
    return plan->notes.times;
}

at_device *at_plan_device(const at_plan *plan)
{
    return plan->device;
}
