/* zip.h -- the directory of a zip file whose members lie in it as they are: what torch.save writes.
 *
 * Everything that a directory can lie about is checked when it is opened: every member is stored,
 * not compressed (so that nothing can unfold into more than the file), lies within the file,
 * overlaps no other, has a harmless name that occurs once, and says of itself what the directory
 * says of it. Split, encrypted and commented archives are refused. The file belongs to the caller
 * and outlives this. */
#ifndef AT_ENGINE_ZIP_H
#define AT_ENGINE_ZIP_H

#include "engine/file.h"

enum {
    AT_ZIP_MEMBERS_MAX = (1 << 20) + 64,
    AT_ZIP_NAME_MAX = 512 /* bytes */
};

typedef struct at_zip_member {
    const char *name; /* no zero at its end */
    uint64_t offset;  /* of its bytes in the file */
    uint64_t bytes;
    uint32_t crc; /* CRC-32 of them; 0: perhaps not computed, torch can be told not to */
    uint32_t name_bytes;
} at_zip_member;

typedef struct at_zip {
    const at_file *file;
    at_zip_member *members; /* in the order of the file */
    const at_zip_member **by_name;
    int count;
    unsigned char *directory; /* as in the file; names point into it */
    size_t directory_bytes;
} at_zip;

/* 'z' is overwritten; at_zip_close() it in any case. */
at_status at_zip_open(at_zip *z, const at_file *file, at_error *err);
void at_zip_close(at_zip *z);
/* The member named 'folder' followed by 'name', NULL when there is none. */
const at_zip_member *at_zip_find(const at_zip *z, const char *folder, size_t folder_bytes,
                                 const char *name, size_t name_bytes);
/* The member whose bytes begin at 'offset', NULL when none does. */
const at_zip_member *at_zip_at(const at_zip *z, uint64_t offset);

/* CRC-32 as zip files have it. 'words' is filled once; start with crc 0 and go on with the
 * result. */
typedef struct at_crc {
    uint32_t words[8][256];
} at_crc;
void at_crc_init(at_crc *c);
uint32_t at_crc_of(const at_crc *c, uint32_t crc, const void *data, size_t bytes);

#endif
