#define H5_USE_110_API
#include "engine/checkpoint_hdf5_draft.h"

#include <stdlib.h>
#include <string.h>

/* An opened file; HDF5 fills in the first part. */
typedef struct opened {
    H5FD_t common;
    at_hdf5_draft *d;
    haddr_t allocated; /* behind the last byte that HDF5 has given away */
} opened;

static opened *of(H5FD_t *file)
{
    return (opened *)(void *)file;
}

/* The property list holds a pointer, which HDF5 copies with it. */
static H5FD_t *open_draft(const char *name, unsigned flags, hid_t access, haddr_t limit)
{
    at_hdf5_draft *const *d = H5Pget_driver_info(access);
    opened *f = d ? calloc(1, sizeof *f) : NULL;
    (void)name, (void)limit;
    if (!f)
        return NULL;
    f->d = *d;
    if (flags & H5F_ACC_TRUNC)
        f->d->bytes = f->d->written = 0;
    return &f->common;
}

static herr_t close_draft(H5FD_t *file)
{
    free(of(file));
    return 0;
}

static herr_t query(const H5FD_t *file, unsigned long *flags)
{
    (void)file;
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA;
    return 0;
}

static haddr_t get_allocated(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return ((const opened *)(const void *)file)->allocated;
}

static herr_t set_allocated(H5FD_t *file, H5FD_mem_t type, haddr_t end)
{
    (void)type;
    of(file)->allocated = end;
    return 0;
}

static haddr_t get_end(const H5FD_t *file, H5FD_mem_t type)
{
    const at_hdf5_draft *d = ((const opened *)(const void *)file)->d;
    (void)type;
    return d->bytes > d->written ? d->bytes : d->written;
}

/* Zeros where nothing was written. */
static herr_t read_draft(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t at, size_t bytes,
                         void *out)
{
    at_hdf5_draft *d = of(file)->d;
    uint64_t there = at < d->written ? d->written - at : 0;
    size_t n = there < bytes ? (size_t)there : bytes;
    (void)type, (void)transfer;
    memset(out, 0, bytes);
    if (d->status == AT_OK && n)
        d->status = at_draft_read(d->draft, at, out, n, d->err);
    return 0;
}

static herr_t write_draft(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t at, size_t bytes,
                          const void *data)
{
    at_hdf5_draft *d = of(file)->d;
    (void)type, (void)transfer;
    if (d->status != AT_OK)
        return 0;
    d->status = at_draft_write(d->draft, at, data, bytes, d->err);
    if (at + bytes > d->written)
        d->written = at + bytes;
    return 0;
}

/* The file is as long as what HDF5 has given away; whoever owns the draft makes it so. */
static herr_t set_length(H5FD_t *file, hid_t transfer, hbool_t closing)
{
    (void)transfer, (void)closing;
    of(file)->d->bytes = of(file)->allocated;
    return 0;
}

static const H5FD_class_t driver = {
    .name = "atelier draft",
    .maxaddr = (haddr_t)INT64_MAX,
    .fc_degree = H5F_CLOSE_WEAK,
    .fapl_size = sizeof(at_hdf5_draft *),
    .open = open_draft,
    .close = close_draft,
    .query = query,
    .get_eoa = get_allocated,
    .set_eoa = set_allocated,
    .get_eof = get_end,
    .read = read_draft,
    .write = write_draft,
    .truncate = set_length,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

hid_t at_hdf5_draft_driver(void)
{
    return H5FDregister(&driver);
}

bool at_hdf5_draft_use(hid_t access, hid_t number, at_hdf5_draft *d)
{
    return H5Pset_driver(access, number, &d) >= 0;
}
