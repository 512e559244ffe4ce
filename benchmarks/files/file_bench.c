/* file_bench.c -- times one piece of work with files, for benchmarks/files/run.
 *
 *     file_bench open FILE                  a checkpoint opened and closed
 *     file_bench first FILE TRUST_FOLDER    the same and its first tensor's first byte
 *     file_bench verify FILE                every byte against its checksum, cached pages
 *     file_bench import FROM TO             into a checkpoint
 *     file_bench copy FROM TO               read, XXH3, write, synced: what an import cannot beat
 *     file_bench decode FILE                a picture
 *     file_bench resize FILE                a decoded one to 384 x 384, bicubic
 *     file_bench encode FILE png|jpeg LEVEL a decoded one, level or quality
 *
 * Prints the seconds of each repetition, one a line; they go on for half a second, and for import
 * and copy it is one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/checkpoint.h"
#include "engine/checksum.h"
#include "engine/clock.h"
#include "engine/transfer.h"
#include "kernels/ops.h"
#include "runtime/picture.h"

typedef struct job {
    char **words;
    at_picture picture;
} job;

static at_status open_checkpoint(job *j, at_error *err)
{
    at_checkpoint *c = NULL;
    at_status status = at_checkpoint_open(&c, j->words[0], NULL, err);
    at_checkpoint_close(c);
    return status;
}

static at_status first_byte(job *j, at_error *err)
{
    at_checkpoint *c = NULL;
    at_checkpoint_options o = { j->words[1] };
    at_status status = at_checkpoint_open(&c, j->words[0], &o, err);
    if (status == AT_OK && !at_checkpoint_trusted(c)) {
        status = at_checkpoint_check(c, 0, NULL, err); /* the first time only */
        at_checkpoint_close(c);
        return status == AT_OK ? at_checkpoint_open(&c, j->words[0], &o, err) : status;
    }
    const volatile unsigned char *data = status == AT_OK ? at_checkpoint_data(c, 0, err) : NULL;
    status = data ? AT_OK : AT_CORRUPT;
    if (data)
        (void)*data;
    at_checkpoint_close(c);
    return status;
}

static at_status verify(job *j, at_error *err)
{
    at_checkpoint *c = NULL;
    at_status status = at_checkpoint_open(&c, j->words[0], NULL, err);
    if (status == AT_OK)
        status = at_checkpoint_check(c, 0, NULL, err);
    at_checkpoint_close(c);
    return status;
}

static at_status import(job *j, at_error *err)
{
    at_source *s = NULL;
    at_status status = at_source_open(&s, j->words[0], err);
    if (status == AT_OK)
        status = at_transfer_import(s, j->words[1], NULL, 0, NULL, err);
    at_source_close(s);
    return status;
}

static at_status copy(job *j, at_error *err)
{
    static unsigned char piece[8 << 20];
    at_file from;
    at_draft *to = NULL;
    at_checksum *sum = at_checksum_new();
    at_status status = at_file_open(&from, j->words[0], err);
    if (status == AT_OK)
        status = at_draft_new(&to, j->words[1], err);
    for (uint64_t at = 0; status == AT_OK && at < from.bytes; at += sizeof piece) {
        size_t n = from.bytes - at < sizeof piece ? (size_t)(from.bytes - at) : sizeof piece;
        status = at_file_read(&from, at, piece, n, err);
        at_checksum_add(sum, piece, n);
        if (status == AT_OK)
            status = at_draft_write(to, at, piece, n, err);
    }
    if (status == AT_OK)
        status = at_draft_publish(to, err);
    at_draft_free(to);
    at_file_close(&from);
    at_checksum_free(sum);
    return status;
}

static at_status decode(job *j, at_error *err)
{
    at_picture p;
    at_status status = at_picture_read(&p, j->words[0], NULL, err);
    if (status == AT_OK)
        at_picture_free(&p);
    return status;
}

static at_status resize(job *j, at_error *err)
{
    at_picture p;
    at_status status = at_picture_resize(&p, &j->picture, 384, 384, AT_BICUBIC, err);
    if (status == AT_OK)
        at_picture_free(&p);
    return status;
}

static at_status encode(job *j, at_error *err)
{
    bool png = !strcmp(j->words[1], "png");
    int level = (int)strtol(j->words[2], NULL, 10);
    at_picture_bytes out = { 0 };
    at_picture_write_options o = { .format = png ? AT_PICTURE_PNG : AT_PICTURE_JPEG,
                                   .level = png ? level : 0,
                                   .quality = png ? 0 : level };
    at_status status = at_picture_encode(&out, &j->picture, &o, err);
    at_picture_bytes_free(&out);
    return status;
}

static const struct {
    const char *name;
    at_status (*run)(job *j, at_error *err);
    int words, repetitions_max;
    bool decoded; /* words[0] is decoded first */
} works[] = {
    { "open", open_checkpoint, 1, 10000, false },
    { "first", first_byte, 2, 1000, false },
    { "verify", verify, 1, 100, false },
    { "import", import, 2, 1, false },
    { "copy", copy, 2, 1, false },
    { "decode", decode, 1, 1000, false },
    { "resize", resize, 1, 1000, true },
    { "encode", encode, 3, 1000, true },
};

static int fail(const at_error *err)
{
    fprintf(stderr, "file_bench: %s\n", err->text);
    return 2;
}

int main(int argc, char **argv)
{
    at_error err = { AT_OK, "" };
    job j = { .words = argv + 2 };
    size_t i = 0;
    while (i < AT_COUNT(works) && (argc < 2 || strcmp(argv[1], works[i].name)))
        i++;
    if (i == AT_COUNT(works) || argc != 2 + works[i].words) {
        fprintf(stderr, "usage: file_bench open|first|verify|import|copy|decode|resize|encode "
                        "FILE ...\n");
        return 2;
    }
    if (works[i].decoded && at_picture_read(&j.picture, argv[2], NULL, &err) != AT_OK)
        return fail(&err);
    double end = at_clock_seconds() + 0.5;
    for (int n = 0; n < works[i].repetitions_max && (n < 3 || at_clock_seconds() < end); n++) {
        double start = at_clock_seconds();
        if (works[i].run(&j, &err) != AT_OK)
            return fail(&err);
        printf("%.9f\n", at_clock_seconds() - start);
    }
    if (works[i].decoded)
        at_picture_free(&j.picture);
    return 0;
}
