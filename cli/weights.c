#include "cli/weights.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/json.h"
#include "cli/progress.h"

enum { SHAPE_TEXT = 128 };

typedef struct share {
    int tensors;
    int64_t elements;
    uint64_t bytes;
} share;

static int64_t elements_of(const at_stored_tensor *t)
{
    return (int64_t)(t->bytes / at_stored_about(t->type)->bytes);
}

/* What each type has; the sum of all is 'by_type[AT_STORED_NONE]'. */
static void count_types(const at_tensors *list, share by_type[AT_STORED_COUNT])
{
    memset(by_type, 0, AT_STORED_COUNT * sizeof *by_type);
    for (int i = 0; i < list->count; i++) {
        const at_stored_tensor *t = &list->items[i];
        share *const both[] = { &by_type[t->type], &by_type[AT_STORED_NONE] };
        for (size_t k = 0; k < AT_COUNT(both); k++) {
            both[k]->tensors++;
            both[k]->elements += elements_of(t);
            both[k]->bytes += t->bytes;
        }
    }
}

/* --- in words --------------------------------------------------------------------------------- */

/* "1,234,567" */
static const char *grouped(int64_t n, char text[32])
{
    char digits[24];
    int count = snprintf(digits, sizeof digits, "%" PRId64, n), used = 0;
    for (int i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0)
            text[used++] = ',';
        text[used++] = digits[i];
    }
    text[used] = '\0';
    return text;
}

/* The beginning of a text on one line. */
static void print_text(const at_text *t)
{
    enum { SHOWN = 56 };
    int n = t->bytes < SHOWN ? (int)t->bytes : SHOWN;
    while (n > 0 && n < (int)t->bytes && ((unsigned char)t->data[n] & 0xc0) == 0x80)
        n--;
    printf("text         %-16s %8zu bytes  ", t->name, t->bytes);
    at_print_plain(t->data, (size_t)n);
    puts((size_t)n < t->bytes ? "..." : "");
}

void at_weights_print(const at_source *s, const char *path, at_weights_detail detail)
{
    share by_type[AT_STORED_COUNT];
    char bytes[AT_BYTES_TEXT], number[32], shape[SHAPE_TEXT];
    count_types(&s->list, by_type);
    printf("file         %s\nkind         %s, %s\n", path, s->kind->name,
           at_bytes_text(s->file_bytes, bytes));
    printf("tensors      %d with %s elements, %s\n", s->list.count,
           grouped(by_type[0].elements, number), at_bytes_text(by_type[0].bytes, bytes));
    for (int type = 1; type < AT_STORED_COUNT; type++)
        if (by_type[type].tensors)
            printf("  %-10s %d with %s elements, %s\n", at_stored_about((at_stored)type)->name,
                   by_type[type].tensors, grouped(by_type[type].elements, number),
                   at_bytes_text(by_type[type].bytes, bytes));
    for (int i = 0; i < s->list.text_count; i++)
        print_text(&s->list.texts[i]);
    for (int i = 0; i < s->list.count && detail == AT_WEIGHTS_TENSORS; i++) {
        const at_stored_tensor *t = &s->list.items[i];
        at_stored_shape_text(t, shape, sizeof shape);
        printf("%-8s %-20s %s\n", at_stored_about(t->type)->name, shape, t->name);
    }
}

/* --- as JSON ---------------------------------------------------------------------------------- */

static void write_tensor(at_json_writer *w, const at_stored_tensor *t)
{
    at_json_write_object(w);
    at_json_put_text(w, "name", t->name);
    at_json_put_text(w, "type", at_stored_about(t->type)->name);
    at_json_write_key(w, "shape");
    at_json_write_array(w);
    for (int i = 0; i < t->rank; i++)
        at_json_write_int(w, t->size[i]);
    at_json_write_close(w);
    at_json_put_uint(w, "bytes", t->bytes);
    at_json_write_close(w);
}

at_status at_weights_print_json(const at_source *s, const char *path, at_error *err)
{
    at_json_writer w = at_json_stdout();
    at_json_write_object(&w);
    if (at_utf8_valid(path, strlen(path)))
        at_json_put_text(&w, "file", path);
    at_json_put_text(&w, "kind", s->kind->name);
    at_json_put_uint(&w, "file_bytes", s->file_bytes);
    at_json_put_uint(&w, "tensor_bytes", at_tensors_bytes(&s->list));
    at_json_write_key(&w, "texts");
    at_json_write_object(&w);
    for (int i = 0; i < s->list.text_count; i++) {
        at_json_write_key(&w, s->list.texts[i].name);
        at_json_write_string(&w, s->list.texts[i].data, s->list.texts[i].bytes);
    }
    at_json_write_close(&w);
    at_json_write_key(&w, "tensors");
    at_json_write_array(&w);
    for (int i = 0; i < s->list.count; i++)
        write_tensor(&w, &s->list.items[i]);
    at_json_write_close(&w);
    at_json_write_close(&w);
    return at_json_finish(&w, err);
}
