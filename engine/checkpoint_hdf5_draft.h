/* checkpoint_hdf5_draft.h -- a draft as HDF5 sees a file: a driver of HDF5's.
 *
 * HDF5 does not live through a disk that fails while a file is closed: it keeps the file open and
 * dies of it when the program ends. So this driver never fails. The first failure of the draft is
 * kept in 'status' and 'err', and whoever let HDF5 work looks there afterwards; HDF5 goes on as if
 * it had written. */
#ifndef AT_ENGINE_CHECKPOINT_HDF5_DRAFT_H
#define AT_ENGINE_CHECKPOINT_HDF5_DRAFT_H

#include <hdf5.h>

#include "engine/file.h"

typedef struct at_hdf5_draft {
    at_draft *draft;
    at_error *err;
    at_status status;
    uint64_t bytes;   /* of the file, as HDF5 has made it long */
    uint64_t written; /* behind the last byte that was written */
} at_hdf5_draft;

/* The driver's number, closed by H5FDunregister(); negative: HDF5 has no memory for it. */
hid_t at_hdf5_draft_driver(void);
/* Files that are opened with 'access' are 'd', whatever their names. */
bool at_hdf5_draft_use(hid_t access, hid_t driver, at_hdf5_draft *d);

#endif
