/* adamw8bit_test.c -- the map of one-byte states keeps its promises, and a small network learns
 * with such states as it does with f32 ones. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu.h"
#include "kernels/ops.h"
#include "kernels/state_map.h"

/* --- the map ---------------------------------------------------------------------------------- */

static int nearest_by_search(float x, int bits)
{
    int best = 0;
    for (int k = 1; k < 1 << bits; k++)
        if (fabsf(at_state_value(k, bits) - x) < fabsf(at_state_value(best, bits) - x))
            best = k;
    return best;
}

/* Codes rise, end at 1, and come back as themselves; between them the nearest is found. A tie, or
 * what rounding makes one, may go to either side. */
static int check_map(int bits)
{
    int failures = at_state_value((1 << bits) - 1, bits) != 1;
    for (int k = 0; k < 1 << bits; k++) {
        float value = at_state_value(k, bits), x4 = 4 * value;
        failures += k > 0 && !(value > at_state_value(k - 1, bits));
        failures += at_state_code(x4 < AT_STATE_LARGEST ? x4 : AT_STATE_LARGEST, bits) != k;
    }
    for (int i = 0; i < 40000; i++) {
        float x = (float)pow(10, -9.0 * i / 40000);
        float x4 = 4 * x < AT_STATE_LARGEST ? 4 * x : AT_STATE_LARGEST;
        int found = at_state_code(x4, bits), best = nearest_by_search(x, bits);
        float off = fabsf(at_state_value(found, bits) - x);
        failures += off > fabsf(at_state_value(best, bits) - x) + 1e-6f * x;
    }
    if (failures)
        printf("FAIL the map of %d bits: %d values\n", bits, failures);
    return failures;
}

/* --- a regression ----------------------------------------------------------------------------- */

enum {
    SAMPLES = 1200,
    BATCH = 60,
    STEPS = 600,
    WEIGHTS = 300, /* a block and a short one */
    BLOCKS = (WEIGHTS + AT_STATE_BLOCK - 1) / AT_STATE_BLOCK,
};

typedef struct data {
    float x[SAMPLES][WEIGHTS], y[SAMPLES];
} data;

/* Numbers in [-1, 1), always the same. */
static float draw(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / 8388608.0f - 1;
}

/* y = x . truth + noise; the columns of x, and with them the gradients, differ a hundredfold. */
static void make_data(data *d)
{
    float truth[WEIGHTS];
    uint32_t state = 1;
    for (int i = 0; i < WEIGHTS; i++)
        truth[i] = draw(&state);
    for (int s = 0; s < SAMPLES; s++) {
        d->y[s] = draw(&state);
        for (int i = 0; i < WEIGHTS; i++) {
            d->x[s][i] = draw(&state) * powf(10, -2.0f * (float)(i % 30) / 29);
            d->y[s] += truth[i] * d->x[s][i];
        }
    }
}

/* Mean squared error over 'n' samples from 'first' on; its gradient where 'g' is not NULL. */
static double loss_of(const data *d, const float *w, int first, int n, float *g)
{
    double loss = 0;
    for (int i = 0; g && i < WEIGHTS; i++)
        g[i] = 0;
    for (int s = first; s < first + n; s++) {
        float off = -d->y[s];
        for (int i = 0; i < WEIGHTS; i++)
            off += w[i] * d->x[s][i];
        loss += (double)off * (double)off / n;
        for (int i = 0; g && i < WEIGHTS; i++)
            g[i] += 2 * off / (float)n * d->x[s][i];
    }
    return loss;
}

static at_view vector(void *p, at_dtype dtype, int64_t n)
{
    at_view v = at_view_of(dtype, 1, &n);
    v.data = p;
    return v;
}

/* Trains with f32 states or with states of one byte; the last loss. */
static double train(const data *d, const at_op *op, const at_variant *variant)
{
    float w[WEIGHTS] = { 0 }, g[WEIGHTS], m[WEIGHTS] = { 0 }, v[WEIGHTS] = { 0 }, hyper[AT_HYPERS];
    uint8_t m_code[WEIGHTS] = { 0 }, v_code[WEIGHTS] = { 0 };
    float m_scale[BLOCKS] = { 0 }, v_scale[BLOCKS] = { 0 };
    const float beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f;
    const at_view vw = vector(w, AT_F32, WEIGHTS), vg = vector(g, AT_F32, WEIGHTS);
    const at_view vh = vector(hyper, AT_F32, AT_HYPERS);
    at_adamw_args wide = { .w = vw, .g = vg, .hyper = vh };
    at_adamw8bit_args narrow = { .w = vw, .g = vg, .hyper = vh };
    wide.m = vector(m, AT_F32, WEIGHTS), narrow.m = vector(m_code, AT_U8, WEIGHTS);
    wide.v = vector(v, AT_F32, WEIGHTS), narrow.v = vector(v_code, AT_U8, WEIGHTS);
    narrow.m_scale = vector(m_scale, AT_F32, BLOCKS);
    narrow.v_scale = vector(v_scale, AT_F32, BLOCKS);
    wide.beta1 = narrow.beta1 = beta1, wide.beta2 = narrow.beta2 = beta2;
    wide.eps = narrow.eps = eps;
    const void *args = op == &at_op_adamw ? (const void *)&wide : (const void *)&narrow;
    const at_stream stream = { AT_CPU, 1, NULL };
    const at_prepared prepared = { 0 };
    for (int t = 1; t <= STEPS; t++) {
        loss_of(d, w, t * BATCH % SAMPLES, BATCH, g);
        hyper[AT_HYPER_LR] = 0.05f * (1 - (float)(t - 1) / STEPS);
        hyper[AT_HYPER_BIAS1] = (float)(1 - pow((double)beta1, t));
        hyper[AT_HYPER_BIAS2] = (float)(1 - pow((double)beta2, t));
        hyper[AT_HYPER_FACTOR] = 1;
        variant->run(args, &prepared, &(at_launch){ &stream, NULL, NULL });
    }
    return loss_of(d, w, 0, SAMPLES, NULL);
}

static int check_training(const data *d, const at_caps *caps)
{
    const float zeros[WEIGHTS] = { 0 };
    const at_op *op = &at_op_adamw, *op8 = &at_op_adamw8bit;
    double first = loss_of(d, zeros, 0, SAMPLES, NULL);
    double wide = train(d, op, &op->variants[op->n_variants - 1]);
    int failures = 0;
    for (int i = 0; i < op8->n_variants; i++) {
        const at_variant *v = &op8->variants[i];
        if (v->device != caps->kind || v->needs & ~caps->has)
            continue;
        double narrow = train(d, op8, v), ratio = narrow / wide;
        bool good = wide < 0.1 * first && fabs(ratio - 1) < 0.03;
        printf("%s%s: loss %.4f to %.4f, with f32 states %.4f (%+.2f %%, at most 3 %%)\n",
               good ? "" : "FAIL ", v->name, first, narrow, wide, 100 * (ratio - 1));
        failures += !good;
    }
    return failures;
}

int main(void)
{
    const at_caps caps = { AT_CPU, at_cpu_probe(), 1, 0 };
    data *d = malloc(sizeof *d);
    if (!d)
        return 2;
    make_data(d);
    int failures = check_map(AT_STATE_M_BITS) + check_map(AT_STATE_V_BITS);
    failures += check_training(d, &caps);
    free(d);
    return failures != 0;
}
