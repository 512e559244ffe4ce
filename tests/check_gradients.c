/* check_gradients.c -- the engine's gradients against central differences, both in f64.
 *
 * The loss is the sum of every output element times a random number. One plan runs forward only, at
 * inputs moved a little to either side; the other runs forward and backward once. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/backward.h"
#include "engine/plan.h"
#include "tests/check.h"

enum { SAMPLES = 48 }; /* elements of an operand that are tried */

typedef struct sides {
    at_device *device;
    at_params *params;
    at_graph *forward, *both;
    at_plan *forward_plan, *both_plan;
    at_tensor forward_loss;
    at_tensor inputs[AT_OPERANDS_MAX][2]; /* by operand, in each graph */
    at_tensor gradients[AT_OPERANDS_MAX];
    void *values[AT_OPERANDS_MAX];
    double step, tolerance;
} sides;

static bool listed(const char *names, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = names; p && *p; p += strcspn(p, " "), p += strspn(p, " "))
        if (!strncmp(p, name, n) && (p[n] == ' ' || !p[n]))
            return true;
    return false;
}

static bool differentiate(const at_op *op, const at_case *k, const at_view *v, int i)
{
    if (op->operands[i].role != AT_IN || !at_has(v) || v->dtype != AT_F64)
        return false;
    return !k->gradients || listed(k->gradients, op->operands[i].name);
}

/* Describes the op and its loss in one graph; returns the loss. */
static at_tensor describe(const at_op *op, const void *parsed, at_graph *g, sides *s, int which)
{
    _Alignas(16) unsigned char args[AT_ARGS_MAX];
    at_tensor loss = { 0 };
    memcpy(args, parsed, op->args_size);
    for (int i = 0; i < op->n_operands; i++) {
        at_view *v = at_operand_of(op, args, i);
        if (op->operands[i].role == AT_OUT || !at_has(v))
            continue;
        s->inputs[i][which] = at_graph_input(g, op->operands[i].name, v->dtype, v->rank, v->size);
        *v = at_graph_view(g, s->inputs[i][which]);
    }
    at_graph_append(g, op, args, 0);
    for (int i = 0; i < op->n_operands; i++) {
        const at_view *v = at_operand_of(op, args, i);
        if (op->operands[i].role != AT_OUT || !at_has(v) || !at_dtype_is_float(v->dtype))
            continue;
        if (v->dtype != AT_F64) { /* f32 results allow no finer steps */
            s->step = 1e-2;
            s->tolerance = 1e-3;
        }
        char name[32];
        snprintf(name, sizeof name, "r_%s", op->operands[i].name);
        at_tensor r = at_graph_input(g, name, v->dtype, v->rank, v->size);
        at_tensor part = at_reduce(g, at_mul(g, at_tensor_of(v), r), AT_SUM, AT_OVER_ALL);
        loss = loss.id ? at_add(g, loss, part) : part;
    }
    return loss;
}

static void *fill_values(const at_check *c, const at_case *k, const char *name, at_view v)
{
    v.data = calloc(1, at_view_bytes(&v));
    AT_ASSERT(v.data, "no memory");
    check_fill(c, k->fill, name, &v);
    return v.data;
}

/* Sets every input of a graph: operands from s->values, the loss's weights from the seed. */
static bool set_inputs(at_check *c, const at_op *op, const at_case *k, sides *s, at_graph *g,
                       at_plan *plan, int which)
{
    at_error err;
    for (int i = 0; i < op->n_operands; i++)
        if (s->inputs[i][which].id &&
            at_plan_set(plan, s->inputs[i][which], s->values[i], &err) != AT_OK)
            return false;
    for (int id = 1; id <= at_graph_tensors(g); id++) {
        const at_tensor_info *t = at_graph_tensor(g, id);
        if (t->storage != AT_STORAGE_INPUT || strncmp(t->name, "r_", 2))
            continue;
        void *values = fill_values(c, &(at_case){ .text = k->text }, t->name, t->view);
        at_status status = at_plan_set(plan, (at_tensor){ id }, values, &err);
        free(values);
        if (status != AT_OK)
            return false;
    }
    return true;
}

static double forward_loss(sides *s, int operand)
{
    at_error err;
    double loss64 = 0;
    at_status status =
        at_plan_set(s->forward_plan, s->inputs[operand][0], s->values[operand], &err);
    if (status == AT_OK)
        status = at_plan_run(s->forward_plan, &err);
    unsigned char raw[8];
    if (status == AT_OK)
        status = at_plan_get(s->forward_plan, s->forward_loss, raw, &err);
    AT_ASSERT(status == AT_OK, "%s", err.text);
    loss64 = at_load(raw, 0, at_graph_view(s->forward, s->forward_loss).dtype);
    return loss64;
}

static void compare(at_check *c, const at_op *op, const at_case *k, sides *s, int operand)
{
    at_view v = at_graph_view(s->both, s->inputs[operand][1]);
    int64_t n = at_elements(&v), stride = n / SAMPLES + 1;
    double *analytic = calloc((size_t)n, sizeof *analytic), *x = s->values[operand], largest = 0;
    at_error err;
    at_view gv = at_graph_view(s->both, s->gradients[operand]);
    AT_ASSERT(analytic && gv.dtype == AT_F64, "%s of %s", op->operands[operand].name, op->name);
    at_status status = at_plan_get(s->both_plan, s->gradients[operand], analytic, &err);
    AT_ASSERT(status == AT_OK, "%s", err.text);
    for (int64_t i = 0; i < n; i++)
        largest = fabs(analytic[i]) > largest ? fabs(analytic[i]) : largest;
    c->runs++;
    for (int64_t i = 0; i < n; i += stride) {
        double at = x[i];
        x[i] = at + s->step;
        double above = forward_loss(s, operand);
        x[i] = at - s->step;
        double below = forward_loss(s, operand);
        x[i] = at;
        double numeric = (above - below) / (2 * s->step);
        if (fabs(numeric - analytic[i]) <= s->tolerance * (fabs(numeric) + largest + 1e-3))
            continue;
        check_fail(c, "%s [%s] seed %llu: gradient of %s[%lld] is %.9g, differences give %.9g",
                   op->name, k->text, (unsigned long long)c->seed, op->operands[operand].name,
                   (long long)i, analytic[i], numeric);
        break;
    }
    status = at_plan_set(s->forward_plan, s->inputs[operand][0], x, &err); /* as it was */
    AT_ASSERT(status == AT_OK, "%s", err.text);
    free(analytic);
}

static at_status make_plans(const at_op *op, const at_case *k, const void *args, sides *s,
                            at_error *err)
{
    at_tensor wanted[AT_OPERANDS_MAX];
    int n = 0;
    s->forward = at_graph_new();
    s->both = at_graph_new();
    s->forward_loss = describe(op, args, s->forward, s, 0);
    at_graph_output(s->forward, s->forward_loss, "loss");
    at_tensor loss = describe(op, args, s->both, s, 1);
    for (int i = 0; i < op->n_operands; i++)
        if (differentiate(op, k, at_operand_in(op, args, i), i))
            wanted[n++] = s->inputs[i][1];
    at_backward *b =
        at_graph_backward(s->both, loss, &(at_backward_options){ .wanted = wanted, .n_wanted = n });
    for (int i = 0; i < op->n_operands; i++)
        if (differentiate(op, k, at_operand_in(op, args, i), i)) {
            s->gradients[i] = at_backward_gradient(b, s->inputs[i][1]);
            AT_ASSERT(s->gradients[i].id, "%s: no gradient reached %s", op->name,
                      op->operands[i].name);
            at_graph_output(s->both, s->gradients[i], "gradient");
        }
    at_backward_free(b);
    at_status status = at_plan_new(&s->forward_plan, s->device, s->params, s->forward, NULL, err);
    if (status == AT_OK)
        status = at_plan_new(&s->both_plan, s->device, s->params, s->both, NULL, err);
    return status;
}

static void free_sides(sides *s)
{
    at_plan_free(s->forward_plan);
    at_plan_free(s->both_plan);
    at_graph_free(s->forward);
    at_graph_free(s->both);
    at_params_free(s->params);
    at_device_close(s->device);
    for (int i = 0; i < AT_OPERANDS_MAX; i++)
        free(s->values[i]);
}

void check_gradients(at_check *c, const at_op *op, const at_case *k)
{
    _Alignas(16) unsigned char args[AT_ARGS_MAX];
    sides s = { .step = 1e-4, .tolerance = 1e-6 };
    at_error err = { 0 };
    bool any = false;
    if (!at_op_has_gradient(op) || (k->gradients && !strcmp(k->gradients, "-")))
        return;
    if (at_args_parse(op, k->text, AT_F64, args, &err) != AT_OK ||
        at_op_shape(op, args, UINT32_MAX, &err) != AT_OK) {
        check_fail(c, "%s [%s] f64: %s", op->name, k->text, err.text);
        return;
    }
    for (int i = 0; i < op->n_operands; i++)
        any = any || differentiate(op, k, at_operand_in(op, args, i), i);
    if (!any)
        return;
    at_status status = at_device_open(&s.device, "cpu", &(at_device_options){ .threads = 1 }, &err);
    AT_ASSERT(status == AT_OK, "%s", err.text);
    s.params = at_params_new(s.device);
    for (int i = 0; i < op->n_operands; i++) {
        const at_view *v = at_operand_in(op, args, i);
        if (op->operands[i].role != AT_OUT && at_has(v))
            s.values[i] =
                fill_values(c, k, op->operands[i].name, at_view_of(v->dtype, v->rank, v->size));
    }
    status = make_plans(op, k, args, &s, &err);
    if (status != AT_OK || !set_inputs(c, op, k, &s, s.forward, s.forward_plan, 0) ||
        !set_inputs(c, op, k, &s, s.both, s.both_plan, 1) ||
        at_plan_run(s.both_plan, &err) != AT_OK) {
        check_fail(c, "%s [%s] f64: %s", op->name, k->text, err.text);
    } else {
        for (int i = 0; i < op->n_operands; i++)
            if (s.gradients[i].id)
                compare(c, op, k, &s, i);
    }
    free_sides(&s);
}
