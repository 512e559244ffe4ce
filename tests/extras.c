/* extras.c -- variants that only the tests link. */
#include "tests/check.h"

const at_extra at_extras[] = {
    { NULL, NULL },
};
