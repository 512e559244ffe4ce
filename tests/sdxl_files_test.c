/* sdxl_files_test.c -- SDXL as diffusers' folders and as single files, in and out: what comes in
 * against diffusers' own conversion (reference/sdxl_files.py), both ways round, and what is
 * refused. */
#define _GNU_SOURCE
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/transfer.h"
#include "models/sdxl_export.h"
#include "models/sdxl_import.h"
#include "models/sdxl_scheduler.h"
#include "models/sdxl_texts.h"
#include "tests/shapes/sdxl_made.h"
#include "tests/told.h"
#include "tests/unit.h"

enum { TEXT_BYTES = 1 << 16, PATH_BYTES = 512 };

static char scratch[64];

/* A path in the scratch folder, until four more were made. */
static const char *in_scratch(const char *name)
{
    static char paths[4][PATH_BYTES];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, PATH_BYTES, "%s/%s", scratch, name);
    return path;
}

static int make_scratch(void **state)
{
    (void)state;
    snprintf(scratch, sizeof scratch, "/tmp/sdxl-files-XXXXXX");
    return mkdtemp(scratch) ? 0 : 1;
}

static int remove_thing(const char *path, const struct stat *about, int type, struct FTW *ftw)
{
    (void)about, (void)type, (void)ftw;
    return remove(path);
}

static int clear_scratch(void **state)
{
    (void)state;
    return nftw(scratch, remove_thing, 8, FTW_DEPTH | FTW_PHYS);
}

static int things;
static int count_thing(const char *path, const struct stat *about, int type, struct FTW *ftw)
{
    (void)path, (void)about, (void)type, (void)ftw;
    things++;
    return 0;
}

/* Files and folders, hidden ones too. */
static int things_in_scratch(void)
{
    things = 0;
    assert_int_equal(nftw(scratch, count_thing, 8, FTW_PHYS), 0);
    return things;
}

/* --- digests ---------------------------------------------------------------------------------- */

static uint32_t crc32_of(const unsigned char *data, size_t bytes, uint32_t crc)
{
    crc = ~crc;
    for (size_t i = 0; i < bytes; i++) {
        crc ^= data[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

/* Read in pieces that fit nowhere, as the transfer's do at other sizes. */
static uint32_t crc_of_tensor(at_source *s, int i)
{
    enum { PIECE = 10007 };
    unsigned char piece[PIECE];
    const uint64_t bytes = s->list.items[i].bytes;
    at_error err = { 0 };
    uint32_t crc = 0;
    for (uint64_t at = 0; at < bytes; at += PIECE) {
        const size_t n = bytes - at < PIECE ? (size_t)(bytes - at) : PIECE;
        test_must(at_source_read(s, i, at, piece, n, &err), &err);
        crc = crc32_of(piece, n, crc);
    }
    return crc;
}

/* Of names, types, sizes, bytes and order. */
static uint32_t crc_of_model(at_source *s)
{
    uint32_t crc = 0;
    for (int i = 0; i < s->list.count; i++) {
        const at_stored_tensor *t = &s->list.items[i];
        char line[AT_TENSOR_NAME_MAX + 128], shape[96];
        at_stored_shape_text(t, shape, sizeof shape);
        const int n = snprintf(line, sizeof line, "%s %s %s %08x", t->name,
                               at_stored_about(t->type)->name, shape, crc_of_tensor(s, i));
        crc = crc32_of((unsigned char *)line, (size_t)n, crc);
    }
    return crc;
}

static at_source *open_model(const char *path, const at_sdxl_import_options *options)
{
    at_error err = { 0 };
    at_source *s;
    test_must(at_sdxl_import_open(&s, path, options, &err), &err);
    return s;
}

static uint32_t crc_of_path(const char *path, const at_sdxl_import_options *options)
{
    at_source *s = open_model(path, options);
    const uint32_t crc = crc_of_model(s);
    at_source_close(s);
    return crc;
}

static void expect_refused(const char *path, const at_sdxl_import_options *options,
                           const char *words)
{
    at_error err = { 0 };
    at_source *s = NULL;
    assert_int_not_equal(at_sdxl_import_open(&s, path, options, &err), AT_OK);
    if (!strstr(err.text, words))
        fail_msg("'%s' is not in: %s", words, err.text);
    assert_null(s);
}

static at_sdxl_configs published(bool refiner)
{
    return (at_sdxl_configs){ .unet = refiner ? at_sdxl_unet_refiner : at_sdxl_unet_base,
                              .vae = at_sdxl_vae_base,
                              .text = { at_clip_text_sdxl_1, at_clip_text_sdxl_2 } };
}

static void read_golden(const char *file, char *text, size_t room)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/tests/golden/%s", AT_SOURCE_DIR, file);
    FILE *f = fopen(path, "r");
    AT_ASSERT(f, "%s cannot be read", path);
    const size_t bytes = fread(text, 1, room - 1, f);
    AT_ASSERT(bytes + 1 < room, "%s is too long", path);
    fclose(f);
    text[bytes] = 0;
}

/* --- single files ----------------------------------------------------------------------------- */

static void a_single_file_is_what_diffusers_makes_of_it(void **state)
{
    static char text[1 << 17];
    char name[AT_TENSOR_NAME_MAX], shape[96], found[96];
    unsigned crc;
    int used, n = 0;
    sdxl_made m = { 0 };
    (void)state;
    for (int i = 0; i < AT_SDXL_PARTS; i++)
        sdxl_made_single_part(&m, (at_sdxl_part)i, &sdxl_made_configs, AT_STORED_F32, false);
    sdxl_made_write(&m, in_scratch("one.safetensors"), NULL);
    at_source *s = open_model(in_scratch("one.safetensors"), NULL);
    read_golden("sdxl_files.txt", text, sizeof text);
    for (const char *at = text; sscanf(at, "%511s %95s %x %n", name, shape, &crc, &used) == 3;
         at += used, n++) {
        const int i = at_tensors_find(&s->list, name);
        if (i < 0)
            fail_msg("%s is not there", name);
        at_stored_shape_text(&s->list.items[i], found, sizeof found);
        if (strcmp(found, shape) || crc_of_tensor(s, i) != crc)
            fail_msg("%s: %s with %08x, expected %s with %08x", name, found, crc_of_tensor(s, i),
                     shape, crc);
    }
    assert_int_equal(n, s->list.count);
    at_source_close(s);
}

static bool has_text(at_source *s, const char *name, const char *words)
{
    const at_text *t = at_tensors_text(&s->list, name);
    assert_non_null(t);
    return strstr(t->data, words) != NULL;
}

typedef struct notes {
    int count;
    char last[512];
} notes;

static void take_note(void *context, const char *text)
{
    notes *n = context;
    n->count++;
    snprintf(n->last, sizeof n->last, "%s", text);
}

/* The published models, hollow: sizes are read off their tensors. */
static void published_models_are_known_by_their_sizes(void **state)
{
    static const struct {
        const char *kind;
        bool refiner;
        int64_t in;
        int tensors;
    } models[] = { { "SDXL", false, 4, 1680 + 248 + 196 + 517 },
                   { "SDXL inpainting", false, 9, 1680 + 248 + 196 + 517 },
                   { "SDXL refiner", true, 4, 1220 + 248 + 517 } };
    static const int64_t positions[] = { 1, 77 };
    (void)state;
    for (size_t k = 0; k < AT_COUNT(models); k++) {
        at_sdxl_configs c = published(models[k].refiner);
        sdxl_made m = { 0 };
        notes n = { 0 };
        const at_sdxl_import_options o = { .note = take_note, .context = &n };
        c.unet.in = models[k].in;
        for (int i = models[k].refiner; i < AT_SDXL_PARTS; i++)
            sdxl_made_single_part(&m, (at_sdxl_part)i, &c, AT_STORED_F16, models[k].refiner);
        sdxl_made_add(&m,
                      models[k].refiner ? "conditioner.embedders.0.model.logit_scale"
                                        : "conditioner.embedders.1.model.logit_scale",
                      AT_STORED_F16, 0, NULL, 0);
        sdxl_made_add(&m, "conditioner.embedders.0.transformer.text_model.embeddings.position_ids",
                      AT_STORED_I64, 2, positions, 0);
        sdxl_made_add(&m, "model_ema.decay", AT_STORED_F32, 0, NULL, 0);
        sdxl_made_write_hollow(&m, in_scratch("hollow.safetensors"));
        at_source *s = open_model(in_scratch("hollow.safetensors"), &o);
        assert_string_equal(at_sdxl_kind(s), models[k].kind);
        assert_int_equal(s->list.count, models[k].tensors);
        assert_int_equal(n.count, 3);
        assert_true(has_text(s, "model_index.json", models[k].refiner ? "Img2Img" : "CLIPText"));
        at_source_close(s);
    }
}

static void add_edit(sdxl_edits *e, sdxl_edit edit)
{
    AT_ASSERT(e->count < SDXL_EDITS_MAX, "over %d edits", SDXL_EDITS_MAX);
    e->items[e->count++] = edit;
}

/* An empty tensor. */
static void add_mark(sdxl_edits *e, const char *name)
{
    add_edit(e, (sdxl_edit){ .to = name, .rank = 1, .type = AT_STORED_F32 });
}

static void marks_are_obeyed_and_written_back(void **state)
{
    static const char scheduler[] = "scheduler/scheduler_config.json";
    const char *path = in_scratch("marked.safetensors"), *back = in_scratch("back.safetensors");
    sdxl_edits edits = { 0 };
    at_error err = { 0 };
    notes n = { 0 };
    const at_sdxl_import_options o = { .note = take_note, .context = &n };
    (void)state;
    add_mark(&edits, "v_pred");
    sdxl_made_single(path, &edits);
    at_source *s = open_model(path, NULL);
    const at_text *t = at_tensors_text(&s->list, scheduler);
    assert_string_equal(t->data, AT_SDXL_SCHEDULER("v_prediction", "false"));
    at_source_close(s);
    add_mark(&edits, "ztsnr");
    sdxl_made_single(path, &edits);
    s = open_model(path, &o);
    t = at_tensors_text(&s->list, scheduler);
    assert_string_equal(t->data, AT_SDXL_SCHEDULER("v_prediction", "true"));
    assert_int_equal(n.count, 0);
    test_must(at_sdxl_export_single(s, back, NULL, &err), &err);
    at_source_close(s);
    test_must(at_source_open(&s, back, &err), &err);
    assert_true(at_tensors_find(&s->list, "v_pred") >= 0);
    assert_true(at_tensors_find(&s->list, "ztsnr") >= 0);
    at_source_close(s);
}

/* As trainers keep it, a thing among others. */
static void a_wrapped_file_is_the_same_model(void **state)
{
    const char *path = in_scratch("plain.safetensors"), *other = in_scratch("wrapped.safetensors");
    sdxl_made m = { 0 }, wrapped = { 0 };
    char name[AT_TENSOR_NAME_MAX];
    static const int64_t one = 1;
    (void)state;
    sdxl_made_single(path, NULL);
    for (int i = 0; i < AT_SDXL_PARTS; i++)
        sdxl_made_single_part(&m, (at_sdxl_part)i, &sdxl_made_configs,
                              i == AT_SDXL_UNET  ? AT_STORED_BF16
                              : i == AT_SDXL_VAE ? AT_STORED_F32
                                                 : AT_STORED_F16,
                              false);
    for (int i = 0; i < m.list.count; i++) {
        const at_stored_tensor *t = &m.list.items[i];
        snprintf(name, sizeof name, "state_dict.%s", t->name);
        sdxl_made_add(&wrapped, name, t->type, t->rank, t->size, m.seeds[i]);
    }
    sdxl_made_add(&wrapped, "optimizer_states.0.step", AT_STORED_F32, 1, &one, 0);
    sdxl_made_free(&m);
    sdxl_made_write(&wrapped, other, NULL);
    assert_int_equal(crc_of_path(other, NULL), crc_of_path(path, NULL));
}

/* --- folders ---------------------------------------------------------------------------------- */

static void add_rename(sdxl_edits *e, const char *name, const char *to)
{
    add_edit(e, (sdxl_edit){ .name = name, .to = to });
}

/* CLIP as transformers 5 saves it: every name loses its first word. */
static void write_unprefixed(const char *folder)
{
    sdxl_made m = { 0 }, bare = { 0 };
    char path[PATH_BYTES];
    sdxl_made_part(&m, AT_SDXL_TEXT_1, &sdxl_made_configs, AT_STORED_F16);
    for (int i = 0; i < m.list.count; i++) {
        const at_stored_tensor *t = &m.list.items[i];
        sdxl_made_add(&bare, t->name + strlen("text_model."), t->type, t->rank, t->size,
                      m.seeds[i]);
    }
    static const int64_t positions[] = { 1, 77 };
    sdxl_made_add(&bare, "embeddings.position_ids", AT_STORED_I64, 2, positions, 0);
    sdxl_made_free(&m);
    snprintf(path, sizeof path, "%s/text_encoder/model.safetensors", folder);
    sdxl_made_write(&bare, path, NULL);
}

#define ATTENTION "encoder.mid_block.attentions.0."
#define OUTER     "down_blocks.1.attentions.0.proj_in.weight"

static void other_spellings_are_the_same_model(void **state)
{
    const char *folder = in_scratch("folder");
    const at_sdxl_import_options fp16 = { .variant = "fp16" };
    sdxl_edits old = { 0 }, conv = { 0 };
    char path[PATH_BYTES];
    (void)state;
    sdxl_made_folder(folder);
    const uint32_t crc = crc_of_path(folder, NULL);
    write_unprefixed(folder);
    assert_int_equal(crc_of_path(folder, NULL), crc);
    add_rename(&old, ATTENTION "to_k.weight", ATTENTION "key.weight");
    add_rename(&old, ATTENTION "to_k.bias", ATTENTION "key.bias");
    add_rename(&old, ATTENTION "to_v.weight", ATTENTION "value.weight");
    add_rename(&old, ATTENTION "to_v.bias", ATTENTION "value.bias");
    add_rename(&old, ATTENTION "to_out.0.weight", ATTENTION "proj_attn.weight");
    add_edit(&old, (sdxl_edit){ .name = ATTENTION "to_q.weight",
                                .to = ATTENTION "query.weight",
                                .rank = 4,
                                .size = { 64, 64, 1, 1 } });
    sdxl_made_weights(folder, AT_SDXL_VAE, "diffusion_pytorch_model.safetensors", &old);
    assert_int_equal(crc_of_path(folder, NULL), crc);
    add_edit(&conv, (sdxl_edit){ .name = OUTER, .to = OUTER, .rank = 4, .size = { 64, 64, 1, 1 } });
    sdxl_made_weights(folder, AT_SDXL_UNET, "diffusion_pytorch_model.safetensors", &conv);
    assert_int_equal(crc_of_path(folder, NULL), crc);
    expect_refused(folder, &fp16, "model.fp16.safetensors");
    snprintf(path, sizeof path, "%s/unet/diffusion_pytorch_model.safetensors", folder);
    assert_int_equal(unlink(path), 0);
    expect_refused(folder, NULL, "diffusion_pytorch_model.safetensors");
    sdxl_made_weights(folder, AT_SDXL_UNET, "diffusion_pytorch_model.fp16.safetensors", NULL);
    assert_int_equal(crc_of_path(folder, NULL), crc);
}

/* Of plain files and a variant beside them the plain ones are taken, unless the variant is asked
 * for. */
static void variants_are_taken_when_asked_for(void **state)
{
    const char *folder = in_scratch("both");
    const at_sdxl_import_options fp16 = { .variant = "fp16" }, odd = { .variant = "../x" };
    sdxl_edits other = { 0 };
    (void)state;
    sdxl_made_folder(folder);
    const uint32_t crc = crc_of_path(folder, NULL);
    add_edit(&other,
             (sdxl_edit){ .name = "conv_in.bias", .to = "conv_in.bias", .type = AT_STORED_F32 });
    sdxl_made_weights(folder, AT_SDXL_TEXT_1, "model.fp16.safetensors", NULL);
    sdxl_made_weights(folder, AT_SDXL_TEXT_2, "model.fp16.safetensors", NULL);
    sdxl_made_weights(folder, AT_SDXL_UNET, "diffusion_pytorch_model.fp16.safetensors", &other);
    sdxl_made_weights(folder, AT_SDXL_VAE, "diffusion_pytorch_model.fp16.safetensors", NULL);
    assert_int_equal(crc_of_path(folder, NULL), crc);
    assert_int_not_equal(crc_of_path(folder, &fp16), crc);
    expect_refused(folder, &odd, "variant");
}

/* A UNet cut in two, with an index. */
static void cut_files_are_put_together(void **state)
{
    static const char *const files[] = { "a.safetensors", "b.safetensors" };
    const char *folder = in_scratch("cut");
    char path[PATH_BYTES], index[TEXT_BYTES];
    size_t used;
    sdxl_made m = { 0 }, half[2] = { m, m };
    (void)state;
    sdxl_made_folder(folder);
    const uint32_t crc = crc_of_path(folder, NULL);
    sdxl_made_part(&m, AT_SDXL_UNET, &sdxl_made_configs, AT_STORED_BF16);
    used = (size_t)snprintf(index, sizeof index, "{\"metadata\":{},\"weight_map\":{");
    for (int i = 0; i < m.list.count; i++) {
        const at_stored_tensor *t = &m.list.items[i];
        sdxl_made_add(&half[i % 2], t->name, t->type, t->rank, t->size, m.seeds[i]);
        used += (size_t)snprintf(index + used, sizeof index - used, "%s\"%s\":\"%s\"", i ? "," : "",
                                 t->name, files[i % 2]);
    }
    snprintf(index + used, sizeof index - used, "}}");
    sdxl_made_free(&m);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/unet/%s", folder, files[i]);
        sdxl_made_write(&half[i], path, NULL);
    }
    sdxl_made_text(folder, "unet/diffusion_pytorch_model.safetensors.index.json", index);
    snprintf(path, sizeof path, "%s/unet/diffusion_pytorch_model.safetensors", folder);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(crc_of_path(folder, NULL), crc);
}

/* --- there and back --------------------------------------------------------------------------- */

static void models_come_back_as_they_went(void **state)
{
    const char *folder = in_scratch("there"), *file = in_scratch("there.h5");
    const char *back = in_scratch("back"), *single = in_scratch("back.safetensors");
    at_error err = { 0 };
    (void)state;
    sdxl_made_folder(folder);
    at_source *s = open_model(folder, NULL);
    const uint32_t crc = crc_of_model(s);
    test_must(at_transfer_import(s, file, NULL, 0, NULL, &err), &err);
    at_source_close(s);
    assert_int_equal(crc_of_path(file, NULL), crc);
    test_must(at_source_open(&s, file, &err), &err);
    test_must(at_sdxl_export_folder(s, back, NULL, &err), &err);
    test_must(at_sdxl_export_single(s, single, NULL, &err), &err);
    at_source_close(s);
    assert_int_equal(crc_of_path(single, NULL), crc);
    s = open_model(back, NULL);
    assert_int_equal(crc_of_model(s), crc);
    assert_true(has_text(s, "tokenizer/merges.txt", "#version: 0.2\n"));
    assert_true(has_text(s, "tokenizer_2/vocab.json", "\"<|endoftext|>\":49407"));
    assert_int_not_equal(at_sdxl_export_folder(s, back, NULL, &err), AT_OK);
    assert_non_null(strstr(err.text, "is not empty"));
    at_source_close(s);
}

/* A model without a first text encoder. */
static void one_text_encoder_is_enough(void **state)
{
    const char *folder = in_scratch("second"), *single = in_scratch("second.safetensors");
    at_sdxl_text index;
    at_error err = { 0 };
    (void)state;
    sdxl_made_folder(folder);
    test_must(at_sdxl_index_write(&index, &sdxl_made_configs, false, &err), &err);
    char *text = strndup(index.data, index.bytes);
    sdxl_made_text(folder, "model_index.json", text);
    free(text);
    free(index.data);
    at_source *s = open_model(folder, NULL);
    const uint32_t crc = crc_of_model(s);
    assert_string_equal(s->list.items[0].name, "text_encoder_2.text_model.embeddings."
                                               "token_embedding.weight");
    test_must(at_sdxl_export_single(s, single, NULL, &err), &err);
    at_source_close(s);
    assert_int_equal(crc_of_path(single, NULL), crc);
    test_must(at_source_open(&s, single, &err), &err);
    assert_true(at_tensors_find(&s->list, "conditioner.embedders.0.model.text_projection") >= 0);
    at_source_close(s);
}

/* LCM's embedding of the guidance is nowhere in single files. */
static void what_single_files_cannot_name_is_refused(void **state)
{
    const char *folder = in_scratch("lcm"), *single = in_scratch("lcm.safetensors");
    at_sdxl_configs c = sdxl_made_configs;
    at_sdxl_text config;
    at_error err = { 0 };
    sdxl_made m = { 0 };
    char path[PATH_BYTES];
    (void)state;
    c.unet.guidance = 32;
    sdxl_made_folder(folder);
    test_must(at_sdxl_config_write(&config, AT_SDXL_UNET, &c, &err), &err);
    char *text = strndup(config.data, config.bytes);
    sdxl_made_text(folder, "unet/config.json", text);
    free(text);
    free(config.data);
    snprintf(path, sizeof path, "%s/unet/diffusion_pytorch_model.safetensors", folder);
    sdxl_made_part(&m, AT_SDXL_UNET, &c, AT_STORED_BF16);
    sdxl_made_write(&m, path, NULL);
    at_source *s = open_model(folder, NULL);
    const int before = things_in_scratch();
    assert_int_not_equal(at_sdxl_export_single(s, single, NULL, &err), AT_OK);
    assert_non_null(strstr(err.text, "'unet.time_embedding.cond_proj.weight' has no name"));
    assert_int_equal(things_in_scratch(), before);
    at_source_close(s);
}

/* What does not fit leaves nothing behind, under whatever name. */
static void failed_exports_leave_nothing(void **state)
{
    const char *folder = in_scratch("there"), *out = in_scratch("none");
    at_error err = { 0 };
    (void)state;
    sdxl_made_folder(folder);
    at_source *s = open_model(folder, NULL);
    const int before = things_in_scratch();
    s->list.items[s->list.count - 1].name = "vae.nonsense"; /* by_name still finds the old place */
    test_must(at_tensors_finish(&s->list, &err), &err);
    assert_int_not_equal(at_sdxl_export_folder(s, out, NULL, &err), AT_OK);
    assert_non_null(strstr(err.text, "is missing"));
    assert_int_not_equal(at_sdxl_export_single(s, out, NULL, &err), AT_OK);
    assert_int_equal(things_in_scratch(), before);
    at_source_close(s);
}

/* --- another VAE ------------------------------------------------------------------------------ */

static uint32_t crc_of_vae(at_source *s)
{
    uint32_t crc = 0;
    for (int i = 0; i < s->list.count; i++)
        if (!strncmp(s->list.items[i].name, "vae.", 4))
            crc ^= crc_of_tensor(s, i) * (uint32_t)(i + 1);
    return crc;
}

static uint32_t crc_with_vae(const char *path, const char *vae)
{
    const at_sdxl_import_options o = { .vae = vae };
    at_source *s = open_model(path, &o);
    const uint32_t crc = crc_of_vae(s);
    at_source_close(s);
    return crc;
}

static void a_vae_takes_the_place_of_the_models(void **state)
{
    const char *folder = in_scratch("vaes"), *single = in_scratch("vaes.safetensors");
    const char *ldm = in_scratch("ldm.safetensors");
    char path[PATH_BYTES];
    at_error err = { 0 };
    sdxl_made m = { 0 };
    sdxl_edits prefix = { 0 };
    (void)state;
    sdxl_made_folder(folder);
    sdxl_made_single(single, NULL);
    at_source *s = open_model(folder, NULL);
    const uint32_t of_folder = crc_of_vae(s);
    at_source_close(s);
    test_must(at_sdxl_import_open(&s, single, NULL, &err), &err);
    const uint32_t of_single = crc_of_vae(s);
    at_source_close(s);
    snprintf(path, sizeof path, "%s/vae", folder);
    assert_int_equal(crc_with_vae(single, path), of_folder);
    assert_int_equal(crc_with_vae(single, folder), of_folder);
    snprintf(path, sizeof path, "%s/vae/diffusion_pytorch_model.safetensors", folder);
    assert_int_equal(crc_with_vae(single, path), of_folder);
    sdxl_made_single_part(&m, AT_SDXL_VAE, &sdxl_made_configs, AT_STORED_F32, false);
    sdxl_made_write(&m, ldm, &prefix);
    assert_int_equal(crc_with_vae(folder, ldm), of_single);
    assert_int_equal(crc_with_vae(folder, single), of_single);
    const at_sdxl_import_options none = { .vae = in_scratch("none") };
    expect_refused(folder, &none, "none");
    snprintf(path, sizeof path, "%s/unet/diffusion_pytorch_model.safetensors", folder);
    const at_sdxl_import_options other = { .vae = path };
    expect_refused(single, &other, "expected a VAE");
}

/* --- refusals --------------------------------------------------------------------------------- */

typedef struct refusal {
    sdxl_edit edit;
    const char *words;
} refusal;

#define UNET "model.diffusion_model."
#define CLIP "conditioner.embedders.1.model."

static void damaged_single_files_are_refused_by_name(void **state)
{
    static const refusal refusals[] = {
        { { .name = UNET "out.2.bias" }, UNET "out.2.bias' is missing" },
        { { .name = CLIP "transformer.resblocks.1.attn.in_proj_weight" },
          "resblocks.1.attn.in_proj_weight' is missing" },
        { { .name = CLIP "text_projection" }, CLIP "text_projection' is missing" },
        { { .name = "first_stage_model.decoder.mid.attn_1.q.weight" },
          "attn_1.q.weight' is missing" },
        { { .name = UNET "label_emb.0.0.weight" }, "label_emb.0.0.weight' is missing" },
        { { .name = UNET "out.2.weight",
            .to = UNET "out.2.weight",
            .rank = 4,
            .size = { 4, 63, 3, 3 } },
          "out.2.weight' has the sizes 4x63x3x3: expected 4x64x3x3" },
        { { .name = CLIP "text_projection",
            .to = CLIP "text_projection",
            .rank = 2,
            .size = { 64, 64 } },
          "text_projection' has the sizes 64x64: expected 128x64" },
        { { .name = UNET "out.0.bias", .to = UNET "out.0.bias", .type = AT_STORED_F8_E4M3 },
          "out.0.bias' is f8_e4m3: expected f32, f16 or bf16" },
        { { .to = UNET "extra.weight", .rank = 1, .size = { 3 }, .type = AT_STORED_F32 },
          "extra.weight' is none of the model's" },
        { { .to = "edm_mean", .rank = 1, .size = { 4 }, .type = AT_STORED_F32 }, "Playground" },
        { { .to = "cond_stage_model.model.x", .rank = 1, .size = { 4 }, .type = AT_STORED_F32 },
          "Stable Diffusion 1 or 2" },
        { { .name = CLIP "token_embedding.weight",
            .to = CLIP "token_embedding.weight",
            .rank = 2,
            .size = { 40, 100 } },
          "width 100" },
    };
    const char *path = in_scratch("bad.safetensors");
    (void)state;
    for (size_t i = 0; i < AT_COUNT(refusals); i++) {
        sdxl_edits edits = { 0 };
        add_edit(&edits, refusals[i].edit);
        sdxl_made_single(path, &edits);
        expect_refused(path, NULL, refusals[i].words);
    }
}

/* Parts that a single file has not. */
static void lone_parts_are_refused(void **state)
{
    const char *path = in_scratch("part.safetensors");
    const at_sdxl_import_options fp16 = { .variant = "fp16" };
    sdxl_made m = { 0 };
    (void)state;
    sdxl_made_single_part(&m, AT_SDXL_UNET, &sdxl_made_configs, AT_STORED_BF16, false);
    sdxl_made_write(&m, path, NULL);
    expect_refused(path, NULL, "there is no text_encoder_2 in it");
    sdxl_made_single_part(&m, AT_SDXL_UNET, &sdxl_made_configs, AT_STORED_BF16, false);
    sdxl_made_single_part(&m, AT_SDXL_TEXT_2, &sdxl_made_configs, AT_STORED_BF16, false);
    sdxl_made_write(&m, path, NULL);
    expect_refused(path, NULL, "there is no vae in it");
    expect_refused(path, &fp16, "a variant is one of a diffusers folder");
    sdxl_made_part(&m, AT_SDXL_VAE, &sdxl_made_configs, AT_STORED_F32);
    sdxl_made_write(&m, path, NULL);
    expect_refused(path, &fp16, "neither a diffusers folder nor a single file");
}

static void damaged_folders_are_refused_by_name(void **state)
{
    static const char weights[] = "diffusion_pytorch_model.safetensors";
    const char *folder = in_scratch("bad");
    sdxl_edits missing = { 0 }, extra = { 0 };
    char path[PATH_BYTES];
    (void)state;
    sdxl_made_folder(folder);
    add_edit(&missing, (sdxl_edit){ .name = "conv_in.bias" });
    sdxl_made_weights(folder, AT_SDXL_UNET, weights, &missing);
    expect_refused(folder, NULL, "unet: tensor 'conv_in.bias' is missing");
    add_edit(&extra, (sdxl_edit){ .to = "conv_in.extra", .rank = 0, .type = AT_STORED_F32 });
    sdxl_made_weights(folder, AT_SDXL_UNET, weights, &extra);
    expect_refused(folder, NULL, "'conv_in.extra' is none of the model's");
    sdxl_made_weights(folder, AT_SDXL_UNET, weights, NULL);
    snprintf(path, sizeof path, "%s/unet/config.json", folder);
    assert_int_equal(unlink(path), 0);
    expect_refused(folder, NULL, "unet/config.json is missing");
    sdxl_made_text(folder, "unet/config.json", "{\"act_fn\": \"relu\"}");
    expect_refused(folder, NULL, "unet/config.json: unet config: act_fn");
    sdxl_made_text(folder, "model_index.json", "{\"_class_name\": \"FluxPipeline\"}");
    expect_refused(folder, NULL,
                   "model_index.json: expected one of the pipelines StableDiffusionXL");
    sdxl_made_text(folder, "model_index.json", "{\"unet\": 7}");
    expect_refused(folder, NULL, "model_index.json");
    sdxl_made_text(folder, "model_index.json", "{}");
    expect_refused(folder, NULL, "there is no unet in it");
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_scratch, clear_scratch)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(a_single_file_is_what_diffusers_makes_of_it),
        WITH_FOLDER(published_models_are_known_by_their_sizes),
        WITH_FOLDER(marks_are_obeyed_and_written_back),
        WITH_FOLDER(a_wrapped_file_is_the_same_model),
        WITH_FOLDER(other_spellings_are_the_same_model),
        WITH_FOLDER(variants_are_taken_when_asked_for),
        WITH_FOLDER(cut_files_are_put_together),
        WITH_FOLDER(models_come_back_as_they_went),
        WITH_FOLDER(one_text_encoder_is_enough),
        WITH_FOLDER(what_single_files_cannot_name_is_refused),
        WITH_FOLDER(failed_exports_leave_nothing),
        WITH_FOLDER(a_vae_takes_the_place_of_the_models),
        WITH_FOLDER(damaged_single_files_are_refused_by_name),
        WITH_FOLDER(lone_parts_are_refused),
        WITH_FOLDER(damaged_folders_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
