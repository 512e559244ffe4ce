/* library_files.c -- the libraries behind checkpoints and pictures; in a build with files. */
#include <stdio.h>

#include "cli/libraries.h"
#include "engine/checkpoint_hdf5.h"
#include "engine/checksum.h"
#include "runtime/picture.h"

void at_library_hdf5(at_library *out)
{
    at_hdf5_version(out->version, sizeof out->version);
    snprintf(out->detail, sizeof out->detail, "the checkpoint store");
}

void at_library_xxhash(at_library *out)
{
    at_checksum_version(out->version, sizeof out->version);
    snprintf(out->detail, sizeof out->detail, "checksums of the checkpoint store: XXH3");
}

void at_library_picture(at_library *out, int i)
{
    const at_picture_library *p = at_picture_library_at(i);
    if (!p)
        return;
    out->name = p->name;
    if (p->version)
        p->version(out->version, sizeof out->version);
    snprintf(out->detail, sizeof out->detail, "%s%s", p->version ? "" : "not in this build: no ",
             p->use);
}
