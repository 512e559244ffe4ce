/* device.h -- the device that a command works on.
 *
 * The library reads no environment: the folders in which torch and other installations keep CUDA's
 * libraries are found here, and told to a device when it is opened. */
#ifndef AT_CLI_DEVICE_H
#define AT_CLI_DEVICE_H

#include "engine/device.h"

enum { AT_PLACES_MAX = 9, AT_PLACE_MAX = 512 };

/* Patterns of glob(7), for at_device_options.library_folders: 'folders' ends with NULL and points
 * into this struct, which therefore stays where it was filled in. */
typedef struct at_places {
    const char *folders[AT_PLACES_MAX + 1];
    char text[AT_PLACES_MAX][AT_PLACE_MAX];
} at_places;

void at_places_find(at_places *out);

/* The device of that name, with those folders; without a name the best that is here, and then 'why'
 * tells why it is not a GPU, if that should be said. */
at_status at_command_device(at_device **out, const char *name, const at_device_options *options,
                            at_error *why, at_error *err);
/* A GPU, whether or not this build has kernels for it: to look at it. */
at_status at_command_gpu(at_device **out, at_error *err);

#endif
