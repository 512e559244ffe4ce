/* extras.c -- variants that only checkop links: kernels on emulated instructions, and those that a
 * machine would not choose by itself. */
#include "tests/check.h"

#if defined(__x86_64__)
extern const at_variant check_attention_amx, check_attention_bf16;
const at_extra at_extras[] = {
    { "attention", &check_attention_amx },
    { "attention", &check_attention_bf16 },
    { NULL, NULL },
};
#else
const at_extra at_extras[] = { { NULL, NULL } };
#endif
