#include "tests/shapes/sdxl_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/checkpoint.h"
#include "models/clip_text.h"
#include "models/sdxl_config.h"
#include "tests/shapes/sdxl_tiny.h"

enum { PATH_BYTES = 512, TEXT_BYTES_MAX = 1 << 20 };

/* What a folder may hold that a model file keeps. */
static const char *const kept[] = {
    "model_index.json",           "scheduler/scheduler_config.json",
    "text_encoder/config.json",   "text_encoder_2/config.json",
    "tokenizer/tokenizer.json",   "tokenizer/tokenizer_config.json",
    "tokenizer_2/tokenizer.json", "tokenizer_2/tokenizer_config.json",
    "unet/config.json",           "vae/config.json",
};

static at_status add_text(at_tensors *list, const char *folder, const char *name, at_error *err)
{
    char path[PATH_BYTES];
    at_file f;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (access(path, F_OK) != 0)
        return AT_OK;
    at_status status = at_file_open(&f, path, err);
    if (status != AT_OK)
        return status;
    AT_ASSERT(f.bytes <= TEXT_BYTES_MAX, "%s is too large", path);
    char *text = malloc(TEXT_BYTES_MAX);
    AT_ASSERT(text, "no memory");
    status = at_file_read(&f, 0, text, (size_t)f.bytes, err);
    if (status == AT_OK)
        status = at_tensors_add_text(list, name, strlen(name), text, (size_t)f.bytes, err);
    free(text);
    at_file_close(&f);
    return status;
}

static at_status add_texts(at_tensors *list, const char *folder, at_error *err)
{
    at_status status = AT_OK;
    for (size_t i = 0; i < AT_COUNT(kept) && status == AT_OK; i++)
        status = add_text(list, folder, kept[i], err);
    return status == AT_OK ? at_tensors_finish(list, err) : status;
}

static at_status add_param(at_tensors *list, const char *part, const at_param *p, at_error *err)
{
    char name[AT_TENSOR_NAME_MAX];
    snprintf(name, sizeof name, "%s.%s", part, p->name);
    const at_stored_tensor t = { .size = p->view.size,
                                 .rank = (int16_t)p->view.rank,
                                 .type = AT_STORED_F32,
                                 .bytes = (uint64_t)at_elements(&p->view) * sizeof(float) };
    return at_tensors_add(list, &t, name, strlen(name), err);
}

/* The models are made only to hear what their weights are called. */
static at_status add_text_encoder(at_tensors *list, at_params *store, const char *part,
                                  const at_clip_text_config *c, at_error *err)
{
    at_clip_text *m;
    at_status status = at_clip_text_new(&m, store, c, AT_F32, err);
    if (status != AT_OK)
        return status;
    for (int i = 0; i < at_clip_text_params(m) && status == AT_OK; i++)
        status = add_param(list, part, at_clip_text_param(m, i), err);
    at_clip_text_free(m);
    return status;
}

static at_status add_unet(at_tensors *list, at_params *store, const at_text *config, int64_t pooled,
                          at_error *err)
{
    at_sdxl_unet_config c;
    at_sdxl_unet *m;
    at_status status = at_sdxl_unet_config_read(&c, config->data, config->bytes, pooled, err);
    if (status == AT_OK)
        status = at_sdxl_unet_new(&m, store, &c, AT_F32, err);
    if (status != AT_OK)
        return status;
    for (int i = 0; i < at_sdxl_unet_params(m) && status == AT_OK; i++)
        status = add_param(list, "unet", at_sdxl_unet_param(m, i), err);
    at_sdxl_unet_free(m);
    return status;
}

static at_status add_vae(at_tensors *list, at_params *store, const at_text *config, at_error *err)
{
    at_sdxl_vae_config c;
    at_sdxl_vae *m;
    at_status status = at_sdxl_vae_config_read(&c, config->data, config->bytes, err);
    if (status == AT_OK)
        status = at_sdxl_vae_new(&m, store, &c, AT_F32, err);
    if (status != AT_OK)
        return status;
    for (int i = 0; i < at_sdxl_vae_params(m) && status == AT_OK; i++)
        status = add_param(list, "vae", at_sdxl_vae_param(m, i), err);
    at_sdxl_vae_free(m);
    return status;
}

/* Every part that the texts have a configuration of. Parts have stores of their own: some of their
 * names are the same. */
static at_status add_parts(at_tensors *list, at_device *device, at_error *err)
{
    static const char *const parts[] = { "text_encoder", "text_encoder_2", "unet", "vae" };
    at_clip_text_config texts[2] = { 0 };
    at_status status = AT_OK;
    for (size_t i = 0; i < AT_COUNT(parts) && status == AT_OK; i++) {
        char name[PATH_BYTES];
        snprintf(name, sizeof name, "%s/config.json", parts[i]);
        const at_text *config = at_tensors_text(list, name);
        at_params *store = at_params_new(device);
        if (config && i < 2) {
            status = at_clip_text_config_read(&texts[i], config->data, config->bytes, err);
            if (status == AT_OK)
                status = add_text_encoder(list, store, parts[i], &texts[i], err);
        } else if (config && i == 2) {
            status = add_unet(list, store, config, texts[1].projection, err);
        } else if (config) {
            status = add_vae(list, store, config, err);
        }
        at_params_free(store);
    }
    return status == AT_OK ? at_tensors_finish(list, err) : status;
}

static at_status write_tensor(at_checkpoint_writer *w, const at_tensors *list, int i, at_error *err)
{
    const at_stored_tensor *t = &list->items[i];
    const int64_t n = (int64_t)(t->bytes / sizeof(float));
    const double fan = t->rank ? (double)n / (double)t->size[0] : 1;
    const double scale = t->rank > 1 ? sqrt(3 / fan) : 0.1;
    const double shift = t->rank == 1 && strstr(t->name, "norm") && strstr(t->name, "weight");
    void *data = sdxl_tiny_numbers(AT_F32, n, scale, shift, sdxl_tiny_seed(t->name));
    const at_status status = at_checkpoint_write(w, i, 0, data, (size_t)t->bytes, err);
    free(data);
    return status;
}

at_status sdxl_file_write(const char *path, const char *folder, at_error *err)
{
    at_device *device = NULL;
    at_tensors list = { 0 };
    at_checkpoint_writer *w = NULL;
    at_status status = at_device_open(&device, "cpu", &(at_device_options){ .threads = 1 }, err);
    if (status == AT_OK)
        status = add_texts(&list, folder, err);
    if (status == AT_OK)
        status = add_parts(&list, device, err);
    if (status == AT_OK)
        status = at_checkpoint_writer_new(&w, path, &list, err);
    for (int i = 0; i < list.count && status == AT_OK; i++)
        status = write_tensor(w, &list, i, err);
    if (status == AT_OK)
        status = at_checkpoint_writer_finish(w, err);
    at_checkpoint_writer_free(w);
    at_tensors_free(&list);
    if (device)
        at_device_close(device);
    return status;
}
