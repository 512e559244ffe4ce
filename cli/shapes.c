#include "cli/shapes.h"

#include <stdlib.h>
#include <string.h>

#include "engine/file.h"

/* The whole file as a text with an end. */
static at_status read_text(const char *path, char **out, at_error *err)
{
    at_file f;
    at_status status = at_file_open(&f, path, err);
    if (status != AT_OK)
        return status;
    size_t bytes = (size_t)f.bytes;
    if (f.bytes > AT_SHAPES_BYTES_MAX)
        status =
            at_fail(err, AT_INVALID, "%s: a list of shapes has at most %d bytes, this has %llu",
                    path, AT_SHAPES_BYTES_MAX, (unsigned long long)f.bytes);
    char *text = status == AT_OK ? malloc(bytes + 1) : NULL;
    if (status == AT_OK && !text)
        status = at_fail(err, AT_NO_MEMORY, "no memory for %zu bytes", bytes);
    if (status == AT_OK)
        status = at_file_read(&f, 0, text, bytes, err);
    at_file_close(&f);
    if (status == AT_OK && memchr(text, '\0', bytes))
        status = at_fail(err, AT_INVALID, "%s is not a text", path);
    if (status != AT_OK) {
        free(text);
        return status;
    }
    text[bytes] = '\0';
    *out = text;
    return AT_OK;
}

/* One line, cut at its first blank. */
static at_status take_line(at_shapes *s, char *line, const char *path, int number, at_error *err)
{
    line += strspn(line, " \t");
    line[strcspn(line, "\r")] = '\0';
    if (!*line || *line == '#')
        return AT_OK;
    if (s->count == AT_SHAPES_MAX)
        return at_fail(err, AT_INVALID, "%s:%d: a list has at most %d shapes", path, number,
                       AT_SHAPES_MAX);
    size_t name = strcspn(line, " \t"), gap = strspn(line + name, " \t");
    const char *text = line + name + gap;
    line[name] = '\0';
    if (!at_op_named(line))
        return at_fail(err, AT_NOT_FOUND, "%s:%d: there is no op '%.64s'", path, number, line);
    s->rows[s->count++] = (at_bench_shape){ line, "", text };
    return AT_OK;
}

at_status at_shapes_read(at_shapes *out, const char *path, at_error *err)
{
    *out = (at_shapes){ NULL, NULL, 0 };
    if (!path)
        return AT_OK;
    at_status status = read_text(path, &out->text, err);
    if (status != AT_OK)
        return status;
    out->rows = calloc(AT_SHAPES_MAX, sizeof *out->rows);
    if (!out->rows)
        status = at_fail(err, AT_NO_MEMORY, "no memory for %d shapes", AT_SHAPES_MAX);
    int number = 0;
    for (char *line = out->text, *next; line && status == AT_OK; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        status = take_line(out, line, path, ++number, err);
    }
    if (status != AT_OK)
        at_shapes_free(out);
    return status;
}

void at_shapes_free(at_shapes *s)
{
    free(s->rows);
    free(s->text);
    *s = (at_shapes){ NULL, NULL, 0 };
}

const at_bench_shape *at_shapes_at(const at_shapes *s, int i)
{
    if (!s->text)
        return at_bench_shape_at(i);
    return i >= 0 && i < s->count ? &s->rows[i] : NULL;
}
