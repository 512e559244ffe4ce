/* checkpoint_params.h -- parameters from a checkpoint: each by its name, all or none. */
#ifndef AT_ENGINE_CHECKPOINT_PARAMS_H
#define AT_ENGINE_CHECKPOINT_PARAMS_H

#include "engine/checkpoint.h"
#include "engine/param.h"

/* Copies every parameter's bytes from the tensor of its name, which has its type and sizes. A
 * storage that is there for its slices may be missing in the file: then its slices bring its rows.
 * Nothing is copied unless every parameter is there and its tensor whole; tensors that no parameter
 * asks for are left alone. */
AT_API at_status at_params_load(at_params *store, at_checkpoint *c, at_error *err);

/* Adds the tensor of this name as a parameter: where it lies, on a device that uses the host's
 * memory, else as a copy. The checkpoint outlives the store. NULL and 'err': there is none, it
 * is damaged, no op computes with its type, or there is no memory. A scalar becomes a vector of
 * one. */
AT_API at_param *at_params_from(at_params *store, at_checkpoint *c, const char *name,
                                at_error *err);

#endif
