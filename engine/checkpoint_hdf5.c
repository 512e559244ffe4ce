/* checkpoint_hdf5.c -- the file is made in two goes. The first makes everything that HDF5 wants to
 * know, packed at the front; the second opens it again with an alignment and makes each dataset
 * take its place by writing one element. In one go every header would be aligned as well, 4 KiB
 * each. Nothing depends on time or chance: equal lists give equal bytes.
 *
 * A file to look at is opened by descriptor (/proc/self/fd/N), because its name may by now be
 * another file's, and perhaps it has none. HDF5's usual driver asks for the real path behind such a
 * name and gives up when there is none; the one on stdio does not ask. */
#define H5_USE_110_API
#include "engine/checkpoint_hdf5.h"

#include <hdf5.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/checkpoint_hdf5_draft.h"

enum {
    PATH_MAX_BYTES = 3 * AT_TENSOR_NAME_MAX + 1, /* of an escaped name */
    METADATA_BLOCK = 16 * 1024,                  /* that HDF5 allocates and writes at a time */
};

/* '%', '/' and "." would mean something else in a path. */
static void escape(char *out, const char *name)
{
    bool point = !strcmp(name, ".");
    for (const char *p = name; *p; p++) {
        if (*p == '%' || *p == '/' || point)
            out += snprintf(out, 4, "%%%02X", (unsigned)(unsigned char)*p);
        else
            *out++ = *p;
    }
    *out = 0;
}

/* --- element types ---------------------------------------------------------------------------- */

/* A little-endian IEEE-like float of 2 bytes. */
static hid_t float16_type(size_t exponent_bits)
{
    size_t mantissa_bits = 15 - exponent_bits;
    hid_t type = H5Tcopy(H5T_IEEE_F32LE);
    if (type < 0)
        return type;
    if (H5Tset_fields(type, 15, mantissa_bits, exponent_bits, 0, mantissa_bits) < 0 ||
        H5Tset_size(type, 2) < 0 ||
        H5Tset_ebias(type, ((size_t)1 << (exponent_bits - 1)) - 1) < 0) {
        H5Tclose(type);
        return -1;
    }
    return type;
}

/* What h5py makes of numpy's bool. */
static hid_t bool_type(void)
{
    static const signed char no = 0, yes = 1;
    hid_t type = H5Tenum_create(H5T_STD_I8LE);
    if (type < 0)
        return type;
    if (H5Tenum_insert(type, "FALSE", &no) < 0 || H5Tenum_insert(type, "TRUE", &yes) < 0) {
        H5Tclose(type);
        return -1;
    }
    return type;
}

static hid_t type_of(at_stored type)
{
    switch (type) {
    case AT_STORED_F64: return H5Tcopy(H5T_IEEE_F64LE);
    case AT_STORED_F32: return H5Tcopy(H5T_IEEE_F32LE);
    case AT_STORED_F16: return float16_type(5);
    case AT_STORED_BF16: return float16_type(8);
    case AT_STORED_I64: return H5Tcopy(H5T_STD_I64LE);
    case AT_STORED_I32: return H5Tcopy(H5T_STD_I32LE);
    case AT_STORED_I16: return H5Tcopy(H5T_STD_I16LE);
    case AT_STORED_I8: return H5Tcopy(H5T_STD_I8LE);
    case AT_STORED_U64: return H5Tcopy(H5T_STD_U64LE);
    case AT_STORED_U32: return H5Tcopy(H5T_STD_U32LE);
    case AT_STORED_U16: return H5Tcopy(H5T_STD_U16LE);
    case AT_STORED_BOOL: return bool_type();
    case AT_STORED_F8_E4M3:
    case AT_STORED_F8_E5M2:
    case AT_STORED_U8: return H5Tcopy(H5T_STD_U8LE);
    default: return -1;
    }
}

/* Types that HDF5's type does not tell from another. */
static bool needs_dtype(at_stored type)
{
    return type == AT_STORED_F8_E4M3 || type == AT_STORED_F8_E5M2;
}

/* --- what a dataset is ------------------------------------------------------------------------ */

/* A dataset to be: index, texts and tensors are all of this kind. */
typedef struct dataset {
    char name[PATH_MAX_BYTES];
    at_stored type;
    int rank;
    hsize_t size[AT_STORED_RANK_MAX];
} dataset;

static void describe_bytes(dataset *d, const char *name, size_t bytes)
{
    escape(d->name, name);
    d->type = AT_STORED_U8;
    d->rank = 1;
    d->size[0] = bytes;
}

static void describe_tensor(dataset *d, const at_stored_tensor *t)
{
    escape(d->name, t->name);
    d->type = t->type;
    d->rank = t->rank;
    for (int a = 0; a < t->rank; a++)
        d->size[a] = (hsize_t)t->size[a];
}

static const char index_group[] = "atelier", texts_group[] = "texts", tensors_group[] = "tensors";

/* HDF5 prints its errors unless it is told not to; the setting is the calling thread's. */
typedef struct silence {
    H5E_auto2_t print;
    void *context;
} silence;

static void be_silent(silence *s)
{
    H5Eget_auto2(H5E_DEFAULT, &s->print, &s->context);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

static void speak_again(const silence *s)
{
    H5Eset_auto2(H5E_DEFAULT, s->print, s->context);
}

/* --- laying out, first go: names, types, texts ------------------------------------------------ */

/* What both goes need, open. */
typedef struct layout {
    hid_t file, scalar, string, links, attributes, contiguous;
    hid_t group; /* the one being filled */
} layout;

static bool make_attribute(const layout *l, hid_t object, const char *name, const char *text)
{
    hid_t a = H5Acreate2(object, name, l->string, l->scalar, l->attributes, H5P_DEFAULT);
    bool done = a >= 0 && H5Awrite(a, l->string, &text) >= 0;
    return (a < 0 || H5Aclose(a) >= 0) && done;
}

static bool make_dataset(const layout *l, const dataset *d)
{
    hid_t type = type_of(d->type), made = -1;
    hid_t space = d->rank ? H5Screate_simple(d->rank, d->size, NULL) : H5Screate(H5S_SCALAR);
    if (type >= 0 && space >= 0)
        made = H5Dcreate2(l->group, d->name, type, space, l->links, l->contiguous, H5P_DEFAULT);
    bool done = made >= 0 && (!needs_dtype(d->type) ||
                              make_attribute(l, made, "dtype", at_stored_about(d->type)->name));
    done &= made < 0 || H5Dclose(made) >= 0;
    done &= space < 0 || H5Sclose(space) >= 0;
    done &= type < 0 || H5Tclose(type) >= 0;
    return done;
}

static bool make_group(layout *l, const char *name)
{
    l->group = H5Gcreate2(l->file, name, l->links, H5P_DEFAULT, H5P_DEFAULT);
    return l->group >= 0;
}

static bool close_group(layout *l)
{
    bool done = l->group < 0 || H5Gclose(l->group) >= 0;
    l->group = -1;
    return done;
}

static bool make_all(layout *l, const at_tensors *list, size_t index_bytes)
{
    dataset d;
    describe_bytes(&d, "index", index_bytes);
    bool done = make_group(l, index_group) && make_dataset(l, &d);
    done = close_group(l) && done && make_group(l, texts_group);
    for (int i = 0; i < list->text_count && done; i++) {
        const at_text *t = &list->texts[i];
        describe_bytes(&d, t->name, t->bytes);
        done = make_dataset(l, &d) && make_attribute(l, l->file, t->name, t->data);
    }
    done = close_group(l) && done && make_group(l, tensors_group);
    for (int i = 0; i < list->count && done; i++) {
        describe_tensor(&d, &list->items[i]);
        done = make_dataset(l, &d);
    }
    return close_group(l) && done;
}

static bool open_layout(layout *l)
{
    l->scalar = H5Screate(H5S_SCALAR);
    l->string = H5Tcopy(H5T_C_S1);
    l->links = H5Pcreate(H5P_LINK_CREATE);
    l->attributes = H5Pcreate(H5P_ATTRIBUTE_CREATE);
    l->contiguous = H5Pcreate(H5P_DATASET_CREATE);
    return l->scalar >= 0 && l->string >= 0 && l->links >= 0 && l->attributes >= 0 &&
           l->contiguous >= 0 && H5Tset_size(l->string, H5T_VARIABLE) >= 0 &&
           H5Tset_cset(l->string, H5T_CSET_UTF8) >= 0 &&
           H5Pset_char_encoding(l->links, H5T_CSET_UTF8) >= 0 &&
           H5Pset_char_encoding(l->attributes, H5T_CSET_UTF8) >= 0 &&
           H5Pset_layout(l->contiguous, H5D_CONTIGUOUS) >= 0 &&
           H5Pset_alloc_time(l->contiguous, H5D_ALLOC_TIME_LATE) >= 0 &&
           H5Pset_fill_time(l->contiguous, H5D_FILL_TIME_NEVER) >= 0 &&
           H5Pset_obj_track_times(l->contiguous, 0) >= 0;
}

static void close_layout(const layout *l)
{
    if (l->contiguous >= 0)
        H5Pclose(l->contiguous);
    if (l->attributes >= 0)
        H5Pclose(l->attributes);
    if (l->links >= 0)
        H5Pclose(l->links);
    if (l->string >= 0)
        H5Tclose(l->string);
    if (l->scalar >= 0)
        H5Sclose(l->scalar);
}

static hid_t create_file(hid_t driver, at_hdf5_draft *d)
{
    hid_t creation = H5Pcreate(H5P_FILE_CREATE), access = H5Pcreate(H5P_FILE_ACCESS), file = -1;
    if (creation >= 0 && access >= 0 &&
        H5Pset_userblock(creation, AT_CHECKPOINT_HEADER_BYTES) >= 0 &&
        H5Pset_obj_track_times(creation, 0) >= 0 && at_hdf5_draft_use(access, driver, d) &&
        H5Pset_meta_block_size(access, METADATA_BLOCK) >= 0)
        file = H5Fcreate("draft", H5F_ACC_TRUNC, creation, access);
    if (access >= 0)
        H5Pclose(access);
    if (creation >= 0)
        H5Pclose(creation);
    return file;
}

static bool first_go(hid_t driver, at_hdf5_draft *d, const at_tensors *list, size_t index_bytes)
{
    layout l = { .file = create_file(driver, d), .group = -1 };
    bool done = open_layout(&l) && l.file >= 0 && make_all(&l, list, index_bytes);
    close_layout(&l);
    return (l.file < 0 || H5Fclose(l.file) >= 0) && done;
}

/* --- second go: places ------------------------------------------------------------------------ */

/* One element makes HDF5 take room for all of them. */
static bool write_one(hid_t opened, int rank)
{
    static const unsigned char zeros[8];
    hsize_t at[AT_STORED_RANK_MAX] = { 0 };
    hid_t type = H5Dget_type(opened), space = H5Dget_space(opened), one = H5Screate(H5S_SCALAR);
    bool done = type >= 0 && space >= 0 && one >= 0 &&
                (rank == 0 || H5Sselect_elements(space, H5S_SELECT_SET, 1, at) >= 0) &&
                H5Dwrite(opened, type, one, space, H5P_DEFAULT, zeros) >= 0;
    if (one >= 0)
        H5Sclose(one);
    if (space >= 0)
        H5Sclose(space);
    if (type >= 0)
        H5Tclose(type);
    return done;
}

static bool place(hid_t file, const char *group, const dataset *d, at_extent *e)
{
    char path[PATH_MAX_BYTES + 16];
    *e = (at_extent){ .bytes = at_stored_about(d->type)->bytes };
    for (int a = 0; a < d->rank; a++)
        e->bytes *= d->size[a];
    if (e->bytes == 0)
        return true;
    snprintf(path, sizeof path, "%s/%s", group, d->name);
    hid_t opened = H5Dopen2(file, path, H5P_DEFAULT);
    if (opened < 0)
        return false;
    bool done = write_one(opened, d->rank);
    haddr_t offset = done ? H5Dget_offset(opened) : HADDR_UNDEF;
    e->offset = offset;
    return H5Dclose(opened) >= 0 && offset != HADDR_UNDEF && offset % AT_CHECKPOINT_ALIGN == 0;
}

static bool place_all(hid_t file, const at_tensors *list, at_extent *index, at_extent *extents)
{
    dataset d;
    describe_bytes(&d, "index", (size_t)index->bytes);
    bool done = place(file, index_group, &d, index);
    uint64_t end = index->offset + index->bytes;
    for (int i = 0; i < list->text_count + list->count && done; i++) {
        bool text = i < list->text_count;
        if (text)
            describe_bytes(&d, list->texts[i].name, list->texts[i].bytes);
        else
            describe_tensor(&d, &list->items[i - list->text_count]);
        done = place(file, text ? texts_group : tensors_group, &d, &extents[i]);
        /* HDF5 hands out room in the order in which it is asked; readers rely on the order. */
        if (extents[i].bytes) {
            done &= extents[i].offset >= end;
            end = extents[i].offset + extents[i].bytes;
        }
    }
    return done;
}

static bool second_go(hid_t driver, at_hdf5_draft *d, const at_tensors *list, at_extent *index,
                      at_extent *extents)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS), file = -1;
    if (access >= 0 && at_hdf5_draft_use(access, driver, d) &&
        H5Pset_alignment(access, 1, AT_CHECKPOINT_ALIGN) >= 0 &&
        H5Pset_sieve_buf_size(access, 0) >= 0 && H5Pset_small_data_block_size(access, 0) >= 0)
        file = H5Fopen("draft", H5F_ACC_RDWR, access);
    bool done = file >= 0 && place_all(file, list, index, extents);
    done &= file < 0 || H5Fclose(file) >= 0;
    if (access >= 0)
        H5Pclose(access);
    return done;
}

at_status at_hdf5_lay_out(at_draft *draft, const at_tensors *list, at_extent *index,
                          at_extent *extents, uint64_t *file_bytes, at_error *err)
{
    silence s;
    at_hdf5_draft d = { .draft = draft, .err = err };
    be_silent(&s);
    hid_t driver = at_hdf5_draft_driver();
    bool done = driver >= 0 && first_go(driver, &d, list, (size_t)index->bytes) &&
                d.status == AT_OK && second_go(driver, &d, list, index, extents);
    if (driver >= 0)
        H5FDunregister(driver);
    speak_again(&s);
    *file_bytes = d.bytes;
    if (d.status != AT_OK)
        return d.status;
    return done ? AT_OK
                : at_fail(err, AT_NO_MEMORY, "HDF5 cannot lay out %d tensors and %d texts",
                          list->count, list->text_count);
}

/* --- looking ---------------------------------------------------------------------------------- */

typedef struct look {
    hid_t file;
    const at_checkpoint *c;
    at_hdf5_found found;
    void *context;
} look;

static void tell(const look *l, const char *thing, const char *what)
{
    char text[AT_TENSOR_NAME_MAX + 128];
    snprintf(text, sizeof text, "HDF5's view of '%s' is not the index's: its %s", thing, what);
    l->found(l->context, thing, text);
}

static bool is_hard_link(hid_t file, const char *path)
{
    H5L_info_t info;
    return H5Lget_info(file, path, &info, H5P_DEFAULT) >= 0 && info.type == H5L_TYPE_HARD;
}

static bool attribute_is(hid_t object, const char *name, const char *expected)
{
    char *text = NULL;
    H5T_cset_t set = H5T_CSET_ERROR;
    hid_t a = H5Aopen(object, name, H5P_DEFAULT);
    hid_t type = a >= 0 ? H5Aget_type(a) : -1, space = a >= 0 ? H5Aget_space(a) : -1;
    bool same = type >= 0 && space >= 0 && H5Tget_class(type) == H5T_STRING &&
                H5Tis_variable_str(type) > 0 && (set = H5Tget_cset(type)) == H5T_CSET_UTF8 &&
                H5Sget_simple_extent_type(space) == H5S_SCALAR && H5Aread(a, type, &text) >= 0 &&
                !strcmp(text ? text : "", expected);
    if (text)
        H5free_memory(text);
    if (space >= 0)
        H5Sclose(space);
    if (type >= 0)
        H5Tclose(type);
    if (a >= 0)
        H5Aclose(a);
    return same;
}

static bool attributes_are(hid_t object, int count)
{
    H5O_info_t info;
    return H5Oget_info2(object, &info, H5O_INFO_NUM_ATTRS) >= 0 && info.num_attrs == (hsize_t)count;
}

static bool same_type(hid_t opened, at_stored type)
{
    hid_t found = H5Dget_type(opened), expected = type_of(type);
    bool same = found >= 0 && expected >= 0 && H5Tequal(found, expected) > 0;
    if (expected >= 0)
        H5Tclose(expected);
    if (found >= 0)
        H5Tclose(found);
    return same;
}

static bool same_sizes(hid_t opened, const dataset *d)
{
    hsize_t size[H5S_MAX_RANK], most[H5S_MAX_RANK];
    hid_t space = H5Dget_space(opened);
    H5S_class_t kind = d->rank ? H5S_SIMPLE : H5S_SCALAR;
    bool same = space >= 0 && H5Sget_simple_extent_type(space) == kind &&
                H5Sget_simple_extent_dims(space, size, most) == d->rank;
    for (int a = 0; a < d->rank && same; a++)
        same = size[a] == d->size[a] && most[a] == d->size[a];
    if (space >= 0)
        H5Sclose(space);
    return same;
}

/* The bytes are this file's own, in one piece and as they are. */
static bool same_place(hid_t opened, const at_extent *e)
{
    hid_t creation = H5Dget_create_plist(opened);
    bool same = creation >= 0 && H5Pget_layout(creation) == H5D_CONTIGUOUS &&
                H5Pget_external_count(creation) == 0 && H5Pget_nfilters(creation) == 0;
    haddr_t offset = H5Dget_offset(opened);
    if (creation >= 0)
        H5Pclose(creation);
    return same && (e->bytes == 0 || offset == e->offset);
}

static void compare_dataset(const look *l, const char *group, const dataset *d, const at_extent *e,
                            const char *thing)
{
    char path[PATH_MAX_BYTES + 16];
    snprintf(path, sizeof path, "%s/%s", group, d->name);
    hid_t opened = is_hard_link(l->file, path) ? H5Dopen2(l->file, path, H5P_DEFAULT) : -1;
    if (opened < 0) {
        tell(l, thing, "dataset is not there");
        return;
    }
    if (!same_type(opened, d->type))
        tell(l, thing, "type is another");
    if (!same_sizes(opened, d))
        tell(l, thing, "sizes are others");
    if (!same_place(opened, e))
        tell(l, thing, "bytes are not where they should be, contiguous and unfiltered");
    bool dtype = needs_dtype(d->type);
    if (!attributes_are(opened, dtype) ||
        (dtype && !attribute_is(opened, "dtype", at_stored_about(d->type)->name)))
        tell(l, thing, "attributes are others");
    H5Dclose(opened);
}

static void compare_group(const look *l, const char *name, int count, int attributes)
{
    H5G_info_t info;
    hid_t group = is_hard_link(l->file, name) || !strcmp(name, "/")
                      ? H5Oopen(l->file, name, H5P_DEFAULT)
                      : -1;
    bool is_group = group >= 0 && H5Iget_type(group) == H5I_GROUP && H5Gget_info(group, &info) >= 0;
    if (!is_group || info.nlinks != (hsize_t)count)
        tell(l, name, "group has other members");
    else if (!attributes_are(group, attributes))
        tell(l, name, "attributes are others");
    if (group >= 0)
        H5Oclose(group);
}

static bool userblock_is_ours(hid_t file)
{
    hsize_t bytes = 0;
    hid_t creation = H5Fget_create_plist(file);
    bool ours = creation >= 0 && H5Pget_userblock(creation, &bytes) >= 0 &&
                bytes == AT_CHECKPOINT_HEADER_BYTES;
    if (creation >= 0)
        H5Pclose(creation);
    return ours;
}

static void compare_all(const look *l)
{
    const at_checkpoint *c = l->c;
    const at_tensors *list = &c->list;
    dataset d;
    compare_group(l, "/", 3, list->text_count);
    compare_group(l, index_group, 1, 0);
    compare_group(l, texts_group, list->text_count, 0);
    compare_group(l, tensors_group, list->count, 0);
    describe_bytes(&d, "index", (size_t)c->header.index.bytes);
    compare_dataset(l, index_group, &d, &c->header.index, "index");
    for (int i = 0; i < list->text_count; i++) {
        const at_text *t = &list->texts[i];
        describe_bytes(&d, t->name, (size_t)c->extents[i].bytes);
        compare_dataset(l, texts_group, &d, &c->extents[i], t->name);
        if (atomic_load(&c->checked[i]) != AT_DAMAGED && !attribute_is(l->file, t->name, t->data))
            tell(l, t->name, "attribute of the root is another text");
    }
    for (int i = 0; i < list->count; i++) {
        describe_tensor(&d, &list->items[i]);
        compare_dataset(l, tensors_group, &d, &c->extents[list->text_count + i],
                        list->items[i].name);
    }
}

static hid_t open_to_look(const char *path)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS), file = -1;
    if (access >= 0 && H5Pset_fapl_stdio(access) >= 0)
        file = H5Fopen(path, H5F_ACC_RDONLY, access);
    if (access >= 0)
        H5Pclose(access);
    return file;
}

void at_hdf5_compare(const char *path, const at_checkpoint *c, at_hdf5_found found, void *context)
{
    silence s;
    be_silent(&s);
    H5PLset_loading_state(0); /* a filter that a file asks for is not looked for */
    look l = { open_to_look(path), c, found, context };
    if (l.file < 0)
        found(context, "HDF5 metadata", "HDF5 cannot open the file");
    else if (!userblock_is_ours(l.file))
        found(context, "HDF5 metadata", "HDF5 finds another user block");
    else
        compare_all(&l);
    if (l.file >= 0)
        H5Fclose(l.file);
    speak_again(&s);
}

void at_hdf5_version(char *text, size_t text_size)
{
    unsigned major, minor, release;
    bool known = H5get_libversion(&major, &minor, &release) >= 0;
    snprintf(text, text_size, "%s", "");
    if (known)
        snprintf(text, text_size, "%u.%u.%u", major, minor, release);
}
