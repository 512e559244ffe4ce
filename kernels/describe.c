/* describe.c -- args as text and back: the language of cases, benchmarks, messages and traces. */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/op.h"

enum { WORD_MAX = 96 };

/* --- parsing ---------------------------------------------------------------------------------- */

/* "2,64,64,320" to numbers; how many, or -1. */
static int parse_numbers(const char *text, double *out, int max)
{
    for (int n = 0; n < max;) {
        char *end;
        errno = 0;
        out[n++] = strtod(text, &end);
        if (end == text || errno)
            return -1;
        if (!*end)
            return n;
        if (*end != ',')
            return -1;
        text = end + 1;
    }
    return -1;
}

static at_status parse_operand(const at_op *op, const at_operand *o, char *value, at_dtype dtype,
                               void *args, at_error *err)
{
    at_dtype type = o->dtype != AT_NONE ? o->dtype : dtype;
    char *colon = strchr(value, ':');
    if (colon) {
        *colon = 0;
        type = at_dtype_named(colon + 1);
        if (type == AT_NONE)
            return at_fail(err, AT_INVALID, "%s: %s: '%s' is not an element type", op->name,
                           o->name, colon + 1);
    }
    double sizes[AT_RANK_MAX];
    int64_t size[AT_RANK_MAX];
    int n = parse_numbers(value, sizes, AT_RANK_MAX);
    if (n < 0)
        return at_fail(err, AT_INVALID, "%s: %s: '%s' is not a list of up to %d sizes", op->name,
                       o->name, value, AT_RANK_MAX);
    for (int i = 0; i < n; i++) {
        if (!(sizes[i] >= 1 && sizes[i] <= 1e12))
            return at_fail(err, AT_INVALID, "%s: %s: size %g is not in [1, 1e12]", op->name,
                           o->name, sizes[i]);
        size[i] = (int64_t)sizes[i];
    }
    *(at_view *)(void *)((char *)args + o->offset) = at_view_of(type, n, size);
    return AT_OK;
}

static int choice_index(const char *list, const char *value)
{
    size_t len = strlen(value);
    for (int i = 0; *list; i++) {
        size_t n = strcspn(list, "|");
        if (n == len && !strncmp(list, value, n))
            return i;
        list += n + (list[n] == '|');
    }
    return -1;
}

static at_status parse_attr(const at_op *op, const at_attr *a, const char *value, void *args,
                            at_error *err)
{
    char *field = (char *)args + a->offset;
    if (a->type == AT_ATTR_ENUM) {
        int i = choice_index(a->choices, value);
        if (i < 0)
            return at_fail(err, AT_INVALID, "%s: %s: '%s' is not one of %s", op->name, a->name,
                           value, a->choices);
        memcpy(field, &i, sizeof i);
        return AT_OK;
    }
    double numbers[8];
    int n = parse_numbers(value, numbers, (int)AT_COUNT(numbers));
    if (n < 1 || n > a->count)
        return at_fail(err, AT_INVALID, "%s: %s: '%s' is not a list of up to %d numbers", op->name,
                       a->name, value, a->count);
    for (int i = 0; i < n; i++) {
        if (a->type == AT_ATTR_I64)
            ((int64_t *)(void *)field)[i] = (int64_t)numbers[i];
        else
            ((float *)(void *)field)[i] = (float)numbers[i];
    }
    return AT_OK;
}

static at_status parse_word(const at_op *op, char *word, at_dtype dtype, void *args, at_error *err)
{
    char *equals = strchr(word, '=');
    if (!equals)
        return at_fail(err, AT_INVALID, "%s: '%s' is not name=value", op->name, word);
    *equals = 0;
    int i = at_operand_index(op, word);
    if (i >= 0 && op->operands[i].role != AT_OUT)
        return parse_operand(op, &op->operands[i], equals + 1, dtype, args, err);
    for (i = 0; i < op->n_attrs; i++)
        if (!strcmp(op->attrs[i].name, word))
            return parse_attr(op, &op->attrs[i], equals + 1, args, err);
    return at_fail(err, AT_INVALID, "%s has no input or attribute '%s'", op->name, word);
}

at_status at_args_parse(const at_op *op, const char *text, at_dtype dtype, void *args,
                        at_error *err)
{
    memset(args, 0, op->args_size);
    for (;;) {
        char word[WORD_MAX];
        while (isspace((unsigned char)*text))
            text++;
        if (!*text)
            return AT_OK;
        size_t n = strcspn(text, " \t\n");
        if (n >= sizeof word)
            return at_fail(err, AT_INVALID, "%s: '%.40s...' is longer than %d characters", op->name,
                           text, WORD_MAX - 1);
        memcpy(word, text, n);
        word[n] = 0;
        text += n;
        at_status status = parse_word(op, word, dtype, args, err);
        if (status != AT_OK)
            return status;
    }
}

/* --- printing --------------------------------------------------------------------------------- */

typedef struct writer {
    char *text;
    size_t size, used;
} writer;

static void put(writer *w, const char *fmt, ...) AT_PRINTF(2, 3);
static void put(writer *w, const char *fmt, ...)
{
    if (w->used + 1 >= w->size)
        return;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(w->text + w->used, w->size - w->used, fmt, ap);
    va_end(ap);
    w->used += n > 0 ? (size_t)n : 0;
}

static void print_attr(writer *w, const at_attr *a, const void *args)
{
    const char *field = (const char *)args + a->offset;
    if (a->type == AT_ATTR_ENUM) {
        int value;
        memcpy(&value, field, sizeof value);
        const char *list = a->choices;
        for (int i = 0; i < value && *list; i++)
            list += strcspn(list, "|") + 1;
        if (value)
            put(w, " %s=%.*s", a->name, (int)strcspn(list, "|"), list);
        return;
    }
    double numbers[8];
    int last = -1;
    for (int i = 0; i < a->count; i++) {
        numbers[i] = a->type == AT_ATTR_I64 ? (double)((const int64_t *)(const void *)field)[i]
                                            : (double)((const float *)(const void *)field)[i];
        if (numbers[i] != 0)
            last = i;
    }
    for (int i = 0; i <= last; i++)
        if (i)
            put(w, ",%.9g", numbers[i]);
        else
            put(w, " %s=%.9g", a->name, numbers[i]);
}

void at_args_print(const at_op *op, const void *args, char *text, size_t text_size)
{
    writer w = { text, text_size, 0 };
    if (text_size)
        text[0] = 0;
    for (int i = 0; i < op->n_operands; i++) {
        const at_view *v = at_operand_in(op, args, i);
        if (op->operands[i].role == AT_OUT || !at_has(v))
            continue;
        put(&w, w.used ? " %s=" : "%s=", op->operands[i].name);
        for (int d = 0; d < v->rank; d++)
            put(&w, d ? ",%lld" : "%lld", (long long)v->size[d]);
        if (op->operands[i].dtype == AT_NONE)
            put(&w, ":%s", at_dtype_name(v->dtype));
    }
    for (int i = 0; i < op->n_attrs; i++)
        print_attr(&w, &op->attrs[i], args);
}
