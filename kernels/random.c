/* random.c -- noise that depends on its address only: philox.h says how. */
#include "kernels/philox.h"
#include "kernels/shape.h"
#include "kernels/variants.h"

static const at_operand random_operands[] = {
    AT_OPERAND(random, y, AT_OUT, AT_BATCHED, AT_NONE),
    AT_OPERAND(random, key, AT_IN, 0, AT_I64),
    AT_OPERAND(random, sample, AT_IN, AT_BATCHED, AT_I64),
};
static const at_attr random_attrs[] = {
    AT_INTS(random, size, 4),
    AT_ENUM(random, kind, AT_RANDOM_KINDS),
    AT_ENUM(random, to, AT_CAST_TYPES),
};

static at_status random_shape(void *args, at_error *err)
{
    at_random_args *a = args;
    int rank = 0;
    while (rank < AT_RANK_MAX && a->size[rank])
        rank++;
    for (int i = 0; i < AT_RANK_MAX; i++)
        if (a->size[i] < (i < rank) || (i >= rank && a->size[i]) || rank < 1)
            return at_fail(err, AT_INVALID, "random: size %d is %lld, expected sizes of at least 1",
                           i, (long long)a->size[i]);
    at_dtype to = at_cast_type(a->to);
    if (!at_dtype_is_float(to))
        return at_fail(err, AT_INVALID, "random: to is %s, expected a floating type",
                       at_dtype_name(to));
    AT_TRY(at_expect_vector("random", "key", &a->key, 3, err));
    AT_TRY(at_expect_vector("random", "sample", &a->sample, a->size[0], err));
    a->y = at_view_of(to, rank, a->size);
    return AT_OK;
}

static at_status random_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_random_args *a = args;
    (void)p, (void)l;
    const int64_t *key = a->key.data, *sample = a->sample.data;
    const at_philox_key k = at_random_key(key[0], key[1], key[2]);
    /* A vector has one element a sample, each in a row's place. */
    int64_t B = a->y.size[0], C = a->y.rank == 1 ? 1 : at_cols(&a->y);
    int64_t rows = a->y.rank == 1 ? 1 : at_rows(&a->y) / B;
    for (int64_t b = 0; b < B; b++)
        for (int64_t i = 0; i < rows * C; i++) {
            double v = (double)at_random_element(k, sample[b], i, a->kind);
            if (a->y.rank == 1)
                at_set(&a->y, 0, b, v);
            else
                at_set(&a->y, b * rows + i / C, i % C, v);
        }
    return AT_OK;
}

/* Operations on integers and floats for one element, about. */
static double random_flops(const void *args)
{
    const at_random_args *a = args;
    return (double)at_elements(&a->y) * (a->kind == AT_RANDOM_NORMAL ? 50 : 20);
}

static bool random_fits(const void *args)
{
    const at_random_args *a = args;
    return at_is_simd_type(a->y.dtype) && a->y.rank > 1;
}

AT_SIMD_DECLARE(at_random);
AT_CUDA_DECLARE(at_random);
static const at_variant random_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("random", at_random, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("random", at_random, AT_ROWS_INDEPENDENT, random_fits, NULL, NULL),
    AT_REFERENCE("random", random_ref),
};
AT_DEFINE_OP(random, "y = uniform in [0, 1) or normal noise, by (seed, purpose, step, sample)",
             random_operands, random_attrs, random_shape, random_flops, random_variants);
