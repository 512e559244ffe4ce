#define _GNU_SOURCE
#include "engine/cuda_libraries.h"

#include <dlfcn.h>
#include <glob.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

/* --- versions --------------------------------------------------------------------------------- */

/* size_t f(void); status f(int *version); status f(int *major, int *minor) */
typedef enum version_way { AT_VERSION_RETURNED, AT_VERSION_STORED, AT_VERSION_IN_TWO } version_way;

enum { SONAMES_MAX = 2 };

static const struct {
    const char *name, *sonames[SONAMES_MAX], *symbol;
    version_way how;
    const char *use;
} libraries[] = {
#define AT_CUDA_LIBRARY(NAME, name, newest, older, symbol, how, use) \
    { name, { newest, older }, symbol, how, use },
#include "engine/cuda_libraries.def"
#undef AT_CUDA_LIBRARY
};

/* A function's address as dlsym() gives it, and as it is called. */
typedef union version_call {
    void *found;
    size_t (*returned)(void);
    int (*stored)(int *version);
    int (*in_two)(int *major, int *minor);
} version_call;

/* 90103 is 9.1.3: so it is in all of them of these major versions. */
static void write_version(char *out, size_t out_size, size_t v)
{
    snprintf(out, out_size, "%zu.%zu.%zu", v / 10000, v / 100 % 100, v % 100);
}

static at_status ask_version(at_cuda_library *l, at_cuda_library_id id, at_error *err)
{
    const version_call call = { dlsym(l->handle, libraries[id].symbol) };
    int major = 0, minor = 0, status = 0;
    if (!call.found)
        return at_fail(err, AT_UNSUPPORTED, "%s has no %s", l->path, libraries[id].symbol);
    switch (libraries[id].how) {
    case AT_VERSION_RETURNED: write_version(l->version, sizeof l->version, call.returned()); break;
    case AT_VERSION_STORED:
        status = call.stored(&major);
        write_version(l->version, sizeof l->version, (size_t)major);
        break;
    case AT_VERSION_IN_TWO:
        status = call.in_two(&major, &minor);
        snprintf(l->version, sizeof l->version, "%d.%d", major, minor);
        break;
    }
    return status == 0 ? AT_OK
                       : at_fail(err, AT_UNSUPPORTED, "%s: %s failed with %d", l->path,
                                 libraries[id].symbol, status);
}

/* --- places ----------------------------------------------------------------------------------- */

/* Where NVIDIA's packages put CUDA. */
static const char *const cuda_folders[] = { "/usr/local/cuda*/lib64",
                                            "/usr/local/cuda*/targets/x86_64-linux/lib",
                                            "/usr/local/cuda*/targets/sbsa-linux/lib", NULL };
/* Within a folder: the libraries themselves, or a wheel's folder of them. */
static const char *const within[] = { "", "/nvidia/*/lib" };

/* Not one of them is made to be unloaded: they stay in, and the handle alone is given up. */
static bool open_file(at_cuda_library *out, const char *file)
{
    struct link_map *map = NULL;
    out->handle = dlopen(file, RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
    if (!out->handle)
        return false;
    bool known = dlinfo(out->handle, RTLD_DI_LINKMAP, &map) == 0 && map && *map->l_name;
    snprintf(out->path, sizeof out->path, "%s", known ? map->l_name : file);
    return true;
}

/* The first file of the pattern that opens. */
static bool open_pattern(at_cuda_library *out, const char *pattern)
{
    glob_t found;
    bool opened = false;
    if (glob(pattern, 0, NULL, &found) != 0)
        return false;
    for (size_t i = 0; i < found.gl_pathc && !opened; i++)
        opened = open_file(out, found.gl_pathv[i]);
    globfree(&found);
    return opened;
}

static bool open_in(at_cuda_library *out, const char *soname, const char *const *folders)
{
    char pattern[AT_CUDA_LIBRARY_PATH_MAX];
    for (; folders && *folders; folders++)
        for (size_t i = 0; i < AT_COUNT(within); i++) {
            int n = snprintf(pattern, sizeof pattern, "%s%s/%s", *folders, within[i], soname);
            if (n > 0 && (size_t)n < sizeof pattern && open_pattern(out, pattern))
                return true;
        }
    return false;
}

static bool open_named(at_cuda_library *out, const char *soname, const char *const *folders)
{
    return open_file(out, soname) || open_in(out, soname, cuda_folders) ||
           open_in(out, soname, folders);
}

/* --- what is called --------------------------------------------------------------------------- */

const char *at_cuda_library_name(at_cuda_library_id id)
{
    return libraries[id].name;
}

const char *at_cuda_library_use(at_cuda_library_id id)
{
    return libraries[id].use;
}

at_status at_cuda_library_open(at_cuda_library *out, at_cuda_library_id id,
                               const char *const *folders, at_error *err)
{
    *out = (at_cuda_library){ 0 };
    for (int i = 0; i < SONAMES_MAX && !out->handle; i++)
        if (*libraries[id].sonames[i])
            open_named(out, libraries[id].sonames[i], folders);
    if (!out->handle)
        return at_fail(err, AT_NOT_FOUND, "%s was not found: looked for %s%s%s", libraries[id].name,
                       libraries[id].sonames[0], *libraries[id].sonames[1] ? " and " : "",
                       libraries[id].sonames[1]);
    at_status status = ask_version(out, id, err);
    if (status != AT_OK)
        at_cuda_library_close(out);
    return status;
}

at_status at_cuda_library_open_file(at_cuda_library *out, at_cuda_library_id id, const char *file,
                                    at_error *err)
{
    *out = (at_cuda_library){ 0 };
    if (!open_file(out, file))
        return at_fail(err, AT_NOT_FOUND, "%s was not found: %s", libraries[id].name, file);
    return AT_OK;
}

void at_cuda_library_close(at_cuda_library *l)
{
    if (l->handle)
        dlclose(l->handle);
    *l = (at_cuda_library){ 0 };
}
