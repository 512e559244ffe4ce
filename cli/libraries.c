#define _GNU_SOURCE
#include "cli/libraries.h"

#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <jansson.h>
#include <stdio.h>

#include "kernels/base.h"

#if !defined(AT_HAS_ONEDNN)
static void describe_onednn(char *version, size_t version_size, char *detail, size_t detail_size)
{
    snprintf(version, version_size, "%s", "");
    snprintf(detail, detail_size,
             "not in this build: convolutions and products are our own, slower");
}
#endif

static void describe_openmp(char *version, size_t version_size, char *detail, size_t detail_size)
{
    /* Both known run-time libraries answer to GOMP's names, only one to its own. */
    bool clang = dlsym(RTLD_DEFAULT, "__kmpc_fork_call"),
         gcc = dlsym(RTLD_DEFAULT, "GOMP_parallel");
    snprintf(version, version_size, "%s", clang ? "libomp" : gcc ? "libgomp" : "");
    snprintf(detail, detail_size, "%s", clang || gcc ? "the team of threads" : "plain threads");
}

static void describe_jansson(char *version, size_t version_size, char *detail, size_t detail_size)
{
    snprintf(version, version_size, "%s", jansson_version_str());
    snprintf(detail, detail_size, "--json");
}

static void describe_libc(char *version, size_t version_size, char *detail, size_t detail_size)
{
    snprintf(version, version_size, "%s", gnu_get_libc_version());
    snprintf(detail, detail_size, "the C library");
}

static const at_library libraries[] = {
#if defined(AT_HAS_ONEDNN)
    { "oneDNN", at_library_onednn },
#else
    { "oneDNN", describe_onednn },
#endif
    { "OpenMP", describe_openmp },
    { "jansson", describe_jansson },
    { "glibc", describe_libc },
};

const at_library *at_library_at(int i)
{
    return i >= 0 && (size_t)i < AT_COUNT(libraries) ? &libraries[i] : NULL;
}
