/* prompt_test.c -- prompts as chunks in their syntaxes against what tests/reference/prompts.py says
 * that A1111 and ComfyUI do (tests/golden/prompts.txt), what is refused and how, and the weights'
 * way into an encoder's output. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/prompt.h"
#include "tests/unit.h"

enum { PARTS_MAX = 256, TEXT_MAX = 1 << 16, LINE_MAX_BYTES = 1 << 18, STRINGS_A_DIGEST = 250 };

#define MULTIPLIER UINT64_C(0x100000001B3) /* of FNV-1a */
#define OFFSET     UINT64_C(0xCBF29CE484222325)

/* Of numbers of size 2 at most: products and means of f32, which torch sums in another order. */
#define WEIGH_TOLERANCE 4e-6

static at_clip_tokenizer *open_builtin(at_clip_builtin which)
{
    at_clip_tokenizer *t = NULL;
    at_error err = { AT_OK, "" };
    if (at_clip_tokenizer_builtin(&t, which, &err) != AT_OK)
        fail_msg("%s", err.text);
    return t;
}

static void test_syntax_names(void **state)
{
    static const char *const names[] = { "literal", "a1111", "comfy" };
    at_prompt_syntax s;
    at_error err = { AT_OK, "" };
    (void)state;
    for (size_t i = 0; i < AT_COUNT(names); i++) {
        assert_int_equal(at_prompt_syntax_named(&s, names[i], &err), AT_OK);
        assert_int_equal(s, i);
    }
    assert_int_equal(at_prompt_syntax_named(&s, "A1111", &err), AT_INVALID);
    assert_string_equal(err.text,
                        "prompt syntax: expected one of literal, a1111, comfy; found \"A1111\"");
}

static void test_literal(void **state)
{
    at_clip_tokenizer *t = open_builtin(AT_CLIP_SDXL_2);
    at_prompt p;
    at_error err = { AT_OK, "" };
    int32_t ids[AT_CLIP_LENGTH];
    char longer[1000] = "";
    (void)state;
    for (size_t i = 0; i < 80; i++)
        snprintf(longer + 10 * i, sizeof longer - 10 * i, "(cat:1.5) ");
    const char *const texts[] = { "", "a (red:1.5) cube", longer };
    for (size_t i = 0; i < AT_COUNT(texts); i++) {
        size_t cut, n = strlen(texts[i]);
        assert_int_equal(at_clip_tokenizer_encode(t, ids, AT_CLIP_LENGTH, &cut, texts[i], n, &err),
                         AT_OK);
        assert_int_equal(at_prompt_read(&p, t, AT_PROMPT_LITERAL, texts[i], n, &err), AT_OK);
        assert_int_equal(p.n_chunks, 1);
        assert_false(p.weighted);
        assert_int_equal(p.cut, cut);
        assert_memory_equal(p.chunks[0].ids, ids, sizeof ids);
        for (int k = 0; k < AT_CLIP_LENGTH; k++)
            assert_true(p.chunks[0].weight[k] == 1);
        assert_int_equal(at_prompt_extend(&p, t, 3, &err), AT_OK);
        assert_int_equal(p.n_chunks, 3);
        assert_int_equal(p.chunks[2].ids[1], at_clip_tokenizer_special(t).end);
        assert_int_equal(p.chunks[2].ids[2], at_clip_tokenizer_special(t).pad);
        at_prompt_free(&p);
    }
    at_clip_tokenizer_free(t);
}

/* --- the golden file -------------------------------------------------------------------------- */

typedef struct golden {
    FILE *file;
    at_clip_tokenizer *tokenizers[2];
    char *line, *text;
    size_t text_bytes;
    struct {
        size_t bytes;
        char data[64];
    } parts[PARTS_MAX];
    size_t n_parts;
    at_prompt prompt; /* of the last "prompt" line, and what became of it */
    at_status status;
    at_error err;
    const at_clip_tokenizer *tokenizer;
    int chunk, lora, prompts, refused, strings;
} golden;

static size_t from_hex(char *out, const char *hex)
{
    size_t n = 0;
    unsigned byte;
    for (; sscanf(hex + 2 * n, "%2x", &byte) == 1; n++)
        out[n] = (char)byte;
    return n;
}

static at_prompt_syntax syntax_named(const char *name)
{
    at_prompt_syntax s;
    assert_int_equal(at_prompt_syntax_named(&s, name, NULL), AT_OK);
    return s;
}

/* Whether everything that the file says of the last prompt was said. */
static void end_prompt(golden *g)
{
    if (g->status == AT_OK && g->tokenizer &&
        (g->chunk != g->prompt.n_chunks || g->lora != g->prompt.n_loras))
        fail_msg("'%.*s': %d chunks and %d loras, expected %d and %d", (int)g->text_bytes, g->text,
                 g->prompt.n_chunks, g->prompt.n_loras, g->chunk, g->lora);
    at_prompt_free(&g->prompt);
    g->tokenizer = NULL;
}

static void start_prompt(golden *g)
{
    char syntax[16];
    int which, hex;
    assert_int_equal(sscanf(g->line, "prompt %15s %d %n", syntax, &which, &hex), 2);
    g->text_bytes = g->line[hex] == '-' ? 0 : from_hex(g->text, g->line + hex);
    g->tokenizer = g->tokenizers[which - 1];
    g->err = (at_error){ AT_OK, "" };
    g->status = at_prompt_read(&g->prompt, g->tokenizer, syntax_named(syntax), g->text,
                               g->text_bytes, &g->err);
    g->chunk = g->lora = 0;
    g->prompts++;
}

static void check_chunk(golden *g)
{
    const int32_t pad = at_clip_tokenizer_special(g->tokenizer).pad;
    char *p = g->line + strlen("chunk");
    if (g->status != AT_OK)
        fail_msg("'%.*s' is refused: %s", (int)g->text_bytes, g->text, g->err.text);
    assert_true(g->chunk < g->prompt.n_chunks);
    const at_prompt_chunk *c = &g->prompt.chunks[g->chunk++];
    for (int k = 0; k < AT_CLIP_LENGTH; k++) {
        int32_t id = pad;
        float weight = 1;
        if (*p == ' ') {
            id = (int32_t)strtol(p, &p, 10);
            weight = *p == '*' ? (float)strtod(p + 1, &p) : 1;
        }
        if (c->ids[k] != id || c->weight[k] != weight)
            fail_msg("'%.*s', chunk %d, place %d: token %d of weight %.9g, expected %d of %.9g",
                     (int)g->text_bytes, g->text, g->chunk - 1, k, (int)c->ids[k],
                     (double)c->weight[k], (int)id, (double)weight);
    }
    assert_true(*p == '\n');
}

static void check_lora(golden *g)
{
    char name[AT_PROMPT_LORA_NAME_MAX], *hex;
    const double weight = strtod(g->line + strlen("lora "), &hex);
    name[from_hex(name, hex + 1)] = 0;
    assert_true(g->status == AT_OK && g->lora < g->prompt.n_loras);
    assert_string_equal(g->prompt.loras[g->lora].name, name);
    assert_true(g->prompt.loras[g->lora++].weight == weight);
}

static void check_refused(golden *g)
{
    if (g->status == AT_OK)
        fail_msg("'%.*s' is accepted", (int)g->text_bytes, g->text);
    assert_true(strlen(g->err.text) > 20 && g->err.status == g->status);
    assert_int_equal(g->prompt.n_chunks, 0);
    g->refused++;
}

/* --- drawn strings ---------------------------------------------------------------------------- */

static size_t below(uint64_t *state, size_t n)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (size_t)(*state >> 33) % n;
}

static size_t draw_string(const golden *g, char *out, uint64_t number)
{
    uint64_t state = number * UINT64_C(0x9E3779B97F4A7C15) + 0x1234567;
    size_t n = 0;
    below(&state, 2);
    size_t count = 1 + below(&state, 12);
    count *= below(&state, 6) == 0 ? 10 : 1;
    for (size_t i = 0; i < count; i++) {
        const size_t k = below(&state, g->n_parts);
        memcpy(out + n, g->parts[k].data, g->parts[k].bytes);
        n += g->parts[k].bytes;
    }
    return n;
}

static void add_number(uint64_t *h, uint64_t *count, uint32_t x)
{
    *h = (*h ^ x) * MULTIPLIER;
    ++*count;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static uint64_t digest(uint64_t h, const at_prompt *p, at_status status)
{
    uint64_t count = 0;
    if (status != AT_OK)
        add_number(&h, &count, UINT32_MAX);
    for (int i = 0; i < p->n_chunks; i++)
        for (int k = 0; k < AT_CLIP_LENGTH; k++) {
            add_number(&h, &count, (uint32_t)p->chunks[i].ids[k]);
            add_number(&h, &count, bits_of(p->chunks[i].weight[k]));
        }
    for (int i = 0; i < p->n_loras; i++)
        add_number(&h, &count, bits_of((float)p->loras[i].weight));
    return (h ^ count) * MULTIPLIER;
}

static void check_strings(golden *g)
{
    char syntax[16], *p;
    int which, at;
    unsigned long long first, count;
    assert_int_equal(
        sscanf(g->line, "strings %15s %d %llu %llu%n", syntax, &which, &first, &count, &at), 4);
    p = g->line + at;
    for (uint64_t n = first; n < first + count;) {
        uint64_t h = OFFSET;
        for (int i = 0; i < STRINGS_A_DIGEST; i++, n++) {
            at_error err = { AT_OK, "" };
            g->text_bytes = draw_string(g, g->text, n);
            const at_status status =
                at_prompt_read(&g->prompt, g->tokenizers[which - 1], syntax_named(syntax), g->text,
                               g->text_bytes, &err);
            h = digest(h, &g->prompt, status);
            at_prompt_free(&g->prompt);
            g->strings++;
        }
        if (strtoull(p, &p, 16) != h)
            fail_msg("%s, tokenizer %d: one of strings %llu to %llu is read otherwise", syntax,
                     which, (unsigned long long)n - STRINGS_A_DIGEST, (unsigned long long)n - 1);
    }
}

/* --- weights ---------------------------------------------------------------------------------- */

static void draw_numbers(float *out, int64_t n, uint32_t state, float plus)
{
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        out[i] = (float)(state >> 8) * 0x1p-22f - 2 + plus;
    }
}

static void check_weighing(golden *g)
{
    char syntax[16];
    int width, hex;
    assert_int_equal(sscanf(g->line, "weigh %15s %d %n", syntax, &width, &hex), 2);
    const at_prompt_syntax s = syntax_named(syntax);
    g->text_bytes = from_hex(g->text, g->line + hex);
    assert_int_equal(at_prompt_read(&g->prompt, g->tokenizers[0], s, g->text, g->text_bytes, NULL),
                     AT_OK);
    assert_true(g->prompt.weighted);
    const int64_t n = (int64_t)g->prompt.n_chunks * AT_CLIP_LENGTH * width;
    float *hidden = malloc((size_t)n * sizeof *hidden);
    float *empty = malloc((size_t)n * sizeof *empty);
    assert_true(hidden && empty && fgets(g->line, LINE_MAX_BYTES, g->file));
    draw_numbers(hidden, n, 5, 0.25f);
    draw_numbers(empty, AT_CLIP_LENGTH * width, 6, 0);
    at_prompt_weigh(&g->prompt, s, hidden, s == AT_PROMPT_COMFY ? empty : NULL, width);
    char *p = g->line + strlen("weighed ");
    for (int64_t i = 0; i < n; i += 97) {
        const double want = strtod(p, &p);
        if (!(fabs((double)hidden[i] - want) <= WEIGH_TOLERANCE))
            fail_msg("%s: number %lld is %.9g, expected %.9g", syntax, (long long)i,
                     (double)hidden[i], want);
    }
    assert_true(*p == '\n');
    free(hidden);
    free(empty);
    at_prompt_free(&g->prompt);
}

static void replay_line(golden *g)
{
    if (!strncmp(g->line, "chunk ", 6))
        check_chunk(g);
    else if (!strncmp(g->line, "lora ", 5))
        check_lora(g);
    else if (!strcmp(g->line, "refused\n"))
        check_refused(g);
    else
        end_prompt(g);
    if (!strncmp(g->line, "part ", 5)) {
        assert_true(g->n_parts < PARTS_MAX && strlen(g->line) < 130);
        g->parts[g->n_parts].bytes = from_hex(g->parts[g->n_parts].data, g->line + 5);
        g->n_parts++;
    } else if (!strncmp(g->line, "prompt ", 7)) {
        start_prompt(g);
    } else if (!strncmp(g->line, "strings ", 8)) {
        check_strings(g);
    } else if (!strncmp(g->line, "weigh ", 6)) {
        check_weighing(g);
    }
}

static void test_golden(void **state)
{
    golden *g = calloc(1, sizeof *g);
    (void)state;
    assert_non_null(g);
    g->tokenizers[0] = open_builtin(AT_CLIP_SDXL_1);
    g->tokenizers[1] = open_builtin(AT_CLIP_SDXL_2);
    g->line = malloc(LINE_MAX_BYTES);
    g->text = malloc(TEXT_MAX);
    g->file = fopen(AT_SOURCE_DIR "/tests/golden/prompts.txt", "r");
    assert_true(g->line && g->text && g->file);
    while (fgets(g->line, LINE_MAX_BYTES, g->file))
        replay_line(g);
    end_prompt(g);
    printf("prompt_test: %d prompts, %d of them refused, %d drawn strings\n", g->prompts,
           g->refused, g->strings);
    assert_true(g->prompts > 200 && g->refused > 30 && g->strings == 12000);
    for (int i = 0; i < 2; i++)
        at_clip_tokenizer_free(g->tokenizers[i]);
    fclose(g->file);
    free(g->line);
    free(g->text);
    free(g);
}

/* --- what is refused -------------------------------------------------------------------------- */

static const struct {
    at_prompt_syntax syntax;
    const char *text, *told;
} refusals[] = {
    { AT_PROMPT_LITERAL, "a\xff", "expected text in UTF-8, found 0xff at byte 1" },
    { AT_PROMPT_A1111, "a\xc3", "expected text in UTF-8, found 0xc3 at byte 1" },
    { AT_PROMPT_COMFY, "\xfe(a)", "expected text in UTF-8, found 0xfe at byte 0" },
    { AT_PROMPT_A1111, "a cat [in a hat:naked:0.5]!",
      "\"[in a hat:naked:0.5]\" changes the prompt during the steps, which is not done here" },
    { AT_PROMPT_A1111, "a [b|c]",
      "\"[b|c]\" changes the prompt during the steps, which is not done here" },
    { AT_PROMPT_A1111, "a AND b",
      "AND at byte 2 joins prompts in a1111's syntax, which is not done here: write it in small "
      "letters" },
    { AT_PROMPT_A1111, "in 16:9 ",
      "\":9\" at the prompt's end is the weight of a joined prompt in a1111's syntax, which is not "
      "done here: put a comma behind it if it is text" },
    { AT_PROMPT_A1111, "<hypernet:x:1>",
      "\"<hypernet:x:1>\" asks for a network of a kind other than lora" },
    { AT_PROMPT_A1111, "<lora:x:much>", "expected <lora:NAME:WEIGHT>, found <lora:x:much>" },
    { AT_PROMPT_A1111, "a (b:1.2.3) c", "\":1.2.3)\" in the prompt: expected a number" },
    { AT_PROMPT_A1111, "(b:9000000)", "a weight of 9e+06 in the prompt; expected 1000000 at most" },
    { AT_PROMPT_COMFY, "(b:nan)", "a weight of nan in the prompt; expected 1000000 at most" },
    { AT_PROMPT_COMFY, "a embedding:b, c",
      "\"embedding:b,\" asks for an embedding, and there are none here" },
};

static void expect_refusal(const at_clip_tokenizer *t, at_prompt_syntax syntax, const char *text,
                           size_t bytes, const char *told)
{
    at_prompt p;
    at_error err = { AT_OK, "" };
    assert_int_not_equal(at_prompt_read(&p, t, syntax, text, bytes, &err), AT_OK);
    assert_string_equal(err.text, told);
    assert_null(p.chunks);
    assert_null(p.loras);
}

static void test_refusals(void **state)
{
    at_clip_tokenizer *t = open_builtin(AT_CLIP_SDXL_1);
    (void)state;
    for (size_t i = 0; i < AT_COUNT(refusals); i++)
        expect_refusal(t, refusals[i].syntax, refusals[i].text, strlen(refusals[i].text),
                       refusals[i].told);
    at_clip_tokenizer_free(t);
}

/* 'piece' as often as it has room in AT_PROMPT_BYTES_MAX bytes and 'more'. */
static char *repeat(const char *piece, size_t times)
{
    const size_t n = strlen(piece);
    char *text = malloc(n * times + 1);
    assert_non_null(text);
    for (size_t i = 0; i < times; i++)
        memcpy(text + i * n, piece, n);
    return text;
}

static void test_limits(void **state)
{
    static const struct {
        at_prompt_syntax syntax;
        const char *piece;
        size_t times;
        const char *told; /* NULL: accepted */
    } cases[] = {
        { AT_PROMPT_LITERAL, "a", AT_PROMPT_BYTES_MAX, NULL },
        { AT_PROMPT_LITERAL, "a", AT_PROMPT_BYTES_MAX + 1,
          "a prompt of 65537 bytes is over the limit of 65536" },
        { AT_PROMPT_A1111, "a ", 75 * 32, NULL },
        { AT_PROMPT_A1111, "a ", 75 * 32 + 1, "the prompt needs more than 32 chunks of 75 tokens" },
        { AT_PROMPT_COMFY, "a ", 75 * 32, NULL },
        { AT_PROMPT_COMFY, "a ", 75 * 32 + 1, "the prompt needs more than 32 chunks of 75 tokens" },
        { AT_PROMPT_A1111, "(", 256, NULL },
        { AT_PROMPT_A1111, "(", 257, "the prompt has more than 256 open brackets" },
        { AT_PROMPT_A1111, "[", 257, "the prompt has more than 256 open brackets" },
        { AT_PROMPT_A1111, "()", AT_PROMPT_BYTES_MAX / 2, NULL },
        { AT_PROMPT_A1111, "( [ ", AT_PROMPT_BYTES_MAX / 4,
          "the prompt has more than 256 open brackets" },
        { AT_PROMPT_A1111, "( )[ ]", AT_PROMPT_BYTES_MAX / 6, NULL },
        { AT_PROMPT_A1111, "\\", AT_PROMPT_BYTES_MAX,
          "the prompt needs more than 32 chunks of 75 tokens" },
        { AT_PROMPT_A1111, "\\ ", AT_PROMPT_BYTES_MAX / 2, NULL },
        { AT_PROMPT_A1111, "<lora:x:1>", 32, NULL },
        { AT_PROMPT_A1111, "<lora:x:1>", 33, "the prompt names more than 32 loras" },
        { AT_PROMPT_A1111, "<<<<<<<<", AT_PROMPT_BYTES_MAX / 8,
          "the prompt needs more than 32 chunks of 75 tokens" },
        { AT_PROMPT_COMFY, "()", AT_PROMPT_BYTES_MAX / 2, NULL },
        { AT_PROMPT_COMFY, ":", AT_PROMPT_BYTES_MAX,
          "the prompt needs more than 32 chunks of 75 tokens" },
        { AT_PROMPT_COMFY, "( )", AT_PROMPT_BYTES_MAX / 3, NULL },
    };
    at_clip_tokenizer *t = open_builtin(AT_CLIP_SDXL_2);
    (void)state;
    for (size_t i = 0; i < AT_COUNT(cases); i++) {
        at_prompt p;
        at_error err = { AT_OK, "" };
        char *text = repeat(cases[i].piece, cases[i].times);
        const size_t bytes = strlen(cases[i].piece) * cases[i].times;
        if (cases[i].told)
            expect_refusal(t, cases[i].syntax, text, bytes, cases[i].told);
        else if (at_prompt_read(&p, t, cases[i].syntax, text, bytes, &err) != AT_OK)
            fail_msg("'%s' times %zu: %s", cases[i].piece, cases[i].times, err.text);
        else
            at_prompt_free(&p);
        free(text);
    }
    at_clip_tokenizer_free(t);
}

static void read_words(at_prompt *p, const at_clip_tokenizer *t, const char *word, size_t count)
{
    char *text = repeat(word, count);
    at_error err = { AT_OK, "" };
    if (at_prompt_read(p, t, AT_PROMPT_COMFY, text, strlen(word) * count, &err) != AT_OK)
        fail_msg("%s", err.text);
    free(text);
}

static void test_match(void **state)
{
    at_prompt a, b;
    at_error err = { AT_OK, "" };
    at_clip_tokenizer *t = open_builtin(AT_CLIP_SDXL_2);
    (void)state;
    read_words(&a, t, "red cat ", 75);        /* 2 chunks */
    read_words(&b, t, "a big blue dog ", 56); /* 3 */
    const at_prompt_chunk first = a.chunks[0], last = b.chunks[2];
    assert_int_equal(at_prompt_match(&a, &b, &err), AT_OK);
    assert_int_equal(a.n_chunks, 6);
    assert_int_equal(b.n_chunks, 6);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(memcmp(&a.chunks[i], &first, sizeof first) == 0, i % 2 == 0);
        assert_int_equal(memcmp(&b.chunks[i], &last, sizeof last) == 0, i % 3 == 2);
    }
    at_prompt_free(&a);
    at_prompt_free(&b);
    read_words(&a, t, "a ", 75 * 32);
    read_words(&b, t, "a ", 75 * 31);
    assert_int_equal(at_prompt_match(&a, &b, &err), AT_INVALID);
    assert_string_equal(err.text, "a prompt of 32 chunks and one of 31 only go together as 992 "
                                  "each, and the limit is 128: leave some words out");
    assert_int_equal(a.n_chunks, 32);
    assert_int_equal(b.n_chunks, 31);
    at_prompt_free(&a);
    at_prompt_free(&b);
    at_clip_tokenizer_free(t);
}

/* Brackets in each other, which comfy reads one level at a time. */
static void test_nesting(void **state)
{
    char text[600];
    at_prompt p;
    at_error err = { AT_OK, "" };
    at_clip_tokenizer *t = open_builtin(AT_CLIP_SDXL_1);
    (void)state;
    memset(text, '(', 257);
    memset(text + 258, ')', 257);
    memcpy(text + 254, "(a:", 3); /* the innermost three */
    memcpy(text + 257, "2", 1);
    assert_int_equal(at_prompt_read(&p, t, AT_PROMPT_COMFY, text, 258 + 255, &err), AT_OK);
    assert_true(p.chunks[0].weight[1] == 2);
    at_prompt_free(&p);
    memset(text, '(', 257);
    memset(text + 257, ')', 257);
    expect_refusal(t, AT_PROMPT_COMFY, text, 514,
                   "the prompt has more than 256 brackets in each other");
    at_clip_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_syntax_names), cmocka_unit_test(test_literal),
        cmocka_unit_test(test_golden),       cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_limits),       cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
