/* ops_golden.c -- replays golden files (written by reference/golden.py, which describes them)
 * through every variant that this machine can run: ops_golden FILE... */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu.h"
#include "kernels/ops.h"

enum { NAME_MAX_BYTES = 32 };

/* One case in the hands of one variant. */
typedef struct replay {
    const at_op *op;
    const at_variant *variant;
    _Alignas(16) unsigned char args[AT_ARGS_MAX];
    double tolerance;
    const char *path, *title;
    int compared, failures;
} replay;

static void *need(void *p)
{
    if (!p) {
        fputs("ops_golden: no memory\n", stderr);
        exit(2);
    }
    return p;
}

static void fail(replay *r, const char *what)
{
    r->failures++;
    printf("FAIL %s: %s [%s]: %s\n", r->path, r->variant ? r->variant->name : "", r->title, what);
}

/* --- memory ----------------------------------------------------------------------------------- */

static void operands_new(replay *r)
{
    for (int i = 0; i < r->op->n_operands; i++) {
        at_view *v = at_operand_of(r->op, r->args, i);
        v->data = at_has(v) ? need(calloc(1, at_view_bytes(v))) : NULL;
    }
}

static void operands_free(replay *r)
{
    for (int i = 0; i < r->op->n_operands; i++)
        free(at_operand_of(r->op, r->args, i)->data);
}

/* --- the lines of a case ---------------------------------------------------------------------- */

/* The operand that a line names; 'values' is what follows the name. */
static at_view *operand_of(replay *r, const char *line, const char **values)
{
    char name[NAME_MAX_BYTES];
    size_t n = strcspn(line, " \n");
    snprintf(name, sizeof name, "%.*s", (int)n, line);
    int i = at_operand_index(r->op, name);
    *values = line + n;
    if (i < 0)
        fail(r, "no such operand");
    return i < 0 ? NULL : at_operand_of(r->op, r->args, i);
}

static void set_operand(replay *r, const char *line)
{
    const char *p;
    at_view *v = operand_of(r, line, &p);
    for (int64_t i = 0; v && i < at_elements(v); i++) {
        char *end;
        at_store(v->data, i, v->dtype, strtod(p, &end));
        if (end == p) {
            fail(r, "too few values");
            return;
        }
        p = end;
    }
}

static void expect_operand(replay *r, const char *line)
{
    const char *p;
    char what[128], *end;
    at_view *v = operand_of(r, line, &p);
    if (!v)
        return;
    int64_t n = at_elements(v);
    double *want = need(calloc((size_t)n, sizeof *want)), squares = 0;
    for (int64_t i = 0; i < n; i++, p = end) {
        want[i] = strtod(p, &end);
        squares += want[i] * want[i];
    }
    double rms = sqrt(squares / (double)n);
    for (int64_t i = 0; i < n; i++) {
        double have = at_load(v->data, i, v->dtype), room = r->tolerance * (fabs(want[i]) + rms);
        r->compared++;
        if (fabs(have - want[i]) <= room)
            continue;
        snprintf(what, sizeof what, "%.*s[%lld] expected %.9g, got %.9g (tolerance %.3g)",
                 (int)strcspn(line, " "), line, (long long)i, want[i], have, room);
        fail(r, what);
        break;
    }
    free(want);
}

static void run_op(replay *r, const at_caps *caps)
{
    const at_prepare_in in = { caps, 0, false, 0 };
    const at_stream stream = { AT_CPU, caps->threads, NULL };
    at_prepared p;
    at_error err = { 0 };
    if (at_prepare(r->variant, r->args, &in, &p, &err) != AT_OK) {
        fail(r, err.text);
        return;
    }
    size_t bytes = (p.scratch_bytes / 64 + 1) * 64;
    void *scratch = need(aligned_alloc(64, bytes));
    if (r->variant->run(r->args, &p, &(at_launch){ &stream, scratch, NULL }) != AT_OK)
        fail(r, "run failed");
    free(scratch);
    at_release(r->variant, &p);
}

static void replay_line(replay *r, const char *line, const at_caps *caps)
{
    if (!strncmp(line, "tolerance ", 10))
        r->tolerance = strtod(line + 10, NULL);
    else if (!strncmp(line, "set ", 4))
        set_operand(r, line + 4);
    else if (!strncmp(line, "expect ", 7))
        expect_operand(r, line + 7);
    else if (!strncmp(line, "run", 3))
        run_op(r, caps);
    else
        fail(r, "a line that is none of tolerance, set, run, expect");
}

/* --- cases ------------------------------------------------------------------------------------ */

/* Lines from 'text' on, up to the next case or the end. */
static void replay_variant(replay *r, const at_variant *v, const char *text, const at_caps *caps)
{
    r->variant = v;
    if (!at_variant_usable(v, r->args, caps, false))
        return;
    operands_new(r);
    for (; *text && strncmp(text, "case ", 5); text += strcspn(text, "\n") + 1)
        replay_line(r, text, caps);
    operands_free(r);
}

/* 'text' stands behind "case ". */
static void replay_case(replay *r, const char *text, const at_caps *caps)
{
    char title[1024], name[NAME_MAX_BYTES];
    at_error err = { 0 };
    size_t n = strcspn(text, "\n");
    snprintf(title, sizeof title, "%.*s", (int)n, text);
    size_t name_bytes = strcspn(title, " ");
    snprintf(name, sizeof name, "%.*s", (int)name_bytes, title);
    r->title = title;
    r->variant = NULL;
    r->op = at_op_named(name);
    if (!r->op)
        fail(r, "no such op");
    else if (at_args_parse(r->op, title + name_bytes, AT_F32, r->args, &err) != AT_OK ||
             at_op_shape(r->op, r->args, UINT32_MAX, &err) != AT_OK)
        fail(r, err.text);
    else
        for (int i = 0; i < r->op->n_variants; i++)
            replay_variant(r, &r->op->variants[i], text + n + 1, caps);
}

/* The whole file with a zero behind it, or NULL. */
static char *read_file(const char *path)
{
    FILE *f = fopen(path, "r");
    size_t size = 0, room = 1 << 16, n;
    char *text = need(malloc(room));
    while (f && (n = fread(text + size, 1, room - size - 1, f)) > 0) {
        size += n;
        if (room - size < 2)
            text = need(realloc(text, room *= 2));
    }
    text[size] = 0;
    if (f && fclose(f) == 0 && size > 0 && text[size - 1] == '\n')
        return text;
    free(text);
    return NULL;
}

int main(int argc, char **argv)
{
    const at_caps caps = { AT_CPU, at_cpu_probe(), 2, 0 };
    replay *r = need(calloc(1, sizeof *r));
    int failures = argc < 2;
    for (int i = 1; i < argc; i++) {
        char *text = read_file(argv[i]);
        r->path = argv[i];
        r->compared = r->failures = 0;
        for (const char *p = text; p && *p; p += strcspn(p, "\n") + 1)
            if (!strncmp(p, "case ", 5))
                replay_case(r, p + 5, &caps);
        printf("ops_golden: %s: %d numbers compared, %d failures\n", argv[i], r->compared,
               r->failures);
        failures += r->failures + !r->compared;
        free(text);
    }
    free(r);
    return failures != 0;
}
