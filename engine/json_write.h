/* json_write.h -- writes JSON value by value: commas, colons and escapes are its own affair.
 *
 * The text grows in the writer's memory up to a limit; or it goes to a sink in pieces, and then the
 * writer needs a fixed 64 KiB however long the text becomes. After the first failure every call
 * does nothing, and at_json_write_end() says what it was. One thread a writer.
 *
 *     at_json_writer w = { .bytes_max = 1 << 20 };
 *     at_json_write_object(&w);
 *     at_json_write_key(&w, "size");
 *     at_json_write_int(&w, 5);
 *     at_json_write_close(&w);
 *     status = at_json_write_end(&w, err);
 *     ... w.text, w.bytes
 *     at_json_writer_free(&w);
 */
#ifndef AT_ENGINE_JSON_WRITE_H
#define AT_ENGINE_JSON_WRITE_H

#include "engine/json.h"

/* Takes the next 'bytes' bytes of the text. */
typedef struct at_json_sink {
    at_status (*write)(void *context, const char *text, size_t bytes, at_error *err);
    void *context;
} at_json_sink;

/* All of it zero but for the first two is a new writer. */
typedef struct at_json_writer {
    uint64_t bytes_max; /* of the whole text; more is refused */
    at_json_sink sink;  /* 'write' may be NULL: the text stays in 'text' */
    char *text;         /* 'bytes' bytes without a zero; may be NULL */
    size_t bytes, capacity;
    uint64_t total; /* bytes written in all, those that the sink took included */
    int depth;
    bool comma; /* a value stands before the next one */
    char close[AT_JSON_DEPTH_MAX];
    at_status status;
    at_error failure; /* filled when status is not AT_OK */
} at_json_writer;

void at_json_writer_free(at_json_writer *w);

void at_json_write_object(at_json_writer *w); /* opens one; then keys and values in turns */
void at_json_write_array(at_json_writer *w);
void at_json_write_close(at_json_writer *w); /* the innermost that is open */
void at_json_write_key(at_json_writer *w, const char *key);
/* A string of UTF-8, refused if it is not; control characters are escaped. */
void at_json_write_string(at_json_writer *w, const char *text, size_t bytes);
void at_json_write_int(at_json_writer *w, int64_t value);
void at_json_write_uint(at_json_writer *w, uint64_t value);
/* The shortest spelling that reads back as the same double; infinity and NaN are refused. */
void at_json_write_real(at_json_writer *w, double value);
void at_json_write_bool(at_json_writer *w, bool value);
void at_json_write_null(at_json_writer *w);
/* Text that is JSON already; not checked. */
void at_json_write_raw(at_json_writer *w, const char *text, size_t bytes);
/* Whether all is written and well; gives the sink what it has not had. Everything is closed. */
at_status at_json_write_end(at_json_writer *w, at_error *err);

#endif
