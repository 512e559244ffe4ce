/* schedule.h -- from a model's scheduler_config and a number of steps to timesteps and sigmas, in
 * the very numbers of diffusers 0.42.1.
 *
 * A scheduler_config is JSON from outside. Its keys are those of schedule_keys.def; which of them
 * count, and what stands for one that is absent, depends on the scheduler, a class of diffusers
 * (schedules.def). A caller may overrule the fields of at_schedule_config before it makes a
 * schedule.
 *
 * A schedule is a list of evaluations, which are calls of the model; a step of Heun and of DPM SDE
 * has two. Everything here is plain data that the caller owns: nothing is allocated, and a schedule
 * that is made is only read, from any thread. */
#ifndef AT_RUNTIME_SCHEDULE_H
#define AT_RUNTIME_SCHEDULE_H

#include "kernels/base.h"
#include "models/sdxl_scheduler.h"

enum {
    AT_SCHEDULE_STEPS_MAX = 1000,
    AT_SCHEDULE_TRAIN_STEPS_MAX = 4096,
    /* Trailing spacing gives one timestep more than asked for at some numbers of steps. */
    AT_SCHEDULE_EVALUATIONS_MAX = 2 * (AT_SCHEDULE_STEPS_MAX + 1),
    AT_SCHEDULE_CONFIG_BYTES_MAX = 1 << 20
};

typedef enum at_scheduler {
#define AT_SCHEDULER(NAME, class, letter, beta_start, beta_end, betas, spacing, clip) \
    AT_SCHEDULER_##NAME,
#include "runtime/schedules.def"
    AT_SCHEDULER_COUNT
} at_scheduler;
typedef enum at_prediction {
#define AT_PREDICTION(NAME, text) AT_PREDICTION_##NAME,
#include "runtime/schedules.def"
} at_prediction;
typedef enum at_beta_schedule {
#define AT_BETA_SCHEDULE(NAME, text) AT_BETA_SCHEDULE_##NAME,
#include "runtime/schedules.def"
} at_beta_schedule;
typedef enum at_spacing {
#define AT_SPACING(NAME, text) AT_SPACING_##NAME,
#include "runtime/schedules.def"
} at_spacing;
typedef enum at_interpolation {
#define AT_INTERPOLATION(NAME, text) AT_INTERPOLATION_##NAME,
#include "runtime/schedules.def"
} at_interpolation;
typedef enum at_timestep_type {
#define AT_TIMESTEP_TYPE(NAME, text) AT_TIMESTEP_TYPE_##NAME,
#include "runtime/schedules.def"
} at_timestep_type;
typedef enum at_final_sigma {
#define AT_FINAL_SIGMA(NAME, text) AT_FINAL_SIGMA_##NAME,
#include "runtime/schedules.def"
} at_final_sigma;
typedef enum at_solver {
#define AT_SOLVER(NAME, text) AT_SOLVER_##NAME,
#include "runtime/schedules.def"
} at_solver;
typedef enum at_added_noise {
#define AT_ADDED_NOISE(NAME, text) AT_ADDED_NOISE_##NAME,
#include "runtime/schedules.def"
} at_added_noise;

/* One field a key, of the key's name; names and switches are int. */
typedef struct at_schedule_config {
    at_scheduler scheduler;
    bool sde; /* DPM-Solver's multistep with noise: algorithm_type sde-dpmsolver++ */
#define AT_KEY_INT(key, letters, initial, least, most)        int64_t key;
#define AT_KEY_REAL(key, letters, initial, least, most, null) double key;
#define AT_KEY_BOOL(key, letters, initial)                    int key;
#define AT_KEY_NAME(key, letters, initial, list)              int key;
#define AT_KEY_ONLY(key, letters, value)                      int key;
#include "runtime/schedule_keys.def"
#undef AT_KEY_INT
#undef AT_KEY_REAL
#undef AT_KEY_BOOL
#undef AT_KEY_NAME
#undef AT_KEY_ONLY
    int64_t n_trained_betas; /* 0: by beta_schedule */
    float trained_betas[AT_SCHEDULE_TRAIN_STEPS_MAX];
} at_schedule_config;

/* SDXL base's scheduler_config, for models that come without one. */
#define AT_SCHEDULE_SDXL AT_SDXL_SCHEDULER("epsilon", "false")

/* The class of diffusers. */
AT_API const char *at_scheduler_class(at_scheduler scheduler);
/* What 'scheduler' reads in this text. */
AT_API at_status at_schedule_config_read(at_schedule_config *out, at_scheduler scheduler,
                                         const char *json, size_t bytes, at_error *err);

typedef struct at_schedule {
    at_schedule_config config;
    int64_t steps;                                /* as asked for */
    int64_t n;                                    /* evaluations */
    float noise_scale;                            /* latents begin as this times N(0, 1) */
    double timestep[AT_SCHEDULE_EVALUATIONS_MAX]; /* (n) what the model is told */
    /* (n + 1): that of each evaluation and the end's. None in DDIM, DDPM and LCM, which count in
     * alphas_cumprod. */
    float sigma[AT_SCHEDULE_EVALUATIONS_MAX + 1];
    float alphas_cumprod[AT_SCHEDULE_TRAIN_STEPS_MAX]; /* (num_train_timesteps) */
} at_schedule;

AT_API at_status at_schedule_make(at_schedule *out, const at_schedule_config *config, int64_t steps,
                                  at_error *err);
/* Evaluations of one step: 1 or 2. */
AT_API int at_scheduler_order(at_scheduler scheduler);

/* The first evaluation where a picture is drawn over with this strength, from 0 to 1. One that
 * leaves nothing to do is refused. */
AT_API at_status at_schedule_begin_strength(const at_schedule *s, double strength, int64_t *begin,
                                            at_error *err);
/* The evaluations of a base model that stops at this part of the way, and of the refiner that goes
 * on there: [0, *at) and [*at, n). Between 0 and 1, both excluded. */
AT_API at_status at_schedule_end_at(const at_schedule *s, double part, int64_t *at, at_error *err);
AT_API at_status at_schedule_begin_at(const at_schedule *s, double part, int64_t *at,
                                      at_error *err);

#endif
