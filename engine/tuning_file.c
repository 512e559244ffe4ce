/* tuning_file.c -- choices as text, a tab between the words of a line: "atelier tuning 1"; fields
 * of tuning_machine.def, a name and a value each; "choices" and their number; then the choices in
 * the order of their keys: key, variant, candidate, seconds, bytes of scratch.
 *
 * A file comes from outside: every line has a bound, and so have their number and the whole. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/file.h"
#include "engine/tuning_inside.h"

static const char magic[] = "atelier tuning 1";

enum { LINE_MAX_BYTES = AT_TUNING_KEY_MAX + AT_TUNING_NAME_MAX + AT_CHOICE_MAX + 64, WORDS = 5 };

/* --- reading ---------------------------------------------------------------------------------- */

typedef struct reader {
    const char *name, *at, *end;
    int line;
    char text[LINE_MAX_BYTES]; /* of the line, its words ended by zeros */
    const char *word[WORDS];
    int words;
    at_error *err;
} reader;

static at_status damaged(const reader *r, const char *what)
{
    return at_fail(r->err, AT_CORRUPT, "%s: line %d: %s", r->name, r->line, what);
}

/* The next line, cut at its tabs. */
static at_status next(reader *r)
{
    r->line++;
    const char *end = r->at < r->end ? memchr(r->at, '\n', (size_t)(r->end - r->at)) : NULL;
    if (!end)
        return damaged(r, "the file ends too early");
    size_t n = (size_t)(end - r->at);
    if (n >= sizeof r->text)
        return damaged(r, "the line is too long");
    r->words = 0;
    const char *start = r->text;
    for (size_t i = 0; i <= n; i++) {
        char c = i < n ? r->at[i] : '\t';
        if (c != '\t' && (c < ' ' || c > '~'))
            return damaged(r, "it holds what is no text");
        r->text[i] = c == '\t' ? 0 : c;
        if (c != '\t')
            continue;
        if (r->words == WORDS)
            return damaged(r, "it has too many words");
        r->word[r->words++] = start;
        start = r->text + i + 1;
    }
    r->at = end + 1;
    return AT_OK;
}

/* A line of a name and its value. */
static at_status named(reader *r, const char *name)
{
    char what[128];
    at_status status = next(r);
    if (status != AT_OK || (r->words == 2 && !strcmp(r->word[0], name)))
        return status;
    snprintf(what, sizeof what, "'%s' and its value are missing", name);
    return damaged(r, what);
}

static at_status read_machine(reader *r, const at_tuned_for *mine)
{
    at_status status = next(r);
    if (status == AT_OK && (r->words != 1 || strcmp(r->word[0], magic) != 0))
        status = damaged(r, "it does not begin as a file of choices");
    const char *other = NULL;
    char found[AT_TUNING_FIELD_MAX] = { 0 };
    int field = 0;
    for (int i = 0; i < AT_TUNED_FOR_COUNT && status == AT_OK; i++) {
        status = named(r, at_tuned_for_name(i));
        if (status == AT_OK && !at_tuning_is_word(r->word[1], AT_TUNING_FIELD_MAX))
            status = damaged(r, "the value is empty or too long");
        if (status != AT_OK || other || !strcmp(r->word[1], mine->field[i]))
            continue;
        other = at_tuned_for_name(i);
        field = i;
        snprintf(found, sizeof found, "%s", r->word[1]);
    }
    if (status != AT_OK || !other)
        return status;
    return at_fail(r->err, AT_UNSUPPORTED,
                   "%s is not used: it was tuned with %s '%s', and here it is '%s'", r->name, other,
                   found, mine->field[field]);
}

static bool read_number(const char *text, double most, double *out)
{
    char *end;
    if (!strchr("0123456789", *text) || text[strspn(text, "0123456789.e+-")])
        return false;
    errno = 0;
    *out = strtod(text, &end);
    return !errno && end != text && !*end && isfinite(*out) && *out >= 0 && *out <= most;
}

static at_status read_choice(reader *r, at_tuning *into)
{
    const double seconds_max = 1e6, scratch_max = 1e15;
    at_choice c = { 0 };
    double scratch;
    const char *before = into->n ? into->list[into->n - 1]->key : "";
    at_status status = next(r);
    if (status != AT_OK)
        return status;
    if (r->words != WORDS || !at_tuning_is_word(r->word[0], AT_TUNING_KEY_MAX) ||
        !at_tuning_is_word(r->word[1], sizeof c.variant) ||
        !at_tuning_is_word(r->word[2], sizeof c.text))
        return damaged(r, "it is no choice: key, variant, candidate, seconds, scratch");
    if (strcmp(before, r->word[0]) >= 0)
        return damaged(r, "it is not in the order of keys");
    if (!read_number(r->word[3], seconds_max, &c.seconds) ||
        !read_number(r->word[4], scratch_max, &scratch))
        return damaged(r, "its seconds or its bytes are no number that could be");
    c.scratch = (size_t)scratch;
    snprintf(c.variant, sizeof c.variant, "%s", r->word[1]);
    snprintf(c.text, sizeof c.text, "%s", r->word[2]);
    return at_tuning_put(into, r->word[0], &c, r->err);
}

static at_status read_choices(reader *r, at_tuning *into)
{
    double count = 0;
    at_status status = named(r, "choices");
    if (status == AT_OK &&
        (!read_number(r->word[1], AT_TUNING_CHOICES_MAX, &count) || count != floor(count)))
        status = damaged(r, "the number of choices is no number that could be");
    for (int i = 0; status == AT_OK && i < (int)count; i++)
        status = read_choice(r, into);
    if (status == AT_OK && r->at != r->end)
        status = at_fail(r->err, AT_CORRUPT, "%s: something follows the last choice", r->name);
    return status;
}

at_status at_tuning_parse(at_tuning *t, const char *name, const char *text, size_t bytes,
                          at_error *err)
{
    at_tuning *read;
    reader r = { .name = name, .at = text, .end = text + bytes, .err = err };
    at_status status = read_machine(&r, &t->machine);
    if (status != AT_OK)
        return status;
    status = at_tuning_new(&read, &t->machine, err);
    if (status == AT_OK)
        status = read_choices(&r, read);
    for (int i = 0; status == AT_OK && i < read->n; i++)
        status = at_tuning_put(t, read->list[i]->key, &read->list[i]->choice, err);
    at_tuning_free(read);
    return status;
}

static at_status path_of(const at_tuning *t, const char *folder, char *path, size_t size,
                         at_error *err)
{
    int n = snprintf(path, size, "%s/%s", folder, t->file);
    return n > 0 && (size_t)n < size
               ? AT_OK
               : at_fail(err, AT_INVALID, "the name of the folder of choices is too long");
}

at_status at_tuning_load(at_tuning *t, const char *folder, at_error *err)
{
    char path[4096];
    at_file f;
    at_status status = path_of(t, folder, path, sizeof path, err);
    if (status == AT_OK)
        status = at_file_open(&f, path, err);
    if (status != AT_OK)
        return status;
    char *text = NULL;
    if (f.bytes > AT_TUNING_BYTES_MAX)
        status = at_fail(err, AT_CORRUPT, "%s has %llu bytes, and choices take %d at most", path,
                         (unsigned long long)f.bytes, AT_TUNING_BYTES_MAX);
    else if (!(text = malloc((size_t)f.bytes + 1)))
        status = at_fail(err, AT_NO_MEMORY, "no memory to read %s", path);
    else
        status = at_file_read(&f, 0, text, (size_t)f.bytes, err);
    if (status == AT_OK)
        status = at_tuning_parse(t, path, text, (size_t)f.bytes, err);
    free(text);
    at_file_close(&f);
    return status;
}

/* --- writing ---------------------------------------------------------------------------------- */

typedef struct out {
    at_draft *draft;
    uint64_t at;
    at_error *err;
    at_status status;
} out;

static void write_line(out *o, const char *fmt, ...) AT_PRINTF(2, 3);
static void write_line(out *o, const char *fmt, ...)
{
    char line[LINE_MAX_BYTES];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    AT_ASSERT(n > 0 && (size_t)n < sizeof line, "a line of %d bytes", n);
    if (o->status == AT_OK)
        o->status = at_draft_write(o->draft, o->at, line, (size_t)n, o->err);
    o->at += (uint64_t)n;
}

at_status at_tuning_save(const at_tuning *t, const char *folder, at_error *err)
{
    char path[4096];
    out o = { .err = err, .status = path_of(t, folder, path, sizeof path, err) };
    if (o.status == AT_OK)
        o.status = at_draft_new(&o.draft, path, err);
    if (o.status != AT_OK)
        return o.status;
    write_line(&o, "%s\n", magic);
    for (int i = 0; i < AT_TUNED_FOR_COUNT; i++)
        write_line(&o, "%s\t%s\n", at_tuned_for_name(i), t->machine.field[i]);
    write_line(&o, "choices\t%d\n", t->n);
    for (int i = 0; i < t->n; i++) {
        const at_choice *c = &t->list[i]->choice;
        write_line(&o, "%s\t%s\t%s\t%.3g\t%zu\n", t->list[i]->key, c->variant, c->text, c->seconds,
                   c->scratch);
    }
    if (o.status == AT_OK)
        o.status = at_draft_publish(o.draft, err);
    at_draft_free(o.draft);
    return o.status;
}
