#include "cli/tuning.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

at_status at_tuning_folder(const char *named, char folder[AT_TUNING_FOLDER_MAX], at_error *err)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n = -1;
    if (named)
        n = snprintf(folder, AT_TUNING_FOLDER_MAX, "%s", named);
    else if (cache && *cache == '/')
        n = snprintf(folder, AT_TUNING_FOLDER_MAX, "%s/atelier", cache);
    else if (home && *home == '/')
        n = snprintf(folder, AT_TUNING_FOLDER_MAX, "%s/.cache/atelier", home);
    if (n > 0 && n < AT_TUNING_FOLDER_MAX)
        return AT_OK;
    return at_fail(err, AT_INVALID,
                   named ? "the name of the folder of choices is empty or too long"
                         : "there is no folder to keep choices in: neither XDG_CACHE_HOME nor HOME "
                           "names one; --folder does");
}

/* Where choices of known devices lie, seen from the program: in the sources that it was built in,
 * or where it was installed. */
static const char *const beside[] = { "../tuning", "../share/atelier/tuning" };

static bool known_folder(size_t i, char folder[AT_TUNING_FOLDER_MAX])
{
    char program[AT_TUNING_FOLDER_MAX - 64];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0)
        return false;
    program[n] = 0;
    char *slash = strrchr(program, '/');
    if (!slash)
        return false;
    *slash = 0;
    snprintf(folder, AT_TUNING_FOLDER_MAX, "%s/%s", program, beside[i]);
    return true;
}

_Static_assert(AT_COUNT(beside) + 1 <= AT_TUNING_PLACES_MAX, "at_tuning_places has room for all");

void at_tuning_places_find(at_tuning_places *out, const char *own)
{
    size_t count = 0;
    for (size_t i = 0; i < AT_COUNT(beside); i++) {
        if (known_folder(i, out->text[count])) {
            out->folders[count] = out->text[count];
            count++;
        }
    }
    if (own) {
        snprintf(out->text[count], AT_TUNING_FOLDER_MAX, "%s", own);
        out->folders[count] = out->text[count];
        count++;
    }
    out->folders[count] = NULL;
}

/* What was made on another machine is no failure. */
static at_status take(at_tuning *t, const char *command, const char *folder, at_error *err)
{
    at_error why = { 0 };
    at_status status = at_tuning_load(t, folder, &why);
    if (status == AT_UNSUPPORTED)
        fprintf(stderr, "atelier %s: %s\n", command, why.text);
    return status == AT_OK || status == AT_NOT_FOUND || status == AT_UNSUPPORTED
               ? AT_OK
               : at_fail(err, status, "%s", why.text);
}

at_status at_tuning_open(at_tuning **out, const char *command, at_device *d, const char *folder,
                         at_error *err)
{
    char known[AT_TUNING_FOLDER_MAX];
    at_tuned_for machine;
    *out = NULL;
    at_status status = at_tuned_for_device(d, &machine, err);
    if (status == AT_OK)
        status = at_tuning_new(out, &machine, err);
    for (size_t i = 0; i < AT_COUNT(beside) && status == AT_OK; i++)
        if (known_folder(i, known))
            status = take(*out, command, known, err);
    if (status == AT_OK)
        status = take(*out, command, folder, err);
    if (status != AT_OK && *out) {
        at_tuning_free(*out);
        *out = NULL;
    }
    return status;
}

at_status at_tuning_folder_make(const char *folder, at_error *err)
{
    enum { ALL = 0777 }; /* less the user's mask */
    char path[AT_TUNING_FOLDER_MAX];
    int n = snprintf(path, sizeof path, "%s", folder);
    if (n <= 0 || (size_t)n >= sizeof path)
        return at_fail(err, AT_INVALID, "the name of the folder of choices is empty or too long");
    for (char *at = path + 1; at <= path + n; at++) {
        char c = *at;
        if (c && c != '/')
            continue;
        *at = 0;
        if (mkdir(path, ALL) != 0 && errno != EEXIST)
            return at_fail(err, AT_IO, "%s cannot be made: %s", path, strerror(errno));
        *at = c;
    }
    return AT_OK;
}
