/* check.h -- one harness that proves every variant of every op against its reference.
 *
 * A case is a line of text in the language of at_args_parse(). The harness fills the inputs from a
 * printed seed, runs the reference, then every variant that the machine can run and that fits:
 * dense and with a row pitch, weights as parameters and as plain tensors, every candidate, 1 to 3
 * threads, with and without the optional outputs, each sample alone where a variant claims
 * independent rows, and in place where an output may overlay its input. Outputs are poisoned and
 * guarded before each run.
 *
 * On a device the variants of that device take the place of the processor's; the reference stays
 * the definition. Operands are copied there and back around each run. */
#ifndef AT_TESTS_CHECK_H
#define AT_TESTS_CHECK_H

#include "engine/device.h"
#include "kernels/ops.h"

enum { CHECK_F32 = 1, CHECK_BF16 = 2, CHECK_F16 = 4, CHECK_F64 = 8 };

typedef struct at_case {
    const char *text; /* NULL ends a list */
    /* "ids=0:99 rstd=0.5:2": range of an input's values; integers include both ends; default -1:1,
     * for integers 0:3. "w=const:1" fills with one value. */
    const char *fill;
    /* Times the tolerance of the type (check_run.c says why those are what they are); 0 means 1. */
    double loose;
    unsigned types; /* CHECK_ bits of the types to run in; 0: f32, bf16 and f16 */
    /* Inputs to differentiate in --gradients: "x w bias"; "-" none; NULL: every floating input that
     * is not f32 by the op's table. */
    const char *gradients;
} at_case;

#define AT_OP(name) extern const at_case at_cases_##name[];
#include "kernels/ops.def"
#undef AT_OP
/* AT_CASES(unary) = { { "x=2,8,8,32 kind=silu" }, ..., { NULL } }; */
#define AT_CASES(op) const at_case at_cases_##op[]

/* A variant that only the tests link, such as one on emulated tiles. */
typedef struct at_extra {
    const char *op;
    const at_variant *variant;
} at_extra;
extern const at_extra at_extras[]; /* ends in { NULL, NULL } */

typedef struct at_check {
    at_caps caps;
    at_device *device; /* NULL: the processor */
    size_t guard;      /* bytes around operands that go to the device with them */
    uint64_t seed;
    const char *only_variant; /* substring, or NULL */
    int verbose;
    int brief;          /* values only: what takes more runs of a case is left to another build */
    int runs, failures; /* filled in */
    void (*report)(struct at_check *, const char *line); /* where failures are said; NULL: stdout */
} at_check;

/* What a program of the harness runs on: no_device.c, emulator/check_emulated.c. */
typedef struct check_place {
    const char *name;                              /* as --device has it */
    at_status (*open)(at_check *c, at_error *err); /* fills in device, caps and guard */
    /* Makes schedule i the one that runs follow; its name, NULL past the last one. */
    const char *(*schedule)(int i, uint64_t seed);
} check_place;
extern const check_place check_here;

/* Runs one case in one type through every variant. 'extra' may be NULL. */
void check_case(at_check *c, const at_op *op, const at_case *k, at_dtype dtype);
/* Analytic gradients of the case's op, built by the engine in f64, against central differences. */
void check_gradients(at_check *c, const at_op *op, const at_case *k);

/* Times every variant of every op, or of 'op', at the rows of kernels/shapes.def or at 'text', and
 * prints what comes out. Returns the exit status of the program. */
typedef struct check_bench_options {
    const char *op, *text; /* NULL: every op, at its shapes */
    const char *dtype;     /* NULL: the one that is faster here */
    const char *isa;       /* NULL: all there is */
    const char *variant;   /* substring, or NULL */
    int threads;           /* 0: one per core */
} check_bench_options;
int check_bench(const check_bench_options *o);
/* The same for a device that cannot be timed: what its variants must move and compute. */
int check_model(const check_bench_options *o, const at_caps *caps);
/* The values of c->device's variants at those shapes, against its naive variants or the
 * processor's best. Returns the exit status of the program. */
int check_large(at_check *c, const check_bench_options *o);

void check_fail(at_check *c, const char *fmt, ...) AT_PRINTF(2, 3);

/* Fills a view's elements from the seed as a case's 'fill' says. */
void check_fill(const at_check *c, const char *fill, const char *name, const at_view *v);

#endif
