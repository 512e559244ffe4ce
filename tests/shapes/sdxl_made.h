/* sdxl_made.h -- small models of SDXL as files: a folder of diffusers, a single file, with changes
 * that a test asks for. Numbers follow from names: tests/reference/sdxl_files.py makes the same
 * single file for diffusers. */
#ifndef AT_TESTS_SHAPES_SDXL_MADE_H
#define AT_TESTS_SHAPES_SDXL_MADE_H

#include "engine/source.h"
#include "models/sdxl_names.h"
#include "models/sdxl_wanted.h"

extern const at_sdxl_configs sdxl_made_configs;

/* What is other in a file: the tensor 'name' has another name, or none ('to' is NULL: it is left
 * out). Without 'name' one is added. Names are those in the file. */
typedef struct sdxl_edit {
    const char *name, *to;
    int rank; /* of the new sizes; 0: they stay */
    int64_t size[4];
    at_stored type; /* AT_STORED_NONE: it stays */
} sdxl_edit;

enum { SDXL_EDITS_MAX = 12 };
typedef struct sdxl_edits {
    sdxl_edit items[SDXL_EDITS_MAX];
    int count;
} sdxl_edits;

/* A list of tensors, and where the numbers of each begin. */
typedef struct sdxl_made {
    at_tensors list;
    uint64_t *seeds;
    int capacity;
} sdxl_made;

/* A part's tensors behind what is there: as diffusers has them, or as in a single file, where
 * 'refiner' tells which of the text encoders this is the first of. */
void sdxl_made_part(sdxl_made *m, at_sdxl_part part, const at_sdxl_configs *c, at_stored type);
void sdxl_made_single_part(sdxl_made *m, at_sdxl_part part, const at_sdxl_configs *c,
                           at_stored type, bool refiner);
void sdxl_made_add(sdxl_made *m, const char *name, at_stored type, int rank, const int64_t *size,
                   uint64_t seed);
void sdxl_made_free(sdxl_made *m);
/* Writes and frees; 'edits' may be NULL. */
void sdxl_made_write(sdxl_made *m, const char *path, const sdxl_edits *edits);
/* The same with a header only: what follows is as long as it must be and takes no room. */
void sdxl_made_write_hollow(sdxl_made *m, const char *path);

/* Whole files. UNets are bf16, text encoders f16, VAEs f32. */
void sdxl_made_single(const char *path, const sdxl_edits *edits);
void sdxl_made_folder(const char *folder);
/* The weights of a part of a folder again, under another name and with changes. */
void sdxl_made_weights(const char *folder, at_sdxl_part part, const char *file,
                       const sdxl_edits *edits);
void sdxl_made_text(const char *folder, const char *name, const char *text);

#endif
