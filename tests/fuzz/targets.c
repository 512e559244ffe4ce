/* targets.c -- the targets of targets.def. */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <zlib.h>

#include "engine/budget.h"
#include "engine/build.h"
#include "engine/checkpoint_format.h"
#include "engine/checksum.h"
#include "engine/json.h"
#include "engine/pickle.h"
#include "engine/source.h"
#include "engine/tuning.h"
#include "models/clip_text.h"
#include "models/clip_tokenizer.h"
#include "models/sdxl_config.h"
#include "models/sdxl_texts.h"
#include "runtime/exif.h"
#include "runtime/lora.h"
#include "runtime/parameters.h"
#include "runtime/picture.h"
#include "runtime/prompt.h"
#include "runtime/sampler.h"
#include "tests/fuzz/fuzz.h"

const at_fuzz_target at_fuzz_targets[] = {
#define AT_FUZZ(name, run, endings, mend, memory) { #name, run, endings, mend, memory },
#include "tests/fuzz/targets.def"
#undef AT_FUZZ
};
const int at_fuzz_target_count = (int)AT_COUNT(at_fuzz_targets);

const at_fuzz_target *at_fuzz_named(const char *name)
{
    for (int i = 0; i < at_fuzz_target_count; i++)
        if (!strcmp(at_fuzz_targets[i].name, name))
            return &at_fuzz_targets[i];
    return NULL;
}

/* --- JSON ------------------------------------------------------------------------------------- */

/* Every member of the outermost object, read as what it is. */
static void read_member(at_json *j)
{
    at_json_text text;
    int64_t number;
    double real;
    bool flag;
    switch (at_json_peek(j)) {
    case AT_JSON_STRING: at_json_string(j, &text); break;
    case AT_JSON_NUMBER:
        if (j->at % 2)
            at_json_int(j, &number);
        else
            at_json_real(j, &real);
        break;
    case AT_JSON_TRUE:
    case AT_JSON_FALSE: at_json_bool(j, &flag); break;
    default: at_json_skip(j);
    }
}

at_status at_fuzz_json(const unsigned char *data, size_t bytes, at_error *err)
{
    at_json j;
    at_json_text key;
    char name[64];
    at_json_start(&j, (const char *)data, bytes, err);
    if (at_json_peek(&j) != AT_JSON_OBJECT)
        at_json_skip(&j);
    else
        for (at_json_object(&j); at_json_key(&j, &key);) {
            at_json_unescape(&key, name, sizeof name);
            read_member(&j);
        }
    return at_json_end(&j);
}

/* --- choices ---------------------------------------------------------------------------------- */

/* On the machine of the seed; what was read is looked up. */
at_status at_fuzz_tuning(const unsigned char *data, size_t bytes, at_error *err)
{
    const at_tuned_for machine = { { "Some GPU", "9.0", "13000 580.95.05", "130100", "91900",
                                     "none", "0123456789abcdef" } };
    at_tuning *t;
    const char *key;
    at_status status = at_tuning_new(&t, &machine, err);
    if (status != AT_OK)
        return status;
    status = at_tuning_parse(t, "choices", (const char *)data, bytes, err);
    AT_ASSERT(status == AT_OK || !at_tuning_count(t), "%d choices", at_tuning_count(t));
    for (int i = 0; i < at_tuning_count(t); i++) {
        const at_choice *c = at_tuning_at(t, i, &key);
        AT_ASSERT(at_tuning_find(t, key) == c, "choice %d is not found", i);
    }
    at_tuning_free(t);
    return status;
}

/* --- results of benchmarks -------------------------------------------------------------------- */

/* Beside the budget of a graph that has some of their calls. */
at_status at_fuzz_results(const unsigned char *data, size_t bytes, at_error *err)
{
    const int64_t size[] = { 2, 64, 64, 640 };
    at_graph *g = at_graph_new();
    at_gpu gpu;
    at_budget *b;
    int found;
    at_tensor x = at_graph_input(g, "x", AT_BF16, 4, size);
    at_graph_output(g, at_add(g, at_unary(g, x, AT_SILU), x), "y");
    at_gpu_at(0, &gpu);
    at_status status = at_budget_new(&b, &gpu, g, NULL, err);
    if (status == AT_OK)
        status = at_budget_measured(b, (const char *)data, bytes, &found, err);
    at_budget_free(b);
    at_graph_free(g);
    return status;
}

/* --- files of weights ------------------------------------------------------------------------- */

enum { READ_MAX = 1 << 20 }; /* of a tensor: one that repeats a stored byte may be huge */

static at_status read_tensors(at_source *s, at_error *err)
{
    static unsigned char piece[1 << 16];
    at_status status = AT_OK;
    for (int i = 0; i < s->list.count; i++)
        for (uint64_t at = 0; at < s->list.items[i].bytes && at < READ_MAX && status == AT_OK;) {
            uint64_t left = s->list.items[i].bytes - at;
            size_t n = left < sizeof piece ? (size_t)left : sizeof piece;
            status = at_source_read(s, i, at, piece, n, err);
            at += n;
        }
    return status;
}

/* A file in memory, for what wants a path; to be closed. */
static int make_file(const unsigned char *data, size_t bytes, char path[64])
{
    int fd = memfd_create("input", MFD_CLOEXEC);
    AT_ASSERT(fd >= 0 && (bytes == 0 || write(fd, data, bytes) == (ssize_t)bytes),
              "no memory file of %zu bytes", bytes);
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

at_status at_fuzz_source(const unsigned char *data, size_t bytes, at_error *err)
{
    char path[64];
    at_source *s = NULL;
    const int fd = make_file(data, bytes, path);
    at_status status = at_source_open(&s, path, err);
    if (status == AT_OK)
        status = read_tensors(s, err);
    at_source_close(s);
    close(fd);
    return status;
}

at_status at_fuzz_pickle(const unsigned char *data, size_t bytes, at_error *err)
{
    at_pickle p;
    at_status status = at_pickle_run(&p, data, bytes, 2 * bytes + (64 << 10), err);
    if (status == AT_OK) {
        at_pickle_value key, value;
        for (at_pickle_walk w = at_pickle_enter(&p, p.result); at_pickle_next(&w, &key, &value);)
            for (at_pickle_walk in = at_pickle_enter(&p, value); at_pickle_next(&in, &key, &value);)
                continue;
    }
    at_pickle_free(&p);
    return status;
}

static uint64_t get_u64(const unsigned char *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

/* The sums of the index and of the header; places as checkpoint_format.h names them. */
void at_mend_checkpoint(unsigned char *data, size_t bytes)
{
    enum { LENGTH = 16, INDEX = 24, HEADER_SUM = AT_CHECKPOINT_HEADER_BYTES - 8 };
    if (bytes < AT_CHECKPOINT_HEADER_BYTES)
        return;
    uint64_t at = get_u64(data + INDEX), n = get_u64(data + INDEX + 8), sum, all = bytes;
    if (at <= bytes && n <= bytes - at) {
        sum = at_checksum_of(data + at, (size_t)n);
        memcpy(data + INDEX + 16, &sum, sizeof sum);
    }
    memcpy(data + LENGTH, &all, sizeof all);
    sum = at_checksum_of(data, HEADER_SUM);
    memcpy(data + HEADER_SUM, &sum, sizeof sum);
}

/* --- adapters --------------------------------------------------------------------------------- */

/* For the model that reference/lora.py makes. */
at_status at_fuzz_lora(const unsigned char *data, size_t bytes, at_error *err)
{
    static const at_sdxl_about model = {
        .has = { [AT_SDXL_UNET] = true, [AT_SDXL_TEXT_1] = true, [AT_SDXL_TEXT_2] = true },
        .unet = { .levels = 3,
                  .channels = { 8, 16, 16 },
                  .heads = { 1, 2, 2 },
                  .layers = { 2, 2, 2 },
                  .down = { { 0 }, { 1, 1 }, { 2, 2 } },
                  .up = { { 2, 2, 2 }, { 1, 1, 1 } },
                  .mid_resnets = 2,
                  .mid_depth = 2,
                  .in = 4,
                  .latent = 4,
                  .context = 32,
                  .pooled = 20,
                  .sizes = 6,
                  .size_dim = 8,
                  .groups = 4,
                  .eps = 1e-5f,
                  .cos_first = true },
        .text = { { .vocabulary = 64,
                    .positions = 16,
                    .width = 12,
                    .inner = 24,
                    .layers = 2,
                    .heads = 2,
                    .end = 63,
                    .eps = 1e-5f,
                    .act = AT_ACT_QUICK_GELU },
                  { .vocabulary = 64,
                    .positions = 16,
                    .width = 20,
                    .inner = 40,
                    .layers = 2,
                    .heads = 2,
                    .projection = 20,
                    .end = 63,
                    .eps = 1e-5f,
                    .act = AT_ACT_QUICK_GELU } },
    };
    static const char conv[] = "unet.conv_in.weight";
    float w[8 * 4 * 3 * 3] = { 0 };
    char path[64];
    const int fd = make_file(data, bytes, path);
    at_loras *loras = at_loras_new();
    AT_ASSERT(loras, "no memory for a list of adapters");
    at_status status = at_loras_add(loras, &model, path, 0.5, err);
    const at_weight_change change = at_loras_change(loras);
    const bool touched = at_loras_touch(loras, AT_SDXL_UNET) ||
                         at_loras_touch(loras, AT_SDXL_TEXT_1) ||
                         at_loras_touch(loras, AT_SDXL_TEXT_2);
    AT_ASSERT(touched == (status == AT_OK), "what was refused changes weights");
    if (status == AT_OK && change.touches(change.context, conv))
        status = change.add(change.context, conv, w, AT_COUNT(w), err);
    at_loras_free(loras);
    close(fd);
    return status;
}

/* --- pictures --------------------------------------------------------------------------------- */

at_status at_fuzz_picture(const unsigned char *data, size_t bytes, at_error *err)
{
    at_picture p;
    at_picture_options o = { .pixels_max = 1 << 17 }; /* sound bombs are decoded: keep them small */
    at_picture_info info;
    if (at_picture_about_bytes(&info, data, bytes, "input", &o, err) == AT_OK)
        at_picture_info_free(&info);
    *err = (at_error){ AT_OK, "" };
    at_status status = at_picture_decode(&p, data, bytes, "input", &o, err);
    if (status == AT_OK)
        at_picture_free(&p);
    return status;
}

at_status at_fuzz_exif(const unsigned char *data, size_t bytes, at_error *err)
{
    at_exif exif;
    if (at_exif_read(&exif, data, bytes))
        return AT_OK;
    return at_fail(err, AT_CORRUPT, "the EXIF block leads out of itself");
}

/* A scheduler_config, taken by a sampler that follows from its length. */
at_status at_fuzz_schedule(const unsigned char *data, size_t bytes, at_error *err)
{
    at_schedule_config *config = malloc(sizeof *config);
    at_schedule *schedule = malloc(sizeof *schedule);
    at_status status = config && schedule ? AT_OK : at_fail(err, AT_NO_MEMORY, "no memory");
    if (status == AT_OK)
        status = at_sampler_configure(config, (at_sampler)(bytes % AT_SAMPLER_COUNT),
                                      (const char *)data, bytes, err);
    if (status == AT_OK)
        status = at_schedule_make(schedule, config, 1 + (int64_t)(bytes % 37), err);
    if (status == AT_OK)
        status = at_sampler_check(schedule, 0, err);
    free(schedule);
    free(config);
    return status;
}

/* A text encoder's config.json, and the end of a text that the file's first bytes are. */
at_status at_fuzz_encoder(const unsigned char *data, size_t bytes, at_error *err)
{
    at_clip_text_config config;
    int32_t ids[77] = { 0 }, end;
    at_status status = at_clip_text_config_read(&config, (const char *)data, bytes, err);
    if (status != AT_OK)
        return status;
    for (size_t i = 0; i < AT_COUNT(ids) && i < bytes; i++)
        ids[i] = (int32_t)(data[i] % config.vocabulary);
    status = at_clip_text_ends(&config, &end, ids, 1, AT_COUNT(ids), err);
    AT_ASSERT(status != AT_OK || (end >= 0 && end < (int32_t)AT_COUNT(ids)), "row %d", (int)end);
    return status;
}

/* A VAE's config, or a UNet's for a pooled text of one of the widths that its seeds have. */
/* What is read is written again, which may be refused: configs say more than is ever written. */
static void rewrite_config(at_sdxl_part part, at_sdxl_configs *c, int64_t pooled)
{
    at_error refused = { 0 };
    at_sdxl_text text;
    c->text[1].projection = pooled;
    at_sdxl_config_write(&text, part, c, &refused);
    free(text.data);
}

at_status at_fuzz_config(const unsigned char *data, size_t bytes, at_error *err)
{
    static const int64_t pooled[] = { 10, 12, 14, 16, 1280 };
    at_sdxl_configs c = { 0 };
    at_error inner = { 0 };
    const char *json = (const char *)data;
    at_status status = at_sdxl_vae_config_read(&c.vae, json, bytes, &inner);
    if (status == AT_OK)
        rewrite_config(AT_SDXL_VAE, &c, 0);
    for (size_t i = 0; i < AT_COUNT(pooled) && status != AT_OK; i++) {
        status = at_sdxl_unet_config_read(&c.unet, json, bytes, pooled[i], &inner);
        if (status == AT_OK)
            rewrite_config(AT_SDXL_UNET, &c, pooled[i]);
    }
    return status == AT_OK ? status : at_fail(err, status, "%s", inner.text);
}

at_status at_fuzz_index(const unsigned char *data, size_t bytes, at_error *err)
{
    at_sdxl_index index;
    return at_sdxl_index_read(&index, (const char *)data, bytes, err);
}

static uint32_t big_u32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Every chunk's CRC, as far as the chunks' lengths lead. */
void at_mend_png(unsigned char *data, size_t bytes)
{
    for (size_t at = 8; at + 12 <= bytes;) {
        uint32_t n = big_u32(data + at);
        if (n > bytes - at - 12)
            return;
        uint32_t crc = (uint32_t)crc32(0, data + at + 4, (uInt)n + 4);
        for (size_t i = 0; i < 4; i++)
            data[at + 8 + n + i] = (unsigned char)(crc >> (24 - 8 * i));
        at += 12 + (size_t)n;
    }
}

/* --- tokenizers and prompts ------------------------------------------------------------------- */

static at_status encode(const at_clip_tokenizer *t, const char *text, size_t bytes, at_error *err)
{
    int32_t padded[AT_CLIP_LENGTH], size = at_clip_tokenizer_size(t);
    at_clip_ids all = { 0 };
    size_t cut = 0;
    at_status status = at_clip_tokenizer_ids(t, &all, text, bytes, err);
    for (size_t i = 0; i < all.count; i++)
        AT_ASSERT(all.ids[i] >= 0 && all.ids[i] < size, "token %d of %d", all.ids[i], size);
    if (status == AT_OK)
        status = at_clip_tokenizer_encode(t, padded, AT_CLIP_LENGTH, &cut, text, bytes, err);
    AT_ASSERT(cut == (all.count > AT_CLIP_LENGTH - 2 ? all.count - (AT_CLIP_LENGTH - 2) : 0),
              "%zu of %zu tokens were cut", cut, all.count);
    free(all.ids);
    return status;
}

/* Files with a line "====" between them, as at_clip_files has them, and a prompt behind the last;
 * an empty one is not there. */
at_status at_fuzz_clip(const unsigned char *data, size_t bytes, at_error *err)
{
    static const char line[] = "\n====\n";
    at_clip_file parts[7] = { { NULL, 0 } };
    const char *p = (const char *)data, *end = p + bytes;
    for (size_t i = 0; i < AT_COUNT(parts) && p < end; i++) {
        const char *next = memmem(p, (size_t)(end - p), line, sizeof line - 1);
        parts[i].bytes = (size_t)((next && i + 1 < AT_COUNT(parts) ? next : end) - p);
        parts[i].text = parts[i].bytes ? p : NULL;
        p += parts[i].bytes;
        p += p < end ? sizeof line - 1 : 0;
    }
    const at_clip_files files = { parts[0], parts[1], parts[2], parts[3], parts[4], parts[5] };
    at_clip_tokenizer *t;
    at_status status = at_clip_tokenizer_open(&t, &files, err);
    if (status != AT_OK)
        return status;
    status = encode(t, parts[6].text ? parts[6].text : "", parts[6].bytes, err);
    at_clip_tokenizer_free(t);
    return status;
}

/* A tokenizer of few tokens, one of which takes the blanks round it. */
static at_clip_tokenizer *open_small(at_error *err)
{
    static const char vocab[] =
        "{\"a\":0,\"b\":1,\"a</w>\":2,\"aa\":3,\"aa</w>\":4,\"aaa\":5,"
        "\"ab\":6,\"\xc3\x83\":7,\"\xc2\xa9</w>\":8,\"\xc3\x83\xc2\xa9</w>\":9,"
        "\"<|startoftext|>\":10,\"<|endoftext|>\":11,\",</w>\":12}";
    static const char merges[] = "a a\na a</w>\naa a\na b\n\xc3\x83 \xc2\xa9</w>\n";
    static const char config[] =
        "{\"extra_special_tokens\":[{\"content\":\"CAT \",\"normalized\":true},"
        "{\"content\":\"ab\",\"lstrip\":true,\"rstrip\":true},\"\xcc\x81\"],\"pad_token\":\"!\"}";
    const at_clip_files files = { .vocab = { vocab, sizeof vocab - 1 },
                                  .merges = { merges, sizeof merges - 1 },
                                  .config = { config, sizeof config - 1 } };
    at_clip_tokenizer *t;
    const at_status status = at_clip_tokenizer_open(&t, &files, err);
    AT_ASSERT(status == AT_OK, "%s", err->text);
    return t;
}

at_status at_fuzz_prompt(const unsigned char *data, size_t bytes, at_error *err)
{
    at_clip_tokenizer *t = open_small(err);
    const at_status status = encode(t, (const char *)data, bytes, err);
    at_clip_tokenizer_free(t);
    return status;
}

static at_status read_prompt(const at_clip_tokenizer *t, at_prompt_syntax syntax, const char *text,
                             size_t bytes, at_error *err)
{
    static float hidden[AT_PROMPT_CHUNKS_MAX * AT_CLIP_LENGTH], empty[AT_CLIP_LENGTH];
    at_prompt p;
    const at_status status = at_prompt_read(&p, t, syntax, text, bytes, err);
    AT_ASSERT(p.n_chunks <= AT_PROMPT_CHUNKS_MAX && (p.n_chunks > 0) == (status == AT_OK),
              "%d chunks, status %d", p.n_chunks, (int)status);
    for (int i = 0; i < p.n_chunks * AT_CLIP_LENGTH; i++) {
        const at_prompt_chunk *c = &p.chunks[i / AT_CLIP_LENGTH];
        const int32_t id = c->ids[i % AT_CLIP_LENGTH];
        const float weight = c->weight[i % AT_CLIP_LENGTH];
        AT_ASSERT(id >= 0 && id < at_clip_tokenizer_size(t), "token %d", (int)id);
        AT_ASSERT(fabsf(weight) <= AT_PROMPT_WEIGHT_MAX, "weight %g", (double)weight);
        AT_ASSERT(weight == 1 || p.weighted, "weight %g", (double)weight);
        hidden[i] = (float)(i % 7) - 2;
    }
    at_prompt_weigh(&p, syntax, hidden, empty, 1);
    at_prompt_free(&p);
    return status;
}

/* By A1111 and, if it takes the prompt, by ComfyUI. */
at_status at_fuzz_syntax(const unsigned char *data, size_t bytes, at_error *err)
{
    at_clip_tokenizer *t = open_small(err);
    at_error inner = { AT_OK, "" };
    at_status status = read_prompt(t, AT_PROMPT_A1111, (const char *)data, bytes, err);
    const at_status other = read_prompt(t, AT_PROMPT_COMFY, (const char *)data, bytes, &inner);
    if (status == AT_OK && other != AT_OK)
        status = at_fail(err, other, "%s", inner.text);
    at_clip_tokenizer_free(t);
    return status;
}

/* --- recipes ---------------------------------------------------------------------------------- */

/* The request that a recipe holds, as a recipe again; adapters, which are files, aside. */
static char *write_again(at_recipe *r)
{
    char *json = NULL;
    at_error err;
    r->request.n_loras = 0;
    if (at_recipe_write(&json, NULL, &r->request, &r->facts, &err) != AT_OK)
        return NULL; /* longer than the limit: the writer escapes more */
    return json;
}

/* What was accepted means the same when it was written and read again. */
at_status at_fuzz_recipe(const unsigned char *data, size_t bytes, at_error *err)
{
    at_recipe r, again;
    at_status status = at_recipe_read(&r, (const char *)data, bytes, err);
    if (status != AT_OK)
        return status;
    char *first = write_again(&r), *second = NULL;
    at_recipe_free(&r);
    if (first) {
        status = at_recipe_read(&again, first, strlen(first), err);
        AT_ASSERT(status == AT_OK, "%s", err->text);
        second = write_again(&again);
        AT_ASSERT(second && !strcmp(first, second), "%s is not %s", first, second);
        at_recipe_free(&again);
    }
    free(first);
    free(second);
    return AT_OK;
}

at_status at_fuzz_parameters(const unsigned char *data, size_t bytes, at_error *err)
{
    at_parameters p;
    size_t all = 0;
    at_status status = at_parameters_read(&p, (const char *)data, bytes, err);
    if (status != AT_OK)
        return status;
    for (int i = 0; i < p.count; i++)
        all += strlen(p.items[i].name) + strlen(p.items[i].value);
    all += strlen(p.prompt) + (p.negative ? strlen(p.negative) : 0);
    AT_ASSERT(all <= bytes, "%zu bytes of %zu", all, bytes);
    at_parameters_free(&p);
    return AT_OK;
}
