/* pickle_test.c -- the pickle machine: what it reads, and the sentence with which it refuses. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/pickle.h"
#include "tests/unit.h"

enum { MEMORY = 1 << 20 };

/* Of the processor's time. Checked and unoptimised builds are several times slower. */
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static const double seconds_max = 0.05;
#else
static const double seconds_max = 5;
#endif

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* --- values ----------------------------------------------------------------------------------- */

static void load(at_pickle *p, const char *bytes, size_t size)
{
    at_error err = { 0 };
    at_status status = at_pickle_run(p, bytes, size, MEMORY, &err);
    AT_ASSERT(status == AT_OK, "%s", err.text);
    assert_true(p->at == size);
}

#define LOAD(p, text) load(p, text, sizeof(text) - 1)

static void expect_int(const char *bytes, size_t size, int64_t expected)
{
    at_pickle p;
    int64_t found = 0;
    load(&p, bytes, size);
    assert_true(at_pickle_int(&p, p.result, &found));
    assert_true(found == expected);
    at_pickle_free(&p);
}

static void integers_are_read(void **state)
{
    (void)state;
    expect_int("\x80\x02K\xff.", 5, 255);
    expect_int("\x80\x02M\xff\xff.", 6, 65535);
    expect_int("\x80\x02J\xff\xff\xff\xff.", 8, -1);
    expect_int("\x80\x02\x8a\x00.", 5, 0);
    expect_int("\x80\x02\x8a\x01\xfe.", 6, -2);
    expect_int("\x80\x02\x8a\x05\x00\x00\x00\x00\x01.", 10, (int64_t)1 << 32);
    at_pickle p;
    LOAD(&p, "\x80\x02\x8a\x09\0\0\0\0\0\0\0\x80\0."); /* 2^63 */
    assert_int_equal(at_pickle_is(p.result), AT_PICKLE_NUMBER);
    at_pickle_free(&p);
}

/* {'a': 1, 'b': [2, 3], 'c': (4,)}, built in several steps, with values taken out of the memo. */
static void containers_are_read(void **state)
{
    at_pickle p;
    at_pickle_value key, value, index, item;
    at_pickle_text text;
    int64_t sum = 0, n = 0, number;
    (void)state;
    LOAD(&p, "\x80\x02}q\x00U\x01"
             "aK\x01s(X\x01\0\0\0b]q\x01(K\x02K\x03"
             "e\x8c\x01"
             "cK\x04\x85u0h\x00.");
    assert_int_equal(at_pickle_is(p.result), AT_PICKLE_DICT);
    for (at_pickle_walk w = at_pickle_enter(&p, p.result); at_pickle_next(&w, &key, &value); n++) {
        assert_true(at_pickle_text_of(&p, key, &text));
        assert_true(text.bytes == 1 && text.data[0] == "abc"[n]);
        if (at_pickle_int(&p, value, &number))
            sum += number;
        for (at_pickle_walk v = at_pickle_enter(&p, value); at_pickle_next(&v, &index, &item);)
            sum += at_pickle_int(&p, item, &number) ? number : 100;
    }
    assert_true(n == 3 && sum == 1 + 2 + 3 + 4);
    at_pickle_free(&p);
}

static void calls_are_inert(void **state)
{
    at_pickle p;
    (void)state;
    LOAD(&p, "\x80\x04\x8c\x05torch\x8c\x06"
             "device\x93\x8c\x03"
             "cpu\x85R}\x8c\x01xK\x01sb.");
    assert_int_equal(at_pickle_is(p.result), AT_PICKLE_CALL);
    assert_int_equal(at_pickle_named(p.result), AT_PICKLE_DEVICE);
    assert_int_equal(at_pickle_count(p.result), 1);
    at_pickle_free(&p);
    LOAD(&p, "\x80\x02"
             "ctorch\nbfloat16\n.");
    assert_int_equal(at_pickle_named(p.result), AT_PICKLE_DTYPE);
    assert_int_equal(at_pickle_type(p.result), AT_STORED_BF16);
    at_pickle_free(&p);
}

/* Python 2's OrderedDict([['k', 7]]). */
static void pairs_make_a_dict(void **state)
{
    at_pickle p;
    at_pickle_value key, value;
    int64_t number = 0;
    (void)state;
    LOAD(&p, "\x80\x02"
             "ccollections\nOrderedDict\n]]U\x01k"
             "aK\x07"
             "aa\x85R.");
    assert_int_equal(at_pickle_is(p.result), AT_PICKLE_DICT);
    at_pickle_walk w = at_pickle_enter(&p, p.result);
    assert_true(at_pickle_next(&w, &key, &value) && at_pickle_int(&p, value, &number));
    assert_true(number == 7 && !at_pickle_next(&w, &key, &value));
    at_pickle_free(&p);
}

/* --- refusals --------------------------------------------------------------------------------- */

typedef struct hostile {
    const char *bytes;
    size_t size;
    const char *sentence; /* a piece of it */
} hostile;

#define HOSTILE(bytes, sentence)           \
    {                                      \
        bytes, sizeof(bytes) - 1, sentence \
    }

static const hostile hostiles[] = {
    HOSTILE("\x80\x02"
            "cos\nsystem\nX\x02\0\0\0ls\x85R.",
            "refuses to run 'os.system'"),
    HOSTILE("\x80\x02"
            "cposix\nsystem\nX\x02\0\0\0ls\x85R.",
            "refuses to run 'posix.system'"),
    HOSTILE("\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02ls\x85R.", "refuses to run 'os.system'"),
    HOSTILE("\x80\x04\x8c\x08"
            "builtins\x8c\x04"
            "eval\x93\x8c\x01"
            "1\x85R.",
            "'builtins.eval'"),
    HOSTILE("\x80\x02"
            "c__builtin__\neval\n.",
            "'__builtin__.eval'"),
    HOSTILE("\x80\x02"
            "ctorch\nload\n.",
            "'torch.load'"),
    HOSTILE("\x80\x02"
            "ctorch.os\nFloatStorage\n.",
            "'torch.os.FloatStorage'"),
    HOSTILE("\x80\x02"
            "ctorch\nComplexFloatStorage\n.",
            "'torch.ComplexFloatStorage'"),
    HOSTILE("\x80\x02"
            "cnumpy\xff\x01\n\x1b[2J\n.",
            "'numpy??.?[2J'"),
    HOSTILE("\x80\x02"
            "ctorch\nFloatStorage\n)R.",
            "calls what cannot be called"),
    HOSTILE("\x80\x02X\x01\0\0\0x)R.", "calls what cannot be called"),
    HOSTILE("\x80\x02"
            "ctorch\nSize\n]R.",
            "calls what cannot be called"),
    HOSTILE("\x80\x02"
            "ctorch\nSize\n)R)R.",
            "calls what cannot be called"),
    HOSTILE("\x80\x02K\x01K\x02\x93.", "names a global by what is no text"),
    HOSTILE("\x80\x02(ios\nsystem\n.", "opcode 0x69"),
    HOSTILE("\x80\x02"
            "ccollections\nOrderedDict\n)\x81.",
            "opcode 0x81"),
    HOSTILE("\x80\x02\x82\x01.", "opcode 0x82"),
    HOSTILE("\x80\x02\xff.", "opcode 0xff"),
    HOSTILE("\x80\x06N.", "protocol 6"),
    HOSTILE("\x80\x01N.", "protocol 1"),
    HOSTILE("", "cut off at byte 0"),
    HOSTILE("\x80\x02", "cut off at byte 2"),
    HOSTILE("\x80\x02X\xff\xff\xff\xffx.", "cut off"),
    HOSTILE("\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffx.", "cut off"),
    HOSTILE("\x80\x02"
            "ctorch\nSize",
            "cut off"),
    HOSTILE("\x80\x02.", "off an empty stack"),
    HOSTILE("\x80\x02(.", "off an empty stack"),
    HOSTILE("\x80\x02NN.", "1 values left over"),
    HOSTILE("\x80\x02Nt.", "no mark"),
    HOSTILE("\x80\x02"
            "e.",
            "no mark"),
    HOSTILE("\x80\x02(u.", "adds to nothing"),
    HOSTILE("\x80\x02(N\x86.", "a mark for a value"),
    HOSTILE("\x80\x02\x87.", "off a stack of 0"),
    HOSTILE("\x80\x02Ns.", "adds to nothing"),
    HOSTILE("\x80\x02}Na.", "adds items to what is no list"),
    HOSTILE("\x80\x02]NNs.", "adds pairs to what is no dict"),
    HOSTILE("\x80\x02}(NNNu.", "adds pairs to what is no dict"),
    HOSTILE("\x80\x02)K\x01"
            "b.",
            "gives a state to what has none"),
    HOSTILE("\x80\x02h\x00.", "value 0, which it did not number"),
    HOSTILE("\x80\x02Nq\x02h\x01.", "value 1, which it did not number"),
    HOSTILE("\x80\x02Nr\xff\xff\xff\xff.", "numbers a value 4294967295"),
    HOSTILE("\x80\x02Nr\xff\xff\x3f\0.", "numbers a value 4194303"),
    HOSTILE("\x80\x02NQ.", "refers to a storage by what is no tuple"),
    HOSTILE("\x80\x02"
            "ccollections\nOrderedDict\n](NNe\x85R.",
            "of what are no pairs"),
    HOSTILE("\x80\x02"
            "ccollections\nOrderedDict\nNN\x86R.",
            "makes a dict of 2 arguments"),
};

/* Runs a pickle that must be refused, and checks sentence, time and memory. */
static void expect_refusal(const char *bytes, size_t size, const char *sentence)
{
    at_pickle p;
    at_error err = { 0 };
    double start = cpu_seconds();
    at_status status = at_pickle_run(&p, bytes, size, MEMORY, &err);
    double seconds = cpu_seconds() - start;
    size_t words = p.heap.capacity + p.stack.capacity + p.memo.capacity;
    if (status != AT_CORRUPT || !strstr(err.text, sentence) || seconds > seconds_max)
        fail_msg("expected '%s', found '%s' after %.3f s", sentence, err.text, seconds);
    assert_true(words * sizeof(uint64_t) <= MEMORY);
    at_pickle_free(&p);
}

static void hostile_pickles_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < AT_COUNT(hostiles); i++)
        expect_refusal(hostiles[i].bytes, hostiles[i].size, hostiles[i].sentence);
}

/* Something small over and over: what grows must meet its limit. */
static void bombs_are_refused(void **state)
{
    static const struct {
        const char *part;
        size_t bytes;
        const char *sentence;
    } bombs[] = {
        { "N", 1, "stacks over 65536 values" },
        { "(", 1, "stacks over 65536 values" },
        { "]", 1, "bytes of memory" },
        { "]0", 2, "bytes of memory" },
        { "N\x94"
          "0",
          3, "bytes of memory" },
        { ")0", 2, "over 4194304 opcodes" },
        { "N\x85", 2, "bytes of memory" },
        { "](NNNNNNNNe0", 12, "bytes of memory" },
    };
    enum { BYTES = 5 << 20 };
    char *bytes = malloc(BYTES + 16);
    (void)state;
    assert_non_null(bytes);
    for (size_t i = 0; i < AT_COUNT(bombs); i++) {
        size_t n = 0;
        for (; n + bombs[i].bytes <= BYTES; n += bombs[i].bytes)
            memcpy(bytes + n, bombs[i].part, bombs[i].bytes);
        expect_refusal(bytes, n, bombs[i].sentence);
    }
    free(bytes);
}

/* A list's tuple that holds the list twice over, again and again: 2^n values in n words. */
static void sharing_costs_nothing(void **state)
{
    enum { TIMES = 1000 };
    char bytes[8 + TIMES * 5] = "\x80\x02N";
    size_t n = 3;
    at_pickle p;
    (void)state;
    for (int i = 0; i < TIMES; i++, n += 5)
        memcpy(bytes + n, "q\x00h\x00\x86", 5);
    bytes[n++] = '.';
    load(&p, bytes, n);
    assert_true(p.heap.count < 2 * TIMES + 16);
    at_pickle_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_read),
        cmocka_unit_test(containers_are_read),
        cmocka_unit_test(calls_are_inert),
        cmocka_unit_test(pairs_make_a_dict),
        cmocka_unit_test(hostile_pickles_are_refused),
        cmocka_unit_test(bombs_are_refused),
        cmocka_unit_test(sharing_costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
