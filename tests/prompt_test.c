/* prompt_test.c -- prompts as chunks in their syntaxes, what is refused, and the weights' way into
 * an encoder's output. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/prompt.h"
#include "tests/unit.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_syntax_names),
                                        cmocka_unit_test(test_literal) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
