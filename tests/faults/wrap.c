/* wrap.c -- the calls of calls.def, counted, the chosen one answered with a failure. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "tests/faults/faults.h"

static atomic_llong calls, chosen;
static const char *_Atomic failed;

void at_faults_arm(long long n)
{
    failed = NULL;
    calls = 0;
    chosen = n;
}

bool at_faults_disarm(void)
{
    chosen = 0;
    return failed != NULL;
}

const char *at_faults_name(void)
{
    return failed ? failed : "none";
}

static bool fails(const char *name, int number)
{
    if (chosen == 0 || ++calls != chosen)
        return false;
    failed = name;
    errno = number;
    return true;
}

#define AT_CALL(result, name, parameters, arguments, failure, number)    \
    result __real_##name parameters;                                     \
    result __wrap_##name parameters;                                     \
    result __wrap_##name parameters                                      \
    {                                                                    \
        return fails(#name, number) ? failure : __real_##name arguments; \
    }
#include "tests/faults/calls.def"
#undef AT_CALL

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);

int __wrap_open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return fails("open", EMFILE) ? -1 : __real_open(path, flags, mode);
}
