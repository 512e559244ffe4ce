/* sdxl_scheduler.h -- the way from noise to picture of models whose file does not say it. */
#ifndef AT_MODELS_SDXL_SCHEDULER_H
#define AT_MODELS_SDXL_SCHEDULER_H

/* SDXL base's scheduler_config.json. */
#define AT_SDXL_SCHEDULER                                                                        \
    "{\"_class_name\": \"EulerDiscreteScheduler\", \"beta_start\": 0.00085, "                    \
    "\"beta_end\": 0.012, \"beta_schedule\": \"scaled_linear\", \"clip_sample\": false, "        \
    "\"interpolation_type\": \"linear\", \"num_train_timesteps\": 1000, "                        \
    "\"prediction_type\": \"epsilon\", \"sample_max_value\": 1.0, \"set_alpha_to_one\": false, " \
    "\"skip_prk_steps\": true, \"steps_offset\": 1, \"timestep_spacing\": \"leading\", "         \
    "\"trained_betas\": null, \"use_karras_sigmas\": false}"

#endif
