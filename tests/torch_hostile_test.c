/* torch_hostile_test.c -- files that claim to come from torch.save and that nobody should have
 * written: pickles, zip files and legacy files that lie, each refused at once. */
#include "tests/torch_blob.h"
#include "tests/unit.h"

/* --- hostile pickles -------------------------------------------------------------------------- */

/* A zip file, and where its parts are. */
typedef struct archive {
    blob b;
    size_t header[8], data[8], entry[8], end;
    uint64_t bytes[8];
    const char *name[8];
    int count;
} archive;

static void add_member(archive *a, const char *name, const void *data, size_t bytes)
{
    int i = a->count++;
    a->header[i] = a->b.bytes;
    a->name[i] = name;
    a->bytes[i] = bytes;
    PUT(&a->b, "PK\003\004\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    put_number(&a->b, bytes, 4);
    put_number(&a->b, bytes, 4);
    put_number(&a->b, strlen(name), 4);
    put(&a->b, name, strlen(name));
    a->data[i] = a->b.bytes;
    put(&a->b, data, bytes);
}

static void end_archive(archive *a)
{
    size_t from = a->b.bytes;
    for (int i = 0; i < a->count; i++) {
        a->entry[i] = a->b.bytes;
        PUT(&a->b, "PK\001\002\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        put_number(&a->b, a->bytes[i], 4);
        put_number(&a->b, a->bytes[i], 4);
        put_number(&a->b, strlen(a->name[i]), 8);
        put_number(&a->b, 0, 6);
        put_number(&a->b, a->header[i], 4);
        put(&a->b, a->name[i], strlen(a->name[i]));
    }
    a->end = a->b.bytes;
    PUT(&a->b, "PK\005\006\0\0\0\0");
    put_number(&a->b, (uint64_t)a->count, 2);
    put_number(&a->b, (uint64_t)a->count, 2);
    put_number(&a->b, a->end - from, 4);
    put_number(&a->b, from, 6);
}

enum { STORAGE_FLOATS = 6 };

/* An archive of this pickle and one storage of six floats. */
static archive archive_of(const void *pickle, size_t bytes)
{
    static const float values[STORAGE_FLOATS] = { 0, 1, 2, 3, 4, 5 };
    archive a = { 0 };
    add_member(&a, "w/data.pkl", pickle, bytes);
    add_member(&a, "w/data/0", values, sizeof values);
    add_member(&a, "w/byteorder", "little", 6);
    return a;
}

static void refuse_pickle(const void *pickle, size_t bytes, const char *sentence)
{
    archive a = archive_of(pickle, bytes);
    end_archive(&a);
    write_scratch(a.b.data, a.b.bytes);
    expect_refusal(sentence);
    drop(&a.b);
}

static void put_int(blob *b, int64_t n)
{
    PUT(b, "\x8a\x08");
    put_number(b, (uint64_t)n, 8);
}

/* The numbers of a tensor over that storage. */
typedef struct numbers {
    int64_t storage, first, size[2], stride[2];
    const char *sentence;
} numbers;

static void put_tensor(blob *b, const numbers *n)
{
    PUT(b, "ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x01"
           "0U\x03"
           "cpu");
    put_int(b, n->storage);
    PUT(b, "tQ");
    put_int(b, n->first);
    put_int(b, n->size[0]);
    put_int(b, n->size[1]);
    PUT(b, "\x86");
    put_int(b, n->stride[0]);
    put_int(b, n->stride[1]);
    PUT(b, "\x86\x89"
           "ccollections\nOrderedDict\n)RtR");
}

static void lying_numbers_are_refused(void **state)
{
    const int64_t big = (int64_t)1 << 58, wide = INT64_MAX;
    const numbers lies[] = {
        { 7, 0, { 2, 3 }, { 3, 1 }, "storage '0' has 24 bytes; its pickle says 28" },
        { -1, 0, { 2, 3 }, { 3, 1 }, "has a size that no file can hold" },
        { big, 0, { 2, 3 }, { 3, 1 }, "storage '0' has 24 bytes" },
        { wide, 0, { 2, 3 }, { 3, 1 }, "has a size that no file can hold" },
        { 6, 1, { 2, 3 }, { 3, 1 }, "tensor 'w' of 24 bytes would end at byte 28" },
        { 6, -1, { 2, 3 }, { 3, 1 }, "of a storage of 24" },
        { 6, 7, { 0, 3 }, { 3, 1 }, "of a storage of 24" },
        { 6, big, { 2, 3 }, { 3, 1 }, "of a storage of 24" },
        { 6, wide, { 2, 3 }, { 3, 1 }, "begins at what is no number" },
        { 6, 0, { 2, 3 }, { 4, 1 }, "would end at byte 28" },
        { 6, 0, { 2, 3 }, { -3, 1 }, "negative" },
        { 6, 0, { -2, 3 }, { 3, 1 }, "negative" },
        { 6, 0, { 2, 3 }, { big, 1 }, "of a storage of 24" },
        { 6, 0, { big, big }, { 1, 1 }, "that no memory can hold" },
        { 6, 0, { big, 1 }, { 0, 0 }, "of a storage of 24" },
        { 6, 0, { 7, 1 }, { 0, 0 }, "tensor 'w' of 28 bytes" },
        { 6, 0, { 16, big }, { big, 0 }, "that no memory can hold" },
        { 6, 0, { wide, 1 }, { 1, 1 }, "no pairs of numbers" },
    };
    (void)state;
    for (size_t i = 0; i < AT_COUNT(lies); i++) {
        blob b = { 0 };
        PUT(&b, "\x80\x02}U\x01w");
        put_tensor(&b, &lies[i]);
        PUT(&b, "s.");
        refuse_pickle(b.data, b.bytes, lies[i].sentence);
        drop(&b);
    }
}

static void hostile_structures_are_refused(void **state)
{
#define ONE(bytes, sentence)               \
    {                                      \
        bytes, sizeof(bytes) - 1, sentence \
    }
    static const struct {
        const char *bytes;
        size_t size;
        const char *sentence;
    } structures[] = {
        ONE("\x80\x02"
            "cos\nsystem\nU\x02ls\x85R.",
            "refuses to run 'os.system'"),
        ONE("\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02ls\x85R.", "refuses to run 'os.system'"),
        ONE("\x80\x02}q\x00U\x01"
            "ah\x00s.",
            "within itself"),
        ONE("\x80\x02]q\x00h\x00\x85"
            "a.",
            "within itself"),
        ONE("\x80\x02]].", "left over"),
        ONE("\x80\x02N.N.", "behind its pickle"),
        ONE("\x80\x02}U\x01"
            "aK\x01s.",
            "holds no tensor, only 1 other"),
        ONE("\x80\x02}N"
            "ctorch._utils\n_rebuild_tensor\n)Rs.",
            "neither a text nor a whole number"),
        ONE("\x80\x02"
            "ctorch._utils\n_rebuild_tensor_v2\n)R.",
            "wrong arguments"),
        ONE("\x80\x02"
            "ctorch._utils\n_rebuild_parameter\n)R.",
            "wrong arguments"),
        ONE("\x80\x02"
            "ctorch._utils\n_rebuild_tensor\n(NNNNtR.",
            "is not a storage"),
        ONE("\x80\x02"
            "ctorch._utils\n_rebuild_tensor\n(U\x06module\x85QNNNtR.",
            "is not a storage"),
        ONE("\x80\x02"
            "ctorch._utils\n_rebuild_tensor\n((U\x07storageNU\x01"
            "0NK\x06tQK\x00))tR.",
            "without a type or a key"),
        ONE("\x80\x02"
            "ctorch._utils\n_rebuild_tensor\n((U\x07storagectorch\nFloatStorage\nU\x01"
            "1NK\x06tQK\x00))tR.",
            "storage '1', which is not there"),
        ONE("\x80\x02"
            "ctorch._utils\n_rebuild_tensor\n((U\x07storagectorch.storage\n"
            "UntypedStorage\nU\x01"
            "0NK\x18tQK\x00))tR.",
            "no element type"),
    };
#undef ONE
    (void)state;
    for (size_t i = 0; i < AT_COUNT(structures); i++)
        refuse_pickle(structures[i].bytes, structures[i].size, structures[i].sentence);
}

/* Nesting, sharing, names. */
static void unfolding_pickles_are_refused(void **state)
{
    static const numbers good = { 6, 0, { 2, 3 }, { 3, 1 }, NULL };
    blob deep = { 0 }, laughs = { 0 }, tensors_too = { 0 }, longs = { 0 };
    (void)state;
    PUT(&deep, "\x80\x02");
    for (int i = 0; i < 1000; i++)
        PUT(&deep, "]");
    for (int i = 0; i < 999; i++)
        PUT(&deep, "a");
    PUT(&deep, ".");
    refuse_pickle(deep.data, deep.bytes, "nested over 32 deep");
    PUT(&laughs, "\x80\x02N");
    PUT(&tensors_too, "\x80\x02");
    put_tensor(&tensors_too, &good);
    for (int i = 0; i < 30; i++) {
        PUT(&laughs, "q\x00h\x00\x86");
        PUT(&tensors_too, "q\x00h\x00\x86");
    }
    PUT(&laughs, ".");
    PUT(&tensors_too, ".");
    refuse_pickle(laughs.data, laughs.bytes, "share values over");
    refuse_pickle(tensors_too.data, tensors_too.bytes, "memory of twice its bytes");
    PUT(&longs, "\x80\x02}X\x01\x02\0\0");
    for (int i = 0; i < 513; i++)
        PUT(&longs, "n");
    put_tensor(&longs, &good);
    PUT(&longs, "s.");
    refuse_pickle(longs.data, longs.bytes, "name of over 512 bytes");
    drop(&deep);
    drop(&laughs);
    drop(&tensors_too);
    drop(&longs);
}

/* --- hostile archives ------------------------------------------------------------------------- */

typedef enum part { HEADER, ENTRY, DATA, END } part;

/* One number of a good archive replaced: in which member's which part, where, how many bytes. */
typedef struct poke {
    part part;
    int member, at, bytes;
    uint64_t value;
    const char *sentence;
} poke;

static const poke pokes[] = {
    { ENTRY, 1, 10, 2, 8, "member 'w/data/0' is compressed" },
    { HEADER, 1, 8, 2, 8, "does not say what the zip directory says" },
    { ENTRY, 1, 8, 2, 1, "member 'w/data/0' is encrypted" },
    { HEADER, 1, 6, 2, 1, "does not say what the zip directory says" },
    { ENTRY, 1, 24, 4, 25, "contradict each other" },
    { ENTRY, 1, 20, 4, 25, "contradict each other" },
    { HEADER, 1, 22, 4, 23, "does not say what the zip directory says" },
    { HEADER, 1, 14, 4, 77, "does not say what the zip directory says" },
    { HEADER, 1, 28, 2, 60000, "overlaps what follows" },
    { HEADER, 1, 28, 2, 1, "overlaps what follows" },
    { HEADER, 1, 0, 4, 0, "does not say what the zip directory says" },
    { ENTRY, 1, 42, 4, 0, "overlaps what follows" },
    { ENTRY, 1, 42, 4, 4000000000u, "overlaps what follows" },
    { ENTRY, 1, 42, 4, 0xffffffff, "contradict each other" },
    { ENTRY, 1, 34, 2, 1, "split zip file" },
    { ENTRY, 1, 28, 2, 0, "leads out of its folder" },
    { ENTRY, 1, 28, 2, 0xffff, "directory is broken" },
    { ENTRY, 1, 0, 4, 0, "directory is broken" },
    { ENTRY, 1, 46, 3, '.' | '.' << 8 | '/' << 16, "leads out of its folder" },
    { ENTRY, 1, 46, 1, '/', "leads out of its folder" },
    { ENTRY, 1, 47, 1, '\\', "leads out of its folder" },
    { ENTRY, 1, 47, 1, 0, "leads out of its folder" },
    { END, 0, 8, 2, 2, "split zip file" },
    { END, 0, 8, 4, 2 | 2 << 16, "holds more than its 2 members" },
    { END, 0, 8, 4, 4 | 4 << 16, "cannot list 4 members" },
    { END, 0, 8, 4, 0xffffffff, "cannot list 65535 members" },
    { END, 0, 8, 4, 0, "bytes that list no member" },
    { END, 0, 12, 4, 0xffffffff, "is not where it ends" },
    { END, 0, 16, 4, 0xffffffff, "is not where it ends" },
    { END, 0, 4, 2, 1, "split zip file" },
    { END, 0, 20, 2, 1, "end record" },
    { DATA, 2, 0, 1, 'b', "not little-endian" },
};

static archive good_archive(void)
{
    static const numbers good = { 6, 0, { 2, 3 }, { 3, 1 }, NULL };
    blob b = { 0 };
    PUT(&b, "\x80\x02}U\x01w");
    put_tensor(&b, &good);
    PUT(&b, "s.");
    archive a = archive_of(b.data, b.bytes);
    drop(&b);
    return a;
}

static void lying_archives_are_refused(void **state)
{
    at_source *s;
    at_error err = { 0 };
    (void)state;
    archive a = good_archive();
    end_archive(&a);
    write_scratch(a.b.data, a.b.bytes);
    AT_ASSERT(at_source_open(&s, scratch, &err) == AT_OK, "%s", err.text);
    at_source_close(s);
    for (size_t i = 0; i < AT_COUNT(pokes); i++) {
        const poke *p = &pokes[i];
        const size_t *parts[] = { a.header, a.entry, a.data, &a.end };
        unsigned char kept[8], *at = a.b.data + parts[p->part][p->member] + p->at;
        memcpy(kept, at, sizeof kept);
        for (int n = 0; n < p->bytes; n++)
            at[n] = (unsigned char)(p->value >> 8 * n);
        write_scratch(a.b.data, a.b.bytes);
        expect_refusal(p->sentence);
        memcpy(at, kept, (size_t)p->bytes);
    }
    drop(&a.b);
}

/* A good archive with one more member. */
static void refuse_member(const char *name, const char *sentence)
{
    archive a = good_archive();
    add_member(&a, name, "x", 1);
    end_archive(&a);
    write_scratch(a.b.data, a.b.bytes);
    expect_refusal(sentence);
    drop(&a.b);
}

static void wrong_members_are_refused(void **state)
{
    archive empty = { 0 };
    (void)state;
    refuse_member("w/constants.pkl", "TorchScript");
    refuse_member("w/code/__torch__.py", "TorchScript");
    refuse_member("w/data/0", "member 'w/data/0' is there twice");
    refuse_member("v/data.pkl", "two members named data.pkl");
    refuse_member("w/../../x", "leads out of its folder");
    refuse_member("/etc/passwd", "leads out of its folder");
    add_member(&empty, "readme", "x", 1);
    end_archive(&empty);
    write_scratch(empty.b.data, empty.b.bytes);
    expect_refusal("no member NAME/data.pkl");
    drop(&empty.b);
}

/* The directory in 64-bit numbers, as torch writes it past 4 GB. */
static void wide_numbers_are_read(void **state)
{
    at_source *s;
    at_error err = { 0 };
    (void)state;
    archive a = good_archive();
    blob b = { 0 };
    end_archive(&a);
    /* One member's entry gets a zip64 field in place of its three numbers. */
    size_t split = a.entry[1] + 46 + strlen(a.name[1]);
    put(&b, a.b.data, split);
    PUT(&b, "\x01\0\x18\0");
    put_number(&b, a.bytes[1], 8);
    put_number(&b, a.bytes[1], 8);
    put_number(&b, a.header[1], 8);
    put(&b, a.b.data + split, a.end - split);
    memset(b.data + a.entry[1] + 20, 0xff, 8);
    memset(b.data + a.entry[1] + 42, 0xff, 4);
    b.data[a.entry[1] + 30] = 28;
    size_t at = b.bytes, from = a.entry[0];
    PUT(&b, "PK\006\006\x2c\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    put_number(&b, 3, 8);
    put_number(&b, 3, 8);
    put_number(&b, at - from, 8);
    put_number(&b, from, 8);
    PUT(&b, "PK\006\007\0\0\0\0");
    put_number(&b, at, 8);
    put_number(&b, 1, 4);
    PUT(&b, "PK\005\006\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0");
    write_scratch(b.data, b.bytes);
    AT_ASSERT(at_source_open(&s, scratch, &err) == AT_OK, "%s", err.text);
    assert_int_equal(s->list.count, 1);
    at_source_close(s);
    b.data[at + 32]++;
    write_scratch(b.data, b.bytes);
    expect_refusal("split zip file");
    b.data[at + 24]++;
    write_scratch(b.data, b.bytes);
    expect_refusal("directory is broken");
    drop(&a.b);
    drop(&b);
}

/* --- hostile legacy files --------------------------------------------------------------------- */

static void put_front(blob *b)
{
    PUT(b, "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}U\x0d"
           "little_endian\x88s.");
}

/* A file with one tensor of 'storage' floats by its pickle, whose id ends in 'view', and what
 * follows. */
static void refuse_legacy(const char *view, size_t view_bytes, int64_t elements, const char *keys,
                          size_t keys_bytes, size_t data_bytes, const char *sentence)
{
    static const char zeros[64];
    blob b = { 0 };
    put_front(&b);
    PUT(&b, "\x80\x02"
            "ctorch._utils\n_rebuild_tensor\n((U\x07storagectorch\nFloatStorage\nU\x01"
            "0NK\x06");
    put(&b, view, view_bytes);
    PUT(&b, "tQK\x00K\x06\x85K\x01\x85tR.");
    put(&b, keys, keys_bytes);
    put_number(&b, (uint64_t)elements, 8);
    put(&b, zeros, data_bytes);
    write_scratch(b.data, b.bytes);
    if (sentence) {
        expect_refusal(sentence);
    } else {
        at_source *s;
        at_error err = { 0 };
        AT_ASSERT(at_source_open(&s, scratch, &err) == AT_OK, "%s", err.text);
        at_source_close(s);
    }
    drop(&b);
}

#define LEGACY(view, elements, keys, data_bytes, sentence) \
    refuse_legacy(view, sizeof(view) - 1, elements, keys, sizeof(keys) - 1, data_bytes, sentence)

static void lying_legacy_files_are_refused(void **state)
{
    blob tar = { 0 }, old = { 0 };
    (void)state;
    LEGACY("N", 6,
           "\x80\x02]U\x01"
           "0a.",
           24, NULL);
    LEGACY("U\x01vK\x00K\x06\x87", 6,
           "\x80\x02]U\x01"
           "0a.",
           24, NULL);
    LEGACY("U\x01vK\x01K\x06\x87", 6,
           "\x80\x02]U\x01"
           "0a.",
           24, "a view that leads out");
    LEGACY("U\x01vK\x00K\x05\x87", 6,
           "\x80\x02]U\x01"
           "0a.",
           24, "of a storage of 20");
    LEGACY("N", 7,
           "\x80\x02]U\x01"
           "0a.",
           28, "has another size than its pickle says");
    LEGACY("N", -1,
           "\x80\x02]U\x01"
           "0a.",
           24, "has another size than its pickle says");
    LEGACY("N", 6,
           "\x80\x02]U\x01"
           "0a.",
           23, "is cut off by the end of the file");
    LEGACY("N", 6,
           "\x80\x02]U\x01"
           "0a.",
           25, "for 1 bytes behind its storages");
    LEGACY("N", 6, "\x80\x02].", 24, "'0' is needed and not there");
    LEGACY("N", 6,
           "\x80\x02](U\x01"
           "0U\x01"
           "0e.",
           24, "'0' is there twice");
    LEGACY("N", 6,
           "\x80\x02](U\x01"
           "0U\x01"
           "1e.",
           24, "'1' is there and nothing tells its type");
    LEGACY("N", 6,
           "\x80\x02]K\x01"
           "a.",
           24, "holds what is no key");
    LEGACY("N", 6, "\x80\x02N.", 24, "is no list");
    put_front(&old);
    old.data[sizeof "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\x02M" - 1]--;
    write_scratch(old.data, old.bytes);
    expect_refusal("version 1000; 1001 is read");
    drop(&old);
    put_front(&old);
    PUT(&old, "\x80\x02"
              "cos\nsystem\nU\x02ls\x85R.");
    write_scratch(old.data, old.bytes);
    expect_refusal("refuses to run 'os.system'");
    old.data[find(&old, "\x88s.", 3)] = 0x89;
    write_scratch(old.data, old.bytes);
    expect_refusal("not little-endian");
    for (int i = 0; i < 512; i++)
        put(&tar, i == 257 ? "u" : i == 258 ? "s" : i == 259 ? "t" : i == 260 ? "a" : "r", 1);
    write_scratch(tar.data, tar.bytes);
    expect_refusal("is a tar file");
    drop(&tar);
    drop(&old);
}

/* A pickle that is longer than the first piece that is read of a file. */
static void long_pickles_are_read(void **state)
{
    enum { NAMES = 3000, FILLER = 100 };
    at_source *s;
    at_error err = { 0 };
    char name[FILLER + 8];
    blob b = { 0 };
    (void)state;
    put_front(&b);
    PUT(&b, "\x80\x02}");
    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "%0*d", FILLER, i);
        PUT(&b, "U");
        put_number(&b, FILLER, 1);
        put(&b, name, FILLER);
        PUT(&b, "Ns");
    }
    PUT(&b, "U\x01w"
            "ctorch._utils\n_rebuild_tensor\n((U\x07storagectorch\nByteStorage\n"
            "U\x01"
            "0NK\x01NtQK\x00))tRs.\x80\x02]U\x01"
            "0a.\x01\0\0\0\0\0\0\0\x2a");
    write_scratch(b.data, b.bytes);
    AT_ASSERT(at_source_open(&s, scratch, &err) == AT_OK, "%s", err.text);
    assert_int_equal(s->list.count, 1);
    at_source_close(s);
    drop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lying_numbers_are_refused),
        cmocka_unit_test(hostile_structures_are_refused),
        cmocka_unit_test(unfolding_pickles_are_refused),
        cmocka_unit_test(lying_archives_are_refused),
        cmocka_unit_test(wrong_members_are_refused),
        cmocka_unit_test(wide_numbers_are_read),
        cmocka_unit_test(lying_legacy_files_are_refused),
        cmocka_unit_test(long_pickles_are_read),
    };
    return cmocka_run_group_tests(tests, open_scratch, close_scratch);
}
