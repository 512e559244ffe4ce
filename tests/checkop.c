/* checkop.c -- the program around the harness: which cases, which types, which instruction sets. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/cpu.h"
#include "tests/check.h"

static const struct {
    const at_op *op;
    const at_case *cases;
} lists[] = {
#define AT_OP(name) { &at_op_##name, at_cases_##name },
#include "kernels/ops.def"
#undef AT_OP
};

static const struct {
    at_dtype dtype;
    unsigned bit;
} types[] = {
    { AT_F32, CHECK_F32 }, { AT_BF16, CHECK_BF16 }, { AT_F16, CHECK_F16 }, { AT_F64, CHECK_F64 }
};

typedef struct options {
    const char *op, *isa, *text, *dtype, *device;
    bool list, gradients, bench, large, help;
    at_check check;
} options;

static int usage(FILE *out)
{
    fputs("usage: checkop [OP] [options]\n"
          "Proves every variant of every op (or of OP) against its reference.\n"
          "  --list           every op with its variants, and which of them run here\n"
          "  --gradients      gradients of every op against finite differences in f64\n"
          "  --bench          how fast every variant is at the models' shapes, or at --case;\n"
          "                   emulated: what it must move and compute\n"
          "  --large          on a device: the models' shapes, or --case, held against its naive\n"
          "                   variants or the cpu's best\n"
          "  --device NAME    cpu; cuda, or emulated, by the program checkop_NAME\n"
          "  --isa LEVEL      use nothing beyond plain, avx2, avx512, avx512_bf16, amx\n"
          "  --variant TEXT   only variants whose name contains TEXT\n"
          "  --case TEXT      one case instead of the op's list: \"x=2,8,8,32 kind=silu\"\n"
          "  --dtype TYPE     only f32, bf16, f16 or f64\n"
          "  --seed N         of the inputs (printed; default 1)\n"
          "  --brief          values only: not run again to see that the bytes stay the same\n"
          "  --verbose        say what passed, too\n",
          out);
    return out == stdout ? 0 : 2;
}

static bool take_flag(options *o, const char *arg)
{
    const struct {
        const char *name;
        bool *flag;
    } flags[] = { { "--list", &o->list },
                  { "--gradients", &o->gradients },
                  { "--bench", &o->bench },
                  { "--large", &o->large },
                  { "--help", &o->help } };
    for (size_t i = 0; i < AT_COUNT(flags); i++)
        if (!strcmp(arg, flags[i].name))
            return (*flags[i].flag = true);
    if (!strcmp(arg, "--verbose"))
        return (o->check.verbose = 1);
    return !strcmp(arg, "--brief") && (o->check.brief = 1);
}

static bool take_value(options *o, const char *arg, const char *value)
{
    const struct {
        const char *name;
        const char **text;
    } values[] = { { "--isa", &o->isa },
                   { "--variant", &o->check.only_variant },
                   { "--case", &o->text },
                   { "--dtype", &o->dtype },
                   { "--device", &o->device } };
    for (size_t i = 0; i < AT_COUNT(values); i++)
        if (!strcmp(arg, values[i].name)) {
            *values[i].text = value;
            return true;
        }
    if (strcmp(arg, "--seed"))
        return false;
    o->check.seed = strtoull(value, NULL, 10);
    return true;
}

static bool parse(options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-' && !o->op) {
            o->op = argv[i];
        } else if (!take_flag(o, argv[i])) {
            if (i + 1 >= argc || !take_value(o, argv[i], argv[i + 1])) {
                fprintf(stderr, "checkop: '%s' is not an option, or lacks its value\n", argv[i]);
                return false;
            }
            i++;
        }
    }
    if (o->op && !at_op_named(o->op))
        fprintf(stderr, "checkop: there is no op '%s' (see --list)\n", o->op);
    else if (o->isa && !at_cpu_cap(&o->check.caps.has, o->isa))
        fprintf(stderr, "checkop: '%s' is not an instruction set (see --help)\n", o->isa);
    else if (o->dtype && at_dtype_named(o->dtype) == AT_NONE)
        fprintf(stderr, "checkop: '%s' is not an element type\n", o->dtype);
    else if (o->text && !o->op)
        fputs("checkop: --case goes with the name of an op\n", stderr);
    else
        return true;
    return false;
}

static void list_ops(const options *o)
{
    for (size_t i = 0; i < AT_COUNT(lists); i++) {
        const at_op *op = lists[i].op;
        if (o->op && strcmp(o->op, op->name))
            continue;
        printf("%-22s %s\n", op->name, op->summary);
        for (int v = 0; v < op->n_variants; v++) {
            bool runs = op->variants[v].device == o->check.caps.kind &&
                        !(op->variants[v].needs & ~o->check.caps.has);
            printf("    %-32s%s%s\n", op->variants[v].name, runs ? "" : " (not here)",
                   op->variants[v].flags & AT_ROWS_INDEPENDENT ? "" : " (depends on the batch)");
        }
    }
}

static bool type_wanted(const options *o, const at_case *k, size_t t)
{
    unsigned wanted = k->types ? k->types : CHECK_F32 | CHECK_BF16 | CHECK_F16;
    return (wanted & types[t].bit) && (!o->dtype || at_dtype_named(o->dtype) == types[t].dtype);
}

/* On a device the host's reference is no variant. */
static bool has_variant(const options *o, const at_op *op)
{
    for (int v = 0; v < op->n_variants; v++)
        if (op->variants[v].device == o->check.caps.kind)
            return true;
    return false;
}

/* Cases of 16 bits alone are there for their variants: the formula is another case's as well. */
static bool is_for_gradients(const at_case *k)
{
    return !k->types || (k->types & (CHECK_F32 | CHECK_F64));
}

static void run_op(options *o, const at_op *op, const at_case *cases)
{
    int failures = o->check.failures, runs = o->check.runs;
    if (!has_variant(o, op)) {
        o->check.runs++;
        check_fail(&o->check, "%s has no variant for device %s", op->name, check_here.name);
        return;
    }
    for (const at_case *k = cases; k->text; k++) {
        if (o->gradients) {
            if (is_for_gradients(k))
                check_gradients(&o->check, op, k);
            continue;
        }
        for (size_t t = 0; t < AT_COUNT(types); t++)
            if (type_wanted(o, k, t))
                check_case(&o->check, op, k, types[t].dtype);
    }
    if (o->check.runs > runs)
        printf("%-22s %5d checked, %d failed\n", op->name, o->check.runs - runs,
               o->check.failures - failures);
}

static void run_ops(options *o)
{
    const at_case one[] = { { .text = o->text, .types = 15 }, { 0 } };
    const char *schedule;
    for (int s = 0; (schedule = check_here.schedule(s, o->check.seed)) != NULL; s++) {
        if (*schedule)
            printf("checkop: %s, %s order\n", check_here.name, schedule);
        for (size_t i = 0; i < AT_COUNT(lists); i++)
            if (!o->op || !strcmp(o->op, lists[i].op->name))
                run_op(o, lists[i].op, o->text ? one : lists[i].cases);
    }
}

/* Another device is another program of the same harness, beside this one. */
static int run_elsewhere(const char *device, char **argv)
{
    enum { PATH_BYTES = 4096 };
    const char *slash = strrchr(argv[0], '/');
    const char *under = strcmp(device, "cpu") != 0 ? "_" : "";
    char path[PATH_BYTES];
    int n = snprintf(path, sizeof path, "%.*scheckop%s%s", slash ? (int)(slash + 1 - argv[0]) : 0,
                     argv[0], under, *under ? device : "");
    if (n > 0 && n < PATH_BYTES)
        execv(path, argv);
    fprintf(stderr, "checkop: no program for device '%s' at %s: %s\n", device, path,
            strerror(errno));
    return 2;
}

/* What looks at the models' shapes, not at the cases. */
static int look_at_shapes(options *o)
{
    const check_bench_options b = { .op = o->op,
                                    .text = o->text,
                                    .dtype = o->dtype,
                                    .isa = o->isa,
                                    .variant = o->check.only_variant };
    if (!o->check.device)
        return check_bench(&b);
    int status = o->large ? check_large(&o->check, &b) : check_model(&b, &o->check.caps);
    at_device_close(o->check.device);
    return status;
}

int main(int argc, char **argv)
{
    options o = { .check = { .seed = 1, .caps = { AT_CPU, at_cpu_probe(), 1, 0 } } };
    at_error err = { 0 };
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!parse(&o, argc, argv))
        return 2;
    if (o.help)
        return usage(stdout);
    if (o.device && strcmp(o.device, check_here.name) != 0)
        return run_elsewhere(o.device, argv);
    if (check_here.open(&o.check, &err) != AT_OK) {
        fprintf(stderr, "checkop: %s\n", err.text);
        return 2;
    }
    if (o.check.device ? o.gradients : o.large) {
        fprintf(stderr, "checkop: %s\n",
                o.large ? "--large goes with a --device that is not the cpu"
                        : "--gradients is for the cpu");
        return 2;
    }
    if (o.list) {
        list_ops(&o);
        return 0;
    }
    if (o.bench || o.large)
        return look_at_shapes(&o);
    printf("checkop: seed %llu\n", (unsigned long long)o.check.seed);
    run_ops(&o);
    at_device_close(o.check.device);
    printf("checkop: %d passed, %d failed\n", o.check.runs - o.check.failures, o.check.failures);
    return o.check.failures != 0;
}
