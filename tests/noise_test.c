/* noise_test.c -- the sources of noise: their numbers against torch's and A1111's, which are in
 * tests/golden/noise.txt as tests/reference/noise.py describes; files; and what is refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/philox.h"
#include "runtime/noise.h"
#include "tests/safetensors_files.h"
#include "tests/unit.h"

enum { FIRST = 8, NUMBERS_MAX = 8192 };

static at_noise *seeded(const char *rng, const uint64_t *seeds, int count)
{
    at_noise *n = NULL;
    at_error err = { AT_OK, "" };
    if (at_noise_seeded(&n, rng, seeds, count, &err) != AT_OK)
        fail_msg("%s", err.text);
    return n;
}

static void draw(at_noise *n, int i, at_noise_use use, float *out, int64_t c, int64_t h, int64_t w)
{
    const int64_t size[3] = { c, h, w };
    at_error err = { AT_OK, "" };
    if (at_noise_draw(n, i, use, out, size, &err) != AT_OK)
        fail_msg("%s", err.text);
}

/* --- other programs' numbers ------------------------------------------------------------------ */

/* torch's bits are exact; a1111's go through this library's log and sin and numpy's, which agree to
 * a bit or two of f64, so that the f32 they are rounded to may rarely be a neighbour. */
static void expect_bits(const char *rng, const char *line, const float *drawn, int64_t n)
{
    char *p = (char *)(uintptr_t)line + strlen("bits ");
    const float near = !strcmp(rng, "torch") ? 0 : 0x1p-23f;
    for (int64_t i = 0; i < n && i < FIRST; i++) {
        const uint32_t word = (uint32_t)strtoul(p, &p, 16);
        float want;
        memcpy(&want, &word, sizeof want);
        if (!(fabsf(drawn[i] - want) <= near * fabsf(want)))
            fail_msg("%s: number %d is %.9g, expected %.9g", rng, (int)i, (double)drawn[i],
                     (double)want);
    }
}

static void test_golden(void **state)
{
    static float drawn[NUMBERS_MAX];
    char line[512], rng[16];
    int draws = 0;
    FILE *f = fopen(AT_SOURCE_DIR "/tests/golden/noise.txt", "r");
    (void)state;
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        char sizes[512], *p = sizes;
        assert_int_equal(sscanf(line, "draws %15s %511[^\n]", rng, sizes), 2);
        const uint64_t seeds[2] = { 1, strtoull(p, &p, 10) };
        at_noise *n = seeded(rng, seeds, 2);
        for (int64_t size = strtoll(p, &p, 10); size > 0; size = strtoll(p, &p, 10), draws++) {
            assert_true(size <= NUMBERS_MAX && fgets(line, sizeof line, f));
            draw(n, 1, (at_noise_use)(draws % AT_NOISE_USES), drawn, 1, 1, size);
            expect_bits(rng, line, drawn, size);
        }
        at_noise_free(n);
    }
    fclose(f);
    assert_int_equal(draws, 18);
}

/* --- ours ------------------------------------------------------------------------------------- */

/* The numbers are part of what a seed means: a change breaks every recipe that names one. */
static void test_atelier(void **state)
{
    static const uint64_t seed = UINT64_C(0x8123456789abcdef);
    float a[24], b[24], c[24];
    at_noise *n = seeded("atelier", &seed, 1), *m = seeded("atelier", &seed, 1);
    (void)state;
    draw(n, 0, AT_NOISE_LATENTS, a, 2, 3, 4);
    for (int use = 0; use < 4; use++) {
        const at_philox_key key = at_random_key((int64_t)seed, use, use == AT_NOISE_LATENTS);
        draw(n, 0, (at_noise_use)use, b, 2, 3, 4);
        for (int i = 0; i < 24; i++)
            assert_true(b[i] == at_random_element(key, 0, i, AT_RANDOM_NORMAL));
        assert_memory_not_equal(a, b, sizeof a);
    }
    draw(m, 0, AT_NOISE_VAE, b, 2, 3, 4); /* another order, the same numbers */
    draw(m, 0, AT_NOISE_LATENTS, c, 2, 3, 4);
    assert_memory_equal(a, c, sizeof a);
    at_noise_free(n);
    at_noise_free(m);
}

/* A picture is the same alone and among others. */
static void test_pictures_are_apart(void **state)
{
    static const char *const rngs[] = { "torch", "a1111", "atelier" };
    static const uint64_t seeds[] = { 5, 6, UINT64_MAX, 5 };
    float among[4][3][60], alone[60];
    (void)state;
    for (size_t r = 0; r < AT_COUNT(rngs); r++) {
        at_noise *all = seeded(rngs[r], seeds, 4);
        for (int k = 0; k < 3; k++)
            for (int i = 3; i >= 0; i--)
                draw(all, i, k ? AT_NOISE_STEP : AT_NOISE_LATENTS, among[i][k], 4, 3, 5);
        for (int i = 0; i < 4; i++) {
            at_noise *one = seeded(rngs[r], &seeds[i], 1);
            for (int k = 0; k < 3; k++) {
                draw(one, 0, k ? AT_NOISE_STEP : AT_NOISE_LATENTS, alone, 4, 3, 5);
                assert_memory_equal(alone, among[i][k], sizeof alone);
            }
            at_noise_free(one);
        }
        assert_memory_equal(among[0], among[3], sizeof among[0]);
        assert_memory_not_equal(among[0][0], among[1][0], sizeof alone);
        assert_memory_not_equal(among[0][0], among[2][0], sizeof alone);
        at_noise_free(all);
    }
}

static void test_seeded_refusals(void **state)
{
    static const uint64_t seed = 1;
    static const int64_t bad[][3] = {
        { 0, 8, 8 }, { 4, -1, 8 }, { 4, 8, INT64_MAX }, { 1 << 20, 1 << 20, 1 << 20 }
    };
    at_noise *n = NULL;
    at_error err = { AT_OK, "" };
    float x;
    (void)state;
    assert_int_equal(at_noise_seeded(&n, "cuda", &seed, 1, &err), AT_INVALID);
    assert_string_equal(err.text, "rng: expected one of torch, a1111, atelier; found \"cuda\"");
    assert_int_equal(at_noise_seeded(&n, "torch", &seed, 0, &err), AT_INVALID);
    assert_string_equal(err.text, "noise for 0 pictures; expected 1 to 65536");
    assert_null(n);
    n = seeded("atelier", &seed, 1);
    for (size_t i = 0; i < AT_COUNT(bad); i++)
        assert_int_equal(at_noise_draw(n, 0, AT_NOISE_LATENTS, &x, bad[i], &err), AT_INVALID);
    at_noise_free(n);
    at_noise_free(NULL);
}

/* --- files ------------------------------------------------------------------------------------ */

enum { DATA_MAX = 4096, HEADER_MAX = 2048 };

/* A tensor whose bytes repeat 'pattern' (of the type's size); NULL: the numbers 0, 1, ... in f32 */
typedef struct tensor {
    const char *name, *type, *shape;
    int bytes;
    const char *pattern;
    int pattern_bytes;
} tensor;

static void put_noise(const char *path, const tensor *t, int count)
{
    unsigned char file[8 + HEADER_MAX + DATA_MAX] = { 0 };
    char *header = (char *)file + 8;
    int length = snprintf(header, HEADER_MAX, "{"), at = 0;
    for (int i = 0; i < count; at += t[i++].bytes)
        length += snprintf(header + length, HEADER_MAX - (size_t)length,
                           "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%d,%d]}",
                           i ? "," : "", t[i].name, t[i].type, t[i].shape, at, at + t[i].bytes);
    header[length++] = '}';
    unsigned char *data = file + 8 + length;
    for (int i = 0; i < count; data += t[i++].bytes)
        for (int k = 0; k < t[i].bytes; k++) {
            const float x = (float)(k / 4);
            data[k] = t[i].pattern ? (unsigned char)t[i].pattern[k % t[i].pattern_bytes]
                                   : ((const unsigned char *)&x)[k % 4];
        }
    file[0] = (unsigned char)length;
    file[1] = (unsigned char)(length >> 8);
    put_file(path, file, (size_t)(8 + length + at));
}

static void test_file(void **state)
{
    static const tensor tensors[] = {
        { "noise", "F32", "2,1,2,3", 48, NULL, 0 },
        { "noise_1", "BF16", "2,1,2,3", 24, "\x20\x40", 2 },                        /* 2.5 */
        { "noise_2", "F16", "2,1,2,3", 24, "\x00\xc1", 2 },                         /* -2.5 */
        { "noise_3", "F64", "2,1,2,3", 96, "\x00\x00\x00\x00\x00\x00\xe0\x3f", 8 }, /* 0.5 */
        { "noise_4", "F8_E4M3", "2,1,2,3", 12, "\xc4", 1 },                         /* -3 */
        { "noise_5", "F8_E5M2", "2,1,2,3", 12, "\xc2", 1 },                         /* -3 */
        { "noise_vae", "F32", "2,1,1,2", 16, NULL, 0 },
        { "notes", "I64", "1", 8, "12345678", 8 },
    };
    static const float steps[] = { 2.5f, -2.5f, 0.5f, -3, -3 };
    char path[PATH_BYTES];
    float x[6];
    scratch dir;
    at_noise *n = NULL;
    at_error err = { AT_OK, "" };
    (void)state;
    make_scratch(&dir);
    put_noise(path_in(&dir, "noise.safetensors", path), tensors, (int)AT_COUNT(tensors));
    if (at_noise_from_file(&n, path, 2, &err) != AT_OK)
        fail_msg("%s", err.text);
    for (int i = 1; i >= 0; i--) {
        draw(n, i, AT_NOISE_LATENTS, x, 1, 2, 3);
        for (int k = 0; k < 6; k++)
            assert_true(x[k] == (float)(6 * i + k));
        for (size_t s = 0; s < AT_COUNT(steps); s++) {
            draw(n, i, AT_NOISE_STEP, x, 1, 2, 3);
            for (int k = 0; k < 6; k++)
                assert_true(x[k] == steps[s]);
        }
        draw(n, i, AT_NOISE_VAE, x, 1, 1, 2);
        assert_true(x[0] == (float)(2 * i) && x[1] == (float)(2 * i + 1));
        draw(n, i, AT_NOISE_VAE_MASKED, x, 1, 2, 3);
        for (int k = 0; k < 6; k++)
            assert_true(x[k] == 0);
    }
    at_noise_free(n);
    drop_scratch(&dir);
}

/* What Python's library wrote: A1111's numbers of seed 7, rounded to bf16, and negated. */
static void test_golden_file(void **state)
{
    static const uint64_t seed = 7;
    float x[12], want[12];
    at_noise *n = NULL, *drawn = seeded("a1111", &seed, 1);
    at_error err = { AT_OK, "" };
    (void)state;
    draw(drawn, 0, AT_NOISE_LATENTS, want, 2, 2, 3);
    if (at_noise_from_file(&n, GOLDEN "noise.safetensors", 2, &err) != AT_OK)
        fail_msg("%s", err.text);
    for (int use = AT_NOISE_LATENTS; use <= AT_NOISE_VAE; use++) {
        for (int i = 0; i < 2; i++)
            draw(n, i, (at_noise_use)use, x + 6 * i, 1, 2, 3);
        for (int k = 0; k < 12; k++) {
            const float near = use == AT_NOISE_STEP ? 0x1p-8f : 0x1p-23f;
            const float w = use == AT_NOISE_VAE ? -want[k] : want[k];
            assert_true(fabsf(x[k] - w) <= near * fabsf(w));
        }
    }
    at_noise_free(n);
    at_noise_free(drawn);
}

/* A file of one tensor that is refused when it is opened, or when it is drawn from. */
typedef struct refusal {
    tensor t;
    at_noise_use use;
    const char *told;
} refusal;

static const refusal refusals[] = {
    { { "noise", "F32", "1,1,2,3", 24, NULL, 0 },
      AT_NOISE_LATENTS,
      "tensor noise of the noise file: expected 2 pictures (2xCxHxW), found 1x1x2x3" },
    { { "noise", "F32", "2,2,3", 48, NULL, 0 },
      AT_NOISE_LATENTS,
      "tensor noise of the noise file: expected 2 pictures (2xCxHxW), found 2x2x3" },
    { { "noise_17", "I32", "2,1,2,3", 48, NULL, 0 },
      AT_NOISE_LATENTS,
      "tensor noise_17 of the noise file: expected floats, found i32" },
    { { "noise", "F32", "2,1,3,2", 48, NULL, 0 },
      AT_NOISE_LATENTS,
      "tensor noise of the noise file: expected 2x1x2x3, found 2x1x3x2" },
    { { "noise", "F32", "2,1,2,3", 48, NULL, 0 },
      AT_NOISE_STEP,
      "the noise file has no tensor noise_1, of which 2x1x2x3 is needed" },
    { { "noise", "F32", "2,1,2,3", 48, "\x00\x00\x80\x7f", 4 },
      AT_NOISE_LATENTS,
      "tensor noise of the noise file: number 0 is not finite" },
    { { "noise", "F64", "2,1,2,3", 96, "\x00\x00\x00\x00\x00\x00\xe0\x7f", 8 },
      AT_NOISE_LATENTS,
      "tensor noise of the noise file: number 0 is not finite" },
};

static void test_file_refusals(void **state)
{
    static const int64_t size[3] = { 1, 2, 3 };
    char path[PATH_BYTES];
    float x[6];
    scratch dir;
    at_noise *n = NULL;
    (void)state;
    make_scratch(&dir);
    path_in(&dir, "noise.safetensors", path);
    for (size_t i = 0; i < AT_COUNT(refusals); i++) {
        at_error err = { AT_OK, "" };
        put_noise(path, &refusals[i].t, 1);
        at_status status = at_noise_from_file(&n, path, 2, &err);
        if (status == AT_OK)
            status = at_noise_draw(n, 0, refusals[i].use, x, size, &err);
        assert_int_not_equal(status, AT_OK);
        assert_string_equal(err.text, refusals[i].told);
        at_noise_free(n);
    }
    put_file(path, "{}", 2);
    assert_int_not_equal(at_noise_from_file(&n, path, 1, NULL), AT_OK);
    assert_null(n);
    drop_scratch(&dir);
    assert_int_not_equal(at_noise_from_file(&n, path, 1, NULL), AT_OK);
    assert_null(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_atelier),
        cmocka_unit_test(test_pictures_are_apart),
        cmocka_unit_test(test_seeded_refusals),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_file_refusals),
        cmocka_unit_test(test_golden_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
