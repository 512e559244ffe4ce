/* file.h -- files as everything above needs them: opened with a known size, read whole or refused,
 * mapped, and written so that they appear whole or not at all.
 *
 * A draft is a file that nobody sees until it is published: a temporary file in the folder of its
 * final name, unnamed where the file system can, synced, renamed over the name, the folder synced.
 * Whatever happens before that, the file under the name stays as it was and nothing is left behind;
 * but for a hidden name beside it when a process is killed between two calls, and the next draft of
 * the same name clears that away. Where every file needs a name, a killed process leaves its draft.
 * Every call may be interrupted and is taken up again; every failure names the file. */
#ifndef AT_ENGINE_FILE_H
#define AT_ENGINE_FILE_H

#include "kernels/base.h"

typedef struct at_file {
    int fd; /* -1: not open */
    uint64_t bytes;
    const char *path; /* the caller's; for messages */
} at_file;

/* Regular files only: a folder, a pipe or a device is refused without waiting for it. */
at_status at_file_open(at_file *f, const char *path, at_error *err);
void at_file_close(at_file *f);
/* All of [offset, offset + bytes), or an error that says what is missing. */
at_status at_file_read(const at_file *f, uint64_t offset, void *out, size_t bytes, at_error *err);

/* The whole file, read only and shared with every other reader. */
typedef struct at_mapping {
    const unsigned char *data; /* NULL: an empty file or none */
    size_t bytes;
} at_mapping;
at_status at_file_map(const at_file *f, at_mapping *map, at_error *err);
void at_mapping_free(at_mapping *map);

typedef struct at_draft at_draft;

at_status at_draft_new(at_draft **out, const char *path, at_error *err);
/* Its descriptor, and a path under which libraries can open it as long as the draft lives. */
int at_draft_fd(const at_draft *d);
const char *at_draft_path(const at_draft *d);
/* Takes the room of a file of 'bytes' on the disk, so that a disk that is too full refuses at once
 * and not after gigabytes; nothing where the file system cannot. Makes the draft that long. */
at_status at_draft_reserve(at_draft *d, uint64_t bytes, at_error *err);
at_status at_draft_write(at_draft *d, uint64_t offset, const void *data, size_t bytes,
                         at_error *err);
at_status at_draft_read(at_draft *d, uint64_t offset, void *out, size_t bytes, at_error *err);
/* Makes the file appear under its name. The draft is freed by at_draft_free() in any case; without
 * publishing, that drops what was written. */
at_status at_draft_publish(at_draft *d, at_error *err);
void at_draft_free(at_draft *d);

/* Called now and then during long work, from the thread that does it; a return of false cancels. */
typedef struct at_progress {
    bool (*report)(void *context, uint64_t done, uint64_t total);
    void *context;
} at_progress;
/* AT_OK, or AT_CANCELLED with a sentence. 'p' may be NULL. */
at_status at_progress_report(const at_progress *p, uint64_t done, uint64_t total, at_error *err);

#endif
