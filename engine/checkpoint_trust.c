/* checkpoint_trust.c -- which files were checked whole on this machine: one small file for each, in
 * a folder of the caller's, named by the number of the file it speaks of. A record is believed only
 * if it is, byte for byte, the record that would be written now; so one that is damaged, or of
 * another file, machine or version, is as good as none. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/checkpoint_format.h"
#include "engine/checksum.h"

enum { RECORD_WORDS = 10, RECORD_BYTES = RECORD_WORDS * 8, NANOSECONDS = 1000000000 };

#define RECORD_MAGIC 0x0a31545352544c41u /* "ALTRST1\n" */
/* A file's times move in ticks of the kernel's clock (up to 10 ms): a change within the tick in
 * which we looked at them leaves no trace. A file so young when it was opened is not remembered. */
#define TICK_NS ((int64_t)20 * 1000 * 1000)

at_status at_file_identify(const at_file *file, at_file_identity *id, at_error *err)
{
    struct stat s;
    if (fstat(file->fd, &s) != 0)
        return at_fail(err, AT_IO, "%s: looking at it failed: %s", file->path, strerror(errno));
    *id = (at_file_identity){ (uint64_t)s.st_dev,          (uint64_t)s.st_ino,
                              (uint64_t)s.st_size,         (uint64_t)s.st_mtim.tv_sec,
                              (uint64_t)s.st_mtim.tv_nsec, (uint64_t)s.st_ctim.tv_sec,
                              (uint64_t)s.st_ctim.tv_nsec };
    return AT_OK;
}

static void make_record(unsigned char *out, const at_file_identity *id, uint64_t header_sum)
{
    uint64_t words[RECORD_WORDS] = { RECORD_MAGIC,  id->device,     id->number,
                                     id->bytes,     id->modified_s, id->modified_ns,
                                     id->changed_s, id->changed_ns, header_sum };
    words[RECORD_WORDS - 1] = at_checksum_of(words, sizeof words - sizeof *words);
    memcpy(out, words, sizeof words);
}

/* "FOLDER/device-number.trust"; NULL: no memory. */
static char *record_path(const char *folder, const at_file_identity *id)
{
    size_t room = strlen(folder) + 64;
    char *path = malloc(room);
    if (path)
        snprintf(path, room, "%s/%" PRIx64 "-%" PRIx64 ".trust", folder, id->device, id->number);
    return path;
}

static bool record_is(const char *path, const unsigned char *expected)
{
    unsigned char found[RECORD_BYTES];
    at_file file;
    struct stat s;
    if (at_file_open(&file, path, NULL) != AT_OK)
        return false;
    bool same = file.bytes == RECORD_BYTES && fstat(file.fd, &s) == 0 && s.st_uid == geteuid() &&
                at_file_read(&file, 0, found, sizeof found, NULL) == AT_OK &&
                !memcmp(found, expected, sizeof found);
    at_file_close(&file);
    return same;
}

bool at_trust_holds(const char *folder, const at_file_identity *id, uint64_t header_sum)
{
    unsigned char expected[RECORD_BYTES];
    char *path = record_path(folder, id);
    if (!path)
        return false;
    make_record(expected, id, header_sum);
    bool holds = record_is(path, expected);
    free(path);
    return holds;
}

bool at_file_identity_steady(const at_file_identity *id)
{
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return false;
    int64_t seconds = (int64_t)now.tv_sec - (int64_t)id->changed_s;
    if (seconds < 0 || seconds > 1)
        return seconds > 1;
    return seconds * NANOSECONDS + (int64_t)now.tv_nsec - (int64_t)id->changed_ns > TICK_NS;
}

void at_trust_remember(const char *folder, const at_file *file, const at_file_identity *id,
                       uint64_t header_sum)
{
    unsigned char record[RECORD_BYTES];
    at_draft *draft = NULL;
    at_file_identity now;
    if (at_file_identify(file, &now, NULL) != AT_OK || memcmp(&now, id, sizeof now) != 0)
        return;
    char *path = record_path(folder, id);
    make_record(record, id, header_sum);
    /* Nothing is lost but the time of the next check, so failures are not told. */
    if (path && at_draft_new(&draft, path, NULL) == AT_OK &&
        at_draft_write(draft, 0, record, sizeof record, NULL) == AT_OK)
        (void)at_draft_publish(draft, NULL);
    at_draft_free(draft);
    free(path);
}
