#include "cli/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *variable, *rest; /* below the folder that the variable names; NULL: as it stands */
} places[] = {
    { "CUDA_HOME", "/lib64" },
    { "CUDA_PATH", "/lib64" },
    { "VIRTUAL_ENV", "/lib/python3*/site-packages" },
    { "CONDA_PREFIX", "/lib" },
    { "CONDA_PREFIX", "/lib/python3*/site-packages" },
    { "HOME", "/.local/lib/python3*/site-packages" },
    { NULL, "/usr/local/lib/python3*/site-packages" },
    { NULL, "/usr/local/lib/python3*/dist-packages" },
};
_Static_assert(AT_COUNT(places) + 1 <= AT_PLACES_MAX, "at_places has room for all");

/* The packages of the python3 that the PATH finds: an environment is often used without the
 * variable that its activation sets. */
static bool find_python(char *text)
{
    const char *path = getenv("PATH");
    for (const char *p = path ? path : ""; *p;) {
        char file[AT_PLACE_MAX];
        const int length = (int)strcspn(p, ":");
        int n = snprintf(file, sizeof file, "%.*s/python3", length, p);
        if (length && n > 0 && n < AT_PLACE_MAX && access(file, X_OK) == 0) {
            n = snprintf(text, AT_PLACE_MAX, "%.*s/../lib/python3*/site-packages", length, p);
            return n > 0 && n < AT_PLACE_MAX;
        }
        p += length;
        p += *p == ':';
    }
    return false;
}

void at_places_find(at_places *out)
{
    size_t count = 0;
    for (size_t i = 0; i < AT_COUNT(places); i++) {
        const char *variable = places[i].variable, *root = variable ? getenv(variable) : "";
        char *text = out->text[count];
        int n = root ? snprintf(text, AT_PLACE_MAX, "%s%s", root, places[i].rest) : -1;
        if (n > 0 && n < AT_PLACE_MAX)
            out->folders[count++] = text;
    }
    if (find_python(out->text[count])) {
        out->folders[count] = out->text[count];
        count++;
    }
    out->folders[count] = NULL;
}

at_status at_command_device(at_device **out, const char *name, const at_device_options *options,
                            at_error *why, at_error *err)
{
    at_places found;
    at_device_options all = *options;
    at_places_find(&found);
    all.library_folders = found.folders;
    *why = (at_error){ 0 };
    return name ? at_device_open(out, name, &all, err) : at_device_open_best(out, &all, why, err);
}

at_status at_command_gpu(at_device **out, at_error *err)
{
    at_places found;
    at_places_find(&found);
    const at_device_options options = { .library_folders = found.folders };
    return at_device_open_api(out, &at_device_cuda, &options, err);
}
