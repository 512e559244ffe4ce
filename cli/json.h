/* json.h -- what the commands share of writing JSON: members of objects, and a document on stdout.
 *
 *     at_json_writer w = at_json_stdout();
 *     at_json_write_object(&w);
 *     at_json_put_text(&w, "name", name);
 *     at_json_write_close(&w);
 *     status = at_json_finish(&w, err);
 */
#ifndef AT_CLI_JSON_H
#define AT_CLI_JSON_H

#include "engine/json_write.h"

/* A key and its value. */
void at_json_put_text(at_json_writer *w, const char *key, const char *text); /* NULL: null */
void at_json_put_int(at_json_writer *w, const char *key, int64_t value);
void at_json_put_uint(at_json_writer *w, const char *key, uint64_t value);
void at_json_put_bool(at_json_writer *w, const char *key, bool value);
/* What was measured: to six digits. */
void at_json_put_measure(at_json_writer *w, const char *key, double value);

/* A writer of a document on stdout, of which no more than a GiB is written. */
at_json_writer at_json_stdout(void);
/* Ends the document with a newline and frees the writer. */
at_status at_json_finish(at_json_writer *w, at_error *err);

#endif
