/* planted_main.c -- the harness checked on the emulated device: CUDA variants that are wrong on
 * purpose must be caught, and a right one must pass.
 *
 * Exit status: 0 each was told by what it does; 1 one was not. */
#include <stdio.h>
#include <string.h>

#include "kernels/variants.h"
#include "tests/check.h"
#include "tests/emulator/planted.h"

#define DECLARE(wrong, says) at_run_fn planted_##wrong;
PLANTED_ALL(DECLARE)

typedef struct heard {
    at_check check;   /* first: the report callback gets its address */
    const char *says; /* what is listened for */
    bool told;
} heard;

static void hear(at_check *c, const char *line)
{
    heard *h = (heard *)(void *)c;
    h->told = h->told || strstr(line, h->says);
}

/* True if the checker finds what is wrong with 'run'; with nothing to say, if it finds nothing. */
static bool is_told(at_check check, const char *name, at_run_fn *run, const char *says)
{
    const at_variant variants[] = {
        { "planted_cuda", AT_CUDA, 0, AT_ROWS_INDEPENDENT, NULL, NULL, NULL, NULL, run },
        at_op_unary.variants[at_op_unary.n_variants - 1],
    };
    at_op op = at_op_unary;
    op.variants = variants;
    op.n_variants = (int)AT_COUNT(variants);
    heard h = { check, says, false };
    h.check.report = hear;
    check_case(&h.check, &op, &(at_case){ "x=3,5,40 kind=scale a=0.7" }, AT_F32);
    bool good = *says ? h.told : h.check.failures == 0 && h.check.runs > 0;
    if (!good)
        printf("FAIL %s: %d failures, none says '%s'\n", name, h.check.failures, says);
    return good;
}

int main(void)
{
    at_check check = { .seed = 7 };
    at_error err = { 0 };
    int n = 0, failed = 0;
    if (check_here.open(&check, &err) != AT_OK || !check_here.schedule(0, check.seed)) {
        fprintf(stderr, "planted: %s\n", err.text);
        return 1;
    }
#define RUN(wrong, says) n++, failed += !is_told(check, #wrong, planted_##wrong, says);
    PLANTED_ALL(RUN)
#undef RUN
    at_device_close(check.device);
    printf("planted: %d variants, %d not told\n", n, failed);
    return failed > 0;
}
