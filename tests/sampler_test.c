/* sampler_test.c -- schedules, samplers and torch's noise against diffusers, whose numbers are in
 * tests/golden/samplers.txt, as tests/reference/samplers.py describes; and what is refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu.h"
#include "runtime/guidance.h"
#include "runtime/sampler.h"
#include "runtime/torch_noise.h"
#include "tests/unit.h"

enum { LATENTS = 4, LINE_MAX_BYTES = 1 << 16, DRAWN_MAX = 1 << 17, IMAGE = 100000 };

/* Of each timestep and sigma: they are computed in f32 or better on both sides, the logarithms by
 * other libraries. */
#define LIST_TOLERANCE 1e-6
/* Of latents, to their size: up to 62 steps on both sides that each round to f32. With zero
 * terminal SNR they begin at 4096 times their size in the end, and diffusers subtracts numbers of
 * that size; so half a bit of the size at the begin is allowed besides. */
#define LATENTS_TOLERANCE 1e-5
#define BEGIN_TOLERANCE   0x1p-24

typedef struct golden {
    FILE *file;
    char line[LINE_MAX_BYTES], title[LINE_MAX_BYTES], config[LINE_MAX_BYTES];
    at_sampler sampler;
    long long steps;
    int64_t begin;
    at_schedule *schedule;
    int cases, numbers;
    double worst_list, worst_latents;
} golden;

/* Numbers from -2 to 2, exact in f32, as the script draws them. */
static void draw(float *out, int n, uint32_t seed)
{
    for (int i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        out[i] = (float)(seed >> 8) * 0x1p-22f - 2;
    }
}

/* What stands for the model. */
static void answer(float *m, const float *x, const at_sampler_plan *p)
{
    for (int k = 0; k < LATENTS; k++) {
        const float wave = (float)cos(0.01 * p->timestep + k) * 0.4f;
        m[k] = x[k] * p->input_scale * 0.55f + wave;
    }
}

/* SDXL's config with the members of 'over' behind its own, with a prediction_type last. */
static at_status make_schedule(at_schedule *out, at_sampler sampler, const char *over,
                               const char *prediction, int64_t steps, at_error *err)
{
    static const char base[] = AT_SCHEDULE_SDXL;
    static at_schedule_config config;
    char text[LINE_MAX_BYTES + 1024];
    const int over_bytes = (int)strlen(over) - 2; /* without its braces */
    snprintf(text, sizeof text, "%.*s%s%.*s, \"prediction_type\": \"%s\"}", (int)sizeof base - 2,
             base, over_bytes > 0 ? "," : "", over_bytes, over + 1, prediction);
    at_status status = at_sampler_configure(&config, sampler, text, strlen(text), err);
    return status == AT_OK ? at_schedule_make(out, &config, steps, err) : status;
}

static void expect_near(const golden *g, const char *what, int64_t i, double want, double have,
                        double room)
{
    if (fabs(have - want) <= room)
        return;
    fail_msg("%s: %s[%lld] expected %.9g, got %.9g (tolerance %.3g)", g->title, what, (long long)i,
             want, have, room);
}

/* --- schedules -------------------------------------------------------------------------------- */

static void start_case(golden *g)
{
    char name[32], strength[32];
    at_error err = { 0 };
    snprintf(g->title, sizeof g->title, "%.*s", (int)strcspn(g->line, "\n"), g->line);
    assert_int_equal(
        sscanf(g->line, "case %31s %lld %31s %65535s", name, &g->steps, strength, g->config), 4);
    assert_int_equal(at_sampler_named(&g->sampler, name, &err), AT_OK);
    if (make_schedule(g->schedule, g->sampler, g->config, "epsilon", g->steps, &err) != AT_OK)
        fail_msg("%s: %s", g->title, err.text);
    g->begin = 0;
    if (*strength != '-')
        assert_int_equal(
            at_schedule_begin_strength(g->schedule, strtod(strength, NULL), &g->begin, &err),
            AT_OK);
    g->cases++;
}

static void check_begin(const golden *g)
{
    double begin, scale;
    assert_int_equal(sscanf(g->line, "begin %lf %lf", &begin, &scale), 2);
    expect_near(g, "begin", 0, begin, (double)g->begin, 0);
    expect_near(g, "noise_scale", 0, scale, (double)g->schedule->noise_scale,
                LIST_TOLERANCE * scale);
}

/* The line's numbers are those of a list of n. */
static void check_list(golden *g, const char *what, const double *list, const float *floats,
                       int64_t n)
{
    const char *p = g->line + 1;
    for (int64_t i = 0;; i++) {
        char *end;
        const double want = strtod(p, &end);
        if (end == p) {
            expect_near(g, what, -1, (double)i, (double)n, 0);
            return;
        }
        p = end;
        if (i >= n)
            fail_msg("%s: %s has %lld, more are expected", g->title, what, (long long)n);
        const double have = list ? list[i] : (double)floats[i];
        const double off = fabs(have - want) / (want == 0 ? 1 : fabs(want));
        g->worst_list = off > g->worst_list ? off : g->worst_list;
        expect_near(g, what, i, want, have, LIST_TOLERANCE * (want == 0 ? 1 : fabs(want)));
        g->numbers++;
    }
}

static void check_part(const golden *g)
{
    double part;
    long long end, begin;
    int64_t at;
    at_error err = { 0 };
    assert_int_equal(sscanf(g->line, "part %lf %lld %lld", &part, &end, &begin), 3);
    assert_int_equal(at_schedule_end_at(g->schedule, part, &at, &err), AT_OK);
    expect_near(g, "denoising_end", 0, (double)end, (double)at, 0);
    assert_int_equal(at_schedule_begin_at(g->schedule, part, &at, &err), AT_OK);
    expect_near(g, "denoising_start", 0, (double)begin, (double)at, 0);
}

/* --- samplers --------------------------------------------------------------------------------- */

/* A run's tensors. */
typedef struct run {
    float x[LATENTS], x0[LATENTS], h0[LATENTS], h1[LATENTS], last[LATENTS];
    float m[LATENTS], noise[LATENTS];
    double path, path_size;
} run;

static void start_run(run *r, const at_schedule *s, int64_t begin)
{
    float image[LATENTS], by_image = 0, by_noise = s->noise_scale;
    memset(r, 0xff, sizeof *r); /* what is not written is not a number */
    draw(r->x, LATENTS, 1);
    draw(image, LATENTS, IMAGE);
    if (begin > 0)
        at_sampler_noising(&by_image, &by_noise, s, begin);
    for (int k = 0; k < LATENTS; k++)
        r->x[k] = by_image * image[k] + by_noise * r->x[k];
    r->path = r->path_size = 0;
}

static void finish_step(run *r, int64_t i)
{
    for (int k = 0; k < LATENTS; k++) {
        r->path += (double)r->x[k] / (double)(i + 1);
        r->path_size += fabs((double)r->x[k]) / (double)(i + 1);
    }
}

typedef enum touching { UNTOUCHED, TOUCHED } touching;

static void run_host(run *r, const at_schedule *s, int64_t begin, touching touch)
{
    float image[LATENTS];
    draw(image, LATENTS, IMAGE);
    start_run(r, s, begin);
    for (int64_t i = begin; i < s->n; i++) {
        at_sampler_plan p;
        at_sampler_plan_step(&p, s, begin, i);
        answer(r->m, r->x, &p);
        if (p.noise >= 0)
            draw(r->noise, LATENTS, (uint32_t)p.noise + 2);
        at_sampler_step(&(at_sampler_tensors){ .x = r->x,
                                               .x0 = r->x0,
                                               .h0 = r->h0,
                                               .h1 = r->h1,
                                               .last = r->last,
                                               .m = r->m,
                                               .noise = p.noise >= 0 ? r->noise : NULL },
                        &p, LATENTS);
        finish_step(r, i - begin);
        for (int k = 0; k < LATENTS && touch == TOUCHED; k++)
            r->x[k] = r->x[k] * 0.75f + image[k] * 0.25f;
    }
}

static at_view view_of(float *data)
{
    at_view v = at_view_of(AT_F32, 2, (const int64_t[]){ 1, LATENTS });
    v.data = data;
    return v;
}

static void call_op(at_diffusion_step_args *a)
{
    const at_caps caps = { AT_CPU, at_cpu_probe(), 1, 0 };
    const at_stream stream = { AT_CPU, 1, NULL };
    const at_prepare_in in = { .caps = &caps };
    at_error err = { 0 };
    at_prepared prepared;
    const at_view y = a->y, x0 = a->x0;
    assert_int_equal(at_op_shape(&at_op_diffusion_step, a, UINT32_MAX, &err), AT_OK);
    a->y.data = y.data;
    a->x0.data = x0.data;
    const at_variant *v = at_op_pick(&at_op_diffusion_step, a, &caps, false);
    assert_int_equal(at_prepare(v, a, &in, &prepared, &err), AT_OK);
    assert_int_equal(v->run(a, &prepared, &(at_launch){ .stream = &stream }), AT_OK);
    at_release(v, &prepared);
}

/* The same through the op that a device runs, guidance and all; false where it is not enough. */
static bool run_op(run *r, const at_schedule *s, int64_t begin)
{
    start_run(r, s, begin);
    for (int64_t i = begin; i < s->n; i++) {
        at_sampler_plan p;
        float coef[AT_DIFFUSION_COEFS], x[LATENTS], h0[LATENTS];
        at_sampler_plan_step(&p, s, begin, i);
        if (!at_sampler_row(coef, &p, 1))
            return false;
        answer(r->m, r->x, &p);
        draw(r->noise, LATENTS, (uint32_t)p.noise + 2);
        memcpy(x, r->x, sizeof x);
        memcpy(h0, r->h0, sizeof h0);
        at_diffusion_step_args a = { .y = view_of(r->x),
                                     .x0 = view_of(r->x0),
                                     .x = view_of(x),
                                     .cond = view_of(r->m),
                                     .h0 = view_of(r->h0),
                                     .h1 = view_of(r->h1),
                                     .noise = view_of(r->noise) };
        a.coef = at_view_of(AT_F32, 2, (const int64_t[]){ 1, AT_DIFFUSION_COEFS });
        a.coef.data = coef;
        call_op(&a);
        const float *kept[] = { NULL, x, r->x0, h0 };
        if (p.keep_1 != AT_KEEP_NOTHING)
            memcpy(r->h1, kept[p.keep_1], sizeof r->h1);
        if (p.keep_0 != AT_KEEP_NOTHING)
            memcpy(r->h0, kept[p.keep_0], sizeof r->h0);
        finish_step(r, i - begin);
    }
    return true;
}

static void compare_run(golden *g, const run *r, const char *what, const double *want)
{
    const double begin = BEGIN_TOLERANCE * (double)g->schedule->noise_scale;
    double squares = 0;
    for (int k = 0; k < LATENTS; k++)
        squares += want[k] * want[k] / LATENTS;
    for (int k = 0; k < LATENTS; k++) {
        const double size = fabs(want[k]) + sqrt(squares), room = LATENTS_TOLERANCE * size + begin;
        const double off = fabs((double)r->x[k] - want[k]) / room * LATENTS_TOLERANCE;
        g->worst_latents = off > g->worst_latents ? off : g->worst_latents;
        expect_near(g, what, k, want[k], (double)r->x[k], room);
        g->numbers++;
    }
    expect_near(g, "the sum over the way", 0, want[LATENTS], r->path,
                LATENTS_TOLERANCE * r->path_size + begin * (double)g->schedule->n);
}

static void check_latents(golden *g)
{
    char prediction[32];
    int used;
    at_error err = { 0 };
    const touching touch = *g->line == 'y' ? TOUCHED : UNTOUCHED;
    assert_int_equal(sscanf(g->line + 2, "%31s %n", prediction, &used), 1);
    used += 2;
    at_status status =
        make_schedule(g->schedule, g->sampler, g->config, prediction, g->steps, &err);
    if (status == AT_OK)
        status = at_sampler_check(g->schedule, g->begin, &err);
    if (!strncmp(g->line + used, "refused", 7)) {
        if (status == AT_OK)
            fail_msg("%s: %s is taken, Python refuses it", g->title, prediction);
        return;
    }
    if (status != AT_OK)
        fail_msg("%s: %s: %s", g->title, prediction, err.text);
    double want[LATENTS + 1];
    char *p = g->line + used;
    for (int k = 0; k <= LATENTS; k++)
        want[k] = strtod(p, &p);
    run r;
    run_host(&r, g->schedule, g->begin, touch);
    compare_run(g, &r, prediction, want);
    if (touch == TOUCHED)
        return;
    if (run_op(&r, g->schedule, g->begin))
        compare_run(g, &r, "by diffusion_step", want);
    else
        assert_true(g->schedule->config.clip_sample);
}

/* --- noise ------------------------------------------------------------------------------------ */

/* A "randn" line and the lines of bits behind it. */
static void check_noise(golden *g, float *drawn)
{
    at_torch_noise noise;
    char sizes[256], *p = sizes;
    snprintf(sizes, sizeof sizes, "%.*s", (int)strcspn(g->line, "\n") - 6, g->line + 6);
    at_torch_noise_seed(&noise, strtoull(p, &p, 10));
    for (int64_t n = strtoll(p, &p, 10); n > 0; n = strtoll(p, &p, 10)) {
        assert_true(n <= DRAWN_MAX && fgets(g->line, sizeof g->line, g->file));
        at_torch_noise_draw(&noise, drawn, n);
        uint64_t digest = UINT64_C(0xCBF29CE484222325);
        char *bits = g->line + strlen("bits ");
        for (int64_t i = 0; i < n; i++) {
            uint32_t word;
            memcpy(&word, &drawn[i], sizeof word);
            for (int byte = 0; byte < 4; byte++)
                digest = (digest ^ (word >> 8 * byte & 0xff)) * UINT64_C(0x100000001B3);
            if (n <= 40 && strtoul(bits, &bits, 16) != word)
                fail_msg("seed and sizes %s: number %lld of %lld is %08x, torch has another", sizes,
                         (long long)i, (long long)n, word);
        }
        if (n > 40 && strtoull(bits, NULL, 16) != digest)
            fail_msg("seed and sizes %s: the %lld numbers are not torch's", sizes, (long long)n);
    }
}

static void check_rescale(golden *g)
{
    float cond[60], guided[60];
    char *p = g->line + strlen("rescale ");
    const float by = strtof(p, &p);
    draw(cond, 60, 5);
    draw(guided, 60, 6);
    at_guide(guided, guided, cond, 60, 7.5f);
    const float factor = at_guidance_rescale(guided, cond, 60, by);
    snprintf(g->title, sizeof g->title, "rescale %g", (double)by);
    for (int i = 0; i < 6; i++) {
        const double want = strtod(p, &p);
        expect_near(g, "guided", i, want, (double)(guided[i] * factor), 1e-6 * fabs(want) + 1e-6);
    }
}

/* --- the file --------------------------------------------------------------------------------- */

static void replay_line(golden *g, float *drawn)
{
    if (!strncmp(g->line, "case ", 5))
        start_case(g);
    else if (!strncmp(g->line, "begin ", 6))
        check_begin(g);
    else if (!strncmp(g->line, "t ", 2))
        check_list(g, "timestep", g->schedule->timestep, NULL, g->schedule->n);
    else if (!strncmp(g->line, "s ", 2))
        check_list(g, "sigma", NULL, g->schedule->sigma,
                   g->schedule->n + 1 +
                       (g->schedule->config.interpolation_type == AT_INTERPOLATION_LOG_LINEAR &&
                        !g->schedule->config.use_karras_sigmas));
    else if (!strncmp(g->line, "x ", 2) || !strncmp(g->line, "y ", 2))
        check_latents(g);
    else if (!strncmp(g->line, "part ", 5))
        check_part(g);
    else if (!strncmp(g->line, "randn ", 6))
        check_noise(g, drawn);
    else if (!strncmp(g->line, "rescale ", 8))
        check_rescale(g);
    else
        fail_msg("a line that is none of the golden file's: %.40s", g->line);
}

static void test_golden(void **state)
{
    (void)state;
    golden *g = calloc(1, sizeof *g);
    float *drawn = malloc(DRAWN_MAX * sizeof *drawn);
    assert_true(g && drawn);
    g->schedule = malloc(sizeof *g->schedule);
    g->file = fopen(AT_SOURCE_DIR "/tests/golden/samplers.txt", "r");
    assert_true(g->schedule && g->file);
    while (fgets(g->line, sizeof g->line, g->file))
        replay_line(g, drawn);
    fclose(g->file);
    printf("sampler_test: %d cases, %d numbers; lists within %.2g, latents within %.2g\n", g->cases,
           g->numbers, g->worst_list, g->worst_latents);
    assert_true(g->cases > 600);
    free(g->schedule);
    free(g);
    free(drawn);
}

/* --- what is refused -------------------------------------------------------------------------- */

/* A config that 'sampler' refuses with a sentence that holds 'told'. */
typedef struct refusal {
    const char *sampler, *config;
    long long steps;
    const char *told;
} refusal;

static const refusal refusals[] = {
    { "euler", "{}", 0, "0 steps, expected 1 to 1000" },
    { "euler", "{}", 1001, "1001 steps, expected 1 to 1000" },
    { "euler", "{}", -5, "-5 steps" },
    { "euler", "{\"num_train_timesteps\": 40}", 41, "41 steps, expected 1 to 40" },
    { "euler", "{\"timestep_spacing\": \"sideways\"}", 5,
      "timestep_spacing: expected one of leading" },
    { "euler", "{\"prediction_type\": \"noise\"}", 5, "prediction_type: " },
    { "euler", "{\"beta_schedule\": \"exp\"}", 5, "beta_schedule: " },
    { "euler", "{\"beta_schedule\": 3}", 5, "beta_schedule: " },
    { "euler", "{\"interpolation_type\": \"cubic\"}", 5, "interpolation_type: " },
    { "dpmpp_2m", "{\"final_sigmas_type\": \"one\"}", 5, "final_sigmas_type: " },
    { "euler", "{\"beta_start\": NaN}", 5, "beta_start: " },
    { "euler", "{\"beta_end\": Infinity}", 5, "beta_end: " },
    { "euler", "{\"beta_end\": -0.1}", 5, "beta_end: expected 0 to 1" },
    { "euler", "{\"beta_end\": 1e999}", 5, "beta_end: " },
    { "euler", "{\"beta_start\": null}", 5, "beta_start: " },
    { "euler", "{\"beta_start\": 0}", 5, "a signal of 1 at timestep 0" },
    { "euler", "{\"beta_start\": 1, \"beta_end\": 1}", 5, "a signal of 0 at timestep 0" },
    { "euler", "{\"trained_betas\": [NaN]}", 5, "trained_betas: " },
    { "euler", "{\"trained_betas\": []}", 5, "trained_betas: the list is empty" },
    { "euler", "{\"trained_betas\": [0.1, 0.2]}", 5, "trained_betas: expected 1000" },
    { "euler", "{\"trained_betas\": [0.1, 2]}", 5, "trained_betas: expected at most" },
    { "euler", "{\"trained_betas\": \"all\"}", 5, "trained_betas: " },
    { "euler", "{\"num_train_timesteps\": 1}", 1, "num_train_timesteps: expected 2 to 4096" },
    { "euler", "{\"num_train_timesteps\": 1000000}", 5, "num_train_timesteps: " },
    { "euler", "{\"num_train_timesteps\": 1e3}", 5, "num_train_timesteps: " },
    { "euler", "{\"steps_offset\": -1}", 5, "steps_offset: " },
    { "ddim", "{\"steps_offset\": 900}", 5, "DDIMScheduler: timestep 0 of 5 steps is 1700" },
    { "euler", "{\"use_karras_sigmas\": 1}", 5, "use_karras_sigmas: " },
    { "euler", "{\"use_karras_sigmas\": true, \"use_beta_sigmas\": true}", 5, "at most one true" },
    { "euler", "{\"sigma_min\": -1}", 5, "sigma_min: " },
    { "dpmpp_2m", "{\"thresholding\": true}", 5, "thresholding: true is not supported" },
    { "dpmpp_2m", "{\"solver_order\": 3}", 5, "solver_order: expected 1 to 2, found 3" },
    { "dpmpp_2m", "{\"use_lu_lambdas\": true}", 5, "use_lu_lambdas: " },
    { "dpmpp_2m", "{\"variance_type\": \"learned\"}", 5, "variance_type: " },
    { "dpmpp_2m", "{\"lambda_min_clipped\": 100}", 5, "leaves no timestep" },
    { "dpmpp_2m", "{}", 1000, "two sigmas are equal" },
    { "ddpm", "{\"variance_type\": \"learned\"}", 5, "variance_type: " },
    { "unipc", "{\"predict_x0\": false}", 5, "predict_x0: false is not supported" },
    { "unipc", "{\"disable_corrector\": [0]}", 5, "disable_corrector: " },
    { "unipc", "{}", 1000, "two sigmas are equal" },
    { "lcm", "{}", 51, "51 steps, expected at most 50 for lcm" },
    { "lcm", "{\"original_inference_steps\": 2000}", 4, "original_inference_steps: " },
    { "ddim", "{\"rescale_betas_zero_snr\": true, \"timestep_spacing\": \"trailing\"}", 5,
      "no signal is left" },
    { "ddim", "{\"timestep_spacing\": \"trailing\"}", 61, "timestep 61 of 61 steps is -1" },
};

static void test_refusals(void **state)
{
    (void)state;
    at_schedule *s = malloc(sizeof *s);
    assert_non_null(s);
    for (size_t i = 0; i < AT_COUNT(refusals); i++) {
        const refusal *r = &refusals[i];
        static at_schedule_config config;
        char text[2048];
        at_error err = { 0 };
        at_sampler sampler;
        assert_int_equal(at_sampler_named(&sampler, r->sampler, &err), AT_OK);
        snprintf(text, sizeof text, "%.*s, %s", (int)sizeof AT_SCHEDULE_SDXL - 2, AT_SCHEDULE_SDXL,
                 strlen(r->config) > 2 ? r->config + 1 : "\"x\": 0}");
        at_status status = at_sampler_configure(&config, sampler, text, strlen(text), &err);
        if (status == AT_OK)
            status = at_schedule_make(s, &config, r->steps, &err);
        if (status == AT_OK)
            status = at_sampler_check(s, 0, &err);
        if (status == AT_OK || !strstr(err.text, r->told))
            fail_msg("%s, %lld steps, %s: expected \"%s\", got \"%s\"", r->sampler, r->steps,
                     r->config, r->told, err.text);
    }
    free(s);
}

/* What is no object, or ends too early, and what DPM-Solver writes though JSON has no such word. */
static void test_texts(void **state)
{
    (void)state;
    static at_schedule_config c;
    static const char *const bad[] = { "",
                                       "[]",
                                       "{",
                                       "{\"beta_start\":",
                                       "{\"beta_start\"",
                                       "{}}",
                                       "{\"a\": -Infinity",
                                       "{\"lambda_min_clipped\": -Inf}" };
    at_error err = { 0 };
    for (size_t i = 0; i < AT_COUNT(bad); i++) {
        err.text[0] = 0;
        at_status status =
            at_schedule_config_read(&c, AT_SCHEDULER_DPM_MULTISTEP, bad[i], strlen(bad[i]), &err);
        assert_int_not_equal(status, AT_OK);
        assert_non_null(strstr(err.text, "scheduler_config: "));
    }
    static const char good[] = "{\"lambda_min_clipped\": -Infinity, \"other\": -Infinity,"
                               " \"sigma_min\": null, \"_class_name\": \"X\", \"beta_end\": 0.5}";
    assert_int_equal(
        at_schedule_config_read(&c, AT_SCHEDULER_DPM_MULTISTEP, good, sizeof good - 1, &err),
        AT_OK);
    assert_true(c.beta_end == 0.5 && c.lambda_min_clipped == -INFINITY && c.sigma_min == 0);
    assert_int_equal(at_schedule_config_read(&c, AT_SCHEDULER_LCM, good, sizeof good - 1, &err),
                     AT_OK);
    assert_true(c.beta_start == 0.00085 && c.beta_schedule == AT_BETA_SCHEDULE_SCALED_LINEAR);
}

static void test_names(void **state)
{
    (void)state;
    at_sampler sampler;
    at_error err = { 0 };
    for (int i = 0; i < AT_SAMPLER_COUNT; i++) {
        assert_int_equal(at_sampler_named(&sampler, at_sampler_at((at_sampler)i)->name, &err),
                         AT_OK);
        assert_int_equal((int)sampler, i);
    }
    static const char *const near[][2] = {
        { "eular", "euler" },       { "euler a", "euler_a" },
        { "DPM++ 2M", "dpmpp_2m" }, { "dpm_2m_karas", "dpmpp_2m_karras" },
        { "unipcm", "unipc" },
    };
    for (size_t i = 0; i < AT_COUNT(near); i++) {
        assert_int_equal(at_sampler_named(&sampler, near[i][0], &err), AT_INVALID);
        const char *told = strstr(err.text, "the nearest is ");
        assert_non_null(told);
        assert_string_equal(told + strlen("the nearest is "), near[i][1]);
    }
    char endless[5000];
    memset(endless, 'x', sizeof endless - 1);
    endless[sizeof endless - 1] = 0;
    assert_int_equal(at_sampler_named(&sampler, endless, &err), AT_INVALID);
}

static void test_parts(void **state)
{
    (void)state;
    at_schedule *s = malloc(sizeof *s);
    at_error err = { 0 };
    int64_t at;
    assert_non_null(s);
    assert_int_equal(make_schedule(s, AT_SAMPLER_IS_EULER, "{}", "epsilon", 10, &err), AT_OK);
    static const double wrong[] = { -0.1, 1.1, NAN, 0, 0.05 };
    for (size_t i = 0; i < AT_COUNT(wrong); i++)
        assert_int_equal(at_schedule_begin_strength(s, wrong[i], &at, &err), AT_INVALID);
    assert_non_null(strstr(err.text, "leaves none to run"));
    static const double outside[] = { 0, 1, -1, NAN, 0.00001 };
    for (size_t i = 0; i < AT_COUNT(outside); i++)
        assert_int_equal(at_schedule_end_at(s, outside[i], &at, &err), AT_INVALID);
    assert_int_equal(at_schedule_begin_at(s, 0.9999, &at, &err), AT_INVALID);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_texts),  cmocka_unit_test(test_names),
        cmocka_unit_test(test_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
