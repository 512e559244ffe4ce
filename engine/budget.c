#include "engine/budget.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/arena.h"
#include "engine/bench.h"
#include "engine/json.h"
#include "engine/machine.h"

/* --- kinds of work ---------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int launches, early; /* all, and those that are early */
    double rereads;
    const char *cheaper;
} works[] = {
#define AT_WORK(NAME, name, launches, early, rereads, cheaper) \
    { name, launches, early, rereads, cheaper },
#include "engine/work.def"
#undef AT_WORK
};

static const struct {
    at_work work;
    double from;
    at_share share;
} shares[] = {
#define AT_SHARE(WORK, from, arithmetic, bandwidth, ORIGIN, why) \
    { AT_WORK_##WORK, from, { arithmetic, bandwidth, AT_##ORIGIN, why } },
#include "engine/shares.def"
#undef AT_SHARE
};

const char *at_work_name(at_work work)
{
    return works[work].name;
}

at_share at_share_of(at_work work, double elements)
{
    at_share share = { 0 };
    for (size_t i = 0; i < AT_COUNT(shares); i++)
        if (shares[i].work == work && elements >= shares[i].from)
            share = shares[i].share;
    AT_ASSERT(share.arithmetic > 0 && share.bandwidth > 0, "%s have no share", works[work].name);
    return share;
}

static at_work work_of_linear(const at_linear_args *a)
{
    enum { FEW_ROWS = 32 };
    if (at_rows(&a->x) <= FEW_ROWS)
        return AT_WORK_PRODUCT_FEW;
    return a->x.dtype == AT_F8 ? AT_WORK_PRODUCT_F8 : AT_WORK_PRODUCT;
}

static at_work work_of_conv(const at_conv2d_args *a)
{
    enum { FEW_CHANNELS = 16 };
    if (a->w.size[0] < FEW_CHANNELS || a->w.size[1] < FEW_CHANNELS)
        return AT_WORK_CONV_FEW;
    return a->w.size[2] * a->w.size[3] == 1 ? AT_WORK_CONV_1X1 : AT_WORK_CONV;
}

static at_work work_of_attention(const at_attention_args *a)
{
    enum { WIDE = 128, FEW_KEYS = 256 };
    if (at_cols(&a->q) / a->heads > WIDE)
        return AT_WORK_ATTENTION_WIDE;
    return a->k.size[1] < FEW_KEYS ? AT_WORK_ATTENTION_TEXT : AT_WORK_ATTENTION;
}

/* A group that a multiprocessor's shared memory holds is read once. */
static at_work work_of_group_norm(const at_group_norm_args *a)
{
    enum { SHARED_BYTES = 160 << 10 };
    double bytes = (double)at_elements(&a->y) / (double)(a->y.size[0] * a->groups) *
                   (double)at_dtype_bytes(a->x.dtype);
    return bytes < SHARED_BYTES ? AT_WORK_NORM : AT_WORK_NORM_TWICE;
}

at_work at_work_of(const at_op *op, const void *args)
{
    if (op == &at_op_linear)
        return work_of_linear(args);
    if (op == &at_op_linear_geglu)
        return at_machine_dtype_of(op, args) == AT_F8 ? AT_WORK_PRODUCT_GEGLU_F8
                                                      : AT_WORK_PRODUCT_GEGLU;
    if (op == &at_op_conv2d)
        return work_of_conv(args);
    if (op == &at_op_attention)
        return work_of_attention(args);
    if (op == &at_op_group_norm)
        return work_of_group_norm(args);
    return op == &at_op_layer_norm ? AT_WORK_NORM : AT_WORK_MOVES;
}

/* --- one call --------------------------------------------------------------------------------- */

typedef struct call {
    at_work work;
    double flops, memory, cached; /* bytes by where they come from */
    double kernel, seconds;       /* without launches, with them */
    at_bound bound;
    at_origin origin;
    int line[AT_BYS];
} call;

struct at_budget {
    at_gpu gpu;
    at_graph *graph;
    at_budget_options options;
    call *calls;
    int n_calls;
    at_budget_line *lines[AT_BYS];
    int *order[AT_BYS];
    int n_lines[AT_BYS], capacity[AT_BYS];
};

static double figure(const at_budget *b, at_figure_kind kind)
{
    return b->gpu.figures[kind].value;
}

static at_figure_kind peak_kind(at_dtype dtype)
{
    switch (dtype) {
    case AT_BF16:
    case AT_F16: return AT_FIGURE_BF16;
    case AT_F8: return AT_FIGURE_F8;
    default: return AT_FIGURE_F32;
    }
}

static bool is_product(at_work work)
{
    return work == AT_WORK_PRODUCT || work == AT_WORK_PRODUCT_GEGLU || work == AT_WORK_PRODUCT_F8 ||
           work == AT_WORK_PRODUCT_GEGLU_F8 || work == AT_WORK_CONV;
}

static double output_elements(const at_node *n)
{
    double most = 0;
    for (int i = 0; i < n->op->n_operands; i++)
        if (n->op->operands[i].role != AT_IN)
            most = fmax(most, (double)at_elements(at_operand_in(n->op, n->args, i)));
    return most;
}

/* What a call touches: parameters, inputs and outputs in memory; intermediates, of which a cache
 * that holds them all keeps what the call before has made. */
static void count_bytes(const at_budget *b, const at_node *n, call *c)
{
    const double rereads = works[c->work].rereads, cache = figure(b, AT_FIGURE_L2_BYTES);
    double fixed = 0, made = 0, again = 0;
    for (int i = 0; i < n->op->n_operands; i++) {
        const at_operand *o = &n->op->operands[i];
        const at_view *v = at_operand_in(n->op, n->args, i);
        if (!at_has(v) || (o->flags & AT_SPARSE))
            continue;
        const at_tensor_info *base =
            at_graph_tensor(b->graph, at_graph_tensor(b->graph, v->tag)->base);
        const double bytes = (double)at_elements(v) * (double)at_dtype_bytes(v->dtype) *
                             (o->role == AT_INOUT ? 2 : 1);
        bool temporary = base->storage == AT_STORAGE_TEMP && !base->is_output;
        *(temporary ? &made : &fixed) += bytes;
        if (temporary && o->role == AT_IN)
            again += rereads * bytes;
    }
    bool fits = made <= cache;
    c->cached = fits ? made + again : fmin(again, cache); /* the end of x is there for the start */
    c->memory = fixed + (fits ? 0 : made + again - c->cached);
}

/* From kernel to kernel; where none is launched early all are plain. */
static double launch_seconds(const at_budget *b, at_work work)
{
    const double plain = figure(b, AT_FIGURE_LAUNCH), early = figure(b, AT_FIGURE_LAUNCH_EARLY);
    return (works[work].launches - works[work].early) * plain +
           works[work].early * (early > 0 ? early : plain);
}

static at_status price(const at_budget *b, const at_node *n, call *c, at_error *err)
{
    const at_dtype dtype = at_machine_dtype_of(n->op, n->args);
    const double peak = figure(b, peak_kind(dtype));
    if (peak <= 0)
        return at_fail(err, AT_UNSUPPORTED, "%s has no tensor cores for %s, which %s has",
                       b->gpu.title, at_dtype_name(dtype), n->op->name);
    c->work = at_work_of(n->op, n->args);
    c->flops = at_op_cost(n->op, n->args).flops;
    count_bytes(b, n, c);
    at_share share = at_share_of(c->work, output_elements(n));
    if (b->options.effort > 0 && is_product(c->work))
        share.arithmetic = fmin(1, share.arithmetic * b->options.effort);
    const double arithmetic = c->flops / (peak * share.arithmetic);
    const double bytes =
        (c->memory / figure(b, AT_FIGURE_COPY) + c->cached / figure(b, AT_FIGURE_L2)) /
        share.bandwidth;
    const double launches = launch_seconds(b, c->work);
    c->origin = share.origin;
    c->kernel = fmax(arithmetic, bytes);
    c->seconds = c->kernel + launches;
    c->bound = arithmetic > bytes ? AT_BOUND_ARITHMETIC : AT_BOUND_BYTES;
    if (launches > c->kernel)
        c->bound = AT_BOUND_LAUNCHES;
    return AT_OK;
}

/* --- lines ------------------------------------------------------------------------------------ */

static void call_name(const at_node *n, char *text, size_t room)
{
    _Alignas(16) unsigned char args[AT_ARGS_MAX];
    int used = snprintf(text, room, "%s ", n->op->name);
    memcpy(args, n->args, n->op->args_size);
    if (n->op == &at_op_conv2d) { /* absent and 1 are the same */
        at_conv2d_args *a = (void *)args;
        for (int i = 0; i < 2; i++)
            a->stride[i] = a->stride[i] == 1 ? 0 : a->stride[i];
    }
    at_args_print(n->op, args, text + used, room - (size_t)used);
}

static void line_name(const at_budget *b, int node, at_budget_by by, char *text, size_t room)
{
    const at_node *n = at_graph_node(b->graph, node);
    switch (by) {
    case AT_BY_ALL: snprintf(text, room, "all"); break;
    case AT_BY_PART:
        if (*n->scope)
            snprintf(text, room, "%.*s", (int)strcspn(n->scope, "."), n->scope);
        else
            snprintf(text, room, "rest");
        break;
    case AT_BY_WORK: snprintf(text, room, "%s", works[b->calls[node].work].name); break;
    default: call_name(n, text, room); break;
    }
}

static int line_named(at_budget *b, at_budget_by by, const char *name, int node)
{
    for (int i = 0; i < b->n_lines[by]; i++)
        if (!strcmp(b->lines[by][i].name, name))
            return i;
    b->lines[by] = at_grow(b->lines[by], b->n_lines[by], &b->capacity[by], sizeof(at_budget_line));
    at_budget_line *line = &b->lines[by][b->n_lines[by]];
    *line = (at_budget_line){ .work = b->calls[node].work, .node = node };
    snprintf(line->name, sizeof line->name, "%s", name);
    return b->n_lines[by]++;
}

static void add_to_lines(at_budget *b, int node)
{
    char name[sizeof((at_budget_line *)0)->name];
    call *c = &b->calls[node];
    for (int by = 0; by < AT_BYS; by++) {
        line_name(b, node, (at_budget_by)by, name, sizeof name);
        c->line[by] = line_named(b, (at_budget_by)by, name, node);
        at_budget_line *line = &b->lines[by][c->line[by]];
        line->calls++;
        line->launches += works[c->work].launches;
        line->seconds += c->seconds;
        line->launch_seconds += c->seconds - c->kernel;
        line->flops += c->flops;
        line->bytes += c->memory + c->cached;
        line->cached += c->cached;
        line->by_bound[c->bound] += c->seconds;
        line->by_origin[c->origin] += c->kernel;
    }
}

/* Longest first, by insertion: there are a few dozen. Parts stay in the graph's order. */
static bool put_in_order(at_budget *b)
{
    for (int by = 0; by < AT_BYS; by++) {
        int *order = b->order[by] = calloc((size_t)b->n_lines[by] + 1, sizeof *order);
        if (!order)
            return false;
        for (int i = 0; i < b->n_lines[by]; i++) {
            int at = i;
            const at_budget_line *lines = b->lines[by];
            while (by != AT_BY_PART && at > 0 && lines[order[at - 1]].seconds < lines[i].seconds) {
                order[at] = order[at - 1];
                at--;
            }
            order[at] = i;
        }
    }
    return true;
}

/* --- life ------------------------------------------------------------------------------------- */

at_status at_budget_new(at_budget **out, const at_gpu *gpu, at_graph *graph,
                        const at_budget_options *options, at_error *err)
{
    at_budget *b = calloc(1, sizeof *b);
    const int n = at_graph_nodes(graph);
    at_status status = AT_OK;
    *out = NULL;
    if (b)
        b->calls = calloc((size_t)n + 1, sizeof *b->calls);
    if (!b || !b->calls) {
        free(b);
        return at_fail(err, AT_NO_MEMORY, "no memory for a budget of %d calls", n);
    }
    b->gpu = *gpu;
    b->graph = graph;
    b->options = options ? *options : (at_budget_options){ 0 };
    b->n_calls = n;
    for (int i = 0; i < n && status == AT_OK; i++) {
        status = price(b, at_graph_node(graph, i), &b->calls[i], err);
        if (status == AT_OK)
            add_to_lines(b, i);
    }
    if (status == AT_OK && !put_in_order(b))
        status = at_fail(err, AT_NO_MEMORY, "no memory for the lines of a budget");
    if (status == AT_OK)
        *out = b;
    else
        at_budget_free(b);
    return status;
}

void at_budget_free(at_budget *b)
{
    if (!b)
        return;
    for (int by = 0; by < AT_BYS; by++) {
        free(b->lines[by]);
        free(b->order[by]);
    }
    free(b->calls);
    free(b);
}

int at_budget_lines(const at_budget *b, at_budget_by by)
{
    return b->n_lines[by];
}

const at_budget_line *at_budget_line_at(const at_budget *b, at_budget_by by, int i)
{
    AT_ASSERT(i >= 0 && i < b->n_lines[by], "line %d of %d", i, b->n_lines[by]);
    return &b->lines[by][b->order[by][i]];
}

const at_budget_line *at_budget_all(const at_budget *b)
{
    return at_budget_line_at(b, AT_BY_ALL, 0);
}

/* --- advice ----------------------------------------------------------------------------------- */

static at_bound main_bound(const at_budget_line *line)
{
    at_bound most = AT_BOUND_ARITHMETIC;
    for (int i = 1; i < 3; i++)
        if (line->by_bound[i] > line->by_bound[most])
            most = (at_bound)i;
    return most;
}

/* What the calls would take if their products were in f8; 0: they are no such products. */
static double in_f8(const at_budget *b, const at_budget_line *line)
{
    const double peak = figure(b, AT_FIGURE_F8);
    const bool geglu = line->work == AT_WORK_PRODUCT_GEGLU;
    if ((line->work != AT_WORK_PRODUCT && !geglu) || peak <= 0)
        return 0;
    const at_work work = geglu ? AT_WORK_PRODUCT_GEGLU_F8 : AT_WORK_PRODUCT_F8;
    const double elements = output_elements(at_graph_node(b->graph, line->node));
    return line->flops / (peak * at_share_of(work, elements).arithmetic) + line->launch_seconds;
}

static void arithmetic_advice(const at_budget *b, const at_budget_line *line, char *text,
                              size_t room)
{
    const at_node *n = at_graph_node(b->graph, line->node);
    const at_figure_kind kind = peak_kind(at_machine_dtype_of(n->op, n->args));
    const double kernel = line->seconds - line->launch_seconds, f8 = in_f8(b, line);
    const double share = line->flops / kernel / figure(b, kind);
    char wins[96] = "";
    if (f8 > 0)
        snprintf(wins, sizeof wins, " (%.2f ms instead of %.2f)", f8 * 1e3, line->seconds * 1e3);
    snprintf(text, room,
             "arithmetic at %.0f %% of %.0f TFLOP/s; ten points more would save %.2f ms; %s%s",
             100 * share, figure(b, kind) / 1e12, 1e3 * kernel * (1 - share / (share + 0.1)),
             works[line->work].cheaper, wins);
}

void at_budget_advice(const at_budget *b, const at_budget_line *line, char *text, size_t text_size)
{
    const double memory = line->bytes - line->cached;
    switch (main_bound(line)) {
    case AT_BOUND_ARITHMETIC: arithmetic_advice(b, line, text, text_size); return;
    case AT_BOUND_BYTES:
        snprintf(text, text_size, "bytes: %.2f GB from memory, %.2f GB from the L2 cache; %s",
                 memory / 1e9, line->cached / 1e9, works[line->work].cheaper);
        return;
    case AT_BOUND_LAUNCHES:
        snprintf(text, text_size, "launches: %d of %.1f us are %.2f ms of it; %s", line->launches,
                 line->launch_seconds / line->launches * 1e6, line->launch_seconds * 1e3,
                 works[line->work].cheaper);
        return;
    }
}

/* --- beside what was measured ----------------------------------------------------------------- */

enum { TEXT_MAX = 512 };

/* A row of the results: the op, its shape, its type, microseconds. */
typedef struct result {
    char op[64], shape[TEXT_MAX], dtype[16];
    double us;
} result;

static void take_text(at_json *j, char *out, size_t room)
{
    at_json_text text;
    if (!at_json_string(j, &text))
        return;
    const size_t n = at_json_unescape(&text, out, room - 1);
    if (n == SIZE_MAX)
        at_json_refuse(j, "a text of the results is longer than %zu bytes", room - 1);
    else
        out[n] = 0;
}

static void read_result(at_json *j, result *r)
{
    at_json_text key;
    *r = (result){ .us = 0 };
    for (at_json_object(j); at_json_key(j, &key);)
        if (at_json_is(&key, "op"))
            take_text(j, r->op, sizeof r->op);
        else if (at_json_is(&key, "shape"))
            take_text(j, r->shape, sizeof r->shape);
        else if (at_json_is(&key, "dtype"))
            take_text(j, r->dtype, sizeof r->dtype);
        else if (at_json_is(&key, "us"))
            at_json_real(j, &r->us);
        else
            at_json_skip(j);
}

/* Of several results for a call the fastest counts: 'seconds' has one number for each line. What
 * this program does not have, an op or a shape of another version, is passed over. */
static void take_result(const at_budget *b, const result *r, double *seconds)
{
    _Alignas(16) unsigned char args[AT_ARGS_MAX];
    char name[sizeof((at_budget_line *)0)->name];
    at_error ignored;
    const at_op *op = at_op_named(r->op);
    const at_dtype dtype = at_dtype_named(r->dtype);
    if (!op || dtype == AT_NONE || !(r->us > 0 && r->us < 1e12) ||
        at_bench_describe(op, r->shape, dtype, args, &ignored) != AT_OK)
        return;
    call_name(&(at_node){ .op = op, .args = args }, name, sizeof name);
    for (int i = 0; i < b->n_lines[AT_BY_CALL]; i++)
        if (!strcmp(b->lines[AT_BY_CALL][i].name, name) &&
            (seconds[i] <= 0 || r->us * 1e-6 < seconds[i]))
            seconds[i] = r->us * 1e-6;
}

static at_status read_results(const at_budget *b, const char *json, size_t bytes, double *seconds,
                              at_error *err)
{
    at_json j;
    at_json_text key;
    result r;
    bool any = false;
    at_json_start(&j, json, bytes, err);
    for (at_json_object(&j); at_json_key(&j, &key);) {
        if (!at_json_is(&key, "results")) {
            at_json_skip(&j);
            continue;
        }
        any = true;
        for (at_json_array(&j); at_json_element(&j);) {
            read_result(&j, &r);
            if (j.status == AT_OK)
                take_result(b, &r, seconds);
        }
    }
    at_status status = at_json_end(&j);
    if (status == AT_OK && !any)
        return at_fail(err, AT_INVALID, "there are no \"results\" in it");
    return status;
}

at_status at_budget_measured(at_budget *b, const char *json, size_t bytes, int *found,
                             at_error *err)
{
    *found = 0;
    double *seconds = calloc((size_t)b->n_lines[AT_BY_CALL] + 1, sizeof *seconds);
    if (!seconds)
        return at_fail(err, AT_NO_MEMORY, "no memory for what was measured");
    at_status status = read_results(b, json, bytes, seconds, err);
    for (int i = 0; i < b->n_calls && status == AT_OK; i++) {
        const call *c = &b->calls[i];
        const double took = seconds[c->line[AT_BY_CALL]];
        for (int by = 0; by < AT_BYS && took > 0; by++) {
            at_budget_line *line = &b->lines[by][c->line[by]];
            line->measured_calls++;
            line->measured_seconds += took;
            line->measured_expected += c->kernel;
        }
        *found += took > 0;
    }
    free(seconds);
    return status;
}
