/* The machine of pickle.h.
 *
 * A value is one word: four bits of kind, sixty of content. A tuple is a range of the heap. A list
 * or a dict is one word of the heap that holds the first and the last of its blocks; a block is a
 * word (next block, number of words) and that many words. Word 0 of the heap is never used, so that
 * 0 means "no block". Neither recursion nor copying: every opcode costs what it takes off the
 * stack. */
#include "engine/pickle.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    COUNT_BITS = 28, /* of a tuple's length, or of a text's */
    CALL_COUNT_BITS = 20,
    CALL_FIRST_BITS = 32,
    KIND_SHIFT = 60,
    PROTOCOL_MIN = 2,
    PROTOCOL_MAX = 5
};

typedef enum role { ROLE_CLASS, ROLE_CALL, ROLE_DICT } role;

static const struct {
    const char *module, *name;
    role role;
} globals[AT_PICKLE_NAME_COUNT] = {
#define AT_PICKLE_GLOBAL(NAME, module, name, role) \
    [AT_PICKLE_##NAME] = { module, name, ROLE_##role },
#include "engine/pickle_globals.def"
#undef AT_PICKLE_GLOBAL
};

typedef enum operand_form {
    OPERAND_NOTHING,
    OPERAND_U8,
    OPERAND_U16,
    OPERAND_U32,
    OPERAND_I32,
    OPERAND_U64,
    OPERAND_BYTES1, /* a count of 1, 4 or 8 bytes, and that many bytes */
    OPERAND_BYTES4,
    OPERAND_BYTES8,
    OPERAND_LINES /* two lines */
} operand_form;

/* What follows an opcode, and the number of its row. */
typedef struct operand {
    uint64_t number, fixed;
    at_pickle_text text, second;
} operand;

typedef struct operation {
    const char *name;
    operand_form form;
    bool (*run)(at_pickle *p, const operand *o);
    uint64_t fixed;
} operation;

/* --- words ------------------------------------------------------------------------------------ */

static at_pickle_value make(at_pickle_kind kind, uint64_t content)
{
    return (at_pickle_value){ (uint64_t)kind << KIND_SHIFT | content };
}

static uint64_t content_of(at_pickle_value v)
{
    return v.word & (((uint64_t)1 << KIND_SHIFT) - 1);
}

static at_pickle_value make_range(at_pickle_kind kind, size_t first, size_t count)
{
    return make(kind, (uint64_t)first << COUNT_BITS | count);
}

static size_t low_bits(uint64_t word, int bits)
{
    return (size_t)(word & (((uint64_t)1 << bits) - 1));
}

at_pickle_kind at_pickle_is(at_pickle_value v)
{
    return (at_pickle_kind)(v.word >> KIND_SHIFT);
}

static bool refuse(at_pickle *p, const char *fmt, ...) AT_PRINTF(2, 3);

/* The first reason stays. */
static bool refuse(at_pickle *p, const char *fmt, ...)
{
    char text[AT_ERROR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (p->status == AT_OK)
        p->status = at_fail(p->err, AT_CORRUPT, "%s", text);
    return false;
}

/* Room for 'more' words; a quarter as much again is taken, as far as the limit allows. */
static bool reserve(at_pickle *p, at_pickle_words *w, size_t more)
{
    if (more <= w->capacity - w->count)
        return true;
    size_t need = w->count + more, wanted = need + need / 4 + 32;
    size_t most = w->capacity + p->room / sizeof *w->data;
    if (wanted > most)
        wanted = most;
    if (wanted < need || need > UINT32_MAX / 2)
        return refuse(p, "its pickle needs more than the %zu bytes of memory that it may take",
                      p->room_max);
    uint64_t *grown = realloc(w->data, wanted * sizeof *w->data);
    if (!grown) {
        p->status = at_fail(p->err, AT_NO_MEMORY, "no memory for the values of a pickle");
        return false;
    }
    p->room -= (wanted - w->capacity) * sizeof *w->data;
    w->data = grown;
    w->capacity = wanted;
    return true;
}

static bool push(at_pickle *p, at_pickle_value v)
{
    if (p->stack.count == AT_PICKLE_STACK_MAX)
        return refuse(p, "its pickle stacks over %d values", AT_PICKLE_STACK_MAX);
    if (!reserve(p, &p->stack, 1))
        return false;
    p->stack.data[p->stack.count++] = v.word;
    return true;
}

/* Takes a value off the stack; a mark is none. */
static bool pop(at_pickle *p, at_pickle_value *v)
{
    *v = (at_pickle_value){ p->stack.count ? p->stack.data[p->stack.count - 1] : 0 };
    if (!p->stack.count || at_pickle_is(*v) == AT_PICKLE_MARK)
        return refuse(p, "its pickle takes a value off an empty stack at byte %zu", p->at - 1);
    p->stack.count--;
    return true;
}

/* The place behind the topmost mark. What calls this takes off what lies above, so that the search
 * is paid for by what was pushed. */
static bool find_mark(at_pickle *p, size_t *first)
{
    size_t i = p->stack.count;
    while (i > 0 && p->stack.data[i - 1] != make(AT_PICKLE_MARK, 0).word)
        i--;
    *first = i;
    return i > 0 || refuse(p, "its pickle has no mark where byte %zu needs one", p->at - 1);
}

/* The heap's next 'count' words become those at the top of the stack, which loses them. */
static bool move_to_heap(at_pickle *p, size_t count, size_t *first)
{
    if (count > p->stack.count)
        return refuse(p, "its pickle takes %zu values off a stack of %zu", count, p->stack.count);
    if (!reserve(p, &p->heap, count))
        return false;
    *first = p->heap.count;
    p->stack.count -= count;
    if (count)
        memcpy(p->heap.data + *first, p->stack.data + p->stack.count, count * sizeof *p->heap.data);
    p->heap.count += count;
    for (size_t i = *first; i < p->heap.count; i++)
        if (p->heap.data[i] == make(AT_PICKLE_MARK, 0).word)
            return refuse(p, "its pickle takes a mark for a value at byte %zu", p->at - 1);
    return true;
}

static bool new_container(at_pickle *p, at_pickle_kind kind, at_pickle_value *v)
{
    if (!reserve(p, &p->heap, 1))
        return false;
    *v = make(kind, p->heap.count);
    p->heap.data[p->heap.count++] = 0;
    return true;
}

/* Moves the top 'count' words of the stack behind a container's others: into its last block when
 * that is the last of the heap, or else into a block of their own. */
static bool extend(at_pickle *p, at_pickle_value container, size_t count)
{
    size_t self = (size_t)content_of(container), first;
    uint64_t ends = p->heap.data[self];
    size_t last = low_bits(ends, 32);
    bool grows = last && last + 1 + low_bits(p->heap.data[last], 32) == p->heap.count;
    if (count == 0)
        return true;
    if (!reserve(p, &p->heap, count + 1))
        return false;
    if (!grows) {
        size_t block = p->heap.count;
        p->heap.data[p->heap.count++] = 0;
        if (last)
            p->heap.data[last] |= (uint64_t)block << 32;
        p->heap.data[self] = (last ? ends >> 32 : block) << 32 | block;
        last = block;
    }
    if (!move_to_heap(p, count, &first))
        return false;
    p->heap.data[last] += count;
    return true;
}

/* --- globals ---------------------------------------------------------------------------------- */

static bool equals(at_pickle_text text, const char *to)
{
    bool begins = text.bytes && text.data[0] == to[0]; /* most are told apart by this alone */
    return begins && strlen(to) == text.bytes && !memcmp(to, text.data, text.bytes);
}

void at_pickle_printable(char *out, size_t room, const char *text, size_t bytes)
{
    size_t n = bytes < room - 1 ? bytes : room - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    out[n] = 0;
}

static at_pickle_value make_global(at_pickle_name name, at_stored type)
{
    return make(AT_PICKLE_GLOBAL, (uint64_t)type << 8 | (uint64_t)name);
}

/* One of torch's storages or dtypes. */
static bool find_stored(at_pickle_text name, at_pickle_value *v)
{
    for (at_stored type = AT_STORED_NONE + 1; type < AT_STORED_COUNT; type++) {
        const at_stored_info *info = at_stored_about(type);
        bool storage = equals(name, info->storage);
        if (storage || equals(name, info->torch)) {
            *v = make_global(storage ? AT_PICKLE_STORAGE : AT_PICKLE_DTYPE, type);
            return true;
        }
    }
    return false;
}

static bool push_global(at_pickle *p, at_pickle_text module, at_pickle_text name)
{
    at_pickle_value v;
    for (at_pickle_name i = AT_PICKLE_DTYPE + 1; i < AT_PICKLE_NAME_COUNT; i++)
        if (equals(name, globals[i].name) && equals(module, globals[i].module))
            return push(p, make_global(i, AT_STORED_NONE));
    if (equals(module, "torch") && find_stored(name, &v))
        return push(p, v);
    if (equals(name, "UntypedStorage") && equals(module, "torch.storage"))
        return push(p, make_global(AT_PICKLE_STORAGE, AT_STORED_NONE));
    char where[AT_PICKLE_GLOBAL_MAX], what[AT_PICKLE_GLOBAL_MAX];
    at_pickle_printable(where, sizeof where, module.data, module.bytes);
    at_pickle_printable(what, sizeof what, name.data, name.bytes);
    return refuse(p, "refuses to run '%s.%s', which its pickle asks for and tensors do not need",
                  where, what);
}

/* --- opcodes ---------------------------------------------------------------------------------- */

static bool do_nothing(at_pickle *p, const operand *o)
{
    (void)p;
    (void)o;
    return true;
}

static bool do_proto(at_pickle *p, const operand *o)
{
    if (o->number < PROTOCOL_MIN || o->number > PROTOCOL_MAX)
        return refuse(p, "its pickle has protocol %" PRIu64 "; %d to %d are known", o->number,
                      PROTOCOL_MIN, PROTOCOL_MAX);
    return true;
}

static bool do_stop(at_pickle *p, const operand *o)
{
    (void)o;
    if (!pop(p, &p->result))
        return false;
    p->done = true;
    return p->stack.count == 0 ||
           refuse(p, "its pickle stops with %zu values left over", p->stack.count);
}

static bool do_fixed(at_pickle *p, const operand *o)
{
    return push(p, make((at_pickle_kind)o->fixed, 0));
}

static bool do_bool(at_pickle *p, const operand *o)
{
    return push(p, make(AT_PICKLE_BOOL, o->fixed));
}

static bool do_pop(at_pickle *p, const operand *o)
{
    at_pickle_value v;
    (void)o;
    return pop(p, &v);
}

static bool do_pop_mark(at_pickle *p, const operand *o)
{
    size_t first;
    (void)o;
    if (!find_mark(p, &first))
        return false;
    p->stack.count = first - 1;
    return true;
}

/* Sixty bits hold every size that a file can have; what is wider is a number that nobody asks
 * for. */
static bool push_int(at_pickle *p, int64_t value)
{
    bool fits = value >= -((int64_t)1 << (KIND_SHIFT - 1)) && value < (int64_t)1
                                                                          << (KIND_SHIFT - 1);
    return push(p, fits ? make(AT_PICKLE_INT, content_of((at_pickle_value){ (uint64_t)value }))
                        : make(AT_PICKLE_NUMBER, 0));
}

static bool do_int(at_pickle *p, const operand *o)
{
    return push_int(p, (int64_t)o->number);
}

/* Two's complement of any length, lowest byte first. */
static bool do_long(at_pickle *p, const operand *o)
{
    size_t n = o->text.bytes;
    const unsigned char *from = (const unsigned char *)o->text.data;
    if (n > sizeof(uint64_t))
        return push(p, make(AT_PICKLE_NUMBER, 0));
    uint64_t value = n && from[n - 1] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = n; i-- > 0;)
        value = value << 8 | from[i];
    return push_int(p, (int64_t)value);
}

static bool do_bytes(at_pickle *p, const operand *o)
{
    size_t from = (size_t)((const unsigned char *)o->text.data - p->bytes);
    return push(p, make_range((at_pickle_kind)o->fixed, from, o->text.bytes));
}

static bool do_container(at_pickle *p, const operand *o)
{
    at_pickle_value v;
    return new_container(p, (at_pickle_kind)o->fixed, &v) && push(p, v);
}

static bool do_tuple_of(at_pickle *p, const operand *o)
{
    size_t first = 0;
    return move_to_heap(p, (size_t)o->fixed, &first) &&
           push(p, make_range(AT_PICKLE_TUPLE, first, (size_t)o->fixed));
}

static bool do_tuple(at_pickle *p, const operand *o)
{
    size_t first = 0, mark, count;
    (void)o;
    if (!find_mark(p, &mark))
        return false;
    count = p->stack.count - mark;
    if (!move_to_heap(p, count, &first))
        return false;
    p->stack.count--; /* the mark */
    return push(p, make_range(AT_PICKLE_TUPLE, first, count));
}

/* Adds the 'count' words on top of the stack to the container below them. */
static bool add_items(at_pickle *p, size_t count, at_pickle_kind kind, size_t below)
{
    size_t items = p->stack.count - count;
    if (items <= below)
        return refuse(p, "its pickle adds to nothing at byte %zu", p->at - 1);
    at_pickle_value container = { p->stack.data[items - below - 1] };
    if (at_pickle_is(container) != kind || (kind == AT_PICKLE_DICT && count % 2))
        return refuse(p, "its pickle adds %s to what is no %s at byte %zu",
                      kind == AT_PICKLE_DICT ? "pairs" : "items",
                      kind == AT_PICKLE_DICT ? "dict" : "list", p->at - 1);
    if (!extend(p, container, count))
        return false;
    p->stack.count -= below; /* the mark */
    return true;
}

static bool do_append(at_pickle *p, const operand *o)
{
    size_t count = o->fixed == AT_PICKLE_DICT ? 2 : 1;
    if (p->stack.count < count)
        return refuse(p, "its pickle adds to nothing at byte %zu", p->at - 1);
    return add_items(p, count, (at_pickle_kind)o->fixed, 0);
}

static bool do_appends(at_pickle *p, const operand *o)
{
    size_t first;
    return find_mark(p, &first) &&
           add_items(p, p->stack.count - first, (at_pickle_kind)o->fixed, 1);
}

static bool put(at_pickle *p, uint64_t slot)
{
    at_pickle_value v;
    /* Numbering takes bytes, so that a higher number than there are bytes is a lie. */
    if (slot >= AT_PICKLE_MEMO_MAX || slot >= p->size)
        return refuse(p, "its pickle of %zu bytes numbers a value %" PRIu64, p->size, slot);
    if (!pop(p, &v))
        return false;
    p->stack.count++; /* it stays */
    if (slot >= p->memo.count) {
        size_t more = (size_t)slot + 1 - p->memo.count;
        if (!reserve(p, &p->memo, more))
            return false;
        memset(p->memo.data + p->memo.count, 0, more * sizeof *p->memo.data);
        p->memo.count += more;
    }
    p->memo.data[slot] = v.word;
    return true;
}

static bool do_put(at_pickle *p, const operand *o)
{
    return put(p, o->number);
}

static bool do_memoize(at_pickle *p, const operand *o)
{
    (void)o;
    return put(p, p->memo.count);
}

static bool do_get(at_pickle *p, const operand *o)
{
    if (o->number >= p->memo.count || !p->memo.data[o->number])
        return refuse(p, "its pickle asks for value %" PRIu64 ", which it did not number",
                      o->number);
    return push(p, (at_pickle_value){ p->memo.data[o->number] });
}

static bool do_global(at_pickle *p, const operand *o)
{
    return push_global(p, o->text, o->second);
}

static bool do_stack_global(at_pickle *p, const operand *o)
{
    at_pickle_value module, name;
    at_pickle_text module_text, name_text;
    (void)o;
    if (!pop(p, &name) || !pop(p, &module))
        return false;
    if (!at_pickle_text_of(p, module, &module_text) || !at_pickle_text_of(p, name, &name_text))
        return refuse(p, "its pickle names a global by what is no text at byte %zu", p->at - 1);
    return push_global(p, module_text, name_text);
}

/* Python 2 wrote an OrderedDict as a call with a list of pairs. */
static bool add_pairs(at_pickle *p, at_pickle_value dict, at_pickle_value args)
{
    at_pickle_value key, pair, index, word;
    if (at_pickle_count(args) > 1)
        return refuse(p, "its pickle makes a dict of %zu arguments", at_pickle_count(args));
    if (at_pickle_count(args) == 0)
        return true;
    at_pickle_walk pairs = at_pickle_enter(p, at_pickle_item(p, args, 0));
    while (at_pickle_next(&pairs, &key, &pair)) {
        at_pickle_walk words = at_pickle_enter(p, pair);
        int count = 0;
        for (; count < 3 && at_pickle_next(&words, &index, &word); count++)
            if (!push(p, word))
                return false;
        if (count != 2 || words.pairs)
            return refuse(p, "its pickle makes a dict of what are no pairs");
        if (!extend(p, dict, 2))
            return false;
    }
    return true;
}

static bool do_reduce(at_pickle *p, const operand *o)
{
    at_pickle_value args, function, v;
    (void)o;
    if (!pop(p, &args) || !pop(p, &function))
        return false;
    at_pickle_name name = at_pickle_named(function);
    bool callable = at_pickle_is(function) == AT_PICKLE_GLOBAL && globals[name].role != ROLE_CLASS;
    if (!callable || at_pickle_is(args) != AT_PICKLE_TUPLE)
        return refuse(p, "its pickle calls what cannot be called at byte %zu", p->at - 1);
    if (globals[name].role == ROLE_DICT)
        return new_container(p, AT_PICKLE_DICT, &v) && add_pairs(p, v, args) && push(p, v);
    uint64_t first = content_of(args) >> COUNT_BITS, count = at_pickle_count(args);
    uint64_t call = ((uint64_t)name << CALL_FIRST_BITS | first) << CALL_COUNT_BITS | count;
    return push(p, make(AT_PICKLE_CALL, call));
}

/* The state of an object: attributes, as a state dict's _metadata. Nothing of it is weights. */
static bool do_build(at_pickle *p, const operand *o)
{
    at_pickle_value state, object;
    (void)o;
    if (!pop(p, &state) || !pop(p, &object))
        return false;
    at_pickle_kind kind = at_pickle_is(object);
    if (kind != AT_PICKLE_DICT && kind != AT_PICKLE_CALL)
        return refuse(p, "its pickle gives a state to what has none at byte %zu", p->at - 1);
    return push(p, object);
}

static bool do_persistent(at_pickle *p, const operand *o)
{
    at_pickle_value v;
    (void)o;
    if (!pop(p, &v))
        return false;
    if (at_pickle_is(v) != AT_PICKLE_TUPLE)
        return refuse(p, "its pickle refers to a storage by what is no tuple");
    v = make(AT_PICKLE_STORED, content_of(v));
    return push(p, v) && extend(p, p->stored, 1) && push(p, v);
}

static const operation operations[256] = {
#define AT_PICKLE_OP(code, NAME, form, run, fixed) [code] = { #NAME, OPERAND_##form, run, fixed },
#include "engine/pickle_ops.def"
#undef AT_PICKLE_OP
};

/* --- running ---------------------------------------------------------------------------------- */

/* The next 'bytes' bytes, or false: the pickle goes on past the end of what there is. */
static bool take(at_pickle *p, uint64_t bytes, at_pickle_text *text)
{
    if (bytes > p->size - p->at) {
        p->starved = true;
        return refuse(p, "its pickle is cut off at byte %zu", p->size);
    }
    *text = (at_pickle_text){ (const char *)p->bytes + p->at, (size_t)bytes };
    p->at += (size_t)bytes;
    return true;
}

static bool take_number(at_pickle *p, size_t bytes, uint64_t *number)
{
    at_pickle_text text = { 0 };
    if (!take(p, bytes, &text))
        return false;
    *number = 0;
    for (size_t i = bytes; i-- > 0;)
        *number = *number << 8 | (unsigned char)text.data[i];
    return true;
}

static bool take_line(at_pickle *p, at_pickle_text *line)
{
    const unsigned char *from = p->bytes + p->at;
    const unsigned char *end = memchr(from, '\n', p->size - p->at);
    if (!take(p, end ? (uint64_t)(end - from) : p->size - p->at + 1, line))
        return false;
    p->at++;
    return true;
}

static bool take_operand(at_pickle *p, operand_form form, operand *o)
{
    static const unsigned char bytes[] = {
        [OPERAND_U8] = 1,     [OPERAND_U16] = 2,    [OPERAND_U32] = 4,
        [OPERAND_I32] = 4,    [OPERAND_U64] = 8,    [OPERAND_BYTES1] = 1,
        [OPERAND_BYTES4] = 4, [OPERAND_BYTES8] = 8, [OPERAND_LINES] = 0,
    };
    if (form == OPERAND_NOTHING)
        return true;
    if (form == OPERAND_LINES)
        return take_line(p, &o->text) && take_line(p, &o->second);
    if (!take_number(p, bytes[form], &o->number))
        return false;
    if (form == OPERAND_I32)
        o->number = (uint64_t)(int64_t)(int32_t)(uint32_t)o->number;
    return form < OPERAND_BYTES1 || take(p, o->number, &o->text);
}

static bool step(at_pickle *p)
{
    operand o = { 0 };
    uint64_t code;
    if (!take_number(p, 1, &code))
        return false;
    const operation *op = &operations[code];
    if (!op->run)
        return refuse(p, "its pickle holds opcode 0x%02x at byte %zu, which no tensor needs",
                      (unsigned)code, p->at - 1);
    o.fixed = op->fixed;
    return take_operand(p, op->form, &o) && op->run(p, &o);
}

static void release(at_pickle *p, at_pickle_words *w)
{
    free(w->data);
    p->room += w->capacity * sizeof *w->data;
    *w = (at_pickle_words){ 0 };
}

/* Values lie on the heap; what only the running needed is given back, so that a list fits in. */
static void settle(at_pickle *p)
{
    size_t words = p->heap.count;
    release(p, &p->stack);
    release(p, &p->memo);
    uint64_t *shrunk = realloc(p->heap.data, words * sizeof *p->heap.data);
    if (!shrunk) /* it stays as it is */
        return;
    p->room += (p->heap.capacity - words) * sizeof *p->heap.data;
    p->heap.data = shrunk;
    p->heap.capacity = words;
}

at_status at_pickle_run(at_pickle *p, const void *bytes, size_t size, size_t memory_max,
                        at_error *err)
{
    *p = (at_pickle){ .bytes = bytes, .size = size, .room = memory_max, .room_max = memory_max };
    p->err = err;
    if (size > AT_PICKLE_BYTES_MAX)
        return at_fail(err, AT_CORRUPT, "its pickle has %zu bytes; the limit is %d", size,
                       AT_PICKLE_BYTES_MAX);
    if (!reserve(p, &p->heap, 1))
        return p->status;
    p->heap.data[p->heap.count++] = 0;
    bool going = new_container(p, AT_PICKLE_LIST, &p->stored);
    for (int steps = 0; going && !p->done; steps++) {
        going = step(p);
        if (steps == AT_PICKLE_STEPS_MAX)
            going = refuse(p, "its pickle has over %d opcodes", AT_PICKLE_STEPS_MAX);
    }
    if (p->status == AT_OK)
        settle(p);
    return p->status;
}

void at_pickle_free(at_pickle *p)
{
    free(p->heap.data);
    free(p->stack.data);
    free(p->memo.data);
    *p = (at_pickle){ 0 };
}

/* --- looking at values ------------------------------------------------------------------------ */

bool at_pickle_int(const at_pickle *p, at_pickle_value v, int64_t *out)
{
    (void)p;
    if (at_pickle_is(v) != AT_PICKLE_INT)
        return false;
    uint64_t sign = (uint64_t)1 << (KIND_SHIFT - 1);
    *out = (int64_t)((content_of(v) ^ sign) - sign);
    return true;
}

bool at_pickle_true(at_pickle_value v)
{
    return v.word == make(AT_PICKLE_BOOL, 1).word;
}

bool at_pickle_text_of(const at_pickle *p, at_pickle_value v, at_pickle_text *out)
{
    if (at_pickle_is(v) != AT_PICKLE_TEXT)
        return false;
    out->data = (const char *)p->bytes + (content_of(v) >> COUNT_BITS);
    out->bytes = low_bits(v.word, COUNT_BITS);
    return true;
}

at_pickle_name at_pickle_named(at_pickle_value v)
{
    at_pickle_kind kind = at_pickle_is(v);
    if (kind == AT_PICKLE_GLOBAL)
        return (at_pickle_name)low_bits(v.word, 8);
    if (kind == AT_PICKLE_CALL)
        return (at_pickle_name)(content_of(v) >> (CALL_FIRST_BITS + CALL_COUNT_BITS));
    return AT_PICKLE_NAME_COUNT;
}

at_stored at_pickle_type(at_pickle_value v)
{
    return at_pickle_is(v) == AT_PICKLE_GLOBAL ? (at_stored)(content_of(v) >> 8) : AT_STORED_NONE;
}

size_t at_pickle_count(at_pickle_value v)
{
    switch (at_pickle_is(v)) {
    case AT_PICKLE_TUPLE:
    case AT_PICKLE_STORED: return low_bits(v.word, COUNT_BITS);
    case AT_PICKLE_CALL: return low_bits(v.word, CALL_COUNT_BITS);
    default: return 0;
    }
}

static size_t first_of(at_pickle_value v)
{
    if (at_pickle_is(v) == AT_PICKLE_CALL)
        return low_bits(content_of(v) >> CALL_COUNT_BITS, CALL_FIRST_BITS);
    return (size_t)(content_of(v) >> COUNT_BITS);
}

at_pickle_value at_pickle_item(const at_pickle *p, at_pickle_value v, size_t i)
{
    AT_ASSERT(i < at_pickle_count(v), "item %zu of %zu", i, at_pickle_count(v));
    return (at_pickle_value){ p->heap.data[first_of(v) + i] };
}

at_pickle_walk at_pickle_enter(const at_pickle *p, at_pickle_value v)
{
    at_pickle_kind kind = at_pickle_is(v);
    at_pickle_walk w = { .p = p, .pairs = kind == AT_PICKLE_DICT };
    if (kind == AT_PICKLE_TUPLE) {
        w.at = first_of(v);
        w.left = at_pickle_count(v);
    } else if (kind == AT_PICKLE_LIST || kind == AT_PICKLE_DICT) {
        w.block = (size_t)(p->heap.data[content_of(v)] >> 32);
    }
    return w;
}

bool at_pickle_next(at_pickle_walk *w, at_pickle_value *key, at_pickle_value *value)
{
    while (w->left == 0 && w->block) {
        uint64_t head = w->p->heap.data[w->block];
        w->at = w->block + 1;
        w->left = low_bits(head, 32);
        w->block = (size_t)(head >> 32);
    }
    if (w->left == 0)
        return false;
    size_t words = w->pairs ? 2 : 1;
    const uint64_t *from = w->p->heap.data + w->at;
    *key = w->pairs ? (at_pickle_value){ from[0] } : make(AT_PICKLE_INT, (uint64_t)w->index);
    *value = (at_pickle_value){ from[words - 1] };
    w->index++;
    w->at += words;
    w->left -= words;
    return true;
}
