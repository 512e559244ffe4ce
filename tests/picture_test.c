/* picture_test.c -- pictures against what Pillow makes of the same files, and against files that
 * lie, are cut, or are damaged. The golden files are described in tests/reference/pictures.py,
 * which wrote them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/clock.h"
#include "engine/file.h"
#include "runtime/exif.h"
#include "runtime/picture.h"
#include "tests/unit.h"

#define FOLDER AT_SOURCE_DIR "/tests/golden/pictures/"

static at_picture_options options_named(const char *name)
{
    at_picture_options o = { 0 };
    o.keep_16_bits = !strcmp(name, "keep16");
    o.keep_profile = !strcmp(name, "keep_profile");
    o.rgb = !strcmp(name, "rgb");
    o.alpha = !strcmp(name, "white")  ? AT_ALPHA_ON_WHITE
              : !strcmp(name, "drop") ? AT_ALPHA_DROP
                                      : AT_ALPHA_KEEP;
    return o;
}

static void full_path(char *to, size_t room, const char *name)
{
    snprintf(to, room, "%s%s", FOLDER, name);
}

/* The bytes of a golden file; the caller frees them. */
static unsigned char *file_bytes(const char *name, size_t *bytes)
{
    char path[512];
    at_file f;
    at_error err;
    full_path(path, sizeof path, name);
    at_status status = at_file_open(&f, path, &err);
    AT_ASSERT(status == AT_OK, "%s", err.text);
    *bytes = (size_t)f.bytes;
    unsigned char *data = malloc(*bytes + 1);
    AT_ASSERT(data, "%zu bytes", *bytes);
    status = at_file_read(&f, 0, data, *bytes, &err);
    AT_ASSERT(status == AT_OK, "%s", err.text);
    at_file_close(&f);
    return data;
}

/* --- Pillow's pixels -------------------------------------------------------------------------- */

static int next_sample(FILE *f, int depth)
{
    unsigned v;
    if (fscanf(f, depth == 16 ? "%4x" : "%2x", &v) != 1)
        return -1;
    return (int)v;
}

/* The largest difference from the samples that follow in 'f'. */
static int largest_difference(FILE *f, const at_picture *p)
{
    const uint8_t *narrow = p->pixels;
    const uint16_t *wide = p->pixels;
    int worst = 0;
    for (int64_t i = 0; i < p->width * p->height * p->channels; i++) {
        int want = next_sample(f, p->depth), got = p->depth == 16 ? wide[i] : narrow[i];
        int d = want < 0 ? 65536 : abs(want - got);
        worst = d > worst ? d : worst;
    }
    return worst;
}

/* 1 when the picture differs by more than it may. */
static int compare(FILE *f, const char *name, const char *how, int tolerance)
{
    char path[512];
    long long width, height;
    int channels, depth;
    at_picture p;
    at_error err;
    at_picture_options o = options_named(how);
    int n = fscanf(f, "%lld %lld %d %d", &width, &height, &channels, &depth);
    AT_ASSERT(n == 4, "%s: the golden line is damaged", name);
    full_path(path, sizeof path, name);
    if (at_picture_read(&p, path, &o, &err) != AT_OK) {
        printf("FAIL %s\n", err.text);
        return 1;
    }
    int worst = 65536;
    if (p.width == width && p.height == height && p.channels == channels && p.depth == depth)
        worst = largest_difference(f, &p);
    else
        printf("FAIL %s %s: %lld x %lld x %d of %d bits, Pillow's has %lld x %lld x %d of %d\n",
               name, how, (long long)p.width, (long long)p.height, p.channels, p.depth, width,
               height, channels, depth);
    if (worst > tolerance)
        printf("FAIL %s %s: differs by %d, at most %d expected\n", name, how, worst, tolerance);
    at_picture_free(&p);
    return worst > tolerance;
}

/* Refused with a sentence that has the file's name and the word, in less than 50 ms. */
static int expect_refusal(const char *name, const char *word)
{
    char path[512];
    at_picture p;
    at_error err = { 0 };
    full_path(path, sizeof path, name);
    double before = at_clock_seconds();
    at_status status = at_picture_read(&p, path, NULL, &err);
    double seconds = at_clock_seconds() - before;
    bool fine =
        status != AT_OK && strstr(err.text, name) && strstr(err.text, word) && seconds < 0.05;
    if (!fine)
        printf("FAIL %s: \"%s\" after %.3f s, expected a refusal with \"%s\"\n", name, err.text,
               seconds, word);
    if (status == AT_OK)
        at_picture_free(&p);
    return !fine;
}

/* Whether this build has what the case needs. */
static bool can_decode(const char *name, const char *how)
{
    at_picture_format_id format = at_picture_format_of(name);
    bool converts = !strncmp(name, "icc_", 4) && !strcmp(how, "plain");
    return (format == AT_PICTURE_UNKNOWN || at_picture_reads(format)) &&
           (!converts || at_picture_converts_colours());
}

static void pictures_are_pillows(void **state)
{
    char name[64], how[32], line[8192];
    int failures = 0, cases = 0, tolerance;
    FILE *f = fopen(FOLDER "expected.txt", "r");
    (void)state;
    assert_non_null(f);
    while (fscanf(f, "%63s %31s", name, how) == 2) {
        cases++;
        if (!strcmp(how, "refuse")) {
            if (!can_decode(name, how) && fscanf(f, "%31s", how) == 1)
                continue;
            assert_int_equal(fscanf(f, "%31s", how), 1);
            failures += expect_refusal(name, how);
            continue;
        }
        assert_int_equal(fscanf(f, "%d", &tolerance), 1);
        bool able = can_decode(name, how);
        int failed = able ? compare(f, name, how, tolerance) : 0;
        failures += failed;
        if (!able)
            printf("SKIP %s %s: this build lacks the library\n", name, how);
        while ((failed || !able) && fgets(line, sizeof line, f) && !strchr(line, '.'))
            ; /* the rest of this case is not read in step any more */
        if ((failed || !able) && strchr(line, '.'))
            fseek(f, -(long)strlen(line), SEEK_CUR);
    }
    fclose(f);
    printf("%d pictures, %d failures\n", cases, failures);
    assert_true(cases > 80);
    assert_int_equal(failures, 0);
}

/* --- resizing --------------------------------------------------------------------------------- */

static uint32_t crc32_of(const unsigned char *data, size_t n)
{
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < n; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

static at_picture drawn(int64_t width, int64_t height, int channels, uint32_t seed)
{
    at_picture p = { width, height, channels, 8, NULL, { .orientation = 1 } };
    size_t n = (size_t)(width * height * channels);
    unsigned char *at = p.pixels = malloc(n);
    AT_ASSERT(at, "%zu bytes", n);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        at[i] = (unsigned char)(seed >> 24);
    }
    return p;
}

static void resizing_is_pillows(void **state)
{
    static const char *const filters[] = { "bilinear", "bicubic", "lanczos" };
    char filter[16];
    int channels, cases = 0, failures = 0;
    long long H, W, Ho, Wo;
    unsigned seed, crc;
    at_error err;
    FILE *f = fopen(FOLDER "resize.txt", "r");
    (void)state;
    assert_non_null(f);
    while (fscanf(f, "%15s %d %lld %lld %lld %lld %u %x", filter, &channels, &H, &W, &Ho, &Wo,
                  &seed, &crc) == 8) {
        int which = 0;
        while (which < 2 && strcmp(filters[which], filter) != 0)
            which++;
        at_picture in = drawn(W, H, channels, seed), out;
        at_status status = at_picture_resize(&out, &in, Wo, Ho, which, &err);
        AT_ASSERT(status == AT_OK, "%s", err.text);
        if (crc32_of(out.pixels, (size_t)(Wo * Ho * channels)) != crc) {
            printf("FAIL %s of %d channels, %lld x %lld to %lld x %lld, seed %u\n", filter,
                   channels, W, H, Wo, Ho, seed);
            failures++;
        }
        cases++;
        at_picture_free(&in);
        at_picture_free(&out);
    }
    fclose(f);
    assert_int_equal(cases, 200);
    assert_int_equal(failures, 0);
}

static void resizing_refuses(void **state)
{
    at_picture in = drawn(4, 4, 3, 1), out;
    at_error err;
    (void)state;
    assert_int_equal(at_picture_resize(&out, &in, 0, 4, AT_BICUBIC, &err), AT_INVALID);
    assert_int_equal(at_picture_resize(&out, &in, 60000, 60000, AT_BICUBIC, &err), AT_INVALID);
    assert_int_equal(at_picture_resize(&out, &in, 4, 5, AT_BICUBIC_TORCH, &err), AT_INVALID);
    in.depth = 16;
    assert_int_equal(at_picture_resize(&out, &in, 4, 5, AT_BICUBIC, &err), AT_UNSUPPORTED);
    at_picture_free(&in);
}

/* --- what a file says ------------------------------------------------------------------------- */

static at_picture_info about(const char *name)
{
    char path[512];
    at_picture_info info;
    at_error err;
    full_path(path, sizeof path, name);
    at_status status = at_picture_about(&info, path, NULL, &err);
    AT_ASSERT(status == AT_OK, "%s", err.text);
    return info;
}

static void files_tell_about_themselves(void **state)
{
    (void)state;
    at_picture_info info = about("png_texts.png");
    assert_int_equal(info.format, AT_PICTURE_PNG);
    assert_int_equal(info.width, 21);
    assert_int_equal(info.height, 15);
    assert_string_equal(at_picture_text_of(&info, "plain"), "caf\xc3\xa9");
    assert_string_equal(at_picture_text_of(&info, "prompt"),
                        "\xe9\x9b\xaa a cat \xe2\x80\x94 drawn");
    assert_int_equal(strlen(at_picture_text_of(&info, "packed")), 400);
    assert_null(at_picture_text_of(&info, "seed"));
    at_picture_info_free(&info);
    info = about("jpeg_comment.jpg");
    assert_string_equal(at_picture_text_of(&info, "comment"), "seen at night");
    at_picture_info_free(&info);
    info = about("jpeg_turned_6.jpg");
    assert_int_equal(info.orientation, 6);
    assert_int_equal(info.width, 21); /* before it is turned */
    assert_string_equal(at_picture_text_of(&info, "description"), "a description");
    at_picture_info_free(&info);
    info = about("icc_rgb.png");
    assert_true(info.has_profile && !info.profile_used);
    at_picture_info_free(&info);
    info = about("png_16_3.png");
    assert_int_equal(info.depth, 16);
    at_picture_info_free(&info);
    info = about("jpeg_ycck.jpg");
    assert_true(info.is_cmyk && info.channels == 4);
    at_picture_info_free(&info);
}

static void exif_is_bounded(void **state)
{
    at_exif e;
    (void)state;
    unsigned char block[64] = "MM\0*\0\0\0\x08\0\x02";
    memcpy(block + 10, "\x01\x12\0\x03\0\0\0\x01\0\x07\0\0", 12);
    memcpy(block + 22, "\x01\x10\0\x02\0\0\0\x05\0\0\0\x28", 12);
    memcpy(block + 40, "model", 5);
    assert_true(at_exif_read(&e, block, sizeof block));
    assert_int_equal(e.orientation, 7);
    assert_int_equal(e.n_texts, 1);
    assert_memory_equal(e.text[0].text, "model", 5);
    for (size_t n = 0; n < 45; n++)
        assert_false(at_exif_read(&e, block, n));
    block[4] = 0xFF; /* a directory beyond the end */
    assert_false(at_exif_read(&e, block, sizeof block));
    block[4] = 0;
    block[8] = 0xFF; /* more entries than bytes */
    assert_false(at_exif_read(&e, block, sizeof block));
    block[8] = 0;
    block[19] = 9; /* an orientation that does not exist */
    assert_true(at_exif_read(&e, block, sizeof block));
    assert_int_equal(e.orientation, 1);
}

/* --- writing ---------------------------------------------------------------------------------- */

static void png_comes_back(int channels, int depth)
{
    static const at_picture_text texts[] = { { (char *)"prompt", (char *)"\xe9\x9b\xaa a cat" },
                                             { (char *)"seed", (char *)"42" } };
    at_picture_write_options o = { .format = AT_PICTURE_PNG, .text = texts, .n_texts = 2 };
    at_picture_options keep = { .keep_16_bits = depth == 16 };
    at_picture p = drawn(37 * depth / 8, 11, channels, 5), back;
    at_picture_bytes bytes = { 0 };
    at_error err;
    p.width = 37;
    p.depth = depth;
    assert_int_equal(at_picture_encode(&bytes, &p, &o, &err), AT_OK);
    at_status status = at_picture_decode(&back, bytes.data, bytes.bytes, NULL, &keep, &err);
    AT_ASSERT(status == AT_OK, "%s", err.text);
    assert_int_equal(back.depth, depth);
    assert_int_equal(back.channels, channels);
    assert_memory_equal(back.pixels, p.pixels, (size_t)(37 * 11 * channels * depth / 8));
    assert_string_equal(at_picture_text_of(&back.info, "prompt"), texts[0].text);
    assert_string_equal(at_picture_text_of(&back.info, "seed"), "42");
    at_picture_free(&back);
    at_picture_free(&p);
    at_picture_bytes_free(&bytes);
}

static void png_keeps_everything(void **state)
{
    (void)state;
    for (int channels = 1; channels <= 4; channels++)
        for (int depth = 8; channels != 2 && depth <= 16; depth += 8)
            png_comes_back(channels, depth);
}

static void files_are_written(void **state)
{
    char path[] = "/tmp/picture_test_XXXXXX", png[64], jpg[64];
    at_picture_text text = { (char *)"seed", (char *)"7" };
    at_picture_write_options o = { .quality = 95, .text = &text, .n_texts = 1 };
    at_picture p = drawn(20, 10, 1, 3), grey = { 0 }, back;
    at_error err;
    (void)state;
    assert_non_null(mkdtemp(path));
    snprintf(png, sizeof png, "%s/a.png", path);
    snprintf(jpg, sizeof jpg, "%s/a.JPG", path);
    assert_int_equal(at_picture_resize(&grey, &p, 64, 32, AT_BICUBIC, &err), AT_OK);
    at_status status = at_picture_write(png, &grey, &o, &err);
    AT_ASSERT(status == AT_OK, "%s", err.text);
    assert_int_equal(at_picture_write(jpg, &grey, &o, &err), AT_OK);
    assert_int_equal(at_picture_read(&back, jpg, NULL, &err), AT_OK);
    assert_int_equal(back.info.format, AT_PICTURE_JPEG);
    assert_string_equal(at_picture_text_of(&back.info, "comment"), "seed: 7");
    for (size_t i = 0; i < 64 * 32; i++)
        assert_in_range(abs(((uint8_t *)back.pixels)[i] - ((uint8_t *)grey.pixels)[i]), 0, 20);
    at_picture_free(&back);
    snprintf(jpg + strlen(path), sizeof jpg - strlen(path), "/a.gif");
    assert_int_equal(at_picture_write(jpg, &grey, &o, &err), AT_UNSUPPORTED);
    snprintf(jpg + strlen(path), sizeof jpg - strlen(path), "/none");
    assert_int_equal(at_picture_write(jpg, &grey, &o, &err), AT_INVALID);
    snprintf(jpg + strlen(path), sizeof jpg - strlen(path), "/a.JPG");
    at_picture_free(&grey);
    at_picture_free(&p);
    assert_int_equal(unlink(png), 0);
    assert_int_equal(unlink(jpg), 0);
    assert_int_equal(rmdir(path), 0);
}

static void writing_refuses(void **state)
{
    at_picture_text text = { (char *)"seed", (char *)"\xff" };
    at_picture_write_options o = { .format = AT_PICTURE_JPEG };
    at_picture p = drawn(4, 4, 4, 3);
    at_picture_bytes bytes = { 0 };
    at_error err;
    (void)state;
    assert_int_equal(at_picture_encode(&bytes, &p, &o, &err), AT_UNSUPPORTED); /* alpha in JPEG */
    o = (at_picture_write_options){ .format = AT_PICTURE_PNG, .text = &text, .n_texts = 1 };
    assert_int_equal(at_picture_encode(&bytes, &p, &o, &err), AT_INVALID); /* no UTF-8 */
    text = (at_picture_text){ (char *)"", (char *)"x" };
    assert_int_equal(at_picture_encode(&bytes, &p, &o, &err), AT_INVALID); /* no name */
    o.n_texts = 0;
    o.level = 10;
    assert_int_equal(at_picture_encode(&bytes, &p, &o, &err), AT_INVALID);
    at_picture_bytes_free(&bytes);
    at_picture_free(&p);
}

/* --- hostile bytes ---------------------------------------------------------------------------- */

/* Exactly n bytes in memory of their own, so that a sanitizer sees a read beyond them. */
static at_status decode_alone(const unsigned char *data, size_t n)
{
    at_picture p;
    at_picture_info info;
    at_error err = { 0 };
    unsigned char *copy = malloc(n ? n : 1);
    AT_ASSERT(copy, "%zu bytes", n);
    memcpy(copy, data, n);
    if (at_picture_about_bytes(&info, copy, n, NULL, NULL, &err) == AT_OK)
        at_picture_info_free(&info);
    at_status status = at_picture_decode(&p, copy, n, NULL, NULL, &err);
    if (status == AT_OK)
        at_picture_free(&p);
    AT_ASSERT(status == AT_OK || err.text[0], "a failure without a sentence");
    free(copy);
    return status;
}

/* The next name in the file that is not the same once more; empty: none. */
static void next_golden(FILE *f, char name[64])
{
    char line[8192], last[64];
    snprintf(last, sizeof last, "%s", name);
    name[0] = 0;
    while (!name[0] && fgets(line, sizeof line, f))
        if (strchr(line, '.') && (sscanf(line, "%63s", name) != 1 || !strcmp(name, last)))
            name[0] = 0;
}

/* Formats whose end can be seen: cut anywhere, they must be refused. */
static bool shows_its_end(const char *name)
{
    return !strstr(name, "tga");
}

static void cut_files_are_refused(void **state)
{
    char name[64] = "";
    FILE *f = fopen(FOLDER "expected.txt", "r");
    size_t tries = 0;
    (void)state;
    assert_non_null(f);
    for (next_golden(f, name); name[0]; next_golden(f, name)) {
        size_t bytes;
        unsigned char *data = file_bytes(name, &bytes);
        for (size_t n = 0; n < bytes; n++, tries++)
            if (decode_alone(data, n) == AT_OK && shows_its_end(name))
                fail_msg("%s was accepted with %zu of %zu bytes", name, n, bytes);
        free(data);
    }
    fclose(f);
    printf("%zu cut files\n", tries);
}

static void damaged_files_are_survived(void **state)
{
    char name[64] = "";
    FILE *f = fopen(FOLDER "expected.txt", "r");
    size_t tries = 0, accepted = 0;
    (void)state;
    assert_non_null(f);
    for (next_golden(f, name); name[0]; next_golden(f, name)) {
        size_t bytes;
        unsigned char *data = file_bytes(name, &bytes);
        for (size_t i = 0; i < bytes; i++, tries++) {
            unsigned char flip = (unsigned char)(i % 2 ? 0xFFu : 1u << i / 2 % 8);
            data[i] ^= flip;
            accepted += decode_alone(data, bytes) == AT_OK;
            data[i] ^= flip;
        }
        free(data);
    }
    fclose(f);
    printf("%zu damaged files, %zu still pictures\n", tries, accepted);
}

static void limits_are_kept(void **state)
{
    char path[512];
    at_picture p;
    at_error err;
    (void)state;
    full_path(path, sizeof path, "jpeg_420.jpg");
    at_picture_options o = { .pixels_max = 21 * 15 - 1 };
    assert_int_equal(at_picture_read(&p, path, &o, &err), AT_UNSUPPORTED);
    o = (at_picture_options){ .bytes_max = 100 };
    assert_int_equal(at_picture_read(&p, path, &o, &err), AT_UNSUPPORTED);
    assert_int_equal(at_picture_read(&p, FOLDER "none.png", NULL, &err), AT_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_are_pillows),  cmocka_unit_test(resizing_is_pillows),
        cmocka_unit_test(resizing_refuses),      cmocka_unit_test(files_tell_about_themselves),
        cmocka_unit_test(exif_is_bounded),       cmocka_unit_test(png_keeps_everything),
        cmocka_unit_test(files_are_written),     cmocka_unit_test(writing_refuses),
        cmocka_unit_test(cut_files_are_refused), cmocka_unit_test(damaged_files_are_survived),
        cmocka_unit_test(limits_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
