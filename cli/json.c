#include "cli/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t bytes_max = (uint64_t)1 << 30;

void at_json_put_text(at_json_writer *w, const char *key, const char *text)
{
    at_json_write_key(w, key);
    if (text)
        at_json_write_string(w, text, strlen(text));
    else
        at_json_write_null(w);
}

void at_json_put_int(at_json_writer *w, const char *key, int64_t value)
{
    at_json_write_key(w, key);
    at_json_write_int(w, value);
}

void at_json_put_uint(at_json_writer *w, const char *key, uint64_t value)
{
    at_json_write_key(w, key);
    at_json_write_uint(w, value);
}

void at_json_put_bool(at_json_writer *w, const char *key, bool value)
{
    at_json_write_key(w, key);
    at_json_write_bool(w, value);
}

void at_json_put_measure(at_json_writer *w, const char *key, double value)
{
    char text[32];
    snprintf(text, sizeof text, "%.6g", value);
    at_json_write_key(w, key);
    at_json_write_real(w, strtod(text, NULL));
}

static at_status write_stdout(void *context, const char *text, size_t bytes, at_error *err)
{
    (void)context;
    return fwrite(text, 1, bytes, stdout) == bytes ? AT_OK
                                                   : at_fail(err, AT_IO, "cannot write the output");
}

at_json_writer at_json_stdout(void)
{
    return (at_json_writer){ .bytes_max = bytes_max, .sink = { write_stdout, NULL } };
}

at_status at_json_finish(at_json_writer *w, at_error *err)
{
    at_status status = at_json_write_end(w, err);
    if (status == AT_OK)
        putchar('\n');
    at_json_writer_free(w);
    return status;
}
