#define _GNU_SOURCE
#include "cli/libraries.h"

#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <stdio.h>

#include "engine/checkpoint_hdf5.h"
#include "engine/checksum.h"
#include "runtime/picture.h"

#if !defined(AT_HAS_ONEDNN)
static void describe_onednn(at_library *out)
{
    snprintf(out->detail, sizeof out->detail,
             "not in this build: convolutions and products are our own, slower");
}
#endif

static void describe_openmp(at_library *out)
{
    /* Both known run-time libraries answer to GOMP's names, only one to its own. */
    bool clang = dlsym(RTLD_DEFAULT, "__kmpc_fork_call"),
         gcc = dlsym(RTLD_DEFAULT, "GOMP_parallel");
    snprintf(out->version, sizeof out->version, "%s", clang ? "libomp" : gcc ? "libgomp" : "");
    snprintf(out->detail, sizeof out->detail, "%s",
             clang || gcc ? "the team of threads" : "plain threads");
}

static void describe_hdf5(at_library *out)
{
    at_hdf5_version(out->version, sizeof out->version);
    snprintf(out->detail, sizeof out->detail, "the checkpoint store");
}

static void describe_xxhash(at_library *out)
{
    at_checksum_version(out->version, sizeof out->version);
    snprintf(out->detail, sizeof out->detail, "checksums of the checkpoint store: XXH3");
}

static void describe_libc(at_library *out)
{
    snprintf(out->version, sizeof out->version, "%s", gnu_get_libc_version());
    snprintf(out->detail, sizeof out->detail, "the C library");
}

static void describe_picture_library(at_library *out, const at_picture_library *p)
{
    out->name = p->name;
    if (p->version)
        p->version(out->version, sizeof out->version);
    snprintf(out->detail, sizeof out->detail, "%s%s", p->version ? "" : "not in this build: no ",
             p->use);
}

static const struct {
    const char *name;
    void (*describe)(at_library *out);
} libraries[] = {
#if defined(AT_HAS_ONEDNN)
    { "oneDNN", at_library_onednn },
#else
    { "oneDNN", describe_onednn },
#endif
    { "OpenMP", describe_openmp },   { "glibc", describe_libc },
    { "HDF5", describe_hdf5 },       { "xxHash", describe_xxhash },
};

bool at_library_about(at_library *out, int i)
{
    const int count = (int)AT_COUNT(libraries);
    *out = (at_library){ .name = NULL };
    if (i >= 0 && i < count) {
        out->name = libraries[i].name;
        libraries[i].describe(out);
    } else if (i >= count && at_picture_library_at(i - count)) {
        describe_picture_library(out, at_picture_library_at(i - count));
    }
    return out->name != NULL;
}
