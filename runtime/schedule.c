/* schedule.c -- which timesteps, which sigmas.
 *
 * The arithmetic follows diffusers operation by operation, f32 where torch has f32 and f64 where
 * numpy has f64, since a timestep that is cut to a whole number can depend on the last bit. What
 * torch and numpy do themselves: linspace in f32 is a fused multiply-add from the nearer end;
 * cumprod in f32 keeps its product in f64; arange adds the difference of its first two values,
 * and its length can be one too many. */
#include "runtime/schedule.h"

#include <math.h>
#include <string.h>

#include "kernels/shape.h"

enum { POINTS_MAX = AT_SCHEDULE_STEPS_MAX + 2 };

/* --- betas ------------------------------------------------------------------------------------ */

static void linspace_f32(float *out, float from, float to, int64_t n)
{
    const float step = (to - from) / (float)(n - 1);
    for (int64_t i = 0; i < n; i++)
        out[i] = i < n / 2 ? fmaf(step, (float)i, from) : fmaf(-step, (float)(n - 1 - i), to);
}

static double cosine_bar(double t)
{
    const double c = cos((t + 0.008) / 1.008 * M_PI / 2);
    return c * c;
}

static void make_betas(float *betas, const at_schedule_config *c)
{
    const int64_t n = c->num_train_timesteps;
    if (c->n_trained_betas > 0) {
        memcpy(betas, c->trained_betas, (size_t)n * sizeof *betas);
    } else if (c->beta_schedule == AT_BETA_SCHEDULE_LINEAR) {
        linspace_f32(betas, (float)c->beta_start, (float)c->beta_end, n);
    } else if (c->beta_schedule == AT_BETA_SCHEDULE_SCALED_LINEAR) {
        linspace_f32(betas, (float)sqrt(c->beta_start), (float)sqrt(c->beta_end), n);
        for (int64_t i = 0; i < n; i++)
            betas[i] *= betas[i];
    } else {
        for (int64_t i = 0; i < n; i++) {
            double from = cosine_bar((double)i / (double)n);
            double to = cosine_bar((double)(i + 1) / (double)n);
            betas[i] = (float)fmin(1 - to / from, 0.999);
        }
    }
}

/* acp[i] = the product of 1 - betas up to i. The two may be one array. */
static void multiply_up(float *acp, const float *betas, int64_t n)
{
    double product = 1;
    for (int64_t i = 0; i < n; i++) {
        product *= (double)(1.0f - betas[i]);
        acp[i] = (float)product;
    }
}

/* So that the last timestep has no signal (Lin et al., Common diffusion noise schedules and sample
 * steps are flawed, algorithm 1). 'acp' is room. */
static void rescale_betas(float *betas, float *acp, int64_t n)
{
    multiply_up(acp, betas, n);
    for (int64_t i = 0; i < n; i++)
        acp[i] = sqrtf(acp[i]);
    const float first = acp[0], last = acp[n - 1], scale = first / (first - last);
    for (int64_t i = 0; i < n; i++) {
        const float root = (acp[i] - last) * scale;
        acp[i] = root * root;
    }
    betas[0] = 1.0f - acp[0];
    for (int64_t i = 1; i < n; i++)
        betas[i] = 1.0f - acp[i] / acp[i - 1];
}

static bool counts_in_alphas(at_scheduler s)
{
    return s == AT_SCHEDULER_DDIM || s == AT_SCHEDULER_DDPM || s == AT_SCHEDULER_LCM;
}

static at_status make_alphas(at_schedule *s, at_error *err)
{
    const at_schedule_config *c = &s->config;
    const int64_t n = c->num_train_timesteps;
    const bool in_alphas = counts_in_alphas(c->scheduler);
    float betas[AT_SCHEDULE_TRAIN_STEPS_MAX];
    make_betas(betas, c);
    if (c->rescale_betas_zero_snr)
        rescale_betas(betas, s->alphas_cumprod, n);
    multiply_up(s->alphas_cumprod, betas, n);
    if (c->rescale_betas_zero_snr && !in_alphas)
        s->alphas_cumprod[n - 1] = 0x1p-24f; /* so that its sigma is a number */
    for (int64_t i = 0; i < n; i++) {
        const float a = s->alphas_cumprod[i];
        if (!(a >= 0 && a < 1) || (a == 0 && !(in_alphas && i == n - 1)))
            return at_fail(err, AT_INVALID,
                           "scheduler_config: the betas leave a signal of %g at timestep %lld, "
                           "expected more than 0 and less than 1",
                           (double)a, (long long)i);
    }
    return AT_OK;
}

/* The table's sigma at a timestep. */
static float table_sigma(const at_schedule *s, int64_t i)
{
    return sqrtf((1.0f - s->alphas_cumprod[i]) / s->alphas_cumprod[i]);
}

static double table_log(const at_schedule *s, int64_t i)
{
    return (double)(float)log((double)table_sigma(s, i));
}

/* --- timesteps -------------------------------------------------------------------------------- */

/* Element i of numpy.linspace(from, to, n) */
static double point(double from, double to, int64_t i, int64_t n)
{
    if (i == n - 1 && n > 1)
        return to;
    return i == 0 ? from : (double)i * ((to - from) / (double)(n - 1)) + from;
}

/* From 'last' down to 0 in steps of N / n, rounded half to even, less 1; how many. */
static int64_t trailing(double *out, int64_t last, int64_t train_steps, int64_t n)
{
    const double ratio = (double)train_steps / (double)n;
    const double delta = ((double)last - ratio) - (double)last;
    int64_t count = (int64_t)ceil((double)last / ratio);
    if (count > POINTS_MAX - 1)
        count = POINTS_MAX - 1;
    for (int64_t i = 0; i < count; i++)
        out[i] = rint((double)last + (double)i * delta) - 1;
    return count;
}

/* Euler's family and those that count in alphas. */
static int64_t space_plain(double *t, const at_schedule *s)
{
    const at_schedule_config *c = &s->config;
    const int64_t n = s->steps, train_steps = c->num_train_timesteps;
    if (c->timestep_spacing == AT_SPACING_TRAILING)
        return trailing(t, train_steps, train_steps, n);
    if (c->timestep_spacing == AT_SPACING_LEADING) {
        for (int64_t i = 0; i < n; i++)
            t[i] = (double)((n - 1 - i) * (train_steps / n) + c->steps_offset);
        return n;
    }
    for (int64_t i = 0; i < n; i++) {
        t[i] = point(0, (double)(train_steps - 1), n - 1 - i, n);
        if (counts_in_alphas(c->scheduler))
            t[i] = rint(t[i]);
        else if (c->scheduler != AT_SCHEDULER_DPM_SDE)
            t[i] = (double)(float)t[i];
    }
    return n;
}

/* Timesteps whose logarithm of signal over noise is at least lambda_min_clipped. */
static int64_t unclipped(const at_schedule *s)
{
    int64_t n = s->config.num_train_timesteps, kept = n;
    for (int64_t i = n - 1; i >= 0; i--) {
        const float a = s->alphas_cumprod[i];
        const float lambda = logf(sqrtf(a)) - logf(sqrtf(1.0f - a));
        kept -= (double)lambda < s->config.lambda_min_clipped;
    }
    return kept;
}

/* DPM-Solver's multistep and UniPC: one point more than there are steps, the last left out. */
static int64_t space_multistep(double *t, const at_schedule *s)
{
    const at_schedule_config *c = &s->config;
    const int64_t n = s->steps;
    const int64_t last =
        c->scheduler == AT_SCHEDULER_DPM_MULTISTEP ? unclipped(s) : c->num_train_timesteps;
    if (last < 1)
        return 0;
    if (c->timestep_spacing == AT_SPACING_TRAILING)
        return trailing(t, last, c->num_train_timesteps, n);
    if (c->timestep_spacing == AT_SPACING_LEADING) {
        for (int64_t i = 0; i < n; i++)
            t[i] = (double)((n - i) * (last / (n + 1)) + c->steps_offset);
        return n;
    }
    for (int64_t i = 0; i < n; i++)
        t[i] = rint(point(0, (double)(last - 1), n - i, n + 1));
    return n;
}

/* The steps that a consistency model was distilled on, of which every so many-th is taken. */
static at_status space_lcm(double *t, int64_t *count, const at_schedule *s, at_error *err)
{
    const at_schedule_config *c = &s->config;
    const int64_t original = c->original_inference_steps, n = s->steps;
    if (original > c->num_train_timesteps)
        return at_fail(err, AT_INVALID,
                       "scheduler_config: original_inference_steps: expected at most "
                       "num_train_timesteps, %lld, found %lld",
                       (long long)c->num_train_timesteps, (long long)original);
    if (n > original)
        return at_fail(err, AT_INVALID, "%lld steps, expected at most %lld for lcm", (long long)n,
                       (long long)original);
    const double stride = (double)original / (double)n;
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = original - 1 - (int64_t)floor((double)i * stride);
        t[i] = (double)((at + 1) * (c->num_train_timesteps / original) - 1);
    }
    *count = n;
    return AT_OK;
}

/* --- sigmas ----------------------------------------------------------------------------------- */

/* numpy.interp in the table */
static double sigma_at(const at_schedule *s, double t)
{
    const int64_t n = s->config.num_train_timesteps;
    if (t <= 0)
        return (double)table_sigma(s, 0);
    if (t >= (double)(n - 1))
        return (double)table_sigma(s, n - 1);
    const int64_t i = (int64_t)t;
    const double low = (double)table_sigma(s, i);
    if (t == (double)i)
        return low;
    return ((double)table_sigma(s, i + 1) - low) * (t - (double)i) + low;
}

/* The timestep of a sigma, linear in the logarithm. */
static double timestep_of(const at_schedule *s, double sigma)
{
    const int64_t n = s->config.num_train_timesteps;
    const double want = log(fmax(sigma, 1e-10));
    int64_t i = 0, above = n - 1; /* the last that is not above, but one that has a next */
    while (above - i > 1) {
        const int64_t middle = (i + above) / 2;
        if (table_log(s, middle) <= want)
            i = middle;
        else
            above = middle;
    }
    const double low = table_log(s, i), high = table_log(s, i + 1);
    const double w = fmin(fmax((low - want) / (low - high), 0), 1);
    return (1 - w) * (double)i + w * (double)(i + 1);
}

/* x up to which the beta distribution with both parameters 0.6 holds a share p of at most 1/2: the
 * incomplete beta function's power series, and Newton's method from its first term. */
static double beta_below_half(double p)
{
    const double a = 0.6, whole = tgamma(a) * tgamma(a) / tgamma(2 * a);
    double x = pow(p * a * whole, 1 / a);
    for (int round = 0; p > 0 && round < 20; round++) {
        double sum = 1, term = 1;
        for (int k = 1; k < 80; k++) {
            term *= ((double)k - a) / (double)k * x;
            sum += term * a / (a + (double)k);
        }
        const double share = pow(x, a) / (a * whole) * sum;
        const double density = pow(x, a - 1) * pow(1 - x, a - 1) / whole;
        const double next = fmin(fmax(x - (share - p) / density, 0), 0.5);
        if (next == x)
            break;
        x = next;
    }
    return x;
}

static double beta_quantile(double p)
{
    return p <= 0.5 ? beta_below_half(p) : 1 - beta_below_half(1 - p);
}

/* Sigmas from 'max' to 'min' by one of the three rules. */
static void sigmas_by_rule(double *sigma, const at_schedule_config *c, double max, double min,
                           int64_t n)
{
    const double rho = 7, from = pow(max, 1 / rho), to = pow(min, 1 / rho);
    for (int64_t i = 0; i < n; i++)
        if (c->use_exponential_sigmas)
            sigma[i] = exp(point(log(max), log(min), i, n));
        else if (c->use_karras_sigmas)
            sigma[i] = pow(from + point(0, 1, i, n) * (to - from), rho);
        else
            sigma[i] = min + beta_quantile(1 - point(0, 1, i, n)) * (max - min);
}

static bool is_multistep(at_scheduler s)
{
    return s == AT_SCHEDULER_DPM_MULTISTEP || s == AT_SCHEDULER_UNIPC;
}

static bool has_rule(const at_schedule_config *c)
{
    return c->use_karras_sigmas || c->use_exponential_sigmas || c->use_beta_sigmas;
}

/* Sigmas by their rule between those that were there, and their timesteps. The multistep solvers
 * take the ends of the whole table, the others those of the chosen timesteps. */
static void apply_rule(double *sigma, double *t, int64_t n_sigma, const at_schedule *s)
{
    const at_schedule_config *c = &s->config;
    const int64_t last = c->num_train_timesteps - 1;
    const bool multistep = is_multistep(c->scheduler);
    const bool cosine = c->beta_schedule == AT_BETA_SCHEDULE_SQUAREDCOS;
    /* DPM SDE's Karras sigmas know no bounds from outside. */
    const bool bounded = c->scheduler != AT_SCHEDULER_DPM_SDE || !c->use_karras_sigmas;
    double max = multistep ? (double)table_sigma(s, last) : sigma[0];
    double min = multistep ? (double)table_sigma(s, 0) : sigma[n_sigma - 1];
    max = bounded && c->sigma_max > 0 ? c->sigma_max : max;
    min = bounded && c->sigma_min > 0 ? c->sigma_min : min;
    sigmas_by_rule(sigma, c, max, min, s->steps);
    for (int64_t i = 0; i < s->steps; i++) {
        t[i] = timestep_of(s, sigma[i]);
        if (multistep && c->use_karras_sigmas &&
            !(cosine && c->scheduler == AT_SCHEDULER_DPM_MULTISTEP))
            t[i] = rint(t[i]);
        if (multistep)
            t[i] = trunc(t[i]);
    }
}

/* Euler's other interpolation: sigmas geometric in the table's range, whatever the timesteps; one
 * more than there are steps. */
static int64_t log_linear(double *sigma, const at_schedule *s)
{
    float logs[POINTS_MAX];
    const int64_t n = s->steps + 1, last = s->config.num_train_timesteps - 1;
    linspace_f32(logs, (float)table_log(s, last), (float)table_log(s, 0), n);
    for (int64_t i = 0; i < n; i++)
        sigma[i] = (double)(float)exp((double)logs[i]);
    return n;
}

/* What the last step ends at. */
static double final_sigma(const at_schedule *s, const double *sigma, int64_t n)
{
    const at_schedule_config *c = &s->config;
    if (c->final_sigmas_type == AT_FINAL_SIGMA_ZERO)
        return 0;
    const bool own = c->scheduler == AT_SCHEDULER_UNIPC && has_rule(c);
    return own ? sigma[n - 1] : (double)table_sigma(s, 0);
}

/* Timesteps and sigmas as they are, one evaluation a step. */
static void list_once(at_schedule *s, const double *t, int64_t n, const double *sigma,
                      int64_t n_sigma)
{
    const at_schedule_config *c = &s->config;
    const bool continuous =
        c->timestep_type == AT_TIMESTEP_TYPE_CONTINUOUS && c->prediction_type == AT_PREDICTION_V;
    s->n = n;
    for (int64_t i = 0; i < n_sigma; i++)
        s->sigma[i] = (float)sigma[i];
    for (int64_t i = 0; i < n; i++) {
        s->timestep[i] = is_multistep(c->scheduler) ? t[i] : (double)(float)t[i];
        if (continuous)
            s->timestep[i] = (double)(0.25f * logf(s->sigma[i]));
    }
}

/* Two evaluations a step, but for the last: Heun's second is at the step's end, DPM SDE's at the
 * geometric middle. */
static void list_twice(at_schedule *s, const double *t, int64_t n, const double *sigma)
{
    const bool heun = s->config.scheduler == AT_SCHEDULER_HEUN;
    s->n = 2 * n - 1;
    for (int64_t i = 0; i < n; i++) {
        s->sigma[2 * i] = (float)sigma[i];
        s->timestep[2 * i] = heun ? (double)(float)t[i] : t[i];
        if (i == n - 1)
            break;
        s->sigma[2 * i + 1] = (float)sigma[i + 1];
        const double from = -log(sigma[i]), to = -log(sigma[i + 1]);
        s->timestep[2 * i + 1] =
            heun ? (double)(float)t[i + 1] : timestep_of(s, exp(-(from + (to - from) * 0.5)));
    }
    s->sigma[2 * n - 1] = 0;
}

static void list_sigmas(at_schedule *s, double *t, int64_t n)
{
    double sigma[POINTS_MAX];
    int64_t n_sigma = n;
    for (int64_t i = 0; i < n; i++)
        sigma[i] = sigma_at(s, t[i]);
    if (s->config.interpolation_type == AT_INTERPOLATION_LOG_LINEAR)
        n_sigma = log_linear(sigma, s);
    if (has_rule(&s->config)) {
        apply_rule(sigma, t, n_sigma, s);
        n = n_sigma = s->steps;
    }
    if (at_scheduler_order(s->config.scheduler) == 2) {
        list_twice(s, t, n, sigma);
        return;
    }
    sigma[n_sigma] = final_sigma(s, sigma, n_sigma);
    list_once(s, t, n, sigma, n_sigma + 1);
}

/* --- the whole -------------------------------------------------------------------------------- */

static void set_noise_scale(at_schedule *s)
{
    const at_scheduler scheduler = s->config.scheduler;
    s->noise_scale = 1;
    if (counts_in_alphas(scheduler) || is_multistep(scheduler))
        return;
    float max = 0;
    for (int64_t i = 0; i < s->n; i++)
        max = s->sigma[i] > max ? s->sigma[i] : max;
    const bool leading = s->config.timestep_spacing == AT_SPACING_LEADING;
    s->noise_scale = leading ? sqrtf(max * max + 1.0f) : max;
}

/* Timesteps of a schedule that looks them up. */
static at_status list_alphas(at_schedule *s, const double *t, int64_t n, at_error *err)
{
    const int64_t last = s->config.num_train_timesteps - 1;
    s->n = n;
    for (int64_t i = 0; i < n; i++) {
        if (t[i] < 0 || t[i] > (double)last)
            return at_fail(err, AT_INVALID,
                           "%s: timestep %lld of %lld steps is %g, expected 0 to %lld",
                           at_scheduler_class(s->config.scheduler), (long long)i,
                           (long long)s->steps, t[i], (long long)last);
        s->timestep[i] = t[i];
    }
    return AT_OK;
}

at_status at_schedule_make(at_schedule *out, const at_schedule_config *config, int64_t steps,
                           at_error *err)
{
    const int64_t most = config->num_train_timesteps < AT_SCHEDULE_STEPS_MAX
                             ? config->num_train_timesteps
                             : AT_SCHEDULE_STEPS_MAX;
    if (steps < 1 || steps > most)
        return at_fail(err, AT_INVALID, "%lld steps, expected 1 to %lld", (long long)steps,
                       (long long)most);
    memset(out, 0, sizeof *out);
    out->config = *config;
    out->steps = steps;
    AT_TRY(make_alphas(out, err));
    double t[POINTS_MAX] = { 0 };
    int64_t n = 0;
    if (config->scheduler == AT_SCHEDULER_LCM)
        AT_TRY(space_lcm(t, &n, out, err));
    else
        n = is_multistep(config->scheduler) ? space_multistep(t, out) : space_plain(t, out);
    if (n < 1)
        return at_fail(err, AT_INVALID,
                       "scheduler_config: lambda_min_clipped: %g leaves no timestep",
                       config->lambda_min_clipped);
    if (counts_in_alphas(config->scheduler))
        AT_TRY(list_alphas(out, t, n, err));
    else
        list_sigmas(out, t, n);
    set_noise_scale(out);
    return AT_OK;
}

/* --- parts of the way ------------------------------------------------------------------------- */

at_status at_schedule_begin_strength(const at_schedule *s, double strength, int64_t *begin,
                                     at_error *err)
{
    if (!(strength >= 0 && strength <= 1))
        return at_fail(err, AT_INVALID, "strength %g, expected 0 to 1", strength);
    const int64_t run = (int64_t)((double)s->steps * strength);
    *begin = (s->steps - run) * at_scheduler_order(s->config.scheduler);
    if (run < 1 || *begin >= s->n)
        return at_fail(err, AT_INVALID,
                       "strength %g of %lld steps leaves none to run, expected at least %g",
                       strength, (long long)s->steps, 1 / (double)s->steps);
    return AT_OK;
}

static at_status cutoff_of(const at_schedule *s, double part, double *cutoff, at_error *err)
{
    const double n = (double)s->config.num_train_timesteps;
    if (!(part > 0 && part < 1))
        return at_fail(err, AT_INVALID, "denoising up to %g of the way, expected between 0 and 1",
                       part);
    *cutoff = rint(n - part * n);
    return AT_OK;
}

at_status at_schedule_end_at(const at_schedule *s, double part, int64_t *at, at_error *err)
{
    double cutoff = 0;
    AT_TRY(cutoff_of(s, part, &cutoff, err));
    *at = 0;
    for (int64_t i = 0; i < s->n; i++)
        *at += s->timestep[i] >= cutoff;
    if (*at < 1)
        return at_fail(err, AT_INVALID,
                       "denoising up to %g of the way: none of %lld steps is "
                       "before it",
                       part, (long long)s->steps);
    return AT_OK;
}

at_status at_schedule_begin_at(const at_schedule *s, double part, int64_t *at, at_error *err)
{
    double cutoff = 0;
    AT_TRY(cutoff_of(s, part, &cutoff, err));
    int64_t left = 0;
    for (int64_t i = 0; i < s->n; i++)
        left += s->timestep[i] < cutoff;
    /* A step of two evaluations is not begun at its second. */
    if (at_scheduler_order(s->config.scheduler) == 2 && left % 2 == 0)
        left++;
    if (left < 1 || left > s->n)
        return at_fail(err, AT_INVALID,
                       "denoising from %g of the way on: none of %lld steps is "
                       "after it",
                       part, (long long)s->steps);
    *at = s->n - left;
    return AT_OK;
}
