/* plan_file.h -- a model's file, looked at for `atelier plan`: its configurations, no weights. In
 * plan_file.c, which is there when files are; plan_no_files.c knows none. */
#ifndef AT_CLI_PLAN_FILE_H
#define AT_CLI_PLAN_FILE_H

#include "models/sdxl.h"

typedef struct at_plan_file {
    at_sdxl *model; /* NULL: not open */
    const at_sdxl_about *about;
    char size[48]; /* of its usual picture, as an option has it */
} at_plan_file;

/* A file, or a name that cli/folders.h finds, with all that a picture takes. The device outlives
 * it. */
at_status at_plan_file_open(at_plan_file *out, const char *name, at_device *device, at_error *err);
void at_plan_file_close(at_plan_file *f);

#endif
