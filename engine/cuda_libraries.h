/* cuda_libraries.h -- CUDA's libraries beside the driver, found and opened when they are needed.
 *
 * A library is looked for where the system looks, then in the folders of a CUDA that was installed
 * beside it, then in the folders that the caller names: the environment is not read here. The
 * caller owns what was opened; any thread may call these functions. */
#ifndef AT_ENGINE_CUDA_LIBRARIES_H
#define AT_ENGINE_CUDA_LIBRARIES_H

#include "kernels/base.h"

typedef enum at_cuda_library_id {
#define AT_CUDA_LIBRARY(NAME, name, newest, older, symbol, how, use) AT_CUDA_LIBRARY_##NAME,
#include "engine/cuda_libraries.def"
#undef AT_CUDA_LIBRARY
    AT_CUDA_LIBRARY_COUNT
} at_cuda_library_id;

enum { AT_CUDA_LIBRARY_PATH_MAX = 1024 };

typedef struct at_cuda_library {
    void *handle;
    char path[AT_CUDA_LIBRARY_PATH_MAX]; /* of the file that was opened */
    char version[32];                    /* "13.1.0" */
} at_cuda_library;

AT_API const char *at_cuda_library_name(at_cuda_library_id id);
AT_API const char *at_cuda_library_use(at_cuda_library_id id);

/* 'folders' ends with NULL, and may be NULL. Each is a pattern of glob(7), and either a folder of
 * libraries or Python's site-packages, whose wheels keep them in nvidia/NAME/lib. */
AT_API at_status at_cuda_library_open(at_cuda_library *out, at_cuda_library_id id,
                                      const char *const *folders, at_error *err);
/* That file and no other. */
at_status at_cuda_library_open_file(at_cuda_library *out, at_cuda_library_id id, const char *file,
                                    at_error *err);
AT_API void at_cuda_library_close(at_cuda_library *l);

#endif
