/* random_golden.c -- the noise itself: Philox's known answers, the quality of the normal numbers,
 * and the same bits from every variant, now and in every later version. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu.h"
#include "kernels/ops.h"
#include "kernels/philox.h"

static int failures;

static void expect(bool good, const char *what)
{
    failures += !good;
    if (!good)
        printf("FAIL %s\n", what);
}

/* The test vectors that come with the authors' library (Random123, kat_vectors, philox4x32 10). */
static void check_known_answers(void)
{
    static const struct {
        at_philox_words counter;
        at_philox_key key;
        at_philox_words answer;
    } known[] = {
        { { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { { ~0u, ~0u, ~0u, ~0u },
          { ~0u, ~0u },
          { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
          { 0xa4093822, 0x299f31d0 },
          { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    for (size_t i = 0; i < AT_COUNT(known); i++) {
        at_philox_words w = at_philox(known[i].counter, known[i].key);
        expect(!memcmp(&w, &known[i].answer, sizeof w), "philox4x32-10 known answer");
    }
}

/* Every value of the 24 bits against the C library in double. */
static void check_functions(void)
{
    double log_worst = 0, turn_worst = 0;
    for (uint32_t v = 0; v < 1u << 24; v++) {
        double u = v * 0x1p-24, want = log1p(-u), have = (double)at_log_of(v << 8);
        double off = fabs(have - want) / (want == 0 ? 1 : -want);
        log_worst = off > log_worst ? off : log_worst;
        at_pair p = at_turn_of(v << 8);
        off = fmax(fabs((double)p.a - cos(2 * M_PI * u)), fabs((double)p.b - sin(2 * M_PI * u)));
        turn_worst = off > turn_worst ? off : turn_worst;
    }
    printf("random_golden: logarithm within %.2g of itself, sine and cosine within %.2g\n",
           log_worst, turn_worst);
    expect(log_worst < 2e-7, "the logarithm is off by more than 2e-7");
    expect(turn_worst < 1.2e-7, "sine or cosine is off by more than 1.2e-7");
}

static void *memory(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 64) / 64 * 64);
    AT_ASSERT(p, "no memory for %zu bytes", bytes);
    return p;
}

/* Runs one variant of what 'text' describes; the caller frees y's elements. */
static at_view draw(const at_variant *v, const char *text)
{
    static const int64_t key[3] = { 1234567890123456789, 2, 77 }, sample[2] = { 5, -3 };
    const at_stream stream = { AT_CPU, 2, NULL };
    const at_launch launch = { &stream, NULL, NULL };
    at_random_args a;
    at_error err = { 0 };
    at_prepared p = { 0 };
    bool good = at_args_parse(&at_op_random, text, AT_F32, &a, &err) == AT_OK &&
                at_op_shape(&at_op_random, &a, 0, &err) == AT_OK;
    AT_ASSERT(good, "%s", err.text);
    a.key.data = (void *)(uintptr_t)key;
    a.sample.data = (void *)(uintptr_t)sample;
    a.y.data = memory(at_view_bytes(&a.y));
    expect(v->run(&a, &p, &launch) == AT_OK, "run");
    return a.y;
}

static uint64_t digest(const at_view *v)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < at_view_bytes(v); i++)
        hash = (hash ^ ((const unsigned char *)v->data)[i]) * 0x100000001b3u;
    return hash;
}

/* The bits are part of what a seed means: a changed digest breaks every recipe that names one. */
static const struct {
    const char *text;
    uint64_t digest;
} drawn[] = {
    { "key=3 sample=2 size=2,33,31,4 kind=uniform to=f32", 0x806f023d7e3d57edu },
    { "key=3 sample=2 size=2,33,31,4 kind=normal to=f32", 0xfa8dfd02c070fce0u },
    { "key=3 sample=2 size=2,33,31,4 kind=normal to=bf16", 0x8de83c7d6a7d8874u },
    { "key=3 sample=2 size=2,33,31,4 kind=normal to=f16", 0x28a96f5b855be39fu },
};

static void check_bits(void)
{
    const at_caps caps = { AT_CPU, at_cpu_probe(), 2, 0 };
    for (size_t t = 0; t < AT_COUNT(drawn); t++)
        for (int i = 0; i < at_op_random.n_variants; i++) {
            const at_variant *v = &at_op_random.variants[i];
            if (v->device != caps.kind || v->needs & ~caps.has)
                continue;
            at_view y = draw(v, drawn[t].text);
            uint64_t d = digest(&y);
            if (d != drawn[t].digest)
                printf("%s: %s gives %#llx, expected %#llx\n", v->name, drawn[t].text,
                       (unsigned long long)d, (unsigned long long)drawn[t].digest);
            expect(d == drawn[t].digest, "the bits of a seed changed");
            free(y.data);
        }
}

/* Moments of two million normal numbers, within five standard deviations of what they would be. */
static void check_moments(void)
{
    const at_caps caps = { AT_CPU, at_cpu_probe(), 2, 0 };
    at_random_args a;
    at_error err;
    bool good = at_args_parse(&at_op_random, "key=3 sample=2 size=2,1000000 kind=normal", AT_F32,
                              &a, &err) == AT_OK &&
                at_op_shape(&at_op_random, &a, 0, &err) == AT_OK;
    AT_ASSERT(good, "%s", err.text);
    at_view y = draw(at_op_pick(&at_op_random, &a, &caps, true),
                     "key=3 sample=2 size=2,1000000 kind=normal");
    double n = (double)at_elements(&y), sum[5] = { 0 }, neighbours = 0;
    for (int64_t i = 0; i < at_elements(&y); i++) {
        double x = at_load(y.data, i, AT_F32), power = 1;
        for (int k = 1; k <= 4; k++)
            sum[k] += power *= x;
        neighbours += i ? x * at_load(y.data, i - 1, AT_F32) : 0;
    }
    expect(fabs(sum[1] / n) < 5 / sqrt(n), "mean");
    expect(fabs(sum[2] / n - 1) < 5 * sqrt(2 / n), "variance");
    expect(fabs(sum[3] / n) < 5 * sqrt(15 / n), "third moment");
    expect(fabs(sum[4] / n - 3) < 5 * sqrt(96 / n), "fourth moment");
    expect(fabs(neighbours / n) < 5 / sqrt(n), "neighbours depend on each other");
    free(y.data);
}

int main(void)
{
    check_known_answers();
    check_functions();
    check_bits();
    check_moments();
    printf("random_golden: %d failures\n", failures);
    return failures != 0;
}
