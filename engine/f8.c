/* f8.c -- finding sites, watching them, rewriting the graph. */
#include "engine/f8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/build.h"
#include "engine/rewrite.h"

enum { NAME_BYTES = 256, ALIGN_SIZES = 16 /* of a product in f8 on a tensor core */ };
static const double f8_largest = 448;
static const int64_t one = 1;

/* A product that will be computed in f8. Sites of one input share its scale. */
typedef struct site {
    int node;     /* linear or linear_geglu */
    int producer; /* of x */
    at_param *w;
    int leader;       /* the first site of the same input */
    double seen;      /* a leader's: the largest |x| */
    uint64_t version; /* of w when its f8 was made; 0: not yet */
    at_param *f8, *f8_scale;
    at_param *input; /* a leader's: the scale of x */
} site;

struct at_f8 {
    at_graph *graph;
    at_params *params;
    site *sites;
    int count;
    int *of_node; /* the node's site, -1: none */
};

/* --- finding ---------------------------------------------------------------------------------- */

static bool is_product(const at_op *op)
{
    return op == &at_op_linear || op == &at_op_linear_geglu;
}

static const at_view *view_named(const at_node *n, const char *name)
{
    int i = at_operand_index(n->op, name);
    return i < 0 ? NULL : at_operand_in(n->op, n->args, i);
}

static bool absent(const at_node *n, const char *name)
{
    const at_view *v = view_named(n, name);
    return !v || !at_has(v);
}

static at_tensor_info *base_of(at_graph *g, const at_view *v)
{
    return at_graph_tensor(g, at_graph_tensor(g, v->tag)->base);
}

/* An op whose y can be f8, and is the whole of what x looks at. */
static bool stores_f8(at_graph *g, const at_view *x)
{
    const at_tensor_info *t = at_graph_tensor(g, x->tag), *base = base_of(g, x);
    if (base->producer < 0 || base->is_output || t->offset || !at_dense(x) ||
        at_elements(x) != at_elements(&base->view))
        return false;
    const at_node *n = at_graph_node(g, base->producer);
    const at_view *y = view_named(n, "y");
    return at_operand_index(n->op, "y_scale") >= 0 && absent(n, "y_scale") && absent(n, "y_amax") &&
           y && y->tag == base->view.tag;
}

static bool could_be_site(at_f8 *f, const at_node *n)
{
    if (!is_product(n->op) || !absent(n, "z") || !absent(n, "y_amax") || !absent(n, "y_scale"))
        return false;
    const at_view *x = view_named(n, "x"), *w = view_named(n, "w");
    const at_param *p = at_graph_tensor(f->graph, w->tag)->param;
    return p && x->dtype != AT_F8 && w->dtype != AT_F8 && w->size[0] % ALIGN_SIZES == 0 &&
           w->size[1] % ALIGN_SIZES == 0 && stores_f8(f->graph, x);
}

/* Nobody but products that could be sites may look at a site's input. */
static bool only_sites_read(at_f8 *f, const bool *could, const at_tensor_info *base)
{
    for (int i = 0; i < at_graph_nodes(f->graph); i++) {
        const at_node *n = at_graph_node(f->graph, i);
        for (int k = 0; k < n->op->n_operands; k++) {
            const at_view *v = at_operand_in(n->op, n->args, k);
            if (!at_has(v) || n->op->operands[k].role == AT_OUT || base_of(f->graph, v) != base)
                continue;
            if (!could[i] || v != view_named(n, "x"))
                return false;
        }
    }
    return true;
}

static void add_site(at_f8 *f, int node)
{
    const at_node *n = at_graph_node(f->graph, node);
    const at_tensor_info *x = base_of(f->graph, view_named(n, "x"));
    int leader = f->count;
    for (int i = f->count - 1; i >= 0; i--)
        if (f->sites[i].producer == x->producer)
            leader = f->sites[i].leader;
    at_param *w = at_graph_tensor(f->graph, view_named(n, "w")->tag)->param;
    f->of_node[node] = f->count;
    f->sites[f->count++] =
        (site){ .node = node, .producer = x->producer, .w = w, .leader = leader };
}

at_f8 *at_f8_new(at_graph *graph, at_params *params)
{
    int n = at_graph_nodes(graph);
    at_f8 *f = calloc(1, sizeof *f);
    bool *could = calloc((size_t)n + 1, sizeof *could);
    AT_ASSERT(f && could, "no memory for %d nodes", n);
    *f = (at_f8){ .graph = graph, .params = params };
    f->sites = calloc((size_t)n + 1, sizeof *f->sites);
    f->of_node = calloc((size_t)n + 1, sizeof *f->of_node);
    AT_ASSERT(f->sites && f->of_node, "no memory for %d nodes", n);
    for (int i = 0; i < n; i++) {
        f->of_node[i] = -1;
        could[i] = could_be_site(f, at_graph_node(graph, i));
    }
    for (int i = 0; i < n; i++)
        if (could[i] &&
            only_sites_read(f, could, base_of(graph, view_named(at_graph_node(graph, i), "x"))))
            add_site(f, i);
    free(could);
    return f;
}

void at_f8_free(at_f8 *f)
{
    if (!f)
        return;
    free(f->sites);
    free(f->of_node);
    free(f);
}

int at_f8_sites(const at_f8 *f)
{
    return f->count;
}

const char *at_f8_site(const at_f8 *f, int i)
{
    AT_ASSERT(i >= 0 && i < f->count, "site %d of %d", i, f->count);
    return f->sites[i].w->name;
}

double at_f8_seen(const at_f8 *f, int i)
{
    AT_ASSERT(i >= 0 && i < f->count, "site %d of %d", i, f->count);
    return f->sites[f->sites[i].leader].seen;
}

/* --- calibration ------------------------------------------------------------------------------ */

static void amax_name(int i, char *name, size_t size)
{
    snprintf(name, size, "f8.amax.%d", i);
}

at_graph *at_f8_calibration(at_f8 *f)
{
    at_graph *g = at_graph_rewrite(f->graph, NULL, NULL);
    for (int i = 0; i < f->count; i++) {
        const site *s = &f->sites[i];
        char name[32];
        if (s->leader != i)
            continue;
        int amax = at_operand_index(at_graph_node(g, s->producer)->op, "y_amax");
        amax_name(i, name, sizeof name);
        at_graph_output(g, at_graph_want(g, s->producer, amax), name);
    }
    return g;
}

at_status at_f8_observe(at_f8 *f, at_plan *plan, at_error *err)
{
    for (int i = 0; i < f->count; i++) {
        site *s = &f->sites[i];
        char name[32];
        float seen = 0;
        if (s->leader != i)
            continue;
        amax_name(i, name, sizeof name);
        at_tensor t = at_graph_named(at_plan_graph(plan), name);
        if (!t.id)
            return at_fail(err, AT_INVALID, "the plan was not made to calibrate %s", s->w->name);
        at_status status = at_plan_get(plan, t, &seen, err);
        if (status != AT_OK)
            return status;
        if (!isfinite(seen))
            return at_fail(err, AT_INVALID, "%s: its input is not finite: no scale can hold it",
                           s->w->name);
        if (seen > s->seen)
            s->seen = seen;
    }
    return AT_OK;
}

/* --- parameters ------------------------------------------------------------------------------- */

static void derived_name(const at_param *w, const char *what, char *name)
{
    int n = snprintf(name, NAME_BYTES, "%s.%s", w->name, what);
    AT_ASSERT(n > 0 && n < NAME_BYTES, "a parameter's name of %zu bytes", strlen(w->name));
}

static at_param *derived(at_f8 *f, const at_param *w, const char *what, bool *made, at_dtype dtype,
                         int rank, const int64_t *size, at_error *err)
{
    char name[NAME_BYTES];
    derived_name(w, what, name);
    at_param *p = at_params_named(f->params, name);
    *made = !p;
    return p ? p : at_params_add(f->params, name, dtype, rank, size, err);
}

/* One scale for all of it: the largest weight is the largest number that e4m3 has. */
static void quantise(uint8_t *to, float *scale, const void *from, at_dtype dtype, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs(at_load(from, i, dtype)));
    *scale = most > 0 ? (float)(most / f8_largest) : 1;
    for (int64_t i = 0; i < n; i++)
        to[i] = at_f8_from_f32((float)(at_load(from, i, dtype) / *scale));
}

static at_status make_weight(at_f8 *f, const site *s, at_error *err)
{
    const at_param *w = s->w;
    int64_t n = at_elements(&w->view);
    void *host = malloc(at_view_bytes(&w->view));
    uint8_t *small = malloc((size_t)n);
    float number;
    at_status status = AT_OK;
    if (host && small) {
        at_param_download(f->params, w, host);
        quantise(small, &number, host, w->view.dtype, n);
        at_param_upload(f->params, s->f8, small);
        at_param_upload(f->params, s->f8_scale, &number);
    } else {
        status = at_fail(err, AT_NO_MEMORY, "no memory to quantise %s", w->name);
    }
    free(host);
    free(small);
    return status;
}

/* The site's numbers in the store: found there, or made. */
static at_status find_weight(at_f8 *f, site *s, at_error *err)
{
    bool new_weight, new_scale = false;
    s->f8 = derived(f, s->w, "f8", &new_weight, AT_F8, 2, s->w->view.size, err);
    if (s->f8)
        s->f8_scale = derived(f, s->w, "f8_scale", &new_scale, AT_F32, 1, &one, err);
    if (!s->f8 || !s->f8_scale)
        return AT_NO_MEMORY;
    bool changed = s->version && s->version != at_param_version(s->w);
    s->version = at_param_version(s->w);
    return new_weight || new_scale || changed ? make_weight(f, s, err) : AT_OK;
}

static at_status find_input(at_f8 *f, site *s, at_error *err)
{
    char name[NAME_BYTES];
    derived_name(s->w, "f8_input", name);
    bool made = false;
    if (!(s->seen > 0) && !at_params_named(f->params, name))
        return at_fail(err, AT_INVALID, "%s: nobody has seen its input yet: calibrate first",
                       s->w->name);
    s->input = derived(f, s->w, "f8_input", &made, AT_F32, 1, &one, err);
    if (!s->input)
        return AT_NO_MEMORY;
    const float scale = (float)(s->seen / f8_largest);
    if (s->seen > 0)
        at_param_upload(f->params, s->input, &scale);
    return AT_OK;
}

static at_status find_numbers(at_f8 *f, at_error *err)
{
    at_status status = AT_OK;
    for (int i = 0; i < f->count && status == AT_OK; i++) {
        status = find_weight(f, &f->sites[i], err);
        if (status == AT_OK && f->sites[i].leader == i)
            status = find_input(f, &f->sites[i], err);
    }
    return status;
}

at_status at_f8_refresh(at_f8 *f, at_error *err)
{
    at_status status = AT_OK;
    for (int i = 0; i < f->count && status == AT_OK; i++)
        status = find_weight(f, &f->sites[i], err);
    return status;
}

/* --- the graph -------------------------------------------------------------------------------- */

/* The scale that the node's y is stored by: that of the site which it goes to; absent: none. */
static at_view scale_of_y(const at_f8 *f, at_graph *g, int node)
{
    for (int i = 0; i < f->count; i++)
        if (f->sites[i].producer == node && f->sites[i].leader == i)
            return at_graph_view(g, at_graph_param(g, f->sites[i].input));
    return (at_view){ 0 };
}

/* As ops.h lists the choices of linear's y_dtype; linear_geglu's are the same but f8, which its y
 * is wherever it has a scale. */
static int y_dtype_of(at_dtype dtype)
{
    static const at_dtype choices[] = { AT_NONE, AT_F32, AT_BF16, AT_F16, AT_F8 };
    for (int i = 1; i < (int)AT_COUNT(choices); i++)
        if (choices[i] == dtype)
            return i;
    AT_ASSERT(false, "a product cannot be stored as %s", at_dtype_name(dtype));
}

/* What a site's product gets instead of its weight, and beside it. */
typedef struct operands {
    at_view w, w_scale, x_scale, y_scale;
} operands;

static at_view append_linear(at_graph *g, const at_linear_args *plain, const operands *o)
{
    at_linear_args a = *plain;
    a.w = o->w;
    a.w_scale = o->w_scale;
    a.x_scale = o->x_scale;
    a.y_scale = o->y_scale;
    a.y_dtype = y_dtype_of(at_has(&a.y_scale) ? AT_F8 : plain->y.dtype);
    at_graph_append(g, &at_op_linear, &a, 0);
    return a.y;
}

static at_view append_linear_geglu(at_graph *g, const at_linear_geglu_args *plain,
                                   const operands *o)
{
    at_linear_geglu_args a = *plain;
    a.w = o->w;
    a.w_scale = o->w_scale;
    a.x_scale = o->x_scale;
    a.y_scale = o->y_scale;
    a.y_dtype = at_has(&a.y_scale) ? 0 : y_dtype_of(plain->y.dtype);
    at_graph_append(g, &at_op_linear_geglu, &a, 0);
    return a.y;
}

/* The site's product in f8, in the place of the one that was there. */
static void append_site(at_rewrite *r, const at_f8 *f, const site *s, const void *args,
                        at_view y_scale)
{
    at_graph *g = at_rewrite_graph(r);
    const at_linear_args *plain = args;
    const at_linear_geglu_args *gated = args;
    const bool geglu = at_graph_node(f->graph, s->node)->op == &at_op_linear_geglu;
    const operands in_f8 = {
        .w = at_graph_view(g, at_graph_param(g, s->f8)),
        .w_scale = at_graph_view(g, at_graph_param(g, s->f8_scale)),
        .x_scale = at_graph_view(g, at_graph_param(g, f->sites[s->leader].input)),
        .y_scale = y_scale,
    };
    const at_view old = geglu ? gated->y : plain->y;
    const at_view y =
        geglu ? append_linear_geglu(g, gated, &in_f8) : append_linear(g, plain, &in_f8);
    at_rewrite_put(r, at_tensor_of(&old), at_tensor_of(&y));
}

static bool rewrite_node(at_rewrite *r, int node, void *args, void *ctx)
{
    const at_f8 *f = ctx;
    const at_op *op = at_graph_node(f->graph, node)->op;
    const at_view y_scale = scale_of_y(f, at_rewrite_graph(r), node);
    if (f->of_node[node] >= 0) {
        append_site(r, f, &f->sites[f->of_node[node]], args, y_scale);
        return true;
    }
    if (at_has(&y_scale))
        *at_operand_of(op, args, at_operand_index(op, "y_scale")) = y_scale;
    if (at_has(&y_scale) && op == &at_op_linear)
        ((at_linear_args *)args)->y_dtype = y_dtype_of(AT_F8);
    return false;
}

at_status at_f8_graph(at_f8 *f, at_graph **out, at_error *err)
{
    at_status status = find_numbers(f, err);
    *out = status == AT_OK ? at_graph_rewrite(f->graph, rewrite_node, f) : NULL;
    return status;
}
