/* The header is read once, front to back. Names and texts are resolved where they stand in its one
 * copy. Tensors are checked against each other afterwards: in the order of their bytes, each must
 * begin where the one before ends, which finds holes and overlaps alike in one pass. */
#include "engine/safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json.h"

enum {
    LENGTH_BYTES = 8,
    NAME_SHOWN = 160,
    PATH_SHOWN = 160,
    STRING_MAX = 6 * AT_TENSOR_NAME_MAX, /* an escape takes six bytes for one */
    BEGINNING_BYTES = 16 << 10,
    BEGINNING_SLACK = 256
};

const char *at_safetensors_path(const char *path)
{
    size_t n = strlen(path);
    if (n <= PATH_SHOWN)
        return path;
    const char *end = path + n - PATH_SHOWN;
    while (((unsigned char)*end & 0xc0) == 0x80) /* not within a character */
        end++;
    return end;
}

bool at_safetensors_has_control(const char *text)
{
    while ((unsigned char)*text >= 0x20 && *text != 0x7f)
        text++;
    return *text != 0;
}

int at_safetensors_shown(const char *text, size_t bytes)
{
    size_t n = bytes < NAME_SHOWN ? bytes : NAME_SHOWN;
    while (n > 0 && n < bytes && ((unsigned char)text[n] & 0xc0) == 0x80)
        n--;
    return (int)n;
}

/* --- a tensor of the header ------------------------------------------------------------------- */

enum { DTYPE = 1, SHAPE = 2, OFFSETS = 4 };

typedef struct header {
    at_tensors *list;
    char *text;
    size_t bytes;
    uint64_t data_from, data_bytes;
    at_json j;
    at_error why;
    const char *tensor; /* the one that is read, NULL: none is */
    uint16_t file;
    int first, first_text; /* what the list held before */
    bool has_texts;        /* __metadata__ came */
    int next_text;         /* where the next known text is looked for */
    bool seen[AT_TEXTS_MAX];
} header;

static bool refuse(header *h, at_status status)
{
    if (h->j.status == AT_OK)
        h->j.status = status;
    return false;
}

/* Resolves a string where it stands and ends it with a zero. */
static bool take_string(header *h, const at_json_text *s, const char **out, size_t *bytes)
{
    char *to = h->text + (s->raw - h->text);
    size_t n = at_json_unescape(s, to, s->raw_bytes);
    if (n == SIZE_MAX)
        return at_json_refuse(&h->j, "the string at byte %zu holds half a surrogate pair or a zero",
                              (size_t)(s->raw - h->text));
    to[n] = 0;
    *out = to;
    *bytes = n;
    return true;
}

/* A name that may stand in a sentence. */
static bool take_name(header *h, const at_json_text *s, const char **out, size_t *bytes)
{
    if (!take_string(h, s, out, bytes))
        return false;
    if (*bytes == 0 || at_safetensors_has_control(*out))
        return at_json_refuse(&h->j, "expected a name at byte %zu, found %s",
                              (size_t)(s->raw - h->text),
                              *bytes ? "control characters" : "an empty string");
    return true;
}

static bool read_type(header *h, at_stored *type)
{
    at_json_text word;
    if (!at_json_string(&h->j, &word))
        return false;
    for (int t = AT_STORED_NONE + 1; t < AT_STORED_COUNT; t++)
        if (at_json_is(&word, at_stored_about((at_stored)t)->safetensors)) {
            *type = (at_stored)t;
            return true;
        }
    at_fail(&h->why, AT_UNSUPPORTED,
            "expected a dtype of those that this program knows (F32, BF16, ...), found '%.*s'",
            at_safetensors_shown(word.raw, word.raw_bytes), word.raw);
    return refuse(h, AT_UNSUPPORTED);
}

static bool read_shape(header *h, int64_t *size, int16_t *rank)
{
    uint64_t n;
    *rank = 0;
    for (at_json_array(&h->j); at_json_element(&h->j); size[(*rank)++] = (int64_t)n) {
        if (*rank == AT_STORED_RANK_MAX)
            return at_json_refuse(&h->j, "expected at most %d axes, found more",
                                  AT_STORED_RANK_MAX);
        if (!at_json_uint(&h->j, &n))
            return false;
        if (n > INT64_MAX)
            return at_json_refuse(&h->j, "expected a size below 2^63, found %" PRIu64, n);
    }
    return h->j.status == AT_OK;
}

static bool read_offsets(header *h, uint64_t offsets[2])
{
    int n = 0;
    for (at_json_array(&h->j); at_json_element(&h->j); n++)
        if (n == 2 || !at_json_uint(&h->j, &offsets[n]))
            return at_json_refuse(&h->j, "expected two data_offsets, found more");
    if (h->j.status == AT_OK && n != 2)
        return at_json_refuse(&h->j, "expected two data_offsets, found %d", n);
    return h->j.status == AT_OK;
}

static bool check_offsets(header *h, const uint64_t offsets[2])
{
    if (offsets[0] > offsets[1])
        return at_json_refuse(&h->j,
                              "data_offsets begin at %" PRIu64 " and end before, at %" PRIu64,
                              offsets[0], offsets[1]);
    if (offsets[1] > h->data_bytes)
        return at_json_refuse(
            &h->j, "data_offsets end at %" PRIu64 ", but the file has %" PRIu64 " bytes of data",
            offsets[1], h->data_bytes);
    return true;
}

static bool read_member(header *h, const at_json_text *key, at_stored_tensor *t, int64_t *size,
                        uint64_t offsets[2], unsigned *seen)
{
    unsigned which = at_json_is(key, "dtype")          ? DTYPE
                     : at_json_is(key, "shape")        ? SHAPE
                     : at_json_is(key, "data_offsets") ? OFFSETS
                                                       : 0;
    if (which == 0 || (*seen & which))
        return at_json_refuse(
            &h->j, "expected dtype, shape and data_offsets once each, found '%.*s'%s",
            at_safetensors_shown(key->raw, key->raw_bytes), key->raw, which ? " twice" : "");
    *seen |= which;
    return which == DTYPE   ? read_type(h, &t->type)
           : which == SHAPE ? read_shape(h, size, &t->rank)
                            : read_offsets(h, offsets);
}

static bool read_tensor(header *h, const char *name, size_t name_bytes)
{
    int64_t size[AT_STORED_RANK_MAX];
    uint64_t offsets[2] = { 0, 0 };
    at_stored_tensor t = { .size = size, .file = h->file };
    unsigned seen = 0;
    at_json_text key;
    h->tensor = name;
    for (at_json_object(&h->j); at_json_key(&h->j, &key);)
        if (!read_member(h, &key, &t, size, offsets, &seen))
            return false;
    if (h->j.status != AT_OK)
        return false;
    if (seen != (DTYPE | SHAPE | OFFSETS))
        return at_json_refuse(&h->j, "expected dtype, shape and data_offsets, found no %s",
                              !(seen & DTYPE)   ? "dtype"
                              : !(seen & SHAPE) ? "shape"
                                                : "data_offsets");
    if (!check_offsets(h, offsets))
        return false;
    h->tensor = NULL; /* from here on sentences name it themselves */
    t.offset = h->data_from + offsets[0];
    t.bytes = offsets[1] - offsets[0];
    at_status status = at_tensors_add(h->list, &t, name, name_bytes, &h->why);
    return status == AT_OK || refuse(h, status);
}

/* --- texts ------------------------------------------------------------------------------------ */

/* The files of one model repeat their texts, mostly in the same order. Whether an earlier file has
 * this one: it must say the same then, and within this file come once. */
static bool is_known(header *h, const char *name, const char *data, size_t bytes, bool *known)
{
    *known = false;
    for (int k = 0; k < h->first_text; k++) {
        int i = (h->next_text + k) % h->first_text;
        const at_text *text = &h->list->texts[i];
        if (strcmp(text->name, name) != 0)
            continue;
        if (h->seen[i])
            return at_json_refuse(&h->j, "the text '%s' is there twice", name);
        if (text->bytes != bytes || memcmp(text->data, data, bytes) != 0)
            return at_json_refuse(&h->j, "the text '%s' differs from that of another file", name);
        h->seen[i] = true;
        h->next_text = i + 1;
        *known = true;
        return true;
    }
    return true;
}

static bool read_texts(header *h)
{
    at_json_text key, value;
    if (h->has_texts)
        return at_json_refuse(&h->j, "__metadata__ is there twice");
    h->has_texts = true;
    for (at_json_object(&h->j); at_json_key(&h->j, &key);) {
        const char *name = NULL, *data = NULL;
        size_t name_bytes = 0, bytes = 0;
        h->j.string_max = AT_TEXT_BYTES_MAX;
        if (!take_name(h, &key, &name, &name_bytes) || !at_json_string(&h->j, &value) ||
            !take_string(h, &value, &data, &bytes))
            return false;
        h->j.string_max = STRING_MAX;
        bool known;
        if (!is_known(h, name, data, bytes, &known))
            return false;
        if (known)
            continue;
        at_status status = at_tensors_add_text(h->list, name, name_bytes, data, bytes, &h->why);
        if (status != AT_OK)
            return refuse(h, status);
    }
    return h->j.status == AT_OK;
}

/* --- the header ------------------------------------------------------------------------------- */

static bool read_members(header *h)
{
    at_json_text key;
    for (at_json_object(&h->j); at_json_key(&h->j, &key);) {
        const char *name = NULL;
        size_t bytes = 0;
        if (at_json_is(&key, "__metadata__")) {
            if (!read_texts(h))
                return false;
        } else if (!take_name(h, &key, &name, &bytes) || !read_tensor(h, name, bytes)) {
            return false;
        }
    }
    return at_json_end(&h->j) == AT_OK;
}

typedef struct span {
    uint64_t from, to;
    int item;
} span;

static int compare_spans(const void *a, const void *b)
{
    const span *x = a, *y = b;
    if (x->from != y->from)
        return x->from < y->from ? -1 : 1;
    return x->to == y->to ? 0 : x->to < y->to ? -1 : 1;
}

static at_status check_spans(const header *h, const span *spans, int count, at_error *err)
{
    uint64_t at = h->data_from, end = h->data_from + h->data_bytes;
    for (int i = 0; i < count; at = spans[i++].to) {
        const char *name = h->list->items[spans[i].item].name;
        if (spans[i].from != at)
            return at_fail(err, AT_CORRUPT,
                           "tensor '%.*s' begins at %" PRIu64 " of the data; expected %" PRIu64
                           ", where the one before ends: tensors neither overlap nor leave holes",
                           at_safetensors_shown(name, strlen(name)), name,
                           spans[i].from - h->data_from, at - h->data_from);
    }
    if (at != end)
        return at_fail(err, AT_CORRUPT,
                       "the tensors end at %" PRIu64 " of the data; expected %" PRIu64
                       ", the end of the file",
                       at - h->data_from, h->data_bytes);
    return AT_OK;
}

static at_status check_layout(const header *h, at_error *err)
{
    int count = h->list->count - h->first;
    span *spans = malloc(((size_t)count + 1) * sizeof *spans);
    if (!spans)
        return at_fail(err, AT_NO_MEMORY, "no memory to check %d tensors", count);
    bool sorted = true;
    for (int i = 0; i < count; i++) {
        const at_stored_tensor *t = &h->list->items[h->first + i];
        spans[i] = (span){ t->offset, t->offset + t->bytes, h->first + i };
        sorted &= i == 0 || compare_spans(&spans[i - 1], &spans[i]) <= 0;
    }
    if (!sorted)
        qsort(spans, (size_t)count, sizeof *spans, compare_spans);
    at_status status = check_spans(h, spans, count, err);
    free(spans);
    return status;
}

/* The length of the header, which the file's first bytes give. */
static at_status read_length(const at_file *f, uint64_t *bytes, at_error *err)
{
    unsigned char head[LENGTH_BYTES + 1];
    const char *path = at_safetensors_path(f->path);
    if (f->bytes < sizeof head)
        return at_fail(err, AT_CORRUPT, "%s: expected a safetensors file, found %" PRIu64 " bytes",
                       path, f->bytes);
    at_status status = at_file_read(f, 0, head, sizeof head, err);
    if (status != AT_OK)
        return status;
    *bytes = 0;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--)
        *bytes = *bytes << 8 | head[i];
    if (*bytes > AT_SAFETENSORS_HEADER_MAX)
        return at_fail(err, AT_CORRUPT,
                       "%s: expected a header of at most %d bytes, found a length of %" PRIu64,
                       path, AT_SAFETENSORS_HEADER_MAX, *bytes);
    if (*bytes > f->bytes - LENGTH_BYTES)
        return at_fail(err, AT_CORRUPT,
                       "%s: the header has %" PRIu64 " bytes, but the file only %" PRIu64, path,
                       *bytes, f->bytes);
    if (head[LENGTH_BYTES] != '{' || *bytes < 2)
        return at_fail(err, AT_CORRUPT, "%s: expected a header that begins with '{', found %s",
                       path, *bytes < 2 ? "none" : "another byte");
    return AT_OK;
}

/* A large header that is not JSON is refused by its beginning, before it costs memory. What goes
 * wrong close to the cut may be the cut's fault. */
static at_status check_beginning(const at_file *f, uint64_t bytes, at_error *err)
{
    char text[BEGINNING_BYTES];
    at_json j;
    at_error why = { AT_OK, "" };
    if (bytes < 4 * sizeof text)
        return AT_OK;
    at_status status = at_file_read(f, LENGTH_BYTES, text, sizeof text, err);
    if (status != AT_OK)
        return status;
    at_json_start(&j, text, sizeof text, &why);
    if (at_json_skip(&j) || j.at + BEGINNING_SLACK > sizeof text)
        return AT_OK;
    return at_fail(err, j.status, "%s: %s", at_safetensors_path(f->path), why.text);
}

at_status at_safetensors_header(at_tensors *list, const at_file *f, uint16_t file, at_error *err)
{
    uint64_t bytes = 0;
    at_status status = read_length(f, &bytes, err);
    if (status == AT_OK)
        status = check_beginning(f, bytes, err);
    if (status != AT_OK)
        return status;
    const char *path = at_safetensors_path(f->path);
    header h = { .list = list, .bytes = (size_t)bytes, .file = file };
    h.data_from = LENGTH_BYTES + bytes;
    h.data_bytes = f->bytes - h.data_from;
    h.first = list->count;
    h.first_text = list->text_count;
    h.text = malloc(h.bytes);
    if (!h.text)
        return at_fail(err, AT_NO_MEMORY, "%s: no memory for a header of %zu bytes", path, h.bytes);
    status = at_file_read(f, LENGTH_BYTES, h.text, h.bytes, err);
    if (status == AT_OK) {
        at_json_start(&h.j, h.text, h.bytes, &h.why);
        h.j.string_max = STRING_MAX;
        read_members(&h);
        status = h.j.status != AT_OK ? h.j.status : check_layout(&h, &h.why);
        if (status != AT_OK && h.tensor)
            at_fail(err, status, "%s: tensor '%.*s': %s", path,
                    at_safetensors_shown(h.tensor, strlen(h.tensor)), h.tensor, h.why.text);
        else if (status != AT_OK)
            at_fail(err, status, "%s: %s", path, h.why.text);
    }
    free(h.text);
    return status;
}
