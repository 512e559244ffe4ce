/* file.c -- POSIX calls, each taken up again when a signal cuts it short. A draft without a name
 * gets one only when it is whole: a link beside the final name, renamed over it at once. */
#define _GNU_SOURCE
#include "engine/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CALL_BYTES_MAX = 1 << 30,                       /* of one read or write */
    NAME_TRIES = 100,                               /* for a temporary name that is free */
    OPEN_FLAGS = O_CLOEXEC | O_NOCTTY | O_NONBLOCK, /* a pipe without a writer does not wait */
    TEMPORARY_MODE = 0666,                          /* less what the process masks out */
    DESCRIPTOR_PATH_MAX = 48,
};

static at_status fail_errno(at_error *err, const char *what, const char *path)
{
    int e = errno;
    at_status status = e == ENOENT || e == ENOTDIR ? AT_NOT_FOUND
                       : e == ENOMEM               ? AT_NO_MEMORY
                                                   : AT_IO;
    return at_fail(err, status, "%s: %s: %s", path, what, strerror(e));
}

static int open_again(const char *path, int flags, mode_t mode)
{
    int fd;
    do
        fd = open(path, flags, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

static int sync_again(int fd)
{
    int result;
    do
        result = fsync(fd);
    while (result != 0 && errno == EINTR);
    return result;
}

/* --- reading ---------------------------------------------------------------------------------- */

at_status at_file_open(at_file *f, const char *path, at_error *err)
{
    struct stat s;
    *f = (at_file){ .fd = open_again(path, O_RDONLY | OPEN_FLAGS, 0), .path = path };
    if (f->fd < 0)
        return fail_errno(err, "opening it failed", path);
    at_status status = AT_OK;
    if (fstat(f->fd, &s) != 0)
        status = fail_errno(err, "looking at it failed", path);
    else if (!S_ISREG(s.st_mode))
        status = at_fail(err, AT_INVALID, "%s: expected a regular file, found %s", path,
                         S_ISDIR(s.st_mode) ? "a folder" : "a pipe or a device");
    else
        f->bytes = (uint64_t)s.st_size;
    if (status != AT_OK)
        at_file_close(f);
    return status;
}

void at_file_close(at_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

/* The file may have become shorter since it was opened; that is an error like any other. */
static at_status read_all(int fd, const char *path, uint64_t offset, void *out, size_t bytes,
                          at_error *err)
{
    for (size_t done = 0; done < bytes;) {
        size_t wanted = bytes - done < CALL_BYTES_MAX ? bytes - done : CALL_BYTES_MAX;
        ssize_t got = pread(fd, (char *)out + done, wanted, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_errno(err, "reading failed", path);
        if (got == 0)
            return at_fail(err, AT_CORRUPT,
                           "%s: expected %zu bytes at %" PRIu64 ", the file ends after %zu of them",
                           path, bytes, offset, done);
        done += (size_t)got;
    }
    return AT_OK;
}

at_status at_file_read(const at_file *f, uint64_t offset, void *out, size_t bytes, at_error *err)
{
    if (offset > f->bytes || bytes > f->bytes - offset)
        return at_fail(err, AT_CORRUPT,
                       "%s: expected %zu bytes at %" PRIu64 ", the file has %" PRIu64 " in all",
                       f->path, bytes, offset, f->bytes);
    return read_all(f->fd, f->path, offset, out, bytes, err);
}

at_status at_file_map(const at_file *f, at_mapping *map, at_error *err)
{
    *map = (at_mapping){ 0 };
    if (f->bytes > SIZE_MAX / 2)
        return at_fail(err, AT_CORRUPT, "%s: %" PRIu64 " bytes; no address space holds that",
                       f->path, f->bytes);
    if (f->bytes == 0)
        return AT_OK;
    void *data = mmap(NULL, (size_t)f->bytes, PROT_READ, MAP_SHARED, f->fd, 0);
    if (data == MAP_FAILED)
        return fail_errno(err, "mapping it failed", f->path);
    *map = (at_mapping){ data, (size_t)f->bytes };
    return AT_OK;
}

void at_mapping_free(at_mapping *map)
{
    if (map->data)
        munmap((void *)(uintptr_t)map->data, map->bytes);
    *map = (at_mapping){ 0 };
}

/* --- drafts ----------------------------------------------------------------------------------- */

struct at_draft {
    int fd;
    char *path;      /* the final name */
    char *folder;    /* that it lies in */
    char *temporary; /* room for the name that the draft may have meanwhile */
    size_t temporary_room;
    bool named;    /* 'temporary' exists */
    bool nameless; /* it was made without a name and gets one when it is published */
    char descriptor_path[DESCRIPTOR_PATH_MAX];
};

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return strdup(".");
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static void name_temporary(at_draft *d, uint64_t a, uint64_t b)
{
    snprintf(d->temporary, d->temporary_room, "%s/.atelier-%" PRIx64 "-%" PRIx64 ".part", d->folder,
             a, b);
    d->named = true;
}

/* Where a file cannot live without a name. Names are tried until one is free. */
static at_status open_named(at_draft *d, at_error *err)
{
    for (int i = 0; i < NAME_TRIES; i++) {
        name_temporary(d, (uint64_t)getpid(), (uint64_t)i);
        d->fd = open_again(d->temporary, O_RDWR | O_CREAT | O_EXCL | OPEN_FLAGS, TEMPORARY_MODE);
        if (d->fd >= 0)
            return AT_OK;
        d->named = false;
        if (errno != EEXIST)
            break;
    }
    return fail_errno(err, "making a temporary file beside it failed", d->path);
}

static at_status open_draft(at_draft *d, at_error *err)
{
    d->fd = open_again(d->folder, O_TMPFILE | O_RDWR | O_CLOEXEC, TEMPORARY_MODE);
    d->nameless = d->fd >= 0;
    if (d->nameless)
        return AT_OK;
    /* The ways in which file systems and old kernels say that they cannot. */
    if (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL || errno == ENOSYS)
        return open_named(d, err);
    return fail_errno(err, "making a temporary file beside it failed", d->path);
}

at_status at_draft_new(at_draft **out, const char *path, at_error *err)
{
    *out = NULL;
    at_draft *d = calloc(1, sizeof *d);
    if (!d)
        return at_fail(err, AT_NO_MEMORY, "%s: no memory to write it", path);
    d->fd = -1;
    d->path = strdup(path);
    d->folder = folder_of(path);
    d->temporary_room = strlen(path) + 64;
    d->temporary = malloc(d->temporary_room);
    at_status status = d->path && d->folder && d->temporary
                           ? AT_OK
                           : at_fail(err, AT_NO_MEMORY, "%s: no memory to write it", path);
    struct stat s;
    if (status == AT_OK && stat(path, &s) == 0 && !S_ISREG(s.st_mode))
        status = at_fail(err, AT_INVALID, "%s: expected a regular file to replace, found %s", path,
                         S_ISDIR(s.st_mode) ? "a folder" : "a pipe or a device");
    if (status == AT_OK)
        status = open_draft(d, err);
    if (status != AT_OK) {
        at_draft_free(d);
        return status;
    }
    snprintf(d->descriptor_path, sizeof d->descriptor_path, "/proc/self/fd/%d", d->fd);
    *out = d;
    return AT_OK;
}

int at_draft_fd(const at_draft *d)
{
    return d->fd;
}

const char *at_draft_path(const at_draft *d)
{
    return d->descriptor_path;
}

at_status at_draft_reserve(at_draft *d, uint64_t bytes, at_error *err)
{
    int result;
    do
        result = bytes == 0 ? 0 : fallocate(d->fd, 0, 0, (off_t)bytes);
    while (result != 0 && errno == EINTR);
    if (result == 0 || errno == EOPNOTSUPP || errno == ENOSYS)
        return AT_OK;
    int e = errno;
    return at_fail(err, AT_IO, "%s: no room for its %" PRIu64 " bytes: %s", d->path, bytes,
                   strerror(e));
}

at_status at_draft_write(at_draft *d, uint64_t offset, const void *data, size_t bytes,
                         at_error *err)
{
    for (size_t done = 0; done < bytes;) {
        size_t wanted = bytes - done < CALL_BYTES_MAX ? bytes - done : CALL_BYTES_MAX;
        ssize_t put = pwrite(d->fd, (const char *)data + done, wanted, (off_t)(offset + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            errno = put == 0 ? EIO : errno;
            return fail_errno(err, "writing failed", d->path);
        }
        done += (size_t)put;
    }
    return AT_OK;
}

at_status at_draft_read(at_draft *d, uint64_t offset, void *out, size_t bytes, at_error *err)
{
    return read_all(d->fd, d->path, offset, out, bytes, err);
}

/* Of a file's name without its folder: FNV-1a. */
static uint64_t number_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    uint64_t number = 14695981039346656037u;
    for (const char *p = slash ? slash + 1 : path; *p; p++)
        number = (number ^ (unsigned char)*p) * 1099511628211u;
    return number;
}

/* A name for a file that has none, the same for all drafts of one final name: what a process leaves
 * that is killed between naming and renaming is cleared away by the next one. One that is about to
 * be renamed by somebody else is cleared away too; he finds that out and names his again. */
static bool give_name(at_draft *d)
{
    name_temporary(d, number_of(d->path), 0);
    for (int i = 0; i < NAME_TRIES; i++) {
        if (linkat(AT_FDCWD, d->descriptor_path, AT_FDCWD, d->temporary, AT_SYMLINK_FOLLOW) == 0)
            return true;
        if (errno != EEXIST || (unlink(d->temporary) != 0 && errno != ENOENT))
            break;
    }
    d->named = false;
    return false;
}

static bool rename_draft(at_draft *d)
{
    for (int i = 0; i < NAME_TRIES; i++) {
        if (!d->named && !give_name(d))
            return false;
        if (rename(d->temporary, d->path) == 0)
            return true;
        if (errno != ENOENT || !d->nameless)
            return false;
        d->named = false;
    }
    return false;
}

static at_status sync_folder(const at_draft *d, at_error *err)
{
    int fd = open_again(d->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return fail_errno(err, "opening its folder failed", d->path);
    /* Some file systems have nothing to sync in a folder and say so. */
    at_status status = sync_again(fd) == 0 || errno == EINVAL
                           ? AT_OK
                           : fail_errno(err, "syncing its folder failed", d->path);
    close(fd);
    return status;
}

at_status at_draft_publish(at_draft *d, at_error *err)
{
    at_status status = AT_OK;
    if (sync_again(d->fd) != 0)
        status = fail_errno(err, "syncing its draft failed", d->path);
    if (status == AT_OK && !rename_draft(d))
        status = fail_errno(err, "giving its draft the name failed", d->path);
    if (status != AT_OK)
        return status;
    d->named = false;
    return sync_folder(d, err);
}

void at_draft_free(at_draft *d)
{
    if (!d)
        return;
    if (d->named)
        unlink(d->temporary);
    if (d->fd >= 0)
        close(d->fd);
    free(d->temporary);
    free(d->folder);
    free(d->path);
    free(d);
}

/* --- long work -------------------------------------------------------------------------------- */

at_status at_progress_report(const at_progress *p, uint64_t done, uint64_t total, at_error *err)
{
    if (!p || !p->report || p->report(p->context, done, total))
        return AT_OK;
    return at_fail(err, AT_CANCELLED, "cancelled after %" PRIu64 " of %" PRIu64 " bytes", done,
                   total);
}
