/* A tokenizer from the files beside a model, as transformers 5 reads them. What tokenizer.json says
 * of normalization and of cutting into words is not read there either: CLIP's tokenizer has its
 * own.
 *
 * Which tokens are found in a text, and how, is told in up to four files. tokenizer_config.json may
 * number them all (added_tokens_decoder); then the other files are not asked. Else what
 * special_tokens_map.json says of the tokens with a role goes before, and added_tokens.json and
 * tokenizer.json number tokens. Tokens with a role that no file numbers come after the numbered
 * ones; a token that is named twice is as it was named last. */
#include <stdio.h>
#include <string.h>

#include "engine/json.h"
#include "models/clip_tokenizer_own.h"

/* A token with a role may be told of by its name alone. */
typedef enum role { ROLE_BEGIN, ROLE_END, ROLE_UNKNOWN, ROLE_SEPARATOR, ROLE_PAD, ROLES = 7 } role;
static const char *const role_keys[ROLES] = { "bos_token", "eos_token", "unk_token", "sep_token",
                                              "pad_token", "cls_token", "mask_token" };

typedef struct token_list {
    at_clip_token *items; /* (count) the arena's, room for AT_CLIP_ADDED_MAX */
    size_t count;
} token_list;

typedef struct reading {
    const at_clip_files *files;
    at_arena *arena; /* until the tokenizer is made */
    at_clip_vocabulary vocabulary;
    at_clip_token roles[ROLES]; /* without a text: none */
    token_list numbered, extra;
    bool config_numbers;      /* the config numbers the tokens */
    at_clip_file merges_json; /* an array; or NULL: merges.txt */
    at_clip_tokenizer *t;
    at_error *err;
} reading;

/* --- words of JSON ---------------------------------------------------------------------------- */

/* The file that a sentence is about stands before it. */
static at_status in_file(at_status status, const char *name, at_error *err)
{
    at_error inner;
    if (status == AT_OK || !err)
        return status;
    inner = *err;
    return at_fail(err, status, "%s: %.*s", name, (int)(sizeof inner.text - 64), inner.text);
}

/* A string without its escapes: where it stands if it has none, else in the arena. */
static bool plain(at_json *j, at_arena *arena, const at_json_text *s, const char **text,
                  size_t *bytes)
{
    *text = s->raw;
    *bytes = s->raw_bytes;
    if (s->escaped) {
        char *copy = at_arena_try(arena, s->raw_bytes + 1);
        if (!copy) {
            j->status =
                at_fail(j->err, AT_NO_MEMORY, "no memory for a string of %zu bytes", s->raw_bytes);
            return false;
        }
        *text = copy;
        *bytes = at_json_unescape(s, copy, s->raw_bytes + 1);
        if (*bytes == SIZE_MAX)
            return at_json_refuse(j,
                                  "expected a token without U+0000 and without half a "
                                  "surrogate pair before byte %zu",
                                  j->at);
    }
    return true;
}

static void start(at_json *j, const at_clip_file *f, at_error *err)
{
    at_json_start(j, f->text, f->bytes, err);
    j->string_max = AT_CLIP_TOKEN_BYTES_MAX;
}

/* --- tokens ----------------------------------------------------------------------------------- */

/* One that is told of by an object. */
static bool read_token_object(reading *r, at_json *j, at_clip_token *out)
{
    at_json_text key, content;
    bool single = false;
    for (at_json_object(j); at_json_key(j, &key);)
        if (at_json_is(&key, "content"))
            (void)(at_json_string(j, &content) &&
                   plain(j, r->arena, &content, &out->text, &out->bytes));
        else if (at_json_is(&key, "lstrip"))
            at_json_bool(j, &out->left);
        else if (at_json_is(&key, "rstrip"))
            at_json_bool(j, &out->right);
        else if (at_json_is(&key, "special"))
            at_json_bool(j, &out->special);
        else if (at_json_is(&key, "normalized"))
            out->normalized_is_told = at_json_bool(j, &out->normalized);
        else if (at_json_is(&key, "single_word"))
            at_json_bool(j, &single);
        else if (at_json_is(&key, "id"))
            at_json_int(j, &out->order);
        else
            at_json_skip(j);
    if (j->status == AT_OK && (!out->text || !out->bytes))
        return at_json_refuse(j, "expected the content of a token before byte %zu", j->at);
    if (j->status == AT_OK && single)
        return at_json_refuse(j,
                              "a token that must be a word of its own is not supported, before "
                              "byte %zu",
                              j->at);
    return j->status == AT_OK;
}

/* A string or an object. */
static bool read_token(reading *r, at_json *j, at_clip_token *out)
{
    at_json_text name;
    *out = (at_clip_token){ 0 };
    if (at_json_peek(j) == AT_JSON_OBJECT)
        return read_token_object(r, j, out);
    out->is_string = out->special = true;
    if (!at_json_string(j, &name) || !plain(j, r->arena, &name, &out->text, &out->bytes))
        return false;
    return out->bytes || at_json_refuse(j, "expected a token's text before byte %zu", j->at);
}

static bool same_text(const at_clip_token *a, const at_clip_token *b)
{
    return a->bytes == b->bytes && !memcmp(a->text, b->text, a->bytes);
}

static bool is_normalized(const at_clip_token *token)
{
    return token->normalized_is_told ? token->normalized : !token->special;
}

static bool same_token(const at_clip_token *a, const at_clip_token *b)
{
    return same_text(a, b) && a->is_string == b->is_string && a->special == b->special &&
           a->left == b->left && a->right == b->right && is_normalized(a) == is_normalized(b);
}

static at_status append(reading *r, token_list *list, const at_clip_token *token)
{
    if (!list->items)
        list->items = at_arena_try(r->arena, AT_CLIP_ADDED_MAX * sizeof *list->items);
    if (!list->items)
        return at_fail(r->err, AT_NO_MEMORY, "no memory for %d tokens", AT_CLIP_ADDED_MAX);
    if (list->count == AT_CLIP_ADDED_MAX)
        return at_fail(r->err, AT_UNSUPPORTED, "there are over %d added tokens", AT_CLIP_ADDED_MAX);
    list->items[list->count++] = *token;
    return AT_OK;
}

/* Kept in the order of their numbers; one with the number of another takes its place. */
static at_status add_numbered(reading *r, const at_clip_token *token)
{
    token_list *list = &r->numbered;
    size_t at = list->count;
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].order == token->order) {
            list->items[i] = *token;
            return AT_OK;
        }
    at_status status = append(r, list, token);
    if (status != AT_OK)
        return status;
    for (; at > 0 && list->items[at - 1].order > token->order; at--)
        list->items[at] = list->items[at - 1];
    list->items[at] = *token;
    return AT_OK;
}

/* {"49406": {...}, ...} */
static void read_decoder(reading *r, at_json *j)
{
    at_json_text key;
    for (at_json_object(j); at_json_key(j, &key);) {
        at_clip_token token = { 0 };
        at_json number;
        int64_t order;
        at_json_start(&number, key.raw, key.raw_bytes, r->err);
        if (!at_json_int(&number, &order) || at_json_end(&number) != AT_OK) {
            at_json_refuse(j, "expected the id of a token as key before byte %zu", j->at);
        } else if (at_json_peek(j) != AT_JSON_OBJECT) {
            at_json_refuse(j, "expected a token as an object at byte %zu", j->at);
        } else if (read_token_object(r, j, &token)) {
            token.order = order;
            j->status = add_numbered(r, &token);
        }
    }
}

/* added_tokens.json: {"<token>": 49408, ...} */
static void read_numbers(reading *r, at_json *j)
{
    at_json_text key;
    for (at_json_object(j); at_json_key(j, &key);) {
        at_clip_token token = { .normalized_is_told = true, .normalized = true };
        if (!plain(j, r->arena, &key, &token.text, &token.bytes) || !at_json_int(j, &token.order))
            continue;
        for (int i = 0; i < ROLES; i++)
            token.special |= r->roles[i].text && same_text(&token, &r->roles[i]);
        for (size_t i = 0; i < r->extra.count; i++)
            token.special |= same_text(&token, &r->extra.items[i]);
        token.normalized = !token.special;
        j->status = add_numbered(r, &token);
    }
}

static void read_extra(reading *r, at_json *j)
{
    at_clip_token token;
    if (!read_token(r, j, &token))
        return;
    token.special = true;
    j->status = append(r, &r->extra, &token);
}

/* A list, or names with their tokens. */
static void read_extras(reading *r, at_json *j)
{
    at_json_text key;
    switch (at_json_peek(j)) {
    case AT_JSON_NULL: at_json_skip(j); break;
    case AT_JSON_OBJECT:
        for (at_json_object(j); at_json_key(j, &key);)
            read_extra(r, j);
        break;
    default:
        for (at_json_array(j); at_json_element(j);)
            read_extra(r, j);
    }
}

static bool is_needed(int i)
{
    return i == ROLE_BEGIN || i == ROLE_END || i == ROLE_UNKNOWN || i == ROLE_PAD;
}

static int role_of(const at_json_text *key)
{
    for (int i = 0; i < ROLES; i++)
        if (at_json_is(key, role_keys[i]))
            return i;
    return -1;
}

static void read_role(reading *r, at_json *j, int i)
{
    if (at_json_peek(j) != AT_JSON_NULL) {
        read_token(r, j, &r->roles[i]);
        r->roles[i].special = true;
    } else if (is_needed(i)) {
        at_json_refuse(j, "expected a token as %s, found null at byte %zu", role_keys[i], j->at);
    } else {
        at_json_skip(j);
        r->roles[i] = (at_clip_token){ 0 };
    }
}

/* tokenizer_config.json or special_tokens_map.json, whose strings may be long: a template for
 * chats. */
static at_status read_roles(reading *r, const at_clip_file *f, const char *name)
{
    at_json j;
    at_json_text key;
    at_json_start(&j, f->text, f->bytes, r->err);
    for (at_json_object(&j); at_json_key(&j, &key);) {
        int i = role_of(&key);
        if (i >= 0) {
            read_role(r, &j, i);
        } else if (at_json_is(&key, "added_tokens_decoder")) {
            r->config_numbers = true;
            read_decoder(r, &j);
        } else if (at_json_is(&key, "additional_special_tokens") ||
                   at_json_is(&key, "extra_special_tokens")) {
            read_extras(r, &j);
        } else {
            at_json_skip(&j);
        }
    }
    return in_file(at_json_end(&j), name, r->err);
}

/* --- vocabulary and merges -------------------------------------------------------------------- */

static at_status read_vocabulary(reading *r, const at_clip_file *f)
{
    at_json j;
    at_json_text key;
    size_t count = 0;
    start(&j, f, r->err);
    for (at_json_object(&j); at_json_key(&j, &key); count++)
        at_json_skip(&j);
    at_status status = at_json_end(&j);
    if (status == AT_OK)
        status = at_clip_vocabulary_start(&r->vocabulary, r->arena, count, r->err);
    if (status != AT_OK)
        return status;
    start(&j, f, r->err);
    for (at_json_object(&j); at_json_key(&j, &key);) {
        const char *text;
        size_t bytes;
        int64_t id;
        if (plain(&j, r->arena, &key, &text, &bytes) && at_json_int(&j, &id))
            j.status = at_clip_vocabulary_add(&r->vocabulary, text, bytes, id, r->err);
    }
    return j.status;
}

/* Two tokens become the one that their texts make together. */
static at_status add_merge(reading *r, const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
    char both[2 * AT_CLIP_TOKEN_BYTES_MAX];
    if (a_bytes > AT_CLIP_TOKEN_BYTES_MAX || b_bytes > AT_CLIP_TOKEN_BYTES_MAX)
        return at_fail(r->err, AT_CORRUPT, "a token of over %d bytes", AT_CLIP_TOKEN_BYTES_MAX);
    memcpy(both, a, a_bytes);
    memcpy(both + a_bytes, b, b_bytes);
    int32_t left = at_clip_vocabulary_find(&r->vocabulary, a, a_bytes),
            right = at_clip_vocabulary_find(&r->vocabulary, b, b_bytes),
            result = at_clip_vocabulary_find(&r->vocabulary, both, a_bytes + b_bytes);
    if (left < 0 || right < 0 || result < 0)
        return at_fail(r->err, AT_CORRUPT, "%s is not in the vocabulary",
                       left < 0    ? "its left half"
                       : right < 0 ? "its right half"
                                   : "what it makes");
    at_bpe_add(r->t->bpe, (uint32_t)left, (uint32_t)right, (uint32_t)result);
    return AT_OK;
}

/* "left right" */
static at_status add_merge_text(reading *r, const char *text, size_t bytes)
{
    const char *blank = memchr(text, ' ', bytes);
    size_t left = blank ? (size_t)(blank - text) : 0;
    if (!blank || memchr(blank + 1, ' ', bytes - left - 1))
        return at_fail(r->err, AT_CORRUPT, "expected two tokens with one blank between them");
    return add_merge(r, text, left, blank + 1, bytes - left - 1);
}

static at_status start_tokenizer(reading *r, size_t merges)
{
    if (merges > AT_CLIP_VOCABULARY_MAX)
        return at_fail(r->err, AT_UNSUPPORTED, "%zu merges are over the limit of %d", merges,
                       AT_CLIP_VOCABULARY_MAX);
    return at_clip_tokenizer_start(&r->t, merges, r->err);
}

/* merges.txt: a merge a line; lines that begin with #version are none. */
static at_status read_merges_text(reading *r)
{
    static const char version[] = "#version";
    const char *p = r->files->merges.text, *end = p + r->files->merges.bytes;
    size_t lines = 1, line = 0;
    for (const char *q = p; (q = memchr(q, '\n', (size_t)(end - q))); q++)
        lines++;
    at_status status = start_tokenizer(r, lines);
    while (p < end && status == AT_OK) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        size_t bytes = (size_t)((stop ? stop : end) - p);
        size_t text = bytes > 0 && stop && p[bytes - 1] == '\r' ? bytes - 1 : bytes;
        line++;
        if (text < sizeof version - 1 || memcmp(p, version, sizeof version - 1) != 0)
            status = add_merge_text(r, p, text);
        p = stop ? stop + 1 : end;
    }
    if (status != AT_OK && line > 0) {
        char name[64];
        snprintf(name, sizeof name, "merge in line %zu", line);
        return in_file(status, name, r->err);
    }
    return status;
}

/* ["left", "right"] or "left right" */
static void read_merge(reading *r, at_json *j)
{
    at_json_text s;
    const char *text[2];
    size_t bytes[2];
    int n = 0;
    if (at_json_peek(j) == AT_JSON_STRING) {
        if (at_json_string(j, &s) && plain(j, r->arena, &s, &text[0], &bytes[0]))
            j->status = add_merge_text(r, text[0], bytes[0]);
        return;
    }
    for (at_json_array(j); at_json_element(j); n++)
        if (n == 2)
            at_json_refuse(j, "expected two tokens, found a third at byte %zu", j->at);
        else if (at_json_string(j, &s))
            plain(j, r->arena, &s, &text[n], &bytes[n]);
    if (j->status == AT_OK && n != 2)
        at_json_refuse(j, "expected two tokens before byte %zu", j->at);
    if (j->status == AT_OK)
        j->status = add_merge(r, text[0], bytes[0], text[1], bytes[1]);
}

static at_status read_merges_json(reading *r)
{
    at_json j;
    size_t count = 0;
    start(&j, &r->merges_json, r->err);
    for (at_json_array(&j); at_json_element(&j); count++)
        at_json_skip(&j);
    at_status status = at_json_end(&j);
    if (status == AT_OK)
        status = start_tokenizer(r, count);
    if (status != AT_OK)
        return status;
    start(&j, &r->merges_json, r->err);
    count = 0;
    for (at_json_array(&j); at_json_element(&j); count++)
        read_merge(r, &j);
    if (j.status != AT_OK && count > 0) {
        char name[64];
        snprintf(name, sizeof name, "merge %zu", count);
        return in_file(j.status, name, r->err);
    }
    return j.status;
}

/* Of tokenizer.json's model: what must be as CLIP has it, and where the two lists are. */
static void read_model(at_json *j, at_clip_file *vocab, at_clip_file *merges)
{
    static const char *const fixed[][2] = { { "type", "BPE" }, { "end_of_word_suffix", "</w>" } };
    at_json_text key, value;
    for (at_json_object(j); at_json_key(j, &key);) {
        size_t k = 0;
        while (k < AT_COUNT(fixed) && !at_json_is(&key, fixed[k][0]))
            k++;
        if (k < AT_COUNT(fixed) && at_json_peek(j) == AT_JSON_STRING) {
            if (at_json_string(j, &value) && !at_json_is(&value, fixed[k][1]))
                at_json_refuse(j, "expected %s \"%s\" before byte %zu: this is not CLIP's",
                               fixed[k][0], fixed[k][1], j->at);
        } else if (at_json_is(&key, "vocab")) {
            at_json_raw(j, &vocab->text, &vocab->bytes);
        } else if (at_json_is(&key, "merges")) {
            at_json_raw(j, &merges->text, &merges->bytes);
        } else {
            at_json_skip(j);
        }
    }
}

static void read_added(reading *r, at_json *j)
{
    at_clip_token token;
    for (at_json_array(j); at_json_element(j);)
        if (at_json_peek(j) != AT_JSON_OBJECT)
            at_json_refuse(j, "expected a token as an object at byte %zu", j->at);
        else if (read_token(r, j, &token))
            j->status = add_numbered(r, &token);
}

static at_status read_tokenizer_json(reading *r)
{
    at_json j;
    at_json_text key;
    at_clip_file vocab = { 0 };
    start(&j, &r->files->tokenizer, r->err);
    j.string_max = 0; /* of what is skipped nothing is asked */
    for (at_json_object(&j); at_json_key(&j, &key);)
        if (at_json_is(&key, "added_tokens") && !r->config_numbers)
            read_added(r, &j);
        else if (at_json_is(&key, "model"))
            read_model(&j, &vocab, &r->merges_json);
        else
            at_json_skip(&j);
    at_status status = at_json_end(&j);
    if (status == AT_OK && (!vocab.text || !r->merges_json.text))
        status = at_fail(r->err, AT_CORRUPT, "expected a model with vocab and merges");
    return status == AT_OK ? read_vocabulary(r, &vocab) : status;
}

/* --- putting it together ---------------------------------------------------------------------- */

/* In the order in which the library takes them. The list is the numbered one, grown. */
static at_status list_tokens(reading *r)
{
    token_list *list = &r->numbered;
    size_t numbered = list->count;
    at_status status = AT_OK;
    for (size_t i = 0; i < ROLES + r->extra.count && status == AT_OK; i++) {
        const at_clip_token *token = i < ROLES ? &r->roles[i] : &r->extra.items[i - ROLES];
        bool known = !token->text;
        for (size_t k = 0; k < list->count && !known; k++) {
            at_clip_token *other = &list->items[k];
            known = k < numbered ? same_text(other, token) : same_token(other, token);
            other->special |= known && i < ROLES;
        }
        if (!known)
            status = append(r, list, token);
    }
    return status;
}

/* The id of a token, given to it if the vocabulary has none: the first one behind everything. */
static int32_t take_id(const at_clip_vocabulary *v, const at_clip_token *token, int32_t *next)
{
    int32_t id = at_clip_vocabulary_find(v, token->text, token->bytes);
    id = id >= 0 ? id : *next;
    *next = id >= *next ? id + 1 : *next;
    return id;
}

/* A token that is named again changes in its place. */
static at_status add_tokens(reading *r)
{
    at_clip_token *items = r->numbered.items;
    int32_t next = (int32_t)r->vocabulary.count, ids[AT_CLIP_ADDED_MAX];
    at_status status = AT_OK;
    for (size_t i = 0; i < r->numbered.count; i++) {
        size_t first = 0;
        while (!same_text(&items[first], &items[i]))
            first++;
        items[i].normalized = is_normalized(&items[i]);
        ids[i] = first < i ? ids[first] : take_id(&r->vocabulary, &items[i], &next);
        for (int k = 0; k < ROLES; k++)
            if (r->roles[k].text && same_text(&items[i], &r->roles[k]))
                r->roles[k].order = ids[i];
    }
    for (size_t i = 0; i < r->numbered.count && status == AT_OK; i++) {
        size_t again = i + 1;
        while (again < r->numbered.count && !same_text(&items[i], &items[again]))
            again++;
        if (again == r->numbered.count)
            status = at_clip_tokenizer_add(r->t, &items[i], ids[i], r->err);
    }
    return status;
}

static at_status put_together(reading *r)
{
    const at_clip_token *unknown = &r->roles[ROLE_UNKNOWN];
    int32_t id = at_clip_vocabulary_find(&r->vocabulary, unknown->text, unknown->bytes);
    if (id < 0)
        return at_fail(r->err, AT_CORRUPT, "the vocabulary lacks the token for what is unknown");
    at_status status = list_tokens(r);
    if (status == AT_OK)
        status = add_tokens(r);
    r->t->special =
        (at_clip_special){ (int32_t)r->roles[ROLE_BEGIN].order, (int32_t)r->roles[ROLE_END].order,
                           id, (int32_t)r->roles[ROLE_PAD].order };
    at_clip_tokenizer_take_bytes(r->t, &r->vocabulary);
    r->t->size = r->vocabulary.size > r->t->size ? r->vocabulary.size : r->t->size;
    return status;
}

static at_status read_files(reading *r)
{
    static const char begin[] = "<|startoftext|>", end[] = "<|endoftext|>";
    const at_clip_files *f = r->files;
    at_status status = AT_OK;
    for (int i = 0; i < ROLES; i++)
        if (is_needed(i))
            r->roles[i] = (at_clip_token){ .text = i == ROLE_BEGIN ? begin : end,
                                           .bytes = strlen(i == ROLE_BEGIN ? begin : end),
                                           .is_string = true,
                                           .special = true };
    if (f->config.text)
        status = read_roles(r, &f->config, "tokenizer_config.json");
    if (status == AT_OK && f->special.text && !r->config_numbers)
        status = read_roles(r, &f->special, "special_tokens_map.json");
    if (status == AT_OK && f->added.text && !r->config_numbers) {
        at_json j;
        start(&j, &f->added, r->err);
        read_numbers(r, &j);
        status = in_file(at_json_end(&j), "added_tokens.json", r->err);
    }
    if (status == AT_OK && f->tokenizer.text)
        status = in_file(read_tokenizer_json(r), "tokenizer.json", r->err);
    else if (status == AT_OK)
        status = in_file(read_vocabulary(r, &f->vocab), "vocab.json", r->err);
    if (status == AT_OK && r->merges_json.text)
        status = in_file(read_merges_json(r), "tokenizer.json", r->err);
    else if (status == AT_OK)
        status = in_file(read_merges_text(r), "merges.txt", r->err);
    return status == AT_OK ? put_together(r) : status;
}

static at_status check_sizes(const at_clip_files *files, at_error *err)
{
    const struct {
        const char *name;
        const at_clip_file *file;
    } all[] = { { "tokenizer.json", &files->tokenizer },
                { "vocab.json", &files->vocab },
                { "merges.txt", &files->merges },
                { "tokenizer_config.json", &files->config },
                { "special_tokens_map.json", &files->special },
                { "added_tokens.json", &files->added } };
    for (size_t i = 0; i < AT_COUNT(all); i++)
        if (all[i].file->text && all[i].file->bytes > AT_CLIP_FILE_BYTES_MAX)
            return at_fail(err, AT_UNSUPPORTED, "%s: %zu bytes are over the limit of %d",
                           all[i].name, all[i].file->bytes, AT_CLIP_FILE_BYTES_MAX);
    if (!files->tokenizer.text && (!files->vocab.text || !files->merges.text))
        return at_fail(err, AT_NOT_FOUND,
                       "a tokenizer needs tokenizer.json, or vocab.json and merges.txt");
    return AT_OK;
}

at_status at_clip_tokenizer_open(at_clip_tokenizer **out, const at_clip_files *files, at_error *err)
{
    reading r = { .files = files, .err = err };
    at_status status = check_sizes(files, err);
    if (status != AT_OK)
        return status;
    r.arena = at_arena_try_new();
    status = r.arena ? read_files(&r) : at_fail(err, AT_NO_MEMORY, "no memory for a tokenizer");
    at_arena_free(r.arena);
    if (status != AT_OK)
        at_clip_tokenizer_free(r.t);
    else
        *out = r.t;
    return status;
}
