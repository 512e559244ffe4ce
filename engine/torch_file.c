#include "engine/torch_file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_SHOWN = 160, NAME_SHOWN = 120, UNWRAP_MAX = 4 };

/* --- the file --------------------------------------------------------------------------------- */

at_status at_torch_open(at_torch_file *t, const char *path, at_error *err)
{
    *t = (at_torch_file){ .file.fd = -1, .span_of = -1 };
    at_status status = at_file_open(&t->file, path, err);
    if (status != AT_OK)
        return status;
    size_t bytes = strlen(path), hidden = bytes > PATH_SHOWN ? bytes - PATH_SHOWN : 0;
    t->path = malloc(bytes + 1);
    if (!t->path)
        return at_fail(err, AT_NO_MEMORY, "%s: no memory to open it", path + hidden);
    memcpy(t->path, path, bytes + 1);
    while (((unsigned char)t->path[hidden] & 0xc0) == 0x80) /* not within a character */
        hidden++;
    t->file.path = t->path + hidden;
    return AT_OK;
}

void at_torch_close(at_torch_file *t)
{
    at_file_close(&t->file);
    free(t->span);
    free(t->strides);
    free(t->path);
    *t = (at_torch_file){ .file.fd = -1, .span_of = -1 };
}

size_t at_torch_memory(const at_torch_file *t, size_t used)
{
    size_t most = AT_TORCH_MEMORY_MIN;
    if (t->file.bytes > (SIZE_MAX - most) / 2)
        return SIZE_MAX - used;
    most += 2 * (size_t)t->file.bytes;
    return used < most ? most - used : 0;
}

at_status at_torch_named(const at_torch_file *t, at_status status, at_error *err)
{
    if (status == AT_OK || !err)
        return status;
    at_error why = *err;
    if (!strncmp(why.text, t->file.path, strlen(t->file.path)))
        return status;
    return at_fail(err, status, "%s: %s", t->file.path, why.text);
}

/* --- what a pickle says ----------------------------------------------------------------------- */

static bool is_text(const at_pickle *p, at_pickle_value v, const char *expected)
{
    at_pickle_text text;
    return at_pickle_text_of(p, v, &text) && text.bytes == strlen(expected) &&
           !memcmp(text.data, expected, text.bytes);
}

at_status at_torch_describe(const at_pickle *p, at_pickle_value v, size_t items,
                            at_torch_storage *out, at_error *err)
{
    enum { WORD, CLASS, KEY, LOCATION, ELEMENTS, VIEW };
    int64_t elements, bytes;
    *out = (at_torch_storage){ 0 };
    if (at_pickle_is(v) != AT_PICKLE_STORED || at_pickle_count(v) != items ||
        !is_text(p, at_pickle_item(p, v, WORD), "storage"))
        return at_fail(err, AT_CORRUPT, "its pickle refers to something that is not a storage");
    if (at_pickle_named(at_pickle_item(p, v, CLASS)) != AT_PICKLE_STORAGE ||
        !at_pickle_text_of(p, at_pickle_item(p, v, KEY), &out->key))
        return at_fail(err, AT_CORRUPT, "its pickle refers to a storage without a type or a key");
    out->type = at_pickle_type(at_pickle_item(p, v, CLASS));
    out->element = out->type ? at_stored_about(out->type)->bytes : 1;
    if (!at_pickle_int(p, at_pickle_item(p, v, ELEMENTS), &elements) || elements < 0 ||
        __builtin_mul_overflow(elements, (int64_t)out->element, &bytes)) {
        char key[NAME_SHOWN];
        at_pickle_printable(key, sizeof key, out->key.data, out->key.bytes);
        return at_fail(err, AT_CORRUPT, "storage '%s' has a size that no file can hold", key);
    }
    out->bytes = (uint64_t)bytes;
    if (items > VIEW)
        out->view = at_pickle_item(p, v, VIEW);
    return AT_OK;
}

/* --- flattening ------------------------------------------------------------------------------- */

typedef struct flat {
    at_torch_file *t;
    at_source *s;
    const at_pickle *p;
    size_t items;
    at_torch_find find;
    void *context;
    char name[AT_TENSOR_NAME_MAX + 1];
    size_t name_bytes;
    /* The containers around the value looked at, and the keys that lead from each to the next. */
    at_pickle_value above[AT_TORCH_DEPTH_MAX], keys[AT_TORCH_DEPTH_MAX];
    int depth, visits;
    size_t room;
    at_error *err;
} flat;

static at_status refuse(flat *f, const char *what)
{
    char name[NAME_SHOWN];
    at_pickle_printable(name, sizeof name, f->name, f->name_bytes);
    return at_fail(f->err, AT_CORRUPT, "tensor '%s' %s", name, what);
}

static bool add_to_name(flat *f, const char *text, size_t bytes)
{
    if (bytes > AT_TENSOR_NAME_MAX - f->name_bytes)
        return false;
    if (bytes)
        memcpy(f->name + f->name_bytes, text, bytes);
    f->name_bytes += bytes;
    return true;
}

/* In decimal, at the end of 'digits'. snprintf() took most of the time that a
 * pickle of shared lists cost. */
static at_pickle_text write_number(char digits[24], int64_t number)
{
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    size_t at = 24;
    do {
        digits[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (number < 0)
        digits[--at] = '-';
    return (at_pickle_text){ digits + at, 24 - at };
}

static at_status add_key(flat *f, at_pickle_value key, bool first)
{
    at_pickle_text text;
    int64_t number;
    char digits[24];
    if (at_pickle_int(f->p, key, &number)) {
        text = write_number(digits, number);
    } else if (!at_pickle_text_of(f->p, key, &text)) {
        return refuse(f, "has a key that is neither a text nor a whole number");
    }
    if ((!first && !add_to_name(f, ".", 1)) || !add_to_name(f, text.data, text.bytes))
        return refuse(f, "has a name of over 512 bytes");
    return AT_OK;
}

/* Names are made for tensors only: most of what is visited is none. */
static at_status make_name(flat *f)
{
    at_status status = AT_OK;
    f->name_bytes = 0;
    if (f->depth == 0)
        add_to_name(f, "tensor", strlen("tensor"));
    for (int i = 0; i < f->depth && status == AT_OK; i++)
        status = add_key(f, f->keys[i], i == 0);
    return status;
}

/* A tensor as the pickle describes it, out of whatever is wrapped around it. */
typedef struct description {
    at_pickle_name how;
    at_pickle_value args;
} description;

static bool is_tensor(at_pickle_value v)
{
    at_pickle_name name = at_pickle_named(v);
    return at_pickle_is(v) == AT_PICKLE_CALL && name >= AT_PICKLE_TENSOR_V1 &&
           name <= AT_PICKLE_TENSOR_WITH_STATE;
}

static bool unwrap(const at_pickle *p, at_pickle_value v, description *d)
{
    for (int i = 0; i < UNWRAP_MAX; i++) {
        *d = (description){ at_pickle_named(v), v };
        size_t count = at_pickle_count(v);
        switch (d->how) {
        case AT_PICKLE_TENSOR_V1: return count == 4;
        case AT_PICKLE_TENSOR_V2: return count == 6 || count == 7;
        case AT_PICKLE_TENSOR_V3: return count == 7 || count == 8;
        case AT_PICKLE_PARAMETER:
        case AT_PICKLE_PARAMETER_WITH_STATE:
            if (count == 0 || !is_tensor(at_pickle_item(p, v, 0)))
                return false;
            v = at_pickle_item(p, v, 0);
            break;
        case AT_PICKLE_TENSOR_WITH_STATE:
            if (count != 4 || at_pickle_is(at_pickle_item(p, v, 2)) != AT_PICKLE_TUPLE)
                return false;
            *d = (description){ at_pickle_named(at_pickle_item(p, v, 0)), at_pickle_item(p, v, 2) };
            count = at_pickle_count(d->args);
            return (d->how == AT_PICKLE_TENSOR_V2 && (count == 6 || count == 7)) ||
                   (d->how == AT_PICKLE_TENSOR_V3 && (count == 7 || count == 8));
        default: return false;
        }
    }
    return false;
}

/* Sizes or strides; -1: they are neither, negative or too many. */
static int read_sizes(const at_pickle *p, at_pickle_value v, int64_t size[AT_STORED_RANK_MAX])
{
    if (at_pickle_is(v) == AT_PICKLE_CALL && at_pickle_named(v) == AT_PICKLE_SIZE &&
        at_pickle_count(v) == 1)
        v = at_pickle_item(p, v, 0);
    size_t n = at_pickle_count(v);
    if (at_pickle_is(v) != AT_PICKLE_TUPLE || n > AT_STORED_RANK_MAX)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (!at_pickle_int(p, at_pickle_item(p, v, i), &size[i]) || size[i] < 0)
            return -1;
    return (int)n;
}

/* The last of the arguments tells of views that negate or conjugate what lies in the file. */
static bool is_plain(const at_pickle *p, const description *d)
{
    size_t i = d->how == AT_PICKLE_TENSOR_V3 ? 7 : 6;
    if (i >= at_pickle_count(d->args))
        return true;
    at_pickle_value key, value, v = at_pickle_item(p, d->args, i);
    at_pickle_walk w = at_pickle_enter(p, v);
    return at_pickle_is(v) == AT_PICKLE_NONE ||
           (at_pickle_is(v) == AT_PICKLE_DICT && !at_pickle_next(&w, &key, &value));
}

/* Elements from the first to behind the last; false when that is past what a number holds. */
static bool find_extent(const at_stored_tensor *t, const int64_t *stride, int64_t *extent)
{
    *extent = 1;
    for (int i = 0; i < t->rank; i++) {
        int64_t step;
        if (t->size[i] == 0) {
            *extent = 0;
            return true;
        }
        if (__builtin_mul_overflow(t->size[i] - 1, stride[i], &step) ||
            __builtin_add_overflow(*extent, step, extent))
            return false;
    }
    return true;
}

static bool is_row_major(const at_stored_tensor *t, const int64_t *stride)
{
    int64_t expected = 1;
    if (t->bytes == 0)
        return true;
    for (int i = t->rank; i-- > 0;) {
        if (t->size[i] != 1 && stride[i] != expected)
            return false;
        expected *= t->size[i];
    }
    return true;
}

/* Memory for one more tensor of the list, and for one more row of strides. */
static at_status take_room(flat *f, const at_stored_tensor *t, bool strided)
{
    enum { FINISHING = 24, ROUNDING = 32 };
    size_t need = sizeof *t * 3 / 2 + FINISHING + ROUNDING + f->name_bytes +
                  (size_t)t->rank * sizeof *t->size + (strided ? 2 * sizeof(at_torch_strides) : 0);
    if (need > f->room)
        return at_fail(f->err, AT_CORRUPT,
                       "it lists more tensors than fit into memory of twice its bytes");
    f->room -= need;
    return AT_OK;
}

static at_status keep_strides(flat *f, const int64_t *stride, int rank, uint64_t bytes)
{
    at_torch_file *t = f->t;
    if (t->count == t->capacity) {
        int wanted = t->capacity + t->capacity / 2 + 8;
        at_torch_strides *grown = realloc(t->strides, (size_t)wanted * sizeof *grown);
        if (!grown)
            return at_fail(f->err, AT_NO_MEMORY, "no memory for a list of tensors");
        t->strides = grown;
        t->capacity = wanted;
    }
    at_torch_strides *to = &t->strides[t->count++];
    *to = (at_torch_strides){ .tensor = f->s->list.count, .bytes = bytes };
    memcpy(to->stride, stride, (size_t)rank * sizeof *stride);
    return AT_OK;
}

/* Checks that a tensor, whose first element is number 'first' of its storage, lies within that. */
static at_status place(flat *f, at_stored_tensor *t, const int64_t *stride, int64_t first,
                       const at_torch_storage *storage, at_error *err)
{
    int64_t elements, extent, end, bytes, element = at_stored_about(t->type)->bytes;
    if (!at_stored_elements(t->size, t->rank, &elements) || !find_extent(t, stride, &extent) ||
        __builtin_mul_overflow(elements, element, &bytes) ||
        __builtin_add_overflow(first, extent, &end) || __builtin_mul_overflow(end, element, &end))
        return refuse(f, "has sizes or strides that no memory can hold");
    if (first < 0 || (uint64_t)end > storage->room || (uint64_t)bytes > storage->room) {
        char name[NAME_SHOWN];
        at_pickle_printable(name, sizeof name, f->name, f->name_bytes);
        return at_fail(err, AT_CORRUPT,
                       "tensor '%s' of %" PRId64 " bytes would end at byte %" PRId64
                       " of a storage of %" PRIu64,
                       name, bytes, end, storage->room);
    }
    t->bytes = (uint64_t)bytes;
    t->offset = storage->offset + (uint64_t)first * (uint64_t)element;
    bool strided = !is_row_major(t, stride);
    at_status status = take_room(f, t, strided);
    if (status == AT_OK && strided)
        status = keep_strides(f, stride, t->rank, (uint64_t)(extent * element));
    return status;
}

static at_status add_tensor(flat *f, at_pickle_value v)
{
    enum { STORAGE, FIRST, SIZES, STRIDES, DTYPE = 6 };
    const at_pickle *p = f->p;
    at_torch_storage storage;
    at_stored_tensor t = { 0 };
    int64_t size[AT_STORED_RANK_MAX] = { 0 }, stride[AT_STORED_RANK_MAX] = { 0 }, first;
    description d;
    if (!unwrap(p, v, &d))
        return refuse(f, "is described by the wrong arguments");
    if (!is_plain(p, &d))
        return refuse(f, "is a negated or conjugated view, which is not read");
    at_status status =
        at_torch_describe(p, at_pickle_item(p, d.args, STORAGE), f->items, &storage, f->err);
    if (status != AT_OK)
        return status;
    t.type = d.how == AT_PICKLE_TENSOR_V3 ? at_pickle_type(at_pickle_item(p, d.args, DTYPE))
                                          : storage.type;
    int rank = read_sizes(p, at_pickle_item(p, d.args, SIZES), size);
    if (t.type == AT_STORED_NONE)
        return refuse(f, "has no element type");
    if (rank < 0 || read_sizes(p, at_pickle_item(p, d.args, STRIDES), stride) != rank)
        return refuse(f, "has sizes and strides that are negative, over 8 or no pairs of numbers");
    if (!at_pickle_int(p, at_pickle_item(p, d.args, FIRST), &first))
        return refuse(f, "begins at what is no number");
    t.size = size;
    t.rank = (int16_t)rank;
    status = f->find(f->context, &storage, f->err);
    if (status == AT_OK)
        status = place(f, &t, stride, first, &storage, f->err);
    if (status == AT_OK)
        status = at_tensors_add(&f->s->list, &t, f->name, f->name_bytes, f->err);
    return status;
}

static at_status check_depth(flat *f, at_pickle_value v)
{
    for (int i = 0; i < f->depth; i++)
        if (f->above[i].word == v.word)
            return at_fail(f->err, AT_CORRUPT, "its pickle holds a dict or list within itself");
    if (f->depth == AT_TORCH_DEPTH_MAX)
        return at_fail(f->err, AT_CORRUPT, "its dicts and lists are nested over %d deep",
                       AT_TORCH_DEPTH_MAX);
    return AT_OK;
}

/* Recursion is bounded by check_depth(). */
static at_status visit(flat *f, at_pickle_value v)
{
    at_pickle_kind kind = at_pickle_is(v);
    at_pickle_value key, value;
    if (f->visits++ == AT_TORCH_VISITS_MAX)
        return at_fail(f->err, AT_CORRUPT, "its dicts and lists share values over %d times",
                       AT_TORCH_VISITS_MAX);
    if (is_tensor(v)) {
        at_status status = make_name(f);
        return status == AT_OK ? add_tensor(f, v) : status;
    }
    if (kind != AT_PICKLE_DICT && kind != AT_PICKLE_LIST && kind != AT_PICKLE_TUPLE) {
        f->t->ignored++;
        return AT_OK;
    }
    at_status status = check_depth(f, v);
    if (status != AT_OK)
        return status;
    f->above[f->depth++] = v;
    for (at_pickle_walk w = at_pickle_enter(f->p, v);
         status == AT_OK && at_pickle_next(&w, &key, &value);) {
        f->keys[f->depth - 1] = key;
        status = visit(f, value);
    }
    f->depth--;
    return status;
}

at_status at_torch_list(at_torch_file *t, at_source *s, const at_pickle *p, size_t items,
                        at_torch_find find, void *context, at_error *err)
{
    flat f = { .t = t,
               .s = s,
               .p = p,
               .items = items,
               .find = find,
               .context = context,
               .room = p->room,
               .err = err };
    at_status status = visit(&f, p->result);
    if (status == AT_OK && s->list.count == 0)
        status = at_fail(err, AT_CORRUPT, "it holds no tensor, only %" PRId64 " other values",
                         t->ignored);
    if (status == AT_OK)
        status = at_tensors_finish(&s->list, err);
    return at_torch_named(t, status, err);
}

/* --- reading ---------------------------------------------------------------------------------- */

static const at_torch_strides *find_strides(const at_torch_file *t, int i)
{
    int low = 0, high = t->count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (t->strides[middle].tensor < i)
            low = middle + 1;
        else
            high = middle;
    }
    return low < t->count && t->strides[low].tensor == i ? &t->strides[low] : NULL;
}

bool at_torch_is_dense(const at_torch_file *t, int i)
{
    return !find_strides(t, i);
}

/* Bytes [from, from + bytes) of the row-major tensor 't' out of its span. A unit is what lies
 * together: a row where elements of one do, else an element. */
static void gather(const at_stored_tensor *t, const at_torch_strides *s, const unsigned char *span,
                   uint64_t from, unsigned char *out, size_t bytes)
{
    int64_t at[AT_STORED_RANK_MAX] = { 0 }, element = at_stored_about(t->type)->bytes, place = 0;
    int outer = s->stride[t->rank - 1] == 1 ? t->rank - 1 : t->rank;
    size_t unit = (size_t)(outer < t->rank ? element * t->size[outer] : element);
    int64_t units = (int64_t)(from / unit);
    size_t skip = (size_t)(from % unit);
    for (int i = outer; i-- > 0; units /= t->size[i]) {
        at[i] = units % t->size[i];
        place += at[i] * s->stride[i];
    }
    while (bytes > 0) {
        size_t n = bytes < unit - skip ? bytes : unit - skip;
        memcpy(out, span + place * element + skip, n);
        out += n;
        bytes -= n;
        skip = 0;
        for (int i = outer; i-- > 0;) {
            place += s->stride[i];
            if (++at[i] < t->size[i])
                break;
            place -= at[i] * s->stride[i];
            at[i] = 0;
        }
    }
}

/* A column of a matrix lies scattered over all of it, so that reading a tensor which is not
 * row-major begins with a copy of all that it spans. The copy stays until another is needed. */
at_status at_torch_read(at_torch_file *t, const at_source *s, int i, uint64_t from, void *out,
                        size_t bytes, at_error *err)
{
    const at_stored_tensor *tensor = &s->list.items[i];
    const at_torch_strides *strides = find_strides(t, i);
    if (!strides)
        return at_file_read(&t->file, tensor->offset + from, out, bytes, err);
    if (t->span_of != i) {
        free(t->span);
        t->span_of = -1;
        t->span = malloc((size_t)strides->bytes);
        if (!t->span)
            return at_fail(err, AT_NO_MEMORY,
                           "%s: no memory for the %" PRIu64 " bytes that tensor '%.120s' spans",
                           t->file.path, strides->bytes, tensor->name);
        at_status status =
            at_file_read(&t->file, tensor->offset, t->span, (size_t)strides->bytes, err);
        if (status != AT_OK)
            return status;
        t->span_of = i;
    }
    gather(tensor, strides, t->span, from, out, bytes);
    return AT_OK;
}
