/* library_no_files.c -- in place of library_files.c where there are neither checkpoints nor
 * pictures. */
#include "cli/libraries.h"

void at_library_picture(at_library *out, int i)
{
    (void)out, (void)i;
}
