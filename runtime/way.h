/* way.h -- which sampler and which schedule a request takes with a model: its own words over the
 * model's scheduler_config. Plain data; any thread. */
#ifndef AT_RUNTIME_WAY_H
#define AT_RUNTIME_WAY_H

#include "models/sdxl.h"
#include "runtime/atelier.h"
#include "runtime/sampler.h"

/* The sampler that a scheduler_config's _class_name stands for, euler where it has none; a class
 * that there is no sampler for is refused by its name. */
AT_API at_status at_way_sampler_of(at_sampler *out, const char *json, size_t bytes, at_error *err);

/* What a request says of the way overrules the model; settings that the sampler does not have are
 * refused. */
at_status at_way_choose(at_sampler *sampler, at_schedule *schedule, const at_sdxl_about *model,
                        const at_request *r, at_error *err);

#endif
