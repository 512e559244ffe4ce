/* torch_zip.c -- files of torch.save since 1.6: a zip file with NAME/data.pkl, which describes the
 * tensors, and NAME/data/KEY, one member for each storage.
 *
 * The pickle's CRC-32 is checked when a file is opened. A tensor's is checked while it is read, if
 * it is read from front to back and is all of its storage; checking the others would mean to read
 * gigabytes that nobody asked for. A CRC of 0 is not checked: torch can be told to compute none. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/torch_file.h"
#include "engine/zip.h"

enum { ID_ITEMS = 5, FOLDER_MAX = AT_ZIP_NAME_MAX + 8 };

typedef struct torch_zip {
    at_torch_file file;
    at_zip zip;
    at_crc crc;
    char folder[FOLDER_MAX]; /* "NAME/data/" */
    size_t name_bytes;       /* of "NAME/" */
    int sum_of;              /* the tensor that is being read from front to back, -1: none */
    uint64_t sum_end;        /* how far */
    uint32_t sum, sum_expected;
} torch_zip;

static bool is_zip(const unsigned char *head, size_t head_bytes, uint64_t bytes)
{
    (void)bytes;
    return head_bytes >= 4 && !memcmp(head, "PK\003\004", 4);
}

static const at_zip_member *find_named(const torch_zip *z, const char *name)
{
    return at_zip_find(&z->zip, z->folder, z->name_bytes, name, strlen(name));
}

/* The folder of the member NAME/data.pkl, which there is one of. */
static at_status find_folder(torch_zip *z, at_error *err)
{
    static const char pickle[] = "/data.pkl", data[] = "data/";
    const size_t bytes = sizeof pickle - 1;
    const at_zip_member *found = NULL;
    for (int i = 0; i < z->zip.count; i++) {
        const at_zip_member *m = &z->zip.members[i];
        if (m->name_bytes <= bytes || memcmp(m->name + m->name_bytes - bytes, pickle, bytes) != 0)
            continue;
        if (found)
            return at_fail(err, AT_CORRUPT, "%s: has two members named data.pkl",
                           z->file.file.path);
        found = m;
    }
    if (!found)
        return at_fail(err, AT_UNSUPPORTED,
                       "%s: is a zip file, but has no member NAME/data.pkl as torch.save writes",
                       z->file.file.path);
    z->name_bytes = found->name_bytes - (bytes - 1);
    memcpy(z->folder, found->name, z->name_bytes);
    memcpy(z->folder + z->name_bytes, data, sizeof data);
    return AT_OK;
}

static bool is_script(const torch_zip *z)
{
    static const char code[] = "code/";
    if (find_named(z, "constants.pkl"))
        return true;
    for (int i = 0; i < z->zip.count; i++) {
        const at_zip_member *m = &z->zip.members[i];
        if (m->name_bytes >= z->name_bytes + strlen(code) &&
            !memcmp(m->name, z->folder, z->name_bytes) &&
            !memcmp(m->name + z->name_bytes, code, strlen(code)))
            return true;
    }
    return false;
}

static at_status check_layout(const torch_zip *z, at_error *err)
{
    static const char little[] = "little";
    char order[sizeof little - 1];
    const char *path = z->file.file.path;
    if (is_script(z))
        return at_fail(err, AT_UNSUPPORTED,
                       "%s: is a TorchScript program; save its state_dict() with torch.save", path);
    const at_zip_member *m = find_named(z, "byteorder");
    if (!m) /* older than the mark, and little-endian */
        return AT_OK;
    if (m->bytes == sizeof order) {
        at_status status = at_file_read(&z->file.file, m->offset, order, sizeof order, err);
        if (status != AT_OK)
            return status;
    }
    if (m->bytes != sizeof order || memcmp(order, little, sizeof order) != 0)
        return at_fail(err, AT_UNSUPPORTED, "%s: its byte order is not little-endian", path);
    return AT_OK;
}

static at_status find_storage(void *context, at_torch_storage *s, at_error *err)
{
    const torch_zip *z = context;
    const at_zip_member *m =
        at_zip_find(&z->zip, z->folder, strlen(z->folder), s->key.data, s->key.bytes);
    char key[64];
    at_pickle_printable(key, sizeof key, s->key.data, s->key.bytes);
    if (!m)
        return at_fail(err, AT_CORRUPT, "its pickle needs storage '%s', which is not there", key);
    if (m->bytes != s->bytes)
        return at_fail(err, AT_CORRUPT,
                       "storage '%s' has %" PRIu64 " bytes; its pickle says %" PRIu64, key,
                       m->bytes, s->bytes);
    s->offset = m->offset;
    s->room = m->bytes;
    return AT_OK;
}

/* Runs the pickle in 'bytes' and lists its tensors. */
static at_status read_list(torch_zip *z, at_source *s, const at_zip_member *m, unsigned char *bytes,
                           at_error *err)
{
    size_t size = (size_t)m->bytes;
    at_pickle p = { 0 };
    at_status status = at_file_read(&z->file.file, m->offset, bytes, size, err);
    if (status != AT_OK)
        return status;
    if (m->crc && at_crc_of(&z->crc, 0, bytes, size) != m->crc)
        return at_fail(err, AT_CORRUPT, "%s: its data.pkl is damaged: the CRC-32 differs",
                       z->file.file.path);
    size_t used = size + z->zip.directory_bytes +
                  (size_t)z->zip.count * (sizeof *z->zip.members + sizeof *z->zip.by_name);
    status = at_pickle_run(&p, bytes, size, at_torch_memory(&z->file, used), err);
    if (status == AT_OK && p.at != size)
        status = at_fail(err, AT_CORRUPT, "its data.pkl goes on for %zu bytes behind its pickle",
                         size - p.at);
    if (status != AT_OK)
        at_torch_named(&z->file, status, err);
    else
        status = at_torch_list(&z->file, s, &p, ID_ITEMS, find_storage, z, err);
    at_pickle_free(&p);
    return status;
}

static at_status open_zip(at_source *s, const char *path, at_error *err)
{
    torch_zip *z = calloc(1, sizeof *z);
    if (!z)
        return at_fail(err, AT_NO_MEMORY, "%.160s: no memory to open it", path);
    s->own = z;
    z->sum_of = -1;
    at_status status = at_torch_open(&z->file, path, err);
    if (status == AT_OK)
        status = at_zip_open(&z->zip, &z->file.file, err);
    if (status == AT_OK)
        status = find_folder(z, err);
    if (status == AT_OK)
        status = check_layout(z, err);
    if (status != AT_OK)
        return status;
    s->file_bytes = z->file.file.bytes;
    at_crc_init(&z->crc);
    const at_zip_member *m = find_named(z, "data.pkl");
    if (m->bytes > AT_PICKLE_BYTES_MAX)
        return at_fail(err, AT_CORRUPT, "%s: its pickle has %" PRIu64 " bytes; the limit is %d",
                       z->file.file.path, m->bytes, AT_PICKLE_BYTES_MAX);
    unsigned char *bytes = malloc((size_t)m->bytes + 1);
    if (!bytes)
        return at_fail(err, AT_NO_MEMORY, "%s: no memory for its pickle of %" PRIu64 " bytes",
                       z->file.file.path, m->bytes);
    status = read_list(z, s, m, bytes, err);
    free(bytes);
    return status;
}

/* Begins a checksum when reading begins at the front of a tensor that is all of its storage. */
static void begin_sum(torch_zip *z, const at_stored_tensor *t, int i)
{
    const at_zip_member *m = at_torch_is_dense(&z->file, i) ? at_zip_at(&z->zip, t->offset) : NULL;
    bool known = m && m->bytes == t->bytes && m->crc;
    z->sum_of = known ? i : -1;
    z->sum_expected = known ? m->crc : 0;
    z->sum_end = 0;
    z->sum = 0;
}

static at_status read_zip(at_source *s, int i, uint64_t from, void *out, size_t bytes,
                          at_error *err)
{
    torch_zip *z = s->own;
    const at_stored_tensor *t = &s->list.items[i];
    at_status status = at_torch_read(&z->file, s, i, from, out, bytes, err);
    if (status != AT_OK)
        return status;
    if (from == 0)
        begin_sum(z, t, i);
    if (z->sum_of != i || z->sum_end != from)
        return AT_OK;
    z->sum = at_crc_of(&z->crc, z->sum, out, bytes);
    z->sum_end += bytes;
    if (z->sum_end == t->bytes && z->sum != z->sum_expected)
        return at_fail(err, AT_CORRUPT, "%s: tensor '%.200s' is damaged: the CRC-32 differs",
                       z->file.file.path, t->name);
    return AT_OK;
}

static void close_zip(at_source *s)
{
    torch_zip *z = s->own;
    if (!z)
        return;
    at_zip_close(&z->zip);
    at_torch_close(&z->file);
    free(z);
    s->own = NULL;
}

const at_source_kind at_source_torch_zip = { "torch", is_zip, open_zip, read_zip, close_zip };
