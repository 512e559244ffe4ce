/* planted_test.c -- the checker checked: variants that are wrong on purpose must be caught, and a
 * right one must pass. The op is a scaled copy with an optional second output. */
#include <stdio.h>
#include <string.h>

#include "kernels/parallel.h"
#include "kernels/shape.h"
#include "kernels/variants.h"
#include "tests/check.h"
#include "tests/unit.h"

typedef struct at_planted_args {
    at_view y;   /* (B, ..., C) T */
    at_view sum; /* (1) f32 opt */
    at_view x;   /* (B, ..., C) T */
    float factor;
} at_planted_args;

static const at_operand planted_operands[] = {
    AT_OPERAND(planted, y, AT_OUT, AT_BATCHED | AT_OVERLAY, AT_NONE),
    AT_OPERAND(planted, sum, AT_OUT, AT_OPTIONAL, AT_F32),
    AT_OPERAND(planted, x, AT_IN, AT_BATCHED, AT_NONE),
};
static const at_attr planted_attrs[] = { AT_FLOAT(planted, factor) };

static at_status planted_shape(void *args, at_error *err)
{
    at_planted_args *a = args;
    AT_TRY(at_expect_rank("planted", "x", &a->x, 2, 4, err));
    a->y = at_view_like(&a->x, a->x.dtype);
    a->sum = at_view_vector(AT_F32, 1);
    return AT_OK;
}

/* Rows [0, rows) and columns [0, cols) of the right answer. */
static void part_of(const at_planted_args *a, int64_t rows, int64_t cols)
{
    double sum = 0;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) {
            double y = at_get(&a->x, r, c) * (double)a->factor;
            at_set(&a->y, r, c, y);
            sum += y;
        }
    if (at_has(&a->sum))
        at_set(&a->sum, 0, 0, sum);
}

static at_status right(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_planted_args *a = args;
    (void)p, (void)l;
    part_of(a, at_rows(&a->x), at_cols(&a->x));
    return AT_OK;
}

/* Forgets the last column where rows are not a multiple of four long. */
static at_status wrong_tail(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_planted_args *a = args;
    (void)p, (void)l;
    part_of(a, at_rows(&a->x), at_cols(&a->x) / 4 * 4);
    return AT_OK;
}

/* Writes one element past the end of each row. */
static at_status wrong_bounds(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_planted_args *a = args;
    right(args, p, l);
    at_store(a->y.data, (at_rows(&a->y) - 1) * a->y.pitch + at_cols(&a->y), a->y.dtype, 1);
    return AT_OK;
}

/* A value of the result depends on how many threads there are. */
static at_status wrong_threads(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_planted_args *a = args;
    right(args, p, l);
    at_set(&a->y, 0, 0, at_get(&a->y, 0, 0) * (l->stream->threads > 1 ? 1 + 1e-6 : 1));
    return AT_OK;
}

/* Rounds otherwise when there is more than one sample. */
static at_status wrong_batch(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_planted_args *a = args;
    right(args, p, l);
    at_set(&a->y, 0, 0, at_get(&a->y, 0, 0) * (a->x.size[0] > 1 ? 1 + 1e-6 : 1));
    return AT_OK;
}

/* Ignores the row pitch. */
static at_status wrong_pitch(const void *args, const at_prepared *p, const at_launch *l)
{
    at_planted_args a = *(const at_planted_args *)args;
    a.x.pitch = at_cols(&a.x);
    return right(&a, p, l);
}

/* Reads its input again after it has begun to write: wrong when the output overlays it. */
static at_status wrong_overlay(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_planted_args *a = args;
    (void)p, (void)l;
    for (int64_t r = 0; r < at_rows(&a->x); r++)
        at_set(&a->y, r, 0, 0);
    part_of(a, at_rows(&a->x), at_cols(&a->x));
    return AT_OK;
}

/* Changes what it should only read. */
static at_status wrong_input(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_planted_args *a = args;
    right(args, p, l);
    at_set(&a->x, 0, 0, 0);
    return AT_OK;
}

/* A library's engines, "engine 0" and "engine 1", which exist for few columns only; a number in
 * p->state tells them apart. 'honest' says whether a text makes the engine that it names. */
static at_status prepare_engine(const void *args, const at_prepare_in *in, at_prepared *out,
                                at_error *err, bool honest)
{
    static const int numbers[] = { 0, 1 };
    const at_planted_args *a = args;
    int engine = in->candidate;
    if (in->choice && (sscanf(in->choice, "engine %d", &engine) != 1 || engine > 1))
        return at_fail(err, AT_UNSUPPORTED, "planted has no %s", in->choice);
    if (at_cols(&a->x) > 9 || (in->exact && engine > 0))
        return at_fail(err, AT_UNSUPPORTED, "planted has no engine for this");
    snprintf(out->choice, sizeof out->choice, "engine %d", engine);
    out->state = (void *)(uintptr_t)&numbers[in->choice && !honest ? 0 : engine];
    return AT_OK;
}

static at_status prepare_honestly(const void *args, const at_prepare_in *in, at_prepared *out,
                                  at_error *err)
{
    return prepare_engine(args, in, out, err, true);
}

static at_status prepare_another(const void *args, const at_prepare_in *in, at_prepared *out,
                                 at_error *err)
{
    return prepare_engine(args, in, out, err, false);
}

static int two_engines(const void *args, const at_caps *caps)
{
    (void)args, (void)caps;
    return 2;
}

/* The second engine rounds a bit otherwise. */
static at_status run_engine(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_planted_args *a = args;
    right(args, p, l);
    at_set(&a->y, 0, 0, at_get(&a->y, 0, 0) * (1 + *(const int *)p->state * 1e-6));
    return AT_OK;
}

typedef struct heard {
    at_check check; /* first: the report callback gets its address */
    char first[1024];
} heard;

static void hear(at_check *c, const char *line)
{
    heard *h = (heard *)(void *)c;
    if (!h->first[0])
        snprintf(h->first, sizeof h->first, "%s", line);
}

/* Failures that the checker finds in a table of 'v' and the right reference. */
static int failures_of_variant(const at_variant *v, const char *text, heard *h)
{
    const at_variant variants[] = { *v, AT_REFERENCE("planted", right) };
    const at_op op = { "planted",
                       "a scaled copy",
                       sizeof(at_planted_args),
                       planted_operands,
                       (int)AT_COUNT(planted_operands),
                       planted_attrs,
                       (int)AT_COUNT(planted_attrs),
                       planted_shape,
                       NULL,
                       variants,
                       (int)AT_COUNT(variants) };
    const at_case c = { text };
    *h = (heard){ .check = { .seed = 7, .caps = { AT_CPU, 0, 1, 0 }, .report = hear } };
    check_case(&h->check, &op, &c, AT_F32);
    return h->check.failures;
}

static int failures_of(at_run_fn *run, heard *h)
{
    const at_variant v = { "planted_fast", AT_CPU, 0,  AT_ROWS_INDEPENDENT, NULL, NULL,
                           NULL,           NULL,   run };
    return failures_of_variant(&v, "x=3,5,7 factor=0.7", h);
}

static void a_right_variant_passes(void **state)
{
    heard h;
    (void)state;
    assert_int_equal(failures_of(right, &h), 0);
    assert_true(h.check.runs > 1);
}

static void wrong_variants_are_caught(void **state)
{
    static const struct {
        at_run_fn *run;
        const char *says;
    } wrongs[] = {
        { wrong_tail, "expected" },
        { wrong_bounds, "wrote outside y" },
        { wrong_threads, "threads" },
        { wrong_batch, "alone and in the batch" },
        { wrong_pitch, "pitched" },
        { wrong_overlay, "overlays" },
        { wrong_input, "changed its input x" },
    };
    (void)state;
    for (size_t i = 0; i < AT_COUNT(wrongs); i++) {
        heard h;
        assert_true(failures_of(wrongs[i].run, &h) > 0);
        if (!strstr(h.first, wrongs[i].says) || !strstr(h.first, "planted_fast"))
            fail_msg("wrong variant %zu: '%s' does not say '%s'", i, h.first, wrongs[i].says);
        printf("caught: %s\n", h.first);
    }
}

static void engines_are_remade_from_their_texts(void **state)
{
    at_variant v = { "planted_fast",   AT_CPU,      0,    AT_ROWS_WHEN_TRIED, NULL,
                     prepare_honestly, two_engines, NULL, run_engine };
    heard h;
    (void)state;
    assert_int_equal(failures_of_variant(&v, "x=3,5,7 factor=0.7", &h), 0);
    int runs = h.check.runs;
    assert_int_equal(failures_of_variant(&v, "x=3,5,11 factor=0.7", &h), 0); /* no engine: no fit */
    assert_true(h.check.runs < runs);
    v.prepare = prepare_another;
    assert_true(failures_of_variant(&v, "x=3,5,7 factor=0.7", &h) > 0);
    assert_non_null(strstr(h.first, "prepared by its text"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_right_variant_passes),
        cmocka_unit_test(wrong_variants_are_caught),
        cmocka_unit_test(engines_are_remade_from_their_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
