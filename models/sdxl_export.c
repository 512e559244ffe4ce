/* The single file: the way back through the table of names. */
#include "models/sdxl_export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json.h"
#include "engine/transfer.h"
#include "kernels/shape.h"
#include "models/assembled.h"
#include "models/sdxl_export_own.h"
#include "models/sdxl_names.h"

/* --- the model file --------------------------------------------------------------------------- */

static bool has_part(const at_tensors *list, at_sdxl_part part)
{
    const char *folder = at_sdxl_part_name(part);
    const size_t length = strlen(folder);
    for (int i = 0; i < list->count; i++)
        if (!strncmp(list->items[i].name, folder, length) && list->items[i].name[length] == '.')
            return true;
    return false;
}

at_status at_sdxl_model_read(at_sdxl_model *m, at_source *source, at_error *err)
{
    char path[AT_TEXT_NAME_MAX];
    *m = (at_sdxl_model){ .source = source };
    for (int i = 0; i < AT_SDXL_PARTS; i++) {
        const at_sdxl_part part = (at_sdxl_part)i;
        m->has[i] = has_part(&source->list, part);
        if (!m->has[i])
            continue;
        snprintf(path, sizeof path, "%s/config.json", at_sdxl_part_name(part));
        const at_text *t = at_tensors_text(&source->list, path);
        if (!t)
            return at_fail(err, AT_INVALID, "there is no text '%s' in it", path);
        if (part == AT_SDXL_UNET && !m->has[AT_SDXL_TEXT_2])
            return at_fail(err, AT_INVALID, "there is a unet in it, but no text_encoder_2");
        AT_TRY(at_sdxl_configs_read(&m->configs, part, t->data, t->bytes, path, err));
    }
    return m->has[AT_SDXL_UNET] ? AT_OK
                                : at_fail(err, AT_INVALID,
                                          "expected a model file of SDXL: no tensor begins with "
                                          "'unet.'");
}

at_status at_sdxl_model_tensor(const at_sdxl_model *m, int *tensor, at_sdxl_part part,
                               const at_sdxl_wanted *w, at_error *err)
{
    char name[AT_TENSOR_NAME_MAX], found[96], sizes[96];
    const at_tensors *list = &m->source->list;
    snprintf(name, sizeof name, "%s.%s", at_sdxl_part_name(part), w->name);
    *tensor = at_tensors_find(list, name);
    if (*tensor < 0)
        return at_fail(err, AT_INVALID, "tensor '%.200s' is missing", name);
    const at_stored_tensor *t = &list->items[*tensor];
    if (t->rank == w->rank && !memcmp(t->size, w->size, (size_t)w->rank * sizeof *w->size))
        return AT_OK;
    const at_stored_tensor wanted = { .size = w->size, .rank = (int16_t)w->rank };
    at_stored_shape_text(t, found, sizeof found);
    at_stored_shape_text(&wanted, sizes, sizeof sizes);
    return at_fail(err, AT_INVALID, "tensor '%.200s' has the sizes %s: expected %s", name, found,
                   sizes);
}

/* --- tensors ---------------------------------------------------------------------------------- */

typedef struct single {
    const at_sdxl_model *model;
    at_source *out;
    int source;
    at_sdxl_part part;
    const char *prefix;
    at_sdxl_wanted_list wanted;
} single;

static at_status translate(const single *s, at_sdxl_name *out, const char *name, at_error *err)
{
    const at_sdxl_sizes sizes = { &s->model->configs.unet, &s->model->configs.vae };
    if (at_sdxl_name_single(out, s->part, name, &sizes))
        return AT_OK;
    return at_fail(err, AT_UNSUPPORTED, "tensor '%s.%.200s' has no name in a single file of SDXL",
                   at_sdxl_part_name(s->part), name);
}

/* Adds the piece that holds these rows of a fused tensor. */
static at_status find_rows(const single *s, at_assembly *how, at_stored *type, const char *fused,
                           at_sdxl_form form, at_error *err)
{
    at_sdxl_name name;
    for (int i = 0; i < s->wanted.count; i++) {
        const at_sdxl_wanted *w = &s->wanted.items[i];
        AT_TRY(translate(s, &name, w->name, err));
        if (name.form != form || strcmp(name.text, fused) != 0)
            continue;
        int tensor;
        AT_TRY(at_sdxl_model_tensor(s->model, &tensor, s->part, w, err));
        const at_stored_tensor *t = &s->model->source->list.items[tensor];
        if (how->n && t->type != *type)
            return at_fail(err, AT_UNSUPPORTED,
                           "tensor '%.200s' is %s: single files hold it as one with others that "
                           "are %s",
                           t->name, at_stored_about(t->type)->name, at_stored_about(*type)->name);
        *type = t->type;
        how->pieces[how->n++] = (at_piece){ s->source, tensor, 0, t->bytes };
        return AT_OK;
    }
    return at_fail(err, AT_INVALID, "what makes up '%.200s' is missing", fused);
}

static at_status add(const single *s, const char *name, const at_sdxl_wanted *w,
                     const at_stored_tensor *of, const at_assembly *how, at_error *err)
{
    char full[2 * AT_TENSOR_NAME_MAX];
    at_stored_tensor t = *of;
    snprintf(full, sizeof full, "%s%s", s->prefix, name);
    t.name = full;
    t.size = w->size;
    t.rank = (int16_t)w->rank;
    t.bytes = 0;
    for (int k = 0; k < how->n; k++)
        t.bytes += how->pieces[k].bytes;
    return at_assembled_add(s->out, &t, how, err);
}

/* A tensor in the form of single files; what is a part of one there comes with its first. */
static at_status add_tensor(const single *s, const at_sdxl_wanted *wanted, at_error *err)
{
    at_sdxl_wanted w = *wanted;
    at_sdxl_name name;
    at_assembly how = { .n = 0 };
    int tensor;
    AT_TRY(translate(s, &name, w.name, err));
    AT_TRY(at_sdxl_model_tensor(s->model, &tensor, s->part, wanted, err));
    at_stored_tensor t = s->model->source->list.items[tensor];
    if (name.form == AT_SDXL_ROWS_2 || name.form == AT_SDXL_ROWS_3)
        return AT_OK;
    if (name.form == AT_SDXL_ROWS_1) {
        for (int k = 0; k < 3; k++)
            AT_TRY(find_rows(s, &how, &t.type, name.text, AT_SDXL_ROWS_1 + (at_sdxl_form)k, err));
        w.size[0] *= 3;
        return add(s, name.text, &w, &t, &how, err);
    }
    how = (at_assembly){ .pieces = { { s->source, tensor, 0, t.bytes } }, .n = 1 };
    if (name.form == AT_SDXL_TURNED) {
        how.columns = wanted->size[1];
        w.size[0] = wanted->size[1];
        w.size[1] = wanted->size[0];
    }
    if (name.form == AT_SDXL_POINTWISE) {
        w.size[2] = w.size[3] = 1;
        w.rank = 4;
    }
    return add(s, name.text, &w, &t, &how, err);
}

static at_status add_part(single *s, at_error *err)
{
    const bool refiner = s->part == AT_SDXL_TEXT_2 && !s->model->has[AT_SDXL_TEXT_1];
    s->prefix = at_sdxl_prefix(s->part, refiner);
    at_status status = at_sdxl_wanted_of(&s->wanted, s->part, &s->model->configs, err);
    for (int i = 0; i < s->wanted.count && status == AT_OK; i++)
        status = add_tensor(s, &s->wanted.items[i], err);
    at_sdxl_wanted_free(&s->wanted);
    return status;
}

/* --- texts and marks -------------------------------------------------------------------------- */

typedef struct prediction {
    bool v, zero_snr;
} prediction;

/* Whatever a scheduler_config says that is not understood here is left to who reads it. */
static prediction read_prediction(const at_text *t)
{
    at_error why = { AT_OK, "" };
    prediction p = { false, false };
    at_json_text key, text;
    at_json j;
    if (!t)
        return p;
    at_json_start(&j, t->data, t->bytes, &why);
    for (at_json_object(&j); at_json_key(&j, &key);) {
        const at_json_type type = at_json_peek(&j);
        if (type == AT_JSON_STRING && at_json_is(&key, "prediction_type")) {
            if (at_json_string(&j, &text))
                p.v = at_json_is(&text, "v_prediction");
            continue;
        }
        if (at_json_is(&key, "rescale_betas_zero_snr"))
            p.zero_snr = type == AT_JSON_TRUE;
        at_json_skip(&j);
    }
    return p;
}

/* Empty tensors by which other programs know what a model predicts. */
static at_status add_marks(const single *s, at_error *err)
{
    static const int64_t none = 0;
    static const at_assembly nothing = { .n = 0 };
    const prediction p = read_prediction(
        at_tensors_text(&s->model->source->list, "scheduler/scheduler_config.json"));
    at_stored_tensor t = { .size = &none, .rank = 1, .type = AT_STORED_F32, .name = "v_pred" };
    if (p.v)
        AT_TRY(at_assembled_add(s->out, &t, &nothing, err));
    t.name = "ztsnr";
    return p.zero_snr ? at_assembled_add(s->out, &t, &nothing, err) : AT_OK;
}

/* Configurations travel in the header, where nobody else looks; tokenizers are too long. */
static at_status add_texts(const single *s, at_error *err)
{
    static const char tokenizer[] = "tokenizer";
    const at_tensors *from = &s->model->source->list;
    AT_TRY(at_tensors_add_text(&s->out->list, "format", 6, "pt", 2, err));
    for (int i = 0; i < from->text_count; i++) {
        const at_text *t = &from->texts[i];
        if (strcmp(t->name, "format") != 0 && strncmp(t->name, tokenizer, sizeof tokenizer - 1))
            AT_TRY(at_tensors_add_text(&s->out->list, t->name, strlen(t->name), t->data, t->bytes,
                                       err));
    }
    return AT_OK;
}

static at_status fill(single *s, at_error *err)
{
    s->source = at_assembled_borrow(s->out, s->model->source, err);
    if (s->source < 0)
        return AT_UNSUPPORTED;
    for (int i = 0; i < AT_SDXL_PARTS; i++) {
        s->part = (at_sdxl_part)i;
        if (s->model->has[i])
            AT_TRY(add_part(s, err));
    }
    AT_TRY(add_marks(s, err));
    AT_TRY(add_texts(s, err));
    return at_assembled_finish(s->out, err);
}

at_status at_sdxl_export_single(at_source *model, const char *path, const at_progress *progress,
                                at_error *err)
{
    at_sdxl_model m;
    single s = { .model = &m };
    AT_TRY(at_sdxl_model_read(&m, model, err));
    AT_TRY(at_assembled_new(&s.out, "SDXL single file", err));
    at_status status = fill(&s, err);
    if (status == AT_OK)
        status = at_transfer_export(s.out, path, progress, err);
    at_source_close(s.out);
    return status;
}
