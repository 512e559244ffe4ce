/* no_extras.c -- for programs that use the harness without variants of their own. */
#include "tests/check.h"

const at_extra at_extras[] = { { NULL, NULL } };
