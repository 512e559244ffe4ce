/* libraries.h -- the libraries that this program is linked with, and CUDA's, which it opens when it
 * needs them; and what they say about themselves. */
#ifndef AT_CLI_LIBRARIES_H
#define AT_CLI_LIBRARIES_H

#include <stdbool.h>
#include <stddef.h>

typedef struct at_library {
    const char *name;
    char version[64]; /* "": it tells none, or is not part of this build, or was not found */
    char detail[256]; /* what it is here for, or why it is not here */
} at_library;

bool at_library_about(at_library *out, int i); /* false past the end */

/* In library_onednn.c, which is there when oneDNN is. */
void at_library_onednn(at_library *out);
/* In library_files.c, which is there when checkpoints and pictures are; library_no_files.c knows of
 * no library for pictures. */
void at_library_hdf5(at_library *out);
void at_library_xxhash(at_library *out);
void at_library_picture(at_library *out, int i); /* leaves 'out' as it is past the end */

#endif
