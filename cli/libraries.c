#define _GNU_SOURCE
#include "cli/libraries.h"

#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <stdio.h>

#include "cli/device.h"
#include "engine/cuda_libraries.h"

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

static void describe_libc(at_library *out)
{
    snprintf(out->version, sizeof out->version, "%s", gnu_get_libc_version());
    snprintf(out->detail, sizeof out->detail, "the C library");
}

static void describe_cuda_library(at_library *out, at_cuda_library_id id)
{
    at_places found;
    at_cuda_library l;
    at_error err;
    const int room = (int)sizeof out->detail - 1;
    at_places_find(&found);
    out->name = at_cuda_library_name(id);
    if (at_cuda_library_open(&l, id, found.folders, &err) != AT_OK) {
        snprintf(out->detail, sizeof out->detail, "%.*s", room, err.text);
        return;
    }
    snprintf(out->version, sizeof out->version, "%s", l.version);
    snprintf(out->detail, sizeof out->detail, "%s: %.*s", at_cuda_library_use(id), room / 2,
             l.path);
    at_cuda_library_close(&l);
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
#if defined(AT_HAS_FILES)
    { "HDF5", at_library_hdf5 },     { "xxHash", at_library_xxhash },
#endif
};

bool at_library_about(at_library *out, int i)
{
    const int count = (int)AT_COUNT(libraries), cuda = i - count;
    *out = (at_library){ .name = NULL };
    if (i >= 0 && i < count) {
        out->name = libraries[i].name;
        libraries[i].describe(out);
    } else if (cuda >= 0 && cuda < AT_CUDA_LIBRARY_COUNT) {
        describe_cuda_library(out, (at_cuda_library_id)cuda);
    } else if (cuda >= 0) {
        at_library_picture(out, cuda - AT_CUDA_LIBRARY_COUNT);
    }
    return out->name != NULL;
}
