#include "kernels/optimizer.h"

#include "kernels/shape.h"

at_hyper at_hyper_of(const at_view *v)
{
    return (at_hyper){ at_get(v, 0, AT_HYPER_LR), at_get(v, 0, AT_HYPER_BIAS1),
                       at_get(v, 0, AT_HYPER_BIAS2), at_get(v, 0, AT_HYPER_FACTOR) };
}

at_dtype at_low_type(int low)
{
    return low ? AT_F16 : AT_BF16;
}

at_status at_expect_step(const char *op, const at_view *w, const at_view *g, const at_view *hyper,
                         at_error *err)
{
    AT_TRY(at_expect_like(op, "g", g, w, err));
    AT_TRY(at_expect_float(op, "g", g, err));
    AT_TRY(at_expect_vector(op, "hyper", hyper, AT_HYPERS, err));
    return AT_OK;
}

void at_low_copy_ref(const at_view *low, const at_view *w)
{
    if (!at_has(low))
        return;
    for (int64_t r = 0; r < at_rows(w); r++)
        for (int64_t c = 0; c < at_cols(w); c++)
            at_set(low, r, c, at_get(w, r, c));
}
