/* sampler.h -- samplers as arithmetic: what becomes of the latents once the model has answered.
 *
 * A sampler calls no model and keeps no state. Evaluation i of a schedule is a row of numbers,
 * at_sampler_plan_step, that depends on the schedule, on where the run began and on i alone:
 *
 *     the model sees x * input_scale and 'timestep', and answers m
 *     x0 = k_x * x + k_m * m, clamped to +-clip where clip is not 0
 *     y  = c_x * x + c_0 * x0 + c_m * m + c_1 * h0 + c_2 * h1 + c_last * last + c_n * noise
 *     h1 and h0 become what keep_1 and keep_0 say, in this order; x becomes y
 *
 * 'last' is the y of the evaluation before, as the sampler gave it: the same as x unless someone
 * changed x since, as inpainting does. A coefficient of 0 leaves its tensor out, whatever it holds.
 * The same numbers drive at_sampler_step, on the host, and the op diffusion_step, on a device.
 *
 *     at_sampler_configure(&config, sampler, json, bytes, err);
 *     at_schedule_make(&schedule, &config, 30, err);
 *     at_sampler_check(&schedule, 0, err);
 *     x = noise times schedule.noise_scale
 *     for (i = 0; i < schedule.n; i++) {
 *         at_sampler_plan_step(&step, &schedule, 0, i);
 *         t.m = the model's answer to x * step.input_scale at step.timestep
 *         t.noise = step.noise >= 0 ? the next noise : NULL
 *         at_sampler_step(&t, &step, n);
 *     }
 *
 * Everything is plain data; nothing is allocated; any thread. */
#ifndef AT_RUNTIME_SAMPLER_H
#define AT_RUNTIME_SAMPLER_H

#include "kernels/ops.h"
#include "runtime/schedule.h"

enum { AT_SAMPLER_KARRAS = 1, AT_SAMPLER_SDE = 2 };

typedef enum at_sampler {
#define AT_SAMPLER(NAME, name, a1111, scheduler, options, about) AT_SAMPLER_IS_##NAME,
#include "runtime/samplers.def"
#undef AT_SAMPLER
    AT_SAMPLER_COUNT
} at_sampler;

typedef struct at_sampler_info {
    const char *name, *a1111, *about;
    at_scheduler scheduler;
    int options;
} at_sampler_info;

AT_API const at_sampler_info *at_sampler_at(at_sampler sampler);
/* An unknown name is refused with the one that is nearest. */
AT_API at_status at_sampler_named(at_sampler *out, const char *name, at_error *err);
/* The model's scheduler_config as this sampler takes it. */
AT_API at_status at_sampler_configure(at_schedule_config *out, at_sampler sampler, const char *json,
                                      size_t bytes, at_error *err);

typedef enum at_sampler_keep {
    AT_KEEP_NOTHING, /* the history stays as it is */
    AT_KEEP_X,
    AT_KEEP_X0,
    AT_KEEP_H0,
} at_sampler_keep;

typedef struct at_sampler_plan {
    double timestep;
    float input_scale;
    float k_x, k_m, clip;
    float c_x, c_0, c_m, c_1, c_2, c_last, c_n;
    at_sampler_keep keep_0, keep_1;
    /* Its number in the order of drawing, from 0 where the run began, not counting the one that the
     * latents begin as; -1: none is drawn. One that is drawn may count 0 times. */
    int64_t noise;
} at_sampler_plan;

/* Evaluation i of a run that began at 'begin'. */
AT_API void at_sampler_plan_step(at_sampler_plan *out, const at_schedule *s, int64_t begin,
                                 int64_t i);
/* Whether every evaluation from 'begin' on is made of finite numbers; the first that is not is told
 * by its timestep. Predictions that a scheduler does not know are refused here. */
AT_API at_status at_sampler_check(const at_schedule *s, int64_t begin, at_error *err);

/* A clean picture's latents as evaluation i expects them: *image times these plus *noise times
 * N(0, 1). diffusers' add_noise(). */
AT_API void at_sampler_noising(float *image, float *noise, const at_schedule *s, int64_t i);

/* All (n) f32. 'h0', 'h1' and 'last' belong to the run, and need hold nothing at its begin; 'x0'
 * may be NULL; 'noise' may be NULL where the plan asks for none. */
typedef struct at_sampler_tensors {
    float *x;           /* in: the latents, out: the next */
    float *x0;          /* out: the prediction of the end */
    float *h0, *h1;     /* in and out */
    float *last;        /* in and out */
    const float *m;     /* the model's output, guided */
    const float *noise; /* N(0, 1) */
} at_sampler_tensors;

AT_API void at_sampler_step(const at_sampler_tensors *t, const at_sampler_plan *plan, int64_t n);

/* The plan as a row of coefficients for diffusion_step, with x for 'last'; false where that op is
 * not enough: with a clamp, and with what follows from one. Where someone changed x and c_last is
 * not 0, which UniPC alone has, it takes two calls: the row with 0 for c_x, and then one that adds
 * c_last times 'last' to what came of it. */
AT_API bool at_sampler_row(float coef[AT_DIFFUSION_COEFS], const at_sampler_plan *plan,
                           float guidance);

#endif
