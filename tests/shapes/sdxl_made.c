#define _GNU_SOURCE
#include "tests/shapes/sdxl_made.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/json_write.h"
#include "engine/safetensors.h"
#include "models/sdxl_scheduler.h"
#include "models/sdxl_texts.h"
#include "tests/shapes/sdxl_tiny.h"
#include "tests/told.h"

const at_sdxl_configs sdxl_made_configs = {
    .unet = { .levels = 3,
              .channels = { 64, 64, 128 },
              .heads = { 1, 1, 2 },
              .layers = { 2, 2, 2 },
              .down = { { 0 }, { 2, 2 }, { 0 } },
              .up = { { 0 }, { 2, 2, 2 }, { 0 } },
              .mid_resnets = 2,
              .mid_depth = 1,
              .in = 4,
              .latent = 4,
              .context = 192,
              .pooled = 64,
              .sizes = 6,
              .size_dim = 256,
              .groups = 32,
              .eps = 1e-5f,
              .cos_first = true,
              .sample = { 128, 128 } },
    .vae = { .levels = 2,
             .channels = { 32, 64 },
             .layers = 1,
             .latent = 4,
             .groups = 32,
             .attention = true,
             .quant = true,
             .post_quant = true,
             .sample = 1024,
             .scaling = 0.13025 },
    .text = { { .vocabulary = 40,
                .positions = 77,
                .width = 64,
                .inner = 96,
                .layers = 2,
                .heads = 1,
                .end = 2,
                .eps = 1e-5f,
                .act = AT_ACT_QUICK_GELU },
              { .vocabulary = 40,
                .positions = 77,
                .width = 128,
                .inner = 160,
                .layers = 2,
                .heads = 2,
                .projection = 64,
                .end = 2,
                .eps = 1e-5f,
                .act = AT_ACT_GELU } },
};

static const at_stored types[] = { [AT_SDXL_TEXT_1] = AT_STORED_F16,
                                   [AT_SDXL_TEXT_2] = AT_STORED_F16,
                                   [AT_SDXL_UNET] = AT_STORED_BF16,
                                   [AT_SDXL_VAE] = AT_STORED_F32 };

/* --- lists ------------------------------------------------------------------------------------ */

void sdxl_made_add(sdxl_made *m, const char *name, at_stored type, int rank, const int64_t *size,
                   uint64_t seed)
{
    at_error err = { 0 };
    at_stored_tensor t = { .size = size, .type = type, .rank = (int16_t)rank };
    int64_t elements = 1;
    for (int i = 0; i < rank; i++)
        elements *= size[i];
    t.bytes = (uint64_t)elements * at_stored_about(type)->bytes;
    if (m->list.count == m->capacity) {
        m->capacity = m->capacity ? 2 * m->capacity : 1024;
        m->seeds = realloc(m->seeds, (size_t)m->capacity * sizeof *m->seeds);
        AT_ASSERT(m->seeds, "no memory for %d tensors", m->capacity);
    }
    m->seeds[m->list.count] = seed;
    test_must(at_tensors_add(&m->list, &t, name, strlen(name), &err), &err);
}

void sdxl_made_free(sdxl_made *m)
{
    at_tensors_free(&m->list);
    free(m->seeds);
    *m = (sdxl_made){ 0 };
}

/* Numbers of a part's tensors follow from the names in a model file. */
void sdxl_made_part(sdxl_made *m, at_sdxl_part part, const at_sdxl_configs *c, at_stored type)
{
    at_sdxl_wanted_list wanted;
    at_error err = { 0 };
    char full[AT_TENSOR_NAME_MAX];
    test_must(at_sdxl_wanted_of(&wanted, part, c, &err), &err);
    for (int i = 0; i < wanted.count; i++) {
        const at_sdxl_wanted *w = &wanted.items[i];
        snprintf(full, sizeof full, "%s.%s", at_sdxl_part_name(part), w->name);
        sdxl_made_add(m, w->name, type, w->rank, w->size, sdxl_tiny_seed(full));
    }
    at_sdxl_wanted_free(&wanted);
}

static void add_single(sdxl_made *m, const at_sdxl_wanted *w, const at_sdxl_name *name,
                       const char *prefix, at_stored type)
{
    char full[2 * AT_TENSOR_NAME_MAX];
    int64_t size[4] = { w->size[0], w->size[1], w->size[2], w->size[3] };
    int rank = w->rank;
    if (name->form == AT_SDXL_ROWS_2 || name->form == AT_SDXL_ROWS_3)
        return;
    if (name->form == AT_SDXL_ROWS_1)
        size[0] *= 3;
    if (name->form == AT_SDXL_TURNED) {
        size[0] = w->size[1];
        size[1] = w->size[0];
    }
    if (name->form == AT_SDXL_POINTWISE) {
        size[2] = size[3] = 1;
        rank = 4;
    }
    snprintf(full, sizeof full, "%s%s", prefix, name->text);
    sdxl_made_add(m, full, type, rank, size, sdxl_tiny_seed(full));
}

void sdxl_made_single_part(sdxl_made *m, at_sdxl_part part, const at_sdxl_configs *c,
                           at_stored type, bool refiner)
{
    const at_sdxl_sizes sizes = { &c->unet, &c->vae };
    const char *prefix = at_sdxl_prefix(part, refiner && part == AT_SDXL_TEXT_2);
    at_sdxl_wanted_list wanted;
    at_sdxl_name name;
    at_error err = { 0 };
    test_must(at_sdxl_wanted_of(&wanted, part, c, &err), &err);
    for (int i = 0; i < wanted.count; i++) {
        const at_sdxl_wanted *w = &wanted.items[i];
        AT_ASSERT(at_sdxl_name_single(&name, part, w->name, &sizes), "%s has no name", w->name);
        add_single(m, w, &name, prefix, type);
    }
    at_sdxl_wanted_free(&wanted);
}

/* --- writing ---------------------------------------------------------------------------------- */

static at_status read_numbers(void *context, int i, uint64_t from, void *out, size_t bytes,
                              at_error *err)
{
    const sdxl_made *m = context;
    const at_stored_info *about = at_stored_about(m->list.items[i].type);
    (void)err;
    /* One number costs one step of the seed. */
    const uint64_t seed = m->seeds[i] + from / about->bytes * 0x9e3779b97f4a7c15u;
    if (about->dtype == AT_I64) {
        memset(out, 0, bytes);
        return AT_OK;
    }
    void *numbers = sdxl_tiny_numbers(about->dtype, (int64_t)(bytes / about->bytes), 1, 0, seed);
    memcpy(out, numbers, bytes);
    free(numbers);
    return AT_OK;
}

static const sdxl_edit *edit_of(const sdxl_edits *edits, const char *name)
{
    for (int i = 0; edits && i < edits->count; i++)
        if (edits->items[i].name && !strcmp(edits->items[i].name, name))
            return &edits->items[i];
    return NULL;
}

/* The list with its changes. */
static sdxl_made edited(const sdxl_made *from, const sdxl_edits *edits)
{
    sdxl_made m = { 0 };
    for (int i = 0; i < from->list.count; i++) {
        const at_stored_tensor *t = &from->list.items[i];
        const sdxl_edit *e = edit_of(edits, t->name);
        if (e && !e->to)
            continue;
        sdxl_made_add(&m, e ? e->to : t->name, e && e->type ? e->type : t->type,
                      e && e->rank ? e->rank : t->rank, e && e->rank ? e->size : t->size,
                      from->seeds[i]);
    }
    for (int i = 0; edits && i < edits->count; i++) {
        const sdxl_edit *e = &edits->items[i];
        if (!e->name)
            sdxl_made_add(&m, e->to, e->type, e->rank, e->size, sdxl_tiny_seed(e->to));
    }
    return m;
}

void sdxl_made_write(sdxl_made *m, const char *path, const sdxl_edits *edits)
{
    at_error err = { 0 };
    sdxl_made all = edited(m, edits);
    const at_tensor_bytes from = { read_numbers, &all };
    test_must(at_tensors_finish(&all.list, &err), &err);
    test_must(at_safetensors_write(path, &all.list, &from, NULL, &err), &err);
    sdxl_made_free(&all);
    sdxl_made_free(m);
}

static void write_header(at_json_writer *w, const at_tensors *list, uint64_t *bytes)
{
    *bytes = 0;
    at_json_write_object(w);
    for (int i = 0; i < list->count; i++) {
        const at_stored_tensor *t = &list->items[i];
        const char *type = at_stored_about(t->type)->safetensors;
        at_json_write_key(w, t->name);
        at_json_write_object(w);
        at_json_write_key(w, "dtype");
        at_json_write_string(w, type, strlen(type));
        at_json_write_key(w, "shape");
        at_json_write_array(w);
        for (int k = 0; k < t->rank; k++)
            at_json_write_int(w, t->size[k]);
        at_json_write_close(w);
        at_json_write_key(w, "data_offsets");
        at_json_write_array(w);
        at_json_write_uint(w, *bytes);
        at_json_write_uint(w, *bytes += t->bytes);
        at_json_write_close(w);
        at_json_write_close(w);
    }
    at_json_write_close(w);
}

void sdxl_made_write_hollow(sdxl_made *m, const char *path)
{
    at_json_writer w = { .bytes_max = AT_SAFETENSORS_HEADER_MAX };
    at_error err = { 0 };
    uint64_t bytes, header;
    write_header(&w, &m->list, &bytes);
    test_must(at_json_write_end(&w, &err), &err);
    header = w.bytes;
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    AT_ASSERT(fd >= 0 && write(fd, &header, sizeof header) == sizeof header &&
                  write(fd, w.text, w.bytes) == (ssize_t)w.bytes &&
                  ftruncate(fd, (off_t)(sizeof header + header + bytes)) == 0,
              "%s cannot be written", path);
    close(fd);
    at_json_writer_free(&w);
    sdxl_made_free(m);
}

/* --- whole files ------------------------------------------------------------------------------ */

void sdxl_made_single(const char *path, const sdxl_edits *edits)
{
    sdxl_made m = { 0 };
    for (int i = 0; i < AT_SDXL_PARTS; i++)
        sdxl_made_single_part(&m, (at_sdxl_part)i, &sdxl_made_configs, types[i], false);
    sdxl_made_write(&m, path, edits);
}

void sdxl_made_text(const char *folder, const char *name, const char *text)
{
    char path[1024], *slash;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    slash = strrchr(path, '/');
    *slash = 0;
    mkdir(path, 0700);
    *slash = '/';
    FILE *f = fopen(path, "w");
    AT_ASSERT(f && fputs(text, f) >= 0 && fclose(f) == 0, "%s cannot be written", path);
}

void sdxl_made_weights(const char *folder, at_sdxl_part part, const char *file,
                       const sdxl_edits *edits)
{
    char path[1024];
    sdxl_made m = { 0 };
    snprintf(path, sizeof path, "%s/%s/%s", folder, at_sdxl_part_name(part), file);
    sdxl_made_part(&m, part, &sdxl_made_configs, types[part]);
    sdxl_made_write(&m, path, edits);
}

static void write_json(const char *folder, const char *name, at_status status, at_sdxl_text *text,
                       const at_error *err)
{
    test_must(status, err);
    char *copy = calloc(1, text->bytes + 1);
    AT_ASSERT(copy, "no memory for %s", name);
    memcpy(copy, text->data, text->bytes);
    sdxl_made_text(folder, name, copy);
    free(copy);
    free(text->data);
}

void sdxl_made_folder(const char *folder)
{
    at_sdxl_text text;
    at_error err = { 0 };
    char name[64];
    mkdir(folder, 0700);
    at_status status = at_sdxl_index_write(&text, &sdxl_made_configs, true, &err);
    write_json(folder, "model_index.json", status, &text, &err);
    sdxl_made_text(folder, "scheduler/scheduler_config.json",
                   AT_SDXL_SCHEDULER("epsilon", "false"));
    sdxl_made_text(folder, "tokenizer/merges.txt", "#version: 0.2\n");
    for (int i = 0; i < AT_SDXL_PARTS; i++) {
        const at_sdxl_part part = (at_sdxl_part)i;
        const bool clip = part == AT_SDXL_TEXT_1 || part == AT_SDXL_TEXT_2;
        snprintf(name, sizeof name, "%s/config.json", at_sdxl_part_name(part));
        status = at_sdxl_config_write(&text, part, &sdxl_made_configs, &err);
        write_json(folder, name, status, &text, &err);
        sdxl_made_weights(folder, part,
                          clip ? "model.safetensors" : "diffusion_pytorch_model.safetensors", NULL);
    }
}
