/* sdxl_scheduler.h -- SDXL base's scheduler_config, for models in single files, which have none. */
#ifndef AT_MODELS_SDXL_SCHEDULER_H
#define AT_MODELS_SDXL_SCHEDULER_H

/* 'prediction' is a prediction_type, 'zero_snr' "true" where a model was trained down to pure
 * noise: rescale_betas_zero_snr. */
#define AT_SDXL_SCHEDULER(prediction, zero_snr)                                           \
    "{\"_class_name\": \"EulerDiscreteScheduler\", \"beta_start\": 0.00085, "             \
    "\"beta_end\": 0.012, \"beta_schedule\": \"scaled_linear\", \"clip_sample\": false, " \
    "\"interpolation_type\": \"linear\", \"num_train_timesteps\": 1000, "                 \
    "\"prediction_type\": \"" prediction "\", \"rescale_betas_zero_snr\": " zero_snr ", " \
    "\"sample_max_value\": 1.0, \"set_alpha_to_one\": false, \"skip_prk_steps\": true, "  \
    "\"steps_offset\": 1, \"timestep_spacing\": \"leading\", \"trained_betas\": null, "   \
    "\"use_karras_sigmas\": false}"

#endif
