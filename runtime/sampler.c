/* sampler.c -- one function a family: the step of diffusers' class, sorted by tensors.
 *
 * What diffusers computes in f32 from the schedule is computed in f32 here where a difference of
 * large numbers makes the rounding visible (the noise of ancestral steps, DDPM's variances), and in
 * f64 from f32 sigmas elsewhere. Coefficients are rounded to f32 once. */
#include "runtime/sampler.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/shape.h"

/* --- names ------------------------------------------------------------------------------------ */

#define AT_SAMPLER(NAME, name, a1111, scheduler, options, about) \
    { name, a1111, about, AT_SCHEDULER_##scheduler, options },
static const at_sampler_info samplers[] = {
#include "runtime/samplers.def"
};
#undef AT_SAMPLER

enum { NAME_MAX_BYTES = 32 };

const at_sampler_info *at_sampler_at(at_sampler sampler)
{
    return &samplers[sampler];
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Characters to put in, take out or change to make one of the other (Levenshtein). */
static int distance(const char *a, const char *b)
{
    int row[NAME_MAX_BYTES + 1];
    const int n = (int)strlen(b);
    for (int j = 0; j <= n; j++)
        row[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int corner = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            const int changed = corner + (a[i - 1] != b[j - 1]);
            corner = row[j];
            row[j] = least(least(row[j], row[j - 1]) + 1, changed);
        }
    }
    return row[n];
}

at_status at_sampler_named(at_sampler *out, const char *name, at_error *err)
{
    char text[NAME_MAX_BYTES];
    int best = NAME_MAX_BYTES, nearest = 0;
    snprintf(text, sizeof text, "%s", name);
    for (int i = 0; i < AT_SAMPLER_COUNT; i++) {
        if (!strcmp(name, samplers[i].name)) {
            *out = (at_sampler)i;
            return AT_OK;
        }
        const int d = distance(text, samplers[i].name);
        nearest = d < best ? i : nearest;
        best = least(d, best);
    }
    return at_fail(err, AT_INVALID, "no sampler is named \"%s\"; the nearest is %s", text,
                   samplers[nearest].name);
}

at_status at_sampler_configure(at_schedule_config *out, at_sampler sampler, const char *json,
                               size_t bytes, at_error *err)
{
    const at_sampler_info *info = &samplers[sampler];
    AT_TRY(at_schedule_config_read(out, info->scheduler, json, bytes, err));
    if (info->options & AT_SAMPLER_KARRAS) {
        out->use_karras_sigmas = true;
        out->use_exponential_sigmas = out->use_beta_sigmas = false;
    }
    out->sde = (info->options & AT_SAMPLER_SDE) != 0;
    return AT_OK;
}

/* --- what the families share ------------------------------------------------------------------ */

/* Latents as x0 plus sigma times noise (Euler's family). */
static void predict_sigma(at_sampler_plan *p, const at_schedule *s, float sigma)
{
    const double wide = (double)sigma * (double)sigma + 1;
    p->input_scale = (float)(1 / sqrt(wide));
    if (s->config.prediction_type == AT_PREDICTION_EPSILON) {
        p->k_x = 1;
        p->k_m = -sigma;
    } else if (s->config.prediction_type == AT_PREDICTION_V) {
        p->k_x = (float)(1 / wide);
        p->k_m = (float)(-(double)sigma / sqrt(wide));
    } else {
        p->k_x = 0;
        p->k_m = 1;
    }
}

/* Latents as alpha times x0 plus sigma times noise, which together have the variance 1. */
static void predict_variance(at_sampler_plan *p, const at_schedule *s, float alpha, float sigma)
{
    p->input_scale = 1;
    if (s->config.prediction_type == AT_PREDICTION_EPSILON) {
        p->k_x = 1 / alpha;
        p->k_m = (float)(-(double)sigma / (double)alpha);
    } else if (s->config.prediction_type == AT_PREDICTION_V) {
        p->k_x = alpha;
        p->k_m = -sigma;
    } else {
        p->k_x = 0;
        p->k_m = 1;
    }
}

static float clip_of(const at_schedule *s)
{
    return s->config.clip_sample ? (float)s->config.clip_sample_range : 0;
}

/* --- Euler, Euler a, Heun --------------------------------------------------------------------- */

/* y = x + (x - x0) / sigma * (to - sigma) */
static void straight_line(at_sampler_plan *p, float sigma, float to)
{
    const double share = ((double)to - (double)sigma) / (double)sigma;
    p->c_x = (float)(1 + share);
    p->c_0 = (float)-share;
}

static void plan_euler(at_sampler_plan *p, const at_schedule *s, int64_t i)
{
    predict_sigma(p, s, s->sigma[i]);
    straight_line(p, s->sigma[i], s->sigma[i + 1]);
}

typedef struct ancestral {
    float down, up; /* where the step goes, and the noise that leads back to where it ends */
} ancestral;

static ancestral split_step(float from, float to)
{
    const float variance = to * to * (from * from - to * to) / (from * from);
    ancestral a = { 0, sqrtf(variance) };
    a.up = a.up < to ? a.up : to;
    a.down = sqrtf(to * to - a.up * a.up);
    return a;
}

static void plan_euler_ancestral(at_sampler_plan *p, const at_schedule *s, int64_t begin, int64_t i)
{
    const ancestral a = split_step(s->sigma[i], s->sigma[i + 1]);
    predict_sigma(p, s, s->sigma[i]);
    straight_line(p, s->sigma[i], a.down);
    p->c_n = a.up;
    p->noise = i - begin; /* the last one, too, though it counts 0 times */
}

/* The second evaluation has x and x0 of the first in its histories. */
static void plan_heun(at_sampler_plan *p, const at_schedule *s, int64_t i)
{
    predict_sigma(p, s, s->sigma[i]);
    p->clip = clip_of(s);
    if (i % 2 == 0) {
        straight_line(p, s->sigma[i], s->sigma[i + 1]);
        p->keep_0 = AT_KEEP_X;
        p->keep_1 = AT_KEEP_X0;
        return;
    }
    const double from = (double)s->sigma[i - 1], to = (double)s->sigma[i], half = (to - from) / 2;
    p->c_1 = (float)(1 + half / from);
    p->c_2 = (float)(-half / from);
    p->c_x = (float)(half / to);
    p->c_0 = (float)(-half / to);
}

/* --- DPM SDE ---------------------------------------------------------------------------------- */

static void plan_dpm_sde(at_sampler_plan *p, const at_schedule *s, int64_t begin, int64_t i)
{
    const bool second = i % 2 == 1;
    const float from = s->sigma[i - second], to = s->sigma[i + 1 - second];
    const float t = -logf(from), middle = expf(-(t + (-logf(to) - t) * 0.5f));
    predict_sigma(p, s, second ? middle : from);
    if (to == 0) {
        straight_line(p, from, to);
        return;
    }
    const float start = expf(-t);
    const ancestral a = split_step(start, second ? expf(logf(to)) : middle);
    const double left = (double)a.down / (double)start;
    p->c_0 = (float)(1 - left);
    p->c_n = a.up;
    p->noise = i - begin;
    if (second) {
        p->c_1 = (float)left;
    } else {
        p->c_x = (float)left;
        p->keep_0 = AT_KEEP_X;
    }
}

/* --- DPM-Solver's multistep, UniPC ------------------------------------------------------------ */

/* A sigma of the variance-preserving kind: what is left of the picture, how much noise, and half
 * the logarithm of their ratio's square. */
typedef struct level {
    double alpha, sigma, lambda;
} level;

static level level_of(float sigma)
{
    const float alpha = 1 / sqrtf(sigma * sigma + 1), noise = sigma * alpha;
    return (level){ (double)alpha, (double)noise, (double)(logf(alpha) - logf(noise)) };
}

/* diffusers subtracts them in f32. */
static double step_of(level from, level to)
{
    return (double)((float)to.lambda - (float)from.lambda);
}

static int dpm_order(const at_schedule *s, int64_t begin, int64_t i)
{
    const at_schedule_config *c = &s->config;
    const bool last_is_first = c->euler_at_final || (c->lower_order_final && s->n < 15) ||
                               c->final_sigmas_type == AT_FINAL_SIGMA_ZERO;
    if (c->solver_order == 1 || i == begin || (i == s->n - 1 && last_is_first))
        return 1;
    return 2;
}

static void plan_dpm(at_sampler_plan *p, const at_schedule *s, int64_t begin, int64_t i)
{
    const level from = level_of(s->sigma[i]), to = level_of(s->sigma[i + 1]);
    const double h = step_of(from, to), twice = s->config.sde ? 2 * h : h;
    const double gain = -to.alpha * expm1(-twice); /* of the prediction */
    predict_variance(p, s, (float)from.alpha, (float)from.sigma);
    p->c_x = (float)(to.sigma / from.sigma * (s->config.sde ? exp(-h) : 1));
    p->keep_0 = AT_KEEP_X0;
    if (s->config.sde) {
        p->c_n = (float)(to.sigma * sqrt(-expm1(-2 * h)));
        p->noise = i - begin;
    }
    double slope = 0; /* of x0 less the one before, over a step as long as that one was */
    if (dpm_order(s, begin, i) == 2) {
        slope = s->config.solver_type == AT_SOLVER_HEUN ? to.alpha * (expm1(-twice) / twice + 1)
                                                        : gain / 2;
        slope *= h / step_of(level_of(s->sigma[i - 1]), from);
    }
    p->c_0 = (float)(gain + slope);
    p->c_1 = (float)-slope;
}

/* One step of UniPC from sigma[i] to sigma[i + 1]. */
typedef struct unipc_step {
    level from, to;
    int order;
    double h, e, b; /* the step's length, e^-h - 1, B(h) */
    double r;       /* the length of the step before over this one's, less than 0 */
} unipc_step;

static unipc_step unipc_at(const at_schedule *s, int64_t begin, int64_t i)
{
    const at_schedule_config *c = &s->config;
    unipc_step u = { level_of(s->sigma[i]), level_of(s->sigma[i + 1]), 1, 0, 0, 0, 0 };
    const int64_t left = c->lower_order_final ? s->n - i : s->n;
    if (c->solver_order == 2 && left >= 2 && i > begin)
        u.order = 2;
    u.h = step_of(u.from, u.to);
    u.e = expm1(-u.h);
    u.b = c->solver_type == AT_SOLVER_BH1 ? -u.h : u.e;
    if (u.order == 2)
        u.r = -step_of(level_of(s->sigma[i - 1]), u.from) / u.h;
    return u;
}

/* The weights of the corrector: p of the older difference, q of the newer. */
static void unipc_weights(const unipc_step *u, double *p, double *q)
{
    const double phi = u->e / -u->h - 1, b1 = phi / u->b, b2 = 2 * (phi / -u->h - 0.5) / u->b;
    *p = u->order == 2 ? (b1 - b2) / (1 - u->r) : 0;
    *q = u->order == 2 ? b1 - *p : 0.5;
}

/* The predictor's step begins at the state that the corrector makes of 'last', the state that the
 * predictor gave before. diffusers corrects from the state before that one; but the predictor went
 * from there by the very terms that the corrector begins with, so that what it gave, less its
 * second-order term, stands for them, and no third history is needed. */
static void plan_unipc(at_sampler_plan *p, const at_schedule *s, int64_t begin, int64_t i)
{
    const unipc_step u = unipc_at(s, begin, i);
    predict_variance(p, s, (float)u.from.alpha, (float)u.from.sigma);
    p->keep_0 = AT_KEEP_X0;
    p->keep_1 = AT_KEEP_H0;
    const double carry = u.to.sigma / u.from.sigma;
    const double second = u.order == 2 ? u.to.alpha * u.b * 0.5 / u.r : 0;
    double c_0 = -u.to.alpha * u.e + second, c_1 = -second;
    if (i == begin) {
        p->c_x = (float)carry;
    } else {
        const unipc_step v = unipc_at(s, begin, i - 1); /* the one that is corrected */
        double older, newer;
        unipc_weights(&v, &older, &newer);
        const double scale = v.to.alpha * v.b;
        const double a_2 = v.order == 2 ? scale * (0.5 - older) / v.r : 0, a_0 = -scale * newer;
        c_0 += carry * a_0;
        c_1 += carry * (-a_2 - a_0);
        p->c_2 = (float)(carry * a_2);
        p->c_last = (float)carry;
    }
    p->c_0 = (float)c_0;
    p->c_1 = (float)c_1;
}

/* --- DDIM, DDPM, LCM -------------------------------------------------------------------------- */

static float signal_at(const at_schedule *s, int64_t i)
{
    return s->alphas_cumprod[(int64_t)s->timestep[i]];
}

/* The step goes N / n timesteps back, wherever the list's next is. */
static void plan_ddim(at_sampler_plan *p, const at_schedule *s, int64_t i)
{
    const at_schedule_config *c = &s->config;
    const int64_t next = (int64_t)s->timestep[i] - c->num_train_timesteps / s->steps;
    const float end = c->set_alpha_to_one ? 1 : s->alphas_cumprod[0];
    const float from = signal_at(s, i), to = next >= 0 ? s->alphas_cumprod[next] : end;
    const double alpha = (double)sqrtf(from), sigma = (double)sqrtf(1 - from);
    const double rest = (double)sqrtf(1 - to);
    predict_variance(p, s, (float)alpha, (float)sigma);
    p->clip = clip_of(s);
    p->c_0 = sqrtf(to);
    if (p->clip == 0) {
        p->c_0 = (float)((double)p->c_0 - rest * alpha / sigma);
        p->c_x = (float)(rest / sigma);
    } else if (c->prediction_type == AT_PREDICTION_EPSILON) { /* the noise is not clamped with x0 */
        p->c_m = (float)rest;
    } else if (c->prediction_type == AT_PREDICTION_V) {
        p->c_m = (float)(rest * alpha);
        p->c_x = (float)(rest * sigma);
    } else {
        p->c_m = (float)(-rest * alpha / sigma);
        p->c_x = (float)(rest / sigma);
    }
}

static float ddpm_spread(const at_schedule *s, float variance, float beta)
{
    variance = variance > 1e-20f ? variance : 1e-20f;
    switch (s->config.variance_type) {
    case AT_ADDED_NOISE_FIXED_SMALL_LOG: return expf(0.5f * logf(variance));
    case AT_ADDED_NOISE_FIXED_LARGE: return sqrtf(beta);
    default: return sqrtf(variance);
    }
}

static void plan_ddpm(at_sampler_plan *p, const at_schedule *s, int64_t begin, int64_t i)
{
    const float from = signal_at(s, i), to = i + 1 < s->n ? signal_at(s, i + 1) : 1;
    const float alpha = from / to, beta = 1 - alpha;
    predict_variance(p, s, sqrtf(from), sqrtf(1 - from));
    p->clip = clip_of(s);
    p->c_0 = sqrtf(to) * beta / (1 - from);
    p->c_x = sqrtf(alpha) * (1 - to) / (1 - from);
    if (s->timestep[i] > 0) {
        p->c_n = ddpm_spread(s, (1 - to) / (1 - from) * beta, beta);
        p->noise = i - begin;
    }
}

static void plan_lcm(at_sampler_plan *p, const at_schedule *s, int64_t begin, int64_t i)
{
    const float from = signal_at(s, i);
    const float t = (float)s->timestep[i] * (float)s->config.timestep_scaling;
    const float wide = t * t + 0.25f, skip = 0.25f / wide, out = t / sqrtf(wide);
    predict_variance(p, s, sqrtf(from), sqrtf(1 - from));
    p->clip = clip_of(s);
    p->c_0 = out;
    p->c_x = skip;
    if (i + 1 < s->n) {
        const float to = signal_at(s, i + 1);
        p->c_0 *= sqrtf(to);
        p->c_x *= sqrtf(to);
        p->c_n = sqrtf(1 - to);
        p->noise = i - begin;
    }
}

/* --- a step ----------------------------------------------------------------------------------- */

void at_sampler_plan_step(at_sampler_plan *out, const at_schedule *s, int64_t begin, int64_t i)
{
    AT_ASSERT(0 <= begin && begin <= i && i < s->n, "evaluation %lld of %lld, begun at %lld",
              (long long)i, (long long)s->n, (long long)begin);
    *out = (at_sampler_plan){ .timestep = s->timestep[i], .noise = -1 };
    switch (s->config.scheduler) {
    case AT_SCHEDULER_EULER: plan_euler(out, s, i); break;
    case AT_SCHEDULER_EULER_ANCESTRAL: plan_euler_ancestral(out, s, begin, i); break;
    case AT_SCHEDULER_HEUN: plan_heun(out, s, i); break;
    case AT_SCHEDULER_DPM_MULTISTEP: plan_dpm(out, s, begin, i); break;
    case AT_SCHEDULER_DPM_SDE: plan_dpm_sde(out, s, begin, i); break;
    case AT_SCHEDULER_DDIM: plan_ddim(out, s, i); break;
    case AT_SCHEDULER_DDPM: plan_ddpm(out, s, begin, i); break;
    case AT_SCHEDULER_UNIPC: plan_unipc(out, s, begin, i); break;
    case AT_SCHEDULER_LCM: plan_lcm(out, s, begin, i); break;
    default: AT_ASSERT(false, "no such scheduler: %d", (int)s->config.scheduler);
    }
}

static bool is_finite(const at_sampler_plan *p)
{
    const float sum = p->input_scale + p->k_x + p->k_m + p->c_x + p->c_0 + p->c_m + p->c_1 +
                      p->c_2 + p->c_last + p->c_n;
    return isfinite(sum) && isfinite(p->timestep);
}

at_status at_sampler_check(const at_schedule *s, int64_t begin, at_error *err)
{
    const at_scheduler scheduler = s->config.scheduler;
    if (s->config.prediction_type == AT_PREDICTION_SAMPLE &&
        (scheduler == AT_SCHEDULER_EULER_ANCESTRAL || scheduler == AT_SCHEDULER_DPM_SDE))
        return at_fail(err, AT_UNSUPPORTED,
                       "%s: prediction_type is sample, expected epsilon or v_prediction",
                       at_scheduler_class(scheduler));
    for (int64_t i = begin; i < s->n; i++) {
        at_sampler_plan p;
        at_sampler_plan_step(&p, s, begin, i);
        if (!is_finite(&p))
            return at_fail(err, AT_INVALID,
                           "%s: evaluation %lld of %lld, at timestep %g, divides by zero: no "
                           "signal is left there, or two sigmas are equal",
                           at_scheduler_class(scheduler), (long long)i, (long long)s->n,
                           p.timestep);
    }
    return AT_OK;
}

void at_sampler_noising(float *image, float *noise, const at_schedule *s, int64_t i)
{
    switch (s->config.scheduler) {
    case AT_SCHEDULER_DPM_MULTISTEP:
    case AT_SCHEDULER_UNIPC:
        *image = (float)level_of(s->sigma[i]).alpha;
        *noise = (float)level_of(s->sigma[i]).sigma;
        return;
    case AT_SCHEDULER_DDIM:
    case AT_SCHEDULER_DDPM:
    case AT_SCHEDULER_LCM:
        *image = sqrtf(signal_at(s, i));
        *noise = sqrtf(1 - signal_at(s, i));
        return;
    default: *image = 1; *noise = s->sigma[i];
    }
}

/* --- running it ------------------------------------------------------------------------------- */

/* coefficient * element, or nothing */
static double term(float coef, const float *v, int64_t i)
{
    return coef != 0 ? (double)coef * (double)v[i] : 0;
}

static float kept(at_sampler_keep keep, float now, float x, float x0, float h0)
{
    switch (keep) {
    case AT_KEEP_X: return x;
    case AT_KEEP_X0: return x0;
    case AT_KEEP_H0: return h0;
    default: return now;
    }
}

void at_sampler_step(const at_sampler_tensors *t, const at_sampler_plan *p, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const float x = t->x[i], h0 = t->h0[i];
        float x0 = (float)((double)p->k_x * (double)x + (double)p->k_m * (double)t->m[i]);
        if (p->clip != 0)
            x0 = fminf(fmaxf(x0, -p->clip), p->clip);
        double y = (double)p->c_x * (double)x + (double)p->c_0 * (double)x0;
        y += term(p->c_m, t->m, i) + term(p->c_1, t->h0, i) + term(p->c_2, t->h1, i);
        y += term(p->c_last, t->last, i) + term(p->c_n, t->noise, i);
        t->h1[i] = kept(p->keep_1, t->h1[i], x, x0, h0);
        t->h0[i] = kept(p->keep_0, h0, x, x0, h0);
        t->x[i] = t->last[i] = (float)y;
        if (t->x0)
            t->x0[i] = x0;
    }
}

bool at_sampler_row(float coef[AT_DIFFUSION_COEFS], const at_sampler_plan *p, float guidance)
{
    const float row[AT_DIFFUSION_COEFS] = { guidance, p->k_x, p->k_m, p->c_x + p->c_last,
                                            p->c_0,   p->c_1, p->c_2, p->c_n };
    memcpy(coef, row, sizeof row);
    return p->clip == 0 && p->c_m == 0;
}
