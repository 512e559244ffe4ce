#include "engine/rows.h"

#include <string.h>

int64_t at_rows_batch(const at_op *op, const void *args)
{
    int64_t batch = 1;
    int rank = 0;
    for (int i = 0; i < op->n_operands; i++) {
        const at_view *v = at_operand_in(op, args, i);
        if (!at_has(v) || !(op->operands[i].flags & AT_BATCHED) || v->rank < rank)
            continue;
        if (v->rank > rank || v->size[0] > batch)
            batch = v->size[0];
        rank = v->rank;
    }
    return batch;
}

bool at_rows_matter(const at_op *op, const void *args)
{
    for (int i = 0; i < op->n_operands; i++)
        if (op->operands[i].role != AT_IN && (op->operands[i].flags & AT_BATCHED) &&
            at_has(at_operand_in(op, args, i)))
            return true;
    return false;
}

bool at_rows_cut(const at_op *op, const void *args, int i, int64_t batch)
{
    const at_view *v = at_operand_in(op, args, i);
    return at_has(v) && (op->operands[i].flags & AT_BATCHED) && v->size[0] % batch == 0;
}

at_status at_rows_resize(const at_op *op, const void *args, int64_t batch, void *out, at_error *err)
{
    int64_t before = at_rows_batch(op, args);
    uint32_t wanted = 0;
    memcpy(out, args, op->args_size);
    for (int i = 0; i < op->n_operands; i++) {
        at_view *v = at_operand_of(op, out, i);
        v->data = NULL;
        wanted |= at_has(v) ? 1u << i : 0;
        if (op->operands[i].role != AT_OUT && at_rows_cut(op, args, i, before))
            v->size[0] = v->size[0] / before * batch;
    }
    at_status status = at_op_shape(op, out, wanted, err);
    for (int i = 0; i < op->n_operands && status == AT_OK; i++)
        if (op->operands[i].role == AT_OUT)
            at_operand_of(op, out, i)->pitch = at_operand_in(op, args, i)->pitch;
    return status;
}
