/* faults_test.c -- every piece of work with files, again and again, while the n-th call into the
 * system fails, for every n: it must end with an error, or as if nothing had happened where it can
 * do without; leave no memory, no open file and no file behind; and never touch what was there.
 *
 *     faults_test tests/golden [--only NAME] */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/checkpoint.h"
#include "engine/file.h"
#include "engine/transfer.h"
#include "kernels/ops.h"
#include "models/clip_tokenizer.h"
#include "runtime/noise.h"
#include "runtime/picture.h"
#include "runtime/prompt.h"
#include "tests/faults/faults.h"

enum { PATH_MAX_BYTES = 512, CALLS_MAX = 20000, FILE_MAX = 4 << 20 };

typedef struct folder {
    const char *golden;
    char in[PATH_MAX_BYTES], out[PATH_MAX_BYTES], trust[PATH_MAX_BYTES], root[PATH_MAX_BYTES];
} folder;

typedef struct work {
    const char *name;
    const char *input; /* under golden */
    bool writes;       /* 'out', over a file that is there */
    at_status (*run)(const folder *f, at_error *err);
} work;

/* --- the work --------------------------------------------------------------------------------- */

static at_status import(const folder *f, at_error *err)
{
    at_source *s = NULL;
    const at_text text = { "licence", "none", 4 };
    at_status status = at_source_open(&s, f->in, err);
    if (status == AT_OK)
        status = at_transfer_import(s, f->out, &text, 1, NULL, err);
    at_source_close(s);
    return status;
}

static at_status export(const folder *f, at_error *err)
{
    at_source *s = NULL;
    at_status status = at_source_open(&s, f->in, err);
    if (status == AT_OK)
        status = at_transfer_export(s, f->out, NULL, err);
    at_source_close(s);
    return status;
}

static at_status use(const folder *f, at_error *err)
{
    at_checkpoint *c = NULL;
    at_checkpoint_options o = { f->trust };
    at_status status = at_checkpoint_open(&c, f->in, &o, err);
    for (int i = 0; status == AT_OK && i < at_checkpoint_list(c)->count; i++)
        if (at_checkpoint_list(c)->items[i].bytes && !at_checkpoint_data(c, i, err))
            status = AT_CORRUPT;
    at_checkpoint_close(c);
    return status;
}

static at_status verify(const folder *f, at_error *err)
{
    return at_checkpoint_verify(f->in, NULL, err);
}

static at_status read_picture(const folder *f, at_error *err)
{
    at_picture p;
    at_status status = at_picture_read(&p, f->in, NULL, err);
    if (status == AT_OK)
        at_picture_free(&p);
    return status;
}

/* Reads, resizes, writes. */
static at_status write_picture(const folder *f, at_picture_format_id format, at_error *err)
{
    at_picture p, small;
    at_picture_text text = { "prompt", "a fox" };
    at_picture_write_options o = { .format = format, .text = &text, .n_texts = 1 };
    at_status status = at_picture_read(&p, f->in, NULL, err);
    if (status != AT_OK)
        return status;
    status = at_picture_resize(&small, &p, 7, 5, AT_BICUBIC, err);
    if (status == AT_OK) {
        status = at_picture_write(f->out, &small, &o, err);
        at_picture_free(&small);
    }
    at_picture_free(&p);
    return status;
}

static at_status write_png(const folder *f, at_error *err)
{
    return write_picture(f, AT_PICTURE_PNG, err);
}

static at_status write_jpeg(const folder *f, at_error *err)
{
    return write_picture(f, AT_PICTURE_JPEG, err);
}

static at_status tokenize(at_clip_tokenizer *t, at_error *err)
{
    static const char text[] = "a photo of a cat! and of another cat";
    int32_t ids[AT_CLIP_LENGTH];
    at_status status =
        at_clip_tokenizer_encode(t, ids, AT_CLIP_LENGTH, NULL, text, sizeof text - 1, err);
    at_clip_tokenizer_free(t);
    return status;
}

static at_status tokenize_by_file(const folder *f, at_error *err)
{
    at_file file;
    at_mapping map;
    at_clip_tokenizer *t = NULL;
    at_status status = at_file_open(&file, f->in, err);
    if (status != AT_OK)
        return status;
    status = at_file_map(&file, &map, err);
    if (status == AT_OK) {
        at_clip_files files = { .tokenizer = { (const char *)map.data, map.bytes } };
        status = at_clip_tokenizer_open(&t, &files, err);
        if (status == AT_OK)
            status = tokenize(t, err);
        at_mapping_free(&map);
    }
    at_file_close(&file);
    return status;
}

static at_status tokenize_builtin(const folder *f, at_error *err)
{
    at_clip_tokenizer *t = NULL;
    (void)f;
    at_status status = at_clip_tokenizer_builtin(&t, AT_CLIP_SDXL_2, err);
    return status == AT_OK ? tokenize(t, err) : status;
}

static at_status read_prompt(at_prompt_syntax syntax, const char *text, const folder *f,
                             at_error *err)
{
    at_file file;
    at_mapping map;
    at_prompt p = { 0 };
    at_clip_tokenizer *t = NULL;
    at_status status = at_file_open(&file, f->in, err);
    if (status != AT_OK)
        return status;
    status = at_file_map(&file, &map, err);
    if (status == AT_OK) {
        at_clip_files files = { .tokenizer = { (const char *)map.data, map.bytes } };
        status = at_clip_tokenizer_open(&t, &files, err);
        at_mapping_free(&map);
    }
    at_file_close(&file);
    if (status == AT_OK)
        status = at_prompt_read(&p, t, syntax, text, strlen(text), err);
    if (status == AT_OK)
        status = at_prompt_extend(&p, t, 4, err);
    at_prompt_free(&p);
    at_clip_tokenizer_free(t);
    return status;
}

static at_status prompt_a1111(const folder *f, at_error *err)
{
    return read_prompt(AT_PROMPT_A1111, "a (red:1.2) [cube] BREAK b <lora:c:0.5>", f, err);
}

static at_status prompt_comfy(const folder *f, at_error *err)
{
    return read_prompt(AT_PROMPT_COMFY, "a (red (dark):1.2) \\(cube\\)", f, err);
}

static at_status draw_noise(const folder *f, at_error *err)
{
    static const int64_t size[3] = { 1, 2, 3 };
    float x[6];
    at_noise *n = NULL;
    at_status status = at_noise_from_file(&n, f->in, 2, err);
    for (int i = 0; i < 2 && status == AT_OK; i++) {
        status = at_noise_draw(n, i, AT_NOISE_LATENTS, x, size, err);
        if (status == AT_OK)
            status = at_noise_draw(n, i, AT_NOISE_STEP, x, size, err);
    }
    at_noise_free(n);
    return status;
}

static const work works[] = {
#include "tests/faults/works.def"
};

/* --- what must not change --------------------------------------------------------------------- */

static size_t read_whole(const char *path, unsigned char *data)
{
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(data, 1, FILE_MAX, f) : 0;
    if (f)
        fclose(f);
    return n;
}

static void write_whole(const char *path, const void *data, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    AT_ASSERT(f && fwrite(data, 1, bytes, f) == bytes && fclose(f) == 0, "cannot write %s", path);
}

static int count_entries(const char *path)
{
    int n = 0;
    DIR *d = opendir(path);
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

static const char old_text[] = "what was here before";

/* Whether 'out' holds the old file, or, where it may, the new one. */
static bool is_old_or_new(const folder *f, const unsigned char *whole, size_t whole_bytes)
{
    static unsigned char found[FILE_MAX];
    size_t n = read_whole(f->out, found);
    bool old = n == sizeof old_text && !memcmp(found, old_text, n);
    return old || (n == whole_bytes && !memcmp(found, whole, n));
}

static int failures;

static void complain(const work *w, long long n, const char *what, const char *more)
{
    printf("FAIL %s, call %lld (%s): %s%s%s\n", w->name, n, at_faults_name(), what,
           *more ? ": " : "", more);
    failures++;
}

static void prepare(const work *w, const folder *f)
{
    static unsigned char data[FILE_MAX];
    char path[2 * PATH_MAX_BYTES];
    snprintf(path, sizeof path, "%s/%s", f->golden, w->input);
    size_t n = read_whole(path, data);
    AT_ASSERT(n > 0, "cannot read %s", path);
    write_whole(f->in, data, n);
    write_whole(f->out, old_text, sizeof old_text);
}

/* --- every n ---------------------------------------------------------------------------------- */

/* Runs once while call 'n' fails; false when there was no such call. */
static bool run_once(const work *w, const folder *f, long long n, const unsigned char *whole,
                     size_t whole_bytes)
{
    at_error err = { AT_OK, "" };
    prepare(w, f);
    int files = count_entries("/proc/self/fd"), entries = count_entries(f->root);
    at_faults_arm(n);
    at_status status = w->run(f, &err);
    bool failed = at_faults_disarm();
    if (failed && status != AT_OK && !*err.text)
        complain(w, n, "an error without a sentence", "");
    if (!failed && status != AT_OK)
        complain(w, n, "an error without a cause", err.text);
    if (count_entries("/proc/self/fd") != files)
        complain(w, n, "a file stays open", "");
    if (count_entries(f->root) != entries)
        complain(w, n, "a file stays behind", "");
    if (w->writes && !is_old_or_new(f, whole, whole_bytes))
        complain(w, n, "neither the old file nor the new one is there", "");
    if (w->writes && status == AT_OK && count_entries(f->root) == entries) {
        static unsigned char found[FILE_MAX];
        if (read_whole(f->out, found) == sizeof old_text)
            complain(w, n, "said to be written, and is not", "");
    }
    return failed;
}

static void run_work(const work *w, const folder *f)
{
    static unsigned char whole[FILE_MAX];
    at_error err = { AT_OK, "" };
    prepare(w, f);
    at_status status = w->run(f, &err);
    if (status != AT_OK) {
        complain(w, 0, "does not work", err.text);
        return;
    }
    size_t bytes = w->writes ? read_whole(f->out, whole) : 0;
    long long n = 1;
    while (n < CALLS_MAX && run_once(w, f, n, whole, bytes))
        n++;
    if (n == CALLS_MAX)
        complain(w, n, "it never ends", "");
    printf("%-24s each of %lld calls failed once\n", w->name, n - 1);
}

int main(int argc, char **argv)
{
    char root[] = "/tmp/atelier-faults-XXXXXX";
    if (argc < 2 || !mkdtemp(root)) {
        fprintf(stderr, "usage: faults_test FOLDER [--only NAME]\n");
        return 2;
    }
    folder f = { .golden = argv[1] };
    snprintf(f.root, sizeof f.root, "%s", root);
    snprintf(f.in, sizeof f.in, "%s/in", root);
    snprintf(f.out, sizeof f.out, "%s/out", root);
    snprintf(f.trust, sizeof f.trust, "%s/trust", root);
    mkdir(f.trust, 0700);
    for (size_t i = 0; i < AT_COUNT(works); i++)
        if (argc < 4 || !strcmp(argv[3], works[i].name))
            run_work(&works[i], &f);
    char command[PATH_MAX_BYTES];
    unlink(f.in);
    unlink(f.out);
    DIR *d = opendir(f.trust);
    for (struct dirent *e; d && (e = readdir(d));) {
        snprintf(command, sizeof command, "%.200s/%.200s", f.trust, e->d_name);
        unlink(command);
    }
    if (d)
        closedir(d);
    rmdir(f.trust);
    if (rmdir(root) != 0)
        printf("FAIL files stay behind in %s\n", root), failures++;
    printf("%d failures\n", failures);
    return failures ? 1 : 0;
}
