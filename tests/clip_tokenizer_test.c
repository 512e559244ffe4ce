/* clip_tokenizer_test.c -- prompts as transformers makes tokens of them, what is refused, and how
 * long prompts take. The form of tests/golden/clip is described in
 * tests/reference/clip_tokenizer.py. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "models/clip_tokenizer.h"
#include "models/unicode.h"
#include "tests/unit.h"

static const char golden[] = AT_SOURCE_DIR "/tests/golden/clip";

/* --- files ------------------------------------------------------------------------------------ */

/* The whole file, or {NULL}. */
static at_clip_file read_file(const char *folder, const char *name)
{
    char path[512];
    at_clip_file file = { NULL, 0 };
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    if (!f)
        return file;
    fseek(f, 0, SEEK_END);
    file.bytes = (size_t)ftell(f);
    rewind(f);
    char *text = malloc(file.bytes + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, file.bytes, f), file.bytes);
    text[file.bytes] = 0;
    file.text = text;
    fclose(f);
    return file;
}

static void free_file(at_clip_file *f)
{
    free((void *)(uintptr_t)f->text);
}

static at_clip_tokenizer *open_folder(const char *name)
{
    char folder[256];
    at_clip_tokenizer *t = NULL;
    at_error err = { AT_OK, "" };
    snprintf(folder, sizeof folder, "%s/%s", golden, name);
    at_clip_files files = { read_file(folder, "tokenizer.json"),
                            read_file(folder, "vocab.json"),
                            read_file(folder, "merges.txt"),
                            read_file(folder, "tokenizer_config.json"),
                            read_file(folder, "special_tokens_map.json"),
                            read_file(folder, "added_tokens.json") };
    if (at_clip_tokenizer_open(&t, &files, &err) != AT_OK)
        fail_msg("%s: %s", name, err.text);
    free_file(&files.tokenizer);
    free_file(&files.vocab);
    free_file(&files.merges);
    free_file(&files.config);
    free_file(&files.special);
    free_file(&files.added);
    return t;
}

static at_clip_tokenizer *open_builtin(at_clip_builtin which)
{
    at_clip_tokenizer *t = NULL;
    at_error err = { AT_OK, "" };
    if (at_clip_tokenizer_builtin(&t, which, &err) != AT_OK)
        fail_msg("%s", err.text);
    return t;
}

/* --- strings that are drawn ------------------------------------------------------------------- */

enum { RANGES_MAX = 128, PARTS_MAX = 128, PART_BYTES = 64, STRING_BYTES = 4096 };

typedef struct sources {
    uint32_t ranges[RANGES_MAX][2];
    unsigned range_count, part_count;
    unsigned char parts[PARTS_MAX][PART_BYTES];
    size_t part_bytes[PARTS_MAX];
} sources;

typedef struct string {
    unsigned char text[STRING_BYTES];
    size_t bytes;
} string;

static uint32_t below(uint64_t *state, uint32_t n)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((*state >> 33) % n);
}

static void put(string *s, uint32_t c)
{
    assert_true(s->bytes + 4 <= sizeof s->text);
    s->bytes += at_unicode_encode(s->text + s->bytes, c);
}

static void draw_piece(string *s, const sources *from, uint64_t *d)
{
    uint32_t kind = below(d, 8), c;
    if (kind < 5) {
        const uint32_t *range = from->ranges[below(d, from->range_count)];
        for (uint32_t n = 1 + below(d, 6); n > 0; n--)
            put(s, range[0] + below(d, range[1] - range[0] + 1));
    } else if (kind == 5) {
        uint32_t i = below(d, from->part_count);
        assert_true(s->bytes + PART_BYTES <= sizeof s->text);
        memcpy(s->text + s->bytes, from->parts[i], from->part_bytes[i]);
        s->bytes += from->part_bytes[i];
    } else if (kind == 6) {
        c = below(d, 0x110000 - 0x800);
        put(s, c < 0xd800 ? c : c + 0x800);
    } else {
        for (uint32_t n = 1 + below(d, 9); n > 0; n--)
            put(s, 'a' + below(d, 26));
    }
    if (below(d, 3) == 0)
        put(s, ' ');
}

static void draw_string(string *s, const sources *from, uint64_t number)
{
    uint64_t state = number * UINT64_C(0x9e3779b97f4a7c15) + 0x1234567;
    s->bytes = 0;
    below(&state, 2);
    for (uint32_t n = 1 + below(&state, 12); n > 0; n--)
        draw_piece(s, from, &state);
}

/* Sixteen code points, each behind letters and numbers, before marks, and twice. */
static void draw_points(string *s, uint32_t first)
{
    s->bytes = 0;
    for (uint32_t c = first; c < first + 16; c++) {
        uint32_t x = c >= 0xd800 && c < 0xe000 ? '-' : c;
        uint32_t all[] = { 'b', x, '1', x, 0x316, 0x301, x, x };
        for (size_t i = 0; i < AT_COUNT(all); i++)
            put(s, all[i]);
    }
}

/* --- the golden file -------------------------------------------------------------------------- */

typedef struct reading {
    at_clip_tokenizer *t;
    char name[64];
    sources from;
    at_clip_ids ids;
    int texts, digests;
} reading;

static void take_string(reading *r, uint64_t *digest, const string *s)
{
    at_error err = { AT_OK, "" };
    r->ids.count = 0;
    if (at_clip_tokenizer_ids(r->t, &r->ids, (const char *)s->text, s->bytes, &err) != AT_OK)
        fail_msg("%s: %s", r->name, err.text);
    for (size_t i = 0; i < r->ids.count; i++)
        *digest = (*digest ^ (uint32_t)r->ids.ids[i]) * UINT64_C(0x100000001b3);
    *digest = (*digest ^ UINT32_MAX) * UINT64_C(0x100000001b3);
}

/* "FIRST COUNT DIGESTS", each of 'step' numbers. */
static void compare_digests(reading *r, const char *what, char *line, uint32_t step)
{
    uint32_t first = (uint32_t)strtoul(line, &line, 10), count = (uint32_t)strtoul(line, &line, 10);
    string s;
    for (uint32_t a = first; a < first + count; a += step) {
        uint64_t expected = strtoull(line, &line, 16), got = UINT64_C(0xcbf29ce484222325);
        for (uint32_t n = a; n < a + step; n += step == 1000 ? 1 : 16) {
            if (step == 1000)
                draw_string(&s, &r->from, n);
            else
                draw_points(&s, n);
            take_string(r, &got, &s);
        }
        if (got != expected)
            fail_msg("%s: %s %u to %u: expected %016" PRIx64 ", got %016" PRIx64, r->name, what, a,
                     a + step - 1, expected, got);
        r->digests++;
    }
}

static size_t read_hex(unsigned char *out, size_t room, const char *hex)
{
    size_t n = 0;
    for (; strspn(hex, "0123456789abcdef") >= 2; hex += 2) {
        char two[3] = { hex[0], hex[1], 0 };
        assert_true(n < room);
        out[n++] = (unsigned char)strtoul(two, NULL, 16);
    }
    return n;
}

/* "HEX CUT: IDS" */
static void compare_text(reading *r, char *line)
{
    string s;
    int32_t ids[AT_CLIP_LENGTH];
    size_t cut;
    at_error err = { AT_OK, "" };
    s.bytes = read_hex(s.text, sizeof s.text, line);
    if (at_clip_tokenizer_encode(r->t, ids, AT_CLIP_LENGTH, &cut, (const char *)s.text, s.bytes,
                                 &err) != AT_OK)
        fail_msg("%s: %s", r->name, err.text);
    char *p = strchr(line, ' ');
    if (strtoul(p, &p, 10) != cut)
        fail_msg("%s: '%.*s': %zu tokens were cut", r->name, (int)s.bytes, s.text, cut);
    p++;
    for (int i = 0; i < AT_CLIP_LENGTH; i++) {
        long expected = strtol(p, &p, 10);
        if (expected != ids[i])
            fail_msg("%s: '%.*s': expected token %d to be %ld, got %d", r->name, (int)s.bytes,
                     s.text, i, expected, ids[i]);
    }
    r->texts++;
}

static void compare_size(reading *r, char *line)
{
    at_clip_special special = at_clip_tokenizer_special(r->t);
    const int32_t got[] = { at_clip_tokenizer_size(r->t), special.begin, special.end,
                            special.unknown, special.pad };
    for (size_t i = 0; i < AT_COUNT(got); i++) {
        long expected = strtol(line, &line, 10);
        if (expected != got[i])
            fail_msg("%s: expected number %zu of its size to be %ld, got %d", r->name, i, expected,
                     got[i]);
    }
}

static void open_named(reading *r, const char *name)
{
    at_clip_tokenizer_free(r->t);
    snprintf(r->name, sizeof r->name, "%s", name);
    if (!strncmp(name, "sdxl_", 5))
        r->t = open_builtin(name[5] == '1' ? AT_CLIP_SDXL_1 : AT_CLIP_SDXL_2);
    else
        r->t = open_folder(name);
}

static void take_line(reading *r, char *line)
{
    sources *from = &r->from;
    size_t word = strcspn(line, " ");
    assert_int_equal(line[word], ' ');
    line[word] = 0;
    char *rest = line + word + 1;
    if (!strcmp(line, "range")) {
        assert_true(from->range_count < RANGES_MAX);
        from->ranges[from->range_count][0] = (uint32_t)strtoul(rest, &rest, 10);
        from->ranges[from->range_count++][1] = (uint32_t)strtoul(rest, &rest, 10);
    } else if (!strcmp(line, "part")) {
        assert_true(from->part_count < PARTS_MAX);
        from->part_bytes[from->part_count] =
            read_hex(from->parts[from->part_count], PART_BYTES, rest);
        from->part_count++;
    } else if (!strcmp(line, "tokenizer")) {
        open_named(r, rest);
    } else if (!strcmp(line, "size")) {
        compare_size(r, rest);
    } else if (!strcmp(line, "text")) {
        compare_text(r, rest);
    } else if (!strcmp(line, "strings")) {
        compare_digests(r, line, rest, 1000);
    } else if (!strcmp(line, "points")) {
        compare_digests(r, line, rest, 4096);
    } else {
        fail_msg("the line '%s' is not known", line);
    }
}

static void tokens_are_those_of_transformers(void **state)
{
    at_clip_file file = read_file(golden, "tokens.txt");
    static reading r;
    (void)state;
    assert_non_null(file.text);
    char *text = (char *)(uintptr_t)file.text;
    for (char *line = text, *end; *line; line = end + 1) {
        end = line + strcspn(line, "\n");
        assert_int_equal(*end, '\n');
        *end = 0;
        take_line(&r, line);
    }
    printf("%d texts and %d digests agree\n", r.texts, r.digests);
    assert_true(r.texts > 100 && r.digests > 200);
    at_clip_tokenizer_free(r.t);
    free(r.ids.ids);
    free_file(&file);
}

/* --- texts ------------------------------------------------------------------------------------ */

typedef struct broken_text {
    const char *text;
    size_t bytes;
    int at; /* of the byte that is refused; -1: it is good */
} broken_text;

static const broken_text broken_texts[] = {
    { "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf\xef\xbf\xbf", 17, -1 },
    { "\x80", 1, 0 },
    { "ab\xbf", 3, 2 },
    { "a\xc0\x80", 3, 1 }, /* overlong */
    { "a\xc1\xbf", 3, 1 },
    { "ab\xe0\x9f\xbf", 5, 2 },
    { "\xf0\x8f\xbf\xbf", 4, 0 },
    { "abc\xed\xa0\x80", 6, 3 },          /* a surrogate */
    { "\xed\xa0\xbd\xed\xb8\x80", 6, 0 }, /* a pair of them */
    { "a\xf4\x90\x80\x80", 5, 1 },        /* behind the last code point */
    { "\xf5\x80\x80\x80", 4, 0 },
    { "\xff", 1, 0 },
    { "abc\xc3", 4, 3 }, /* cut */
    { "\xe2\x82", 2, 0 },
    { "\xf0\x9f\x98", 3, 0 },
    { "\xe2\x82z", 3, 0 },
};

static void broken_text_is_refused_with_its_place(void **state)
{
    at_clip_tokenizer *t = open_builtin(AT_CLIP_SDXL_1);
    (void)state;
    for (size_t i = 0; i < AT_COUNT(broken_texts); i++) {
        const broken_text *c = &broken_texts[i];
        int32_t ids[AT_CLIP_LENGTH];
        at_error err = { AT_OK, "" };
        char place[32];
        char *copy = malloc(c->bytes); /* of exactly its size, for a sanitizer */
        assert_non_null(copy);
        memcpy(copy, c->text, c->bytes);
        snprintf(place, sizeof place, "at byte %d", c->at);
        at_status status =
            at_clip_tokenizer_encode(t, ids, AT_CLIP_LENGTH, NULL, copy, c->bytes, &err);
        if (status != (c->at < 0 ? AT_OK : AT_INVALID) || (c->at >= 0 && !strstr(err.text, place)))
            fail_msg("text %zu: expected a refusal %s, got '%s'", i, place, err.text);
        free(copy);
    }
    at_clip_tokenizer_free(t);
}

/* Of this process's work, so that a busy machine changes little. */
static double seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* The unit, repeated; returns the tokens. */
static size_t count_tokens(const at_clip_tokenizer *t, const char *what, const char *unit,
                           size_t bytes)
{
    size_t n = strlen(unit), count = bytes / n;
    char *text = malloc(count * n);
    at_clip_ids ids = { 0 };
    at_error err = { AT_OK, "" };
    assert_non_null(text);
    for (size_t i = 0; i < count; i++)
        memcpy(text + i * n, unit, n);
    double start = seconds();
    if (at_clip_tokenizer_ids(t, &ids, text, count * n, &err) != AT_OK)
        fail_msg("%s: %s", what, err.text);
    printf("%-18s %7zu bytes, %7zu tokens, %6.1f ms\n", what, count * n, ids.count,
           1e3 * (seconds() - start));
    n = ids.count;
    free(ids.ids);
    free(text);
    return n;
}

static void long_texts_are_taken(void **state)
{
    at_clip_tokenizer *t = open_builtin(AT_CLIP_SDXL_2);
    (void)state;
    assert_int_equal(count_tokens(t, "words", "a photo of a cat ", 17 * 6000), 5 * 6000);
    assert_int_equal(count_tokens(t, "words", "a photo of a cat ", 17 * 60000), 5 * 60000);
    assert_true(count_tokens(t, "one word", "antidisestablishmentarianism", 1000000) > 100000);
    assert_true(count_tokens(t, "one letter", "a", 1000000) > 1000);
    assert_int_equal(count_tokens(t, "pads", "!", 1000000), 1000000);
    assert_true(count_tokens(t, "words and pads", "cat!", 1000000) == 500000);
    assert_true(count_tokens(t, "Han", "\xe6\x97\xa5\xe6\x9c\xac ", 1000000) > 100000);
    assert_true(count_tokens(t, "Hangul in parts", "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab",
                             1000000) > 100000);
    /* Marks of two classes, of which the sorted run is as long as the text. */
    assert_true(count_tokens(t, "marks", "\xcc\x81\xcc\x96", 1000000) > 100000);
    at_clip_tokenizer_free(t);
}

static void texts_have_a_limit(void **state)
{
    at_clip_tokenizer *t = open_builtin(AT_CLIP_SDXL_1);
    at_clip_ids ids = { 0 };
    at_error err = { AT_OK, "" };
    char *text = calloc(1, AT_CLIP_TEXT_BYTES_MAX + 1);
    (void)state;
    assert_non_null(text);
    assert_int_equal(at_clip_tokenizer_ids(t, &ids, text, AT_CLIP_TEXT_BYTES_MAX + 1, &err),
                     AT_INVALID);
    assert_non_null(strstr(err.text, "over the limit"));
    assert_int_equal(ids.count, 0);
    free(text);
    at_clip_tokenizer_free(t);
}

static void tokens_are_put_behind_those_there_are(void **state)
{
    static const int32_t expected[] = { 320, 2368, 320, 2368 };
    at_clip_tokenizer *t = open_builtin(AT_CLIP_SDXL_1);
    at_clip_ids ids = { 0 };
    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(at_clip_tokenizer_ids(t, &ids, "a cat", 5, NULL), AT_OK);
    assert_int_equal(at_clip_tokenizer_ids(t, &ids, "a \xff", 3, NULL), AT_INVALID);
    assert_int_equal(ids.count, AT_COUNT(expected));
    assert_memory_equal(ids.ids, expected, sizeof expected);
    free(ids.ids);
    at_clip_tokenizer_free(t);
}

/* --- files that are refused ------------------------------------------------------------------- */

typedef struct bad_files {
    const char *tokenizer, *vocab, *merges, *config, *special, *added;
    const char *said; /* a piece of the sentence; NULL: it is taken */
} bad_files;

#define V "{\"a\":0,\"b</w>\":1,\"ab</w>\":2,\"<|endoftext|>\":3,\"<|startoftext|>\":4}"
#define M "#version: 0.2\na b</w>\n"
#define E "\"<|endoftext|>\":3"

static const bad_files file_cases[] = {
    { NULL, V, M, NULL, NULL, NULL, NULL },
    { NULL, V, "a b</w>", NULL, NULL, NULL, NULL },
    { NULL, V, "a b</w>\r\n", NULL, NULL, NULL, NULL },
    { NULL, V, "", NULL, NULL, NULL, NULL },
    { NULL, V, NULL, NULL, NULL, NULL, "needs tokenizer.json, or vocab.json and merges.txt" },
    { NULL, NULL, M, NULL, NULL, NULL, "needs tokenizer.json" },
    { NULL, "", M, NULL, NULL, NULL, "vocab.json: expected an object" },
    { NULL, "[]", M, NULL, NULL, NULL, "vocab.json: expected an object" },
    { NULL, "{}", M, NULL, NULL, NULL, "merges.txt: merge in line 2: its left half" },
    { NULL, V "x", M, NULL, NULL, NULL, "vocab.json: expected" },
    { NULL, "{\"a\":0,\"a\":1," E "}", M, NULL, NULL, NULL, "for the same token" },
    { NULL, "{\"a\":0,\"\\u0061\":1," E "}", M, NULL, NULL, NULL, "for the same token" },
    { NULL, "{\"a\":3," E "}", M, NULL, NULL, NULL, "the id 3 is given to two tokens" },
    { NULL, "{\"a\":-1," E "}", M, NULL, NULL, NULL, "expected token ids from 0 to" },
    { NULL, "{\"a\":2147483648," E "}", M, NULL, NULL, NULL, "found 2147483648" },
    { NULL, "{\"a\":99999999999999999999," E "}", M, NULL, NULL, NULL, "of 64 bits" },
    { NULL, "{\"a\":1.0," E "}", M, NULL, NULL, NULL, "whole number" },
    { NULL, "{\"a\":\"0\"," E "}", M, NULL, NULL, NULL, "expected a number" },
    { NULL, "{\"\\u0000\":0," E "}", M, NULL, NULL, NULL, "without U+0000" },
    { NULL, "{\"\\ud83d\":0," E "}", M, NULL, NULL, NULL, "surrogate" },
    { NULL, V, "a b</w> c\n", NULL, NULL, NULL, "line 1: expected two tokens" },
    { NULL, V, "ab\n", NULL, NULL, NULL, "line 1: expected two tokens" },
    { NULL, V, "a b</w>\n\n", NULL, NULL, NULL, "line 2: expected two tokens" },
    { NULL, V, "a c</w>\n", NULL, NULL, NULL, "its right half is not in the vocabulary" },
    { NULL, V, "a a\n", NULL, NULL, NULL, "what it makes is not in the vocabulary" },
    { NULL, "{\"a\":0}", "", NULL, NULL, NULL, "lacks the token for what is unknown" },
    { NULL, V, M, "{\"unk_token\":\"<unk>\"}", NULL, NULL, "lacks the token" },
    { NULL, V, M, "{\"pad_token\":null}", NULL, NULL, "expected a token as pad_token" },
    { NULL, V, M, "{\"pad_token\":7}", NULL, NULL, "tokenizer_config.json: expected a string" },
    { NULL, V, M, "{\"pad_token\":\"\"}", NULL, NULL, "expected a token's text" },
    { NULL, V, M, "{\"pad_token\":{}}", NULL, NULL, "expected the content of a token" },
    { NULL, V, M, "{\"pad_token\":{\"content\":\"a\",\"single_word\":true}}", NULL, NULL,
      "a word of its own is not supported" },
    { NULL, V, M, "{\"added_tokens_decoder\":{\"x\":{\"content\":\"a\"}}}", NULL, NULL,
      "tokenizer_config.json: expected" },
    { NULL, V, M, "{\"added_tokens_decoder\":{\"7\":\"a\"}}", NULL, NULL, "as an object" },
    { NULL, V, M, "{\"extra_special_tokens\":7}", NULL, NULL, "expected an array" },
    { NULL, V, M, "{\"mask_token\":null,\"extra_special_tokens\":null}", NULL, NULL, NULL },
    { NULL, V, M, NULL, "[", NULL, "special_tokens_map.json: expected an object" },
    { NULL, V, M, "{\"added_tokens_decoder\":{}}", "[", NULL, NULL },
    { NULL, V, M, NULL, NULL, "{\"<x>\":\"y\"}", "added_tokens.json: expected a number" },
    { "", NULL, NULL, NULL, NULL, NULL, "tokenizer.json: expected an object" },
    { "{}", V, M, NULL, NULL, NULL, "tokenizer.json: expected a model" },
    { "{\"model\":{\"vocab\":" V "}}", NULL, NULL, NULL, NULL, NULL, "expected a model with" },
    { "{\"model\":{\"vocab\":" V ",\"merges\":[[\"a\",\"b</w>\"],\"a b</w>\"]}}", NULL, NULL, NULL,
      NULL, NULL, NULL },
    { "{\"model\":{\"merges\":[],\"vocab\":" V "}}", NULL, NULL, NULL, NULL, NULL, NULL },
    { "{\"model\":{\"type\":\"WordPiece\",\"merges\":[],\"vocab\":" V "}}", NULL, NULL, NULL, NULL,
      NULL, "expected type \"BPE\"" },
    { "{\"model\":{\"end_of_word_suffix\":\"\",\"merges\":[],\"vocab\":" V "}}", NULL, NULL, NULL,
      NULL, NULL, "expected end_of_word_suffix" },
    { "{\"model\":{\"vocab\":" V ",\"merges\":[[\"a\"]]}}", NULL, NULL, NULL, NULL, NULL,
      "merge 1: expected two tokens" },
    { "{\"model\":{\"vocab\":" V ",\"merges\":[[\"a\",\"b</w>\",\"a\"]]}}", NULL, NULL, NULL, NULL,
      NULL, "merge 1: expected two tokens" },
    { "{\"model\":{\"vocab\":" V ",\"merges\":[[\"a\",1]]}}", NULL, NULL, NULL, NULL, NULL,
      "merge 1: expected a string" },
    { "{\"added_tokens\":[7],\"model\":{\"vocab\":" V ",\"merges\":[]}}", NULL, NULL, NULL, NULL,
      NULL, "as an object" },
};

static at_clip_file from_text(const char *text)
{
    return (at_clip_file){ text, text ? strlen(text) : 0 };
}

static void files_are_taken_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < AT_COUNT(file_cases); i++) {
        const bad_files *c = &file_cases[i];
        at_clip_files files = { from_text(c->tokenizer), from_text(c->vocab),
                                from_text(c->merges),    from_text(c->config),
                                from_text(c->special),   from_text(c->added) };
        at_clip_tokenizer *t = NULL;
        at_error err = { AT_OK, "" };
        at_status status = at_clip_tokenizer_open(&t, &files, &err);
        if ((status == AT_OK) != !c->said || (c->said && !strstr(err.text, c->said)))
            fail_msg("case %zu: expected '%s', got '%s'", i, c->said ? c->said : "", err.text);
        if (status != AT_OK)
            assert_int_equal(at_clip_tokenizer_open(&t, &files, NULL), status);
        else
            at_clip_tokenizer_free(t);
    }
}

static void sizes_have_limits(void **state)
{
    static const char vocab[] = V, merges[] = M;
    at_clip_files files = { .vocab = { vocab, sizeof vocab - 1 }, .merges = { merges, SIZE_MAX } };
    at_clip_tokenizer *t = NULL;
    at_error err = { AT_OK, "" };
    char *text = malloc(AT_CLIP_VOCABULARY_MAX * 16);
    (void)state;
    assert_non_null(text);
    assert_int_equal(at_clip_tokenizer_open(&t, &files, &err), AT_UNSUPPORTED);
    assert_non_null(strstr(err.text, "merges.txt: "));
    memset(text, '\n', AT_CLIP_VOCABULARY_MAX + 1);
    files.merges = (at_clip_file){ text, AT_CLIP_VOCABULARY_MAX + 1 };
    assert_int_equal(at_clip_tokenizer_open(&t, &files, &err), AT_UNSUPPORTED);
    size_t n = 0;
    for (int i = 0; i <= AT_CLIP_VOCABULARY_MAX; i++)
        n += (size_t)snprintf(text + n, 16, "%c\"%x\":0", i ? ',' : '{', (unsigned)i);
    text[n++] = '}';
    files.vocab = (at_clip_file){ text, n };
    assert_int_equal(at_clip_tokenizer_open(&t, &files, &err), AT_UNSUPPORTED);
    assert_non_null(strstr(err.text, "vocab.json: 1048577 tokens are over the limit"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_those_of_transformers),
        cmocka_unit_test(broken_text_is_refused_with_its_place),
        cmocka_unit_test(long_texts_are_taken),
        cmocka_unit_test(texts_have_a_limit),
        cmocka_unit_test(tokens_are_put_behind_those_there_are),
        cmocka_unit_test(files_are_taken_or_refused),
        cmocka_unit_test(sizes_have_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
