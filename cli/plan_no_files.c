/* plan_no_files.c -- in place of plan_file.c where files are not part of the build. */
#include "cli/plan_file.h"

at_status at_plan_file_open(at_plan_file *out, const char *name, at_device *device, at_error *err)
{
    (void)device;
    *out = (at_plan_file){ 0 };
    return at_fail(err, AT_NOT_FOUND,
                   "there is no model '%.100s': expected sdxl-unet, sdxl-vae or sdxl; this build "
                   "reads no files",
                   name);
}

void at_plan_file_close(at_plan_file *f)
{
    (void)f;
}
