/* op.c -- the same few steps for every op: check, choose, prepare. */
#include "kernels/ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const at_attr at_no_attrs[1] = { { "", 0, AT_ATTR_I64, 0, NULL } };

static const at_op *const ops[] = {
#define AT_OP(name) &at_op_##name,
#include "kernels/ops.def"
#undef AT_OP
};

const at_op *at_op_at(int i)
{
    return i >= 0 && (size_t)i < AT_COUNT(ops) ? ops[i] : NULL;
}

const at_op *at_op_named(const char *name)
{
    for (size_t i = 0; i < AT_COUNT(ops); i++)
        if (!strcmp(ops[i]->name, name))
            return ops[i];
    return NULL;
}

int at_variants_for(at_device_kind kind)
{
    int count = 0;
    const at_op *op;
    for (int i = 0; (op = at_op_at(i)) != NULL; i++)
        for (int k = 0; k < op->n_variants; k++)
            count += op->variants[k].device == kind;
    return count;
}

int at_operand_index(const at_op *op, const char *name)
{
    for (int i = 0; i < op->n_operands; i++)
        if (!strcmp(op->operands[i].name, name))
            return i;
    return -1;
}

static at_status check_input(const at_op *op, const at_operand *o, const at_view *v, at_error *err)
{
    if (!at_has(v)) {
        if (o->flags & AT_OPTIONAL)
            return AT_OK;
        return at_fail(err, AT_INVALID, "%s: input %s is missing", op->name, o->name);
    }
    AT_ASSERT(v->rank <= AT_RANK_MAX, "%s: %s has rank %d", op->name, o->name, (int)v->rank);
    if (o->dtype != AT_NONE && v->dtype != o->dtype)
        return at_fail(err, AT_INVALID, "%s: %s must be %s, not %s", op->name, o->name,
                       at_dtype_name(o->dtype), at_dtype_name(v->dtype));
    for (int i = 0; i < v->rank; i++)
        if (v->size[i] <= 0)
            return at_fail(err, AT_INVALID, "%s: size %d of %s is %lld, expected at least 1",
                           op->name, i, o->name, (long long)v->size[i]);
    if (v->pitch < at_cols(v))
        return at_fail(err, AT_INVALID, "%s: %s has rows of %lld elements %lld apart", op->name,
                       o->name, (long long)at_cols(v), (long long)v->pitch);
    if ((o->flags & AT_DENSE) && !at_dense(v))
        return at_fail(err, AT_INVALID, "%s: %s must be dense, its rows are %lld apart", op->name,
                       o->name, (long long)v->pitch);
    return AT_OK;
}

at_status at_op_shape(const at_op *op, void *args, uint32_t wanted, at_error *err)
{
    for (int i = 0; i < op->n_operands; i++) {
        at_view *v = at_operand_of(op, args, i);
        if (op->operands[i].role == AT_OUT)
            *v = (at_view){ .tag = v->tag };
        else if (check_input(op, &op->operands[i], v, err) != AT_OK)
            return AT_INVALID;
    }
    at_status status = op->shape(args, err);
    if (status != AT_OK)
        return status;
    for (int i = 0; i < op->n_operands; i++) {
        at_view *v = at_operand_of(op, args, i);
        if (op->operands[i].role != AT_OUT)
            continue;
        if ((op->operands[i].flags & AT_OPTIONAL) && !(wanted >> i & 1u))
            *v = (at_view){ 0 };
        else
            v->pitch = at_cols(v);
    }
    return AT_OK;
}

at_cost at_op_cost(const at_op *op, const void *args)
{
    at_cost cost = { 0, 0 };
    double elements = 0;
    for (int i = 0; i < op->n_operands; i++) {
        const at_view *v = at_operand_in(op, args, i);
        double n = op->operands[i].flags & AT_SPARSE ? 0 : (double)at_elements(v);
        cost.bytes +=
            n * (double)at_dtype_bytes(v->dtype) * (op->operands[i].role == AT_INOUT ? 2 : 1);
        if (op->operands[i].role != AT_IN)
            elements += n;
    }
    cost.flops = op->flops ? op->flops(args) : elements;
    return cost;
}

bool at_variant_usable(const at_variant *v, const void *args, const at_caps *caps, bool exact)
{
    if (v->device != caps->kind || (v->needs & ~caps->has))
        return false;
    if (exact && !(v->flags & (AT_ROWS_INDEPENDENT | AT_ROWS_WHEN_EXACT)))
        return false;
    return !v->fits || v->fits(args);
}

const at_variant *at_op_pick(const at_op *op, const void *args, const at_caps *caps, bool exact)
{
    for (int i = 0; i < op->n_variants; i++)
        if (at_variant_usable(&op->variants[i], args, caps, exact))
            return &op->variants[i];
    return NULL;
}

static bool is_number(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits > 0 && digits < 6 && !text[digits];
}

at_status at_prepare(const at_variant *v, const void *args, const at_prepare_in *in,
                     at_prepared *out, at_error *err)
{
    at_prepare_in chosen = *in;
    *out = (at_prepared){ 0 };
    if (in->choice && is_number(in->choice)) {
        chosen.candidate = (int)strtol(in->choice, NULL, 10);
        chosen.choice = NULL;
        if (chosen.candidate >= at_candidates(v, args, in->caps))
            return at_fail(err, AT_UNSUPPORTED, "%s has no candidate %s", v->name, in->choice);
    }
    at_status status = v->prepare ? v->prepare(args, &chosen, out, err) : AT_OK;
    if (status == AT_OK && !*out->choice)
        snprintf(out->choice, sizeof out->choice, "%d", chosen.candidate);
    return status;
}

int at_candidates(const at_variant *v, const void *args, const at_caps *caps)
{
    return v->candidates ? v->candidates(args, caps) : 1;
}

at_status at_op_choose(const at_op *op, const void *args, const at_prepare_in *in,
                       const at_variant **variant, at_prepared *prepared, at_error *err)
{
    char text[256];
    at_error why;
    *variant = NULL;
    for (int i = 0; i < op->n_variants; i++) {
        const at_variant *v = &op->variants[i];
        if (!at_variant_usable(v, args, in->caps, in->exact))
            continue;
        at_status status = at_prepare(v, args, in, prepared, &why);
        if (status == AT_OK) {
            *variant = v;
            return AT_OK;
        }
        if (status != AT_UNSUPPORTED)
            return at_fail(err, status, "%s", why.text);
    }
    at_args_print(op, args, text, sizeof text);
    return at_fail(err, AT_UNSUPPORTED, "%s: the device has no %svariant for %s", op->name,
                   in->exact ? "exact " : "", text);
}

void at_release(const at_variant *v, at_prepared *p)
{
    if (v->release)
        v->release(p);
    *p = (at_prepared){ 0 };
}
