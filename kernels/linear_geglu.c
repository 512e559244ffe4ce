/* linear_geglu.c -- y = (x wa^T + ba) * gelu(x wg^T + bg), wa above wg in w: the first half of a
 * transformer's feed forward in one pass, so that what is twice as wide as y is never stored. */
#include <math.h>
#include <stdlib.h>

#include "kernels/shape.h"
#include "kernels/variants.h"

static const at_operand linear_geglu_operands[] = {
    AT_OPERAND(linear_geglu, y, AT_OUT, AT_BATCHED, AT_NONE),
    AT_OPERAND(linear_geglu, y_amax, AT_OUT, AT_OPTIONAL, AT_F32),
    AT_OPERAND(linear_geglu, x, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(linear_geglu, w, AT_IN, AT_WEIGHT | AT_DENSE, AT_NONE),
    AT_OPERAND(linear_geglu, bias, AT_IN, AT_OPTIONAL | AT_WEIGHT, AT_NONE),
    AT_OPERAND(linear_geglu, x_scale, AT_IN, AT_OPTIONAL, AT_F32),
    AT_OPERAND(linear_geglu, w_scale, AT_IN, AT_OPTIONAL, AT_F32),
    AT_OPERAND(linear_geglu, y_scale, AT_IN, AT_OPTIONAL, AT_F32),
};
static const at_attr linear_geglu_attrs[] = { AT_ENUM(linear_geglu, y_dtype, "same|f32|bf16|f16") };

static at_status check_inputs(const at_linear_geglu_args *a, at_error *err)
{
    AT_TRY(at_expect_rank("linear_geglu", "w", &a->w, 2, 2, err));
    AT_TRY(at_expect_float("linear_geglu", "x", &a->x, err));
    AT_TRY(at_expect_float("linear_geglu", "w", &a->w, err));
    AT_TRY(at_expect_float("linear_geglu", "bias", &a->bias, err));
    if (at_has(&a->bias) && a->bias.dtype == AT_F8)
        return at_fail(err, AT_INVALID, "linear_geglu: bias is f8, which has no scale there");
    const int64_t size[2] = { a->w.size[0], at_cols(&a->x) };
    AT_TRY(at_expect_sizes("linear_geglu", "w", &a->w, 2, size, err));
    if (size[0] % 2)
        return at_fail(err, AT_INVALID, "linear_geglu: w has %lld rows, expected two halves",
                       (long long)size[0]);
    AT_TRY(at_expect_vector("linear_geglu", "bias", &a->bias, size[0], err));
    AT_TRY(at_expect_scale("linear_geglu", "x", &a->x, &a->x_scale, 1, err));
    AT_TRY(at_expect_scale("linear_geglu", "w", &a->w, &a->w_scale, 1, err));
    return AT_OK;
}

static at_status linear_geglu_shape(void *args, at_error *err)
{
    static const at_dtype types[] = { AT_NONE, AT_F32, AT_BF16, AT_F16 };
    at_linear_geglu_args *a = args;
    AT_TRY(check_inputs(a, err));
    at_dtype same = at_has(&a->y_scale) ? AT_F8 : a->x.dtype;
    at_dtype type = a->y_dtype ? types[a->y_dtype] : same;
    at_view y = at_view_with_cols(&a->x, a->w.size[0] / 2);
    a->y = at_view_like(&y, type == AT_F32 ? at_wide(a->x.dtype) : type);
    a->y_amax = at_view_vector(AT_F32, 1);
    return at_expect_scale("linear_geglu", "y", &a->y, &a->y_scale, 1, err);
}

static double linear_geglu_flops(const void *args)
{
    const at_linear_geglu_args *a = args;
    return 2.0 * (double)at_rows(&a->x) * (double)a->w.size[0] * (double)a->w.size[1] +
           2.0 * (double)at_elements(&a->y);
}

/* --- reference -------------------------------------------------------------------------------- */

static double gelu(double x)
{
    return 0.5 * x * erfc(-x * M_SQRT1_2);
}

static double scale_of(const at_view *scale)
{
    return at_has(scale) ? at_get(scale, 0, 0) : 1;
}

/* Row r of x times row n of w, with their scales and the bias. */
static double product(const at_linear_geglu_args *a, int64_t r, int64_t n)
{
    double sum = 0;
    for (int64_t k = 0; k < at_cols(&a->x); k++)
        sum += at_get(&a->x, r, k) * at_get(&a->w, n, k);
    sum *= scale_of(&a->x_scale) * scale_of(&a->w_scale);
    return at_has(&a->bias) ? sum + at_get(&a->bias, 0, n) : sum;
}

static at_status linear_geglu_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_linear_geglu_args *a = args;
    double scale = scale_of(&a->y_scale), amax = 0;
    (void)p, (void)l;
    int64_t rows = at_rows(&a->y), cols = at_cols(&a->y);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) {
            double y = product(a, r, c) * gelu(product(a, r, cols + c));
            amax = fmax(amax, fabs(y));
            at_set(&a->y, r, c, y / scale);
        }
    if (at_has(&a->y_amax))
        at_set(&a->y_amax, 0, 0, amax);
    return AT_OK;
}

/* --- composed: the device's best linear, then its best geglu ---------------------------------- */

/* What is between them stays in f32, and a cast follows where y is narrower: rounded to bf16, a and
 * g would cost y a bit of its precision, and y_amax most of it. */
enum { LINEAR, GEGLU, CAST, PARTS };

static const at_op *const part_ops[PARTS] = { &at_op_linear, &at_op_geglu, &at_op_cast };

typedef struct parts {
    at_linear_args linear;
    at_geglu_args geglu;
    at_cast_args cast;
    int n;
} parts;

typedef struct composed {
    const at_variant *variants[PARTS];
    at_prepared prepared[PARTS];
    size_t linear_bytes, geglu_bytes; /* of scratch for what they leave to the next one */
} composed;

/* What is between them has no address yet. */
static parts parts_of(const at_linear_geglu_args *a)
{
    enum { TO_F32 = 1 }; /* of linear's y_dtype */
    parts p = { .linear = { .x = a->x,
                            .w = a->w,
                            .bias = a->bias,
                            .x_scale = a->x_scale,
                            .w_scale = a->w_scale,
                            .y_dtype = TO_F32 },
                .n = CAST };
    at_dtype wide = at_wide(a->x.dtype);
    p.linear.y = at_view_with_cols(&a->x, a->w.size[0]);
    p.linear.y.dtype = wide;
    p.geglu =
        (at_geglu_args){ .y = a->y, .y_amax = a->y_amax, .x = p.linear.y, .y_scale = a->y_scale };
    if (a->y.dtype != AT_F8 && a->y.dtype != wide) {
        p.geglu.y = at_view_like(&a->y, wide);
        p.cast = (at_cast_args){ .y = a->y, .x = p.geglu.y };
        while (at_cast_type(p.cast.to) != a->y.dtype)
            p.cast.to++;
        p.n = PARTS;
    }
    return p;
}

static const void *args_of(const parts *p, int part)
{
    const void *const args[PARTS] = { &p->linear, &p->geglu, &p->cast };
    return args[part];
}

/* Forms are linear's; what is called alike in both ops is the same. */
static int to_linear(int operand)
{
    return at_operand_index(&at_op_linear, linear_geglu_operands[operand].name);
}

static int from_linear(int operand)
{
    return at_operand_index(&at_op_linear_geglu, at_op_linear.operands[operand].name);
}

static uint32_t constants_of_linear(uint32_t constants)
{
    uint32_t mask = 0;
    for (int i = 0; i < (int)AT_COUNT(linear_geglu_operands); i++)
        if ((constants >> i & 1u) && to_linear(i) >= 0)
            mask |= 1u << to_linear(i);
    return mask;
}

static void composed_pack(const at_prepared *p, int form, void *dst, const at_view *src,
                          const at_stream *stream)
{
    const composed *s = p->state;
    s->prepared[LINEAR].forms[form].pack(&s->prepared[LINEAR], form, dst, src, stream);
}

static size_t whole_lines(size_t bytes)
{
    enum { LINE = 64 };
    return (bytes + LINE - 1) / LINE * LINE;
}

/* The parts run one after the other, in the same scratch. */
static void composed_book(composed *s, const parts *p, at_prepared *out)
{
    const at_prepared *linear = &s->prepared[LINEAR];
    size_t most = 0;
    s->linear_bytes = whole_lines(at_view_bytes(&p->linear.y));
    s->geglu_bytes = p->n > CAST ? whole_lines(at_view_bytes(&p->geglu.y)) : 0;
    for (int i = 0; i < p->n; i++)
        most = s->prepared[i].scratch_bytes > most ? s->prepared[i].scratch_bytes : most;
    out->scratch_bytes = s->linear_bytes + s->geglu_bytes + most;
    out->n_forms = linear->n_forms;
    for (int i = 0; i < linear->n_forms; i++) {
        out->forms[i] = linear->forms[i];
        out->forms[i].operand = from_linear(linear->forms[i].operand);
        out->forms[i].pack = composed_pack;
    }
}

static void composed_release(at_prepared *p)
{
    composed *s = p->state;
    for (int i = PARTS - 1; s && i >= 0; i--)
        if (s->variants[i])
            at_release(s->variants[i], &s->prepared[i]);
    free(s);
}

/* As exact as plans of the parts by themselves: linear chooses the same for a sample alone and in a
 * batch of up to 64. */
static at_status prepare_part(composed *s, int part, const void *args, const at_prepare_in *in,
                              at_error *err)
{
    at_prepare_in own = { in->caps, 0, in->exact, 0 };
    if (part == LINEAR)
        own.constants = constants_of_linear(in->constants);
    return at_op_choose(part_ops[part], args, &own, &s->variants[part], &s->prepared[part], err);
}

static at_status composed_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                  at_error *err)
{
    parts p = parts_of(args);
    composed *s = calloc(1, sizeof *s);
    if (!s)
        return at_fail(err, AT_NO_MEMORY, "no memory for a prepared linear_geglu");
    at_status status = AT_OK;
    out->state = s;
    for (int i = 0; i < p.n && status == AT_OK; i++)
        status = prepare_part(s, i, args_of(&p, i), in, err);
    if (status == AT_OK) {
        composed_book(s, &p, out);
    } else {
        composed_release(out);
        *out = (at_prepared){ 0 };
    }
    return status;
}

static at_status composed_run(const void *args, const at_prepared *prepared, const at_launch *l)
{
    const composed *s = prepared->state;
    parts p = parts_of(args);
    char *after_linear = (char *)l->scratch + s->linear_bytes;
    const at_launch own = { l->stream, after_linear + s->geglu_bytes, l->err };
    p.linear.y.data = p.geglu.x.data = l->scratch;
    if (p.n > CAST)
        p.geglu.y.data = p.cast.x.data = after_linear;
    at_status status = AT_OK;
    for (int i = 0; i < p.n && status == AT_OK; i++)
        status = s->variants[i]->run(args_of(&p, i), &s->prepared[i], &own);
    return status;
}

/* --- variants --------------------------------------------------------------------------------- */

at_run_fn at_linear_geglu_sm90a;
bool at_linear_geglu_bf16_sm90a_fits(const void *), at_linear_geglu_e4m3_sm90a_fits(const void *);
bool at_linear_geglu_composed_cuda_fits(const void *args);

/* True when the op has a variant for such args that every device of the kind can run, in exact
 * plans too: then at_op_choose() finds one, be it a better one. */
static bool has_any(const at_op *op, const void *args, at_device_kind kind)
{
    for (int i = 0; i < op->n_variants; i++) {
        const at_variant *v = &op->variants[i];
        bool exact = v->flags & (AT_ROWS_INDEPENDENT | AT_ROWS_WHEN_EXACT);
        if (v->device == kind && !v->needs && exact && (!v->fits || v->fits(args)))
            return true;
    }
    return false;
}

bool at_linear_geglu_composed_cuda_fits(const void *args)
{
    parts p = parts_of(args);
    for (int i = 0; i < p.n; i++)
        if (!has_any(part_ops[i], args_of(&p, i), AT_CUDA))
            return false;
    return true;
}

/* The processor's rows end in references, which take everything. */
static const at_variant linear_geglu_variants[] = {
#ifdef AT_HAS_CUDA
    { "linear_geglu_bf16_sm90a", AT_CUDA, AT_CAP_MASK(HOPPER), AT_ROWS_INDEPENDENT,
      at_linear_geglu_bf16_sm90a_fits, NULL, NULL, NULL, at_linear_geglu_sm90a },
    { "linear_geglu_e4m3_sm90a", AT_CUDA, AT_CAP_MASK(HOPPER), AT_ROWS_INDEPENDENT,
      at_linear_geglu_e4m3_sm90a_fits, NULL, NULL, NULL, at_linear_geglu_sm90a },
    { "linear_geglu_composed", AT_CUDA, 0, AT_ROWS_WHEN_EXACT, at_linear_geglu_composed_cuda_fits,
      composed_prepare, NULL, composed_release, composed_run },
#endif
    { "linear_geglu_composed", AT_CPU, 0, AT_ROWS_WHEN_EXACT, NULL, composed_prepare, NULL,
      composed_release, composed_run },
    AT_REFERENCE("linear_geglu", linear_geglu_ref),
};
AT_DEFINE_OP(linear_geglu, "y = (x wa^T + ba) * gelu(x wg^T + bg)", linear_geglu_operands,
             linear_geglu_attrs, linear_geglu_shape, linear_geglu_flops, linear_geglu_variants);
