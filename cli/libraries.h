/* libraries.h -- the libraries that this program is linked with, and what they say about
 * themselves. */
#ifndef AT_CLI_LIBRARIES_H
#define AT_CLI_LIBRARIES_H

#include <stddef.h>

typedef struct at_library {
    const char *name;
    /* Its version and what it says of this machine; "" when it is not part of this build. */
    void (*describe)(char *version, size_t version_size, char *detail, size_t detail_size);
} at_library;

const at_library *at_library_at(int i); /* NULL past the end */

/* In library_onednn.c, which is there when oneDNN is. */
void at_library_onednn(char *version, size_t version_size, char *detail, size_t detail_size);

#endif
