/* resize_golden.c -- every variant of resize against what Pillow and torch made of the same
 * pictures:
 *   resize_golden tests/golden/resize.txt
 * The file's form is described in tests/reference/resize.py, which wrote it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu.h"
#include "kernels/ops.h"

/* Bytes must be equal. Floats lie in [0, 1]; the two sides round weights and sums of up to some
 * hundred products, and torch rounds its coordinates, each to f32. */
#define FLOAT_TOLERANCE 2e-6

static void draw_picture(const at_view *x, unsigned seed)
{
    uint32_t state = seed;
    for (int64_t i = 0; i < at_elements(x); i++) {
        state = state * 1664525u + 1013904223u;
        if (x->dtype == AT_U8)
            ((uint8_t *)x->data)[i] = (uint8_t)(state >> 24);
        else
            ((float *)x->data)[i] = (float)(state >> 8) * 0x1p-24f;
    }
}

/* The next 'digits' hexadecimal digits of the file. */
static bool read_hex(FILE *f, int digits, uint32_t *value)
{
    char text[9] = { 0 };
    for (int i = 0; i < digits; i++) {
        int c = getc(f);
        while (c == '\n')
            c = getc(f);
        if (c == EOF)
            return false;
        text[i] = (char)c;
    }
    *value = (uint32_t)strtoul(text, NULL, 16);
    return true;
}

/* The largest difference from what the file says, -1 when it ends too early. */
static double largest_difference(const at_view *y, const uint32_t *expected)
{
    double worst = 0;
    for (int64_t i = 0; i < at_elements(y); i++) {
        float want;
        memcpy(&want, &expected[i], sizeof want);
        double e = y->dtype == AT_U8 ? (double)expected[i] : (double)want;
        double d = fabs(at_load(y->data, i, y->dtype) - e);
        worst = d > worst || isnan(d) ? d : worst;
    }
    return worst;
}

static void *memory(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 64) / 64 * 64);
    AT_ASSERT(p, "no memory for %zu bytes", bytes);
    return p;
}

/* Runs one variant; the difference, or infinity when it failed. */
static double try_variant(const at_variant *v, at_resize_args *a, const uint32_t *expected)
{
    const at_caps caps = { AT_CPU, at_cpu_probe(), 2, 0 };
    const at_stream stream = { AT_CPU, 2, NULL };
    const at_prepare_in in = { .caps = &caps };
    at_error err = { 0 };
    at_prepared p;
    if (at_prepare(v, a, &in, &p, &err) != AT_OK)
        return INFINITY;
    const at_launch launch = { &stream, memory(p.scratch_bytes), NULL };
    memset(a->y.data, 0xA5, at_view_bytes(&a->y));
    at_status status = v->run(a, &p, &launch);
    at_release(v, &p);
    free(launch.scratch);
    return status == AT_OK ? largest_difference(&a->y, expected) : INFINITY;
}

/* 1 for each variant that differs. */
static int try_case(const char *line, at_resize_args *a, const uint32_t *expected, double *worst)
{
    const at_caps caps = { AT_CPU, at_cpu_probe(), 2, 0 };
    int failures = 0;
    for (int i = 0; i < at_op_resize.n_variants; i++) {
        const at_variant *v = &at_op_resize.variants[i];
        if (!at_variant_usable(v, a, &caps, true))
            continue;
        double d = try_variant(v, a, expected);
        bool same = a->x.dtype == AT_U8 ? d == 0 : d <= FLOAT_TOLERANCE;
        if (!same)
            printf("FAIL %s: %.*s differs by %g\n", v->name, (int)strcspn(line, "\n"), line, d);
        failures += !same;
        if (a->x.dtype != AT_U8 && d > *worst)
            *worst = d;
    }
    return failures;
}

static bool read_case(FILE *f, const char *line, at_resize_args *a, uint32_t **expected)
{
    char filter[32], type[8], text[256];
    long long H, W, C, Ho, Wo;
    unsigned seed;
    at_error err = { 0 };
    if (sscanf(line, "%31s %7s %lld %lld %lld %lld %lld %u", filter, type, &H, &W, &C, &Ho, &Wo,
               &seed) != 8)
        return false;
    snprintf(text, sizeof text, "x=1,%lld,%lld,%lld:%s size=%lld,%lld filter=%s", H, W, C, type, Ho,
             Wo, filter);
    if (at_args_parse(&at_op_resize, text, AT_F32, a, &err) != AT_OK ||
        at_op_shape(&at_op_resize, a, 0, &err) != AT_OK) {
        printf("%s\n", err.text);
        return false;
    }
    a->x.data = memory(at_view_bytes(&a->x));
    a->y.data = memory(at_view_bytes(&a->y));
    draw_picture(&a->x, seed);
    int64_t n = at_elements(&a->y);
    *expected = memory((size_t)n * sizeof **expected);
    for (int64_t i = 0; i < n; i++)
        if (!read_hex(f, a->y.dtype == AT_U8 ? 2 : 8, &(*expected)[i]))
            return false;
    return getc(f) == '\n';
}

int main(int argc, char **argv)
{
    FILE *f = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (!f) {
        fprintf(stderr, "usage: resize_golden FILE (tests/golden/resize.txt)\n");
        return 2;
    }
    char line[256];
    int cases = 0, failures = 0;
    double worst = 0;
    while (fgets(line, sizeof line, f)) {
        at_resize_args a;
        uint32_t *expected = NULL;
        if (!read_case(f, line, &a, &expected)) {
            printf("FAIL case %d is damaged: %s", cases + 1, line);
            failures++;
            break;
        }
        failures += try_case(line, &a, expected, &worst);
        cases++;
        free(a.x.data);
        free(a.y.data);
        free(expected);
    }
    fclose(f);
    printf("resize_golden: %d cases, %d failures, floats within %.2g\n", cases, failures, worst);
    return failures != 0 || cases == 0;
}
