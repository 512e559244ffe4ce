/* torch_test.c -- files of torch.save: what torch 2.15 wrote (tests/reference/torch_files.py) is
 * read byte for byte, and what was damaged on the way does no harm. */
#include "tests/torch_blob.h"
#include "tests/unit.h"

static blob golden(const char *name)
{
    char path[512];
    blob b = { 0 };
    unsigned char piece[4096];
    snprintf(path, sizeof path, "%s/tests/golden/files/%s", AT_SOURCE_DIR, name);
    FILE *f = fopen(path, "rb");
    AT_ASSERT(f, "no %s", path);
    for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;)
        put(&b, piece, n);
    fclose(f);
    return b;
}

/* --- what torch wrote ------------------------------------------------------------------------- */

/* Element (i, j, k) is start + i step[0] + j step[1] + k step[2]. */
typedef struct expected {
    const char *name;
    at_stored type;
    int rank;
    int64_t size[3], start, step[3];
} expected;

static const expected tensors[] = {
    { "model.tied_a", AT_STORED_F32, 1, { 5 }, 100, { 1 } },
    { "model.tied_b", AT_STORED_F32, 1, { 5 }, 100, { 1 } },
    { "model.part.first", AT_STORED_F32, 2, { 2, 3 }, 3, { 3, 1 } },
    { "model.part.last", AT_STORED_F32, 1, { 4 }, 16, { 1 } },
    { "model.every_third", AT_STORED_F32, 1, { 7 }, 1, { 3 } },
    { "model.transposed", AT_STORED_F32, 2, { 6, 4 }, 0, { 1, 6 } },
    { "model.columns", AT_STORED_F32, 2, { 4, 3 }, 1, { 6, 1 } },
    { "model.permuted", AT_STORED_I16, 3, { 4, 2, 3 }, 0, { 1, 12, 4 } },
    { "model.parameter", AT_STORED_F32, 1, { 4 }, 0, { 1 } },
    { "model.marked", AT_STORED_F32, 1, { 3 }, 0, { 1 } },
    { "model.scalar", AT_STORED_I64, 0, { 0 }, 42, { 0 } },
    { "model.empty", AT_STORED_F32, 2, { 0, 3 }, 0, { 0 } },
#define AT_STORED(NAME, name, safetensors, storage, torch, bytes, dtype) \
    { "dtypes." name, AT_STORED_##NAME, 2, { 2, 3 }, 0, { 3, 1 } },
#include "engine/stored.def"
#undef AT_STORED
    { "list.0", AT_STORED_F32, 1, { 2 }, 7, { 0 } },
    { "list.2.0", AT_STORED_U8, 1, { 1 }, 8, { 0 } },
    { "11", AT_STORED_I32, 1, { 2 }, 0, { 1 } },
};

enum { IGNORED = 11 };

static const char *const goldens[] = { "torch_zip.pth", "torch_zip_protocol4.pth",
                                       "torch_legacy.pth", "torch_legacy_protocol4.pth",
                                       "torch_bare.pth" };

static void encode(at_stored type, int64_t value, unsigned char *out)
{
    double f64 = (double)value;
    float f32 = (float)value;
    uint16_t f16 = at_f16_from_f32(f32), bf16 = at_bf16_from_f32(f32);
    uint8_t f8 = at_f8_from_f32(f32), half = (uint8_t)(f16 >> 8), truth = value != 0;
    const void *from = type == AT_STORED_F64       ? (const void *)&f64
                       : type == AT_STORED_F32     ? (const void *)&f32
                       : type == AT_STORED_F16     ? (const void *)&f16
                       : type == AT_STORED_BF16    ? (const void *)&bf16
                       : type == AT_STORED_F8_E4M3 ? (const void *)&f8
                       : type == AT_STORED_F8_E5M2 ? (const void *)&half
                       : type == AT_STORED_BOOL    ? (const void *)&truth
                                                   : (const void *)&value;
    memcpy(out, from, at_stored_about(type)->bytes);
}

/* All bytes of a tensor, as they should be. */
static size_t encode_all(const expected *e, unsigned char *out)
{
    size_t bytes = 0, element = at_stored_about(e->type)->bytes;
    int64_t n[3] = { 1, 1, 1 };
    for (int i = 0; i < e->rank; i++)
        n[i] = e->size[i];
    for (int64_t i = 0; i < n[0]; i++)
        for (int64_t j = 0; j < n[1]; j++)
            for (int64_t k = 0; k < n[2]; k++, bytes += element)
                encode(e->type, e->start + i * e->step[0] + j * e->step[1] + k * e->step[2],
                       out + bytes);
    return bytes;
}

static void check_tensor(at_source *s, const expected *e)
{
    unsigned char right[512], found[512];
    at_error err = { 0 };
    int i = at_tensors_find(&s->list, e->name);
    AT_ASSERT(i >= 0, "no tensor '%s'", e->name);
    const at_stored_tensor *t = &s->list.items[i];
    assert_int_equal(t->type, e->type);
    assert_int_equal(t->rank, e->rank);
    for (int d = 0; d < e->rank; d++)
        assert_true(t->size[d] == e->size[d]);
    size_t bytes = encode_all(e, right);
    assert_true(t->bytes == bytes);
    for (size_t piece = 1; piece <= bytes; piece++) {
        memset(found, 0xee, sizeof found);
        for (size_t at = 0; at < bytes; at += piece) {
            size_t n = bytes - at < piece ? bytes - at : piece;
            at_status status = at_source_read(s, i, at, found + at, n, &err);
            AT_ASSERT(status == AT_OK, "%s", err.text);
        }
        AT_ASSERT(!memcmp(found, right, bytes), "'%s' differs in pieces of %zu", e->name, piece);
    }
}

static at_source *open_golden(const char *name)
{
    char path[512];
    at_source *s;
    at_error err = { 0 };
    snprintf(path, sizeof path, "%s/tests/golden/files/%s", AT_SOURCE_DIR, name);
    at_status status = at_source_open(&s, path, &err);
    AT_ASSERT(status == AT_OK, "%s", err.text);
    memset(path, 'x', sizeof path - 1); /* a source keeps what it needs of it */
    return s;
}

static void goldens_are_read(void **state)
{
    (void)state;
    for (size_t g = 0; g + 1 < AT_COUNT(goldens); g++) {
        at_source *s = open_golden(goldens[g]);
        assert_int_equal(s->list.count, AT_COUNT(tensors));
        for (size_t i = 0; i < AT_COUNT(tensors); i++) {
            assert_string_equal(s->list.items[i].name, tensors[i].name);
            check_tensor(s, &tensors[i]);
        }
        assert_true(((const at_torch_file *)s->own)->ignored == IGNORED);
        at_source_close(s);
    }
}

static void a_bare_tensor_has_a_name(void **state)
{
    static const expected bare = { "tensor", AT_STORED_F32, 1, { 3 }, 0, { 1 } };
    (void)state;
    at_source *s = open_golden("torch_bare.pth");
    assert_int_equal(s->list.count, 1);
    check_tensor(s, &bare);
    at_source_close(s);
}

/* --- damage ----------------------------------------------------------------------------------- */

static void cut_files_are_refused(void **state)
{
    (void)state;
    for (size_t g = 0; g < AT_COUNT(goldens); g++) {
        blob b = golden(goldens[g]);
        write_scratch(b.data, b.bytes);
        for (size_t n = b.bytes; n-- > 0;) {
            assert_int_equal(ftruncate(scratch_fd, (off_t)n), 0);
            expect_refusal("");
        }
        drop(&b);
    }
}

/* Whatever a flipped byte does, it is done in time, and what can be opened can be read. */
static void open_flipped(void)
{
    at_source *s;
    at_error err = { 0 };
    unsigned char bytes[4096];
    double start = cpu_seconds();
    if (at_source_open(&s, scratch, &err) == AT_OK) {
        for (int i = 0; i < s->list.count; i++)
            if (s->list.items[i].bytes <= sizeof bytes)
                at_source_read(s, i, 0, bytes, (size_t)s->list.items[i].bytes, &err);
        at_source_close(s);
    } else {
        assert_non_null(strstr(err.text, scratch));
        assert_null(strchr(err.text, '\n'));
    }
    assert_true(cpu_seconds() - start < seconds_max);
}

static void flipped_bytes_do_no_harm(void **state)
{
    static const unsigned char flips[] = { 0xff, 0x01 };
    (void)state;
    for (size_t g = 0; g < AT_COUNT(goldens); g++) {
        blob b = golden(goldens[g]);
        write_scratch(b.data, b.bytes);
        for (size_t i = 0; i < b.bytes; i++)
            for (size_t f = 0; f <= AT_COUNT(flips); f++) {
                unsigned char byte = b.data[i] ^ (f < AT_COUNT(flips) ? flips[f] : 0);
                assert_true(pwrite(scratch_fd, &byte, 1, (off_t)i) == 1);
                if (f < AT_COUNT(flips))
                    open_flipped();
            }
        drop(&b);
    }
}

static void damage_is_noticed(void **state)
{
    at_source *s;
    at_error err = { 0 };
    float found[5], tied[5] = { 100, 101, 102, 103, 104 };
    (void)state;
    blob b = golden("torch_zip.pth");
    b.data[find(&b, (const char *)tied, sizeof tied)] ^= 1;
    write_scratch(b.data, b.bytes);
    assert_int_equal(at_source_open(&s, scratch, &err), AT_OK);
    int i = at_tensors_find(&s->list, "model.tied_a");
    assert_int_equal(at_source_read(s, i, 0, found, 8, &err), AT_OK);
    assert_int_equal(at_source_read(s, i, 8, found + 2, sizeof found - 8, &err), AT_CORRUPT);
    assert_non_null(strstr(err.text, "'model.tied_a' is damaged"));
    at_source_close(s);
    b.data[find(&b, "tied_b", 6)] ^= 1;
    write_scratch(b.data, b.bytes);
    expect_refusal("data.pkl is damaged");
    drop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goldens_are_read),      cmocka_unit_test(a_bare_tensor_has_a_name),
        cmocka_unit_test(cut_files_are_refused), cmocka_unit_test(flipped_bytes_do_no_harm),
        cmocka_unit_test(damage_is_noticed),
    };
    return cmocka_run_group_tests(tests, open_scratch, close_scratch);
}
