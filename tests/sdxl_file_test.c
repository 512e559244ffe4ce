/* sdxl_file_test.c -- model files of SDXL's kind: what is there, what is missing or wrong, and
 * weights on their way into memory, in every type and order that a file may have. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/checkpoint.h"
#include "models/sdxl.h"
#include "tests/shapes/sdxl_model.h"
#include "tests/shapes/sdxl_tiny.h"
#include "tests/told.h"
#include "tests/unit.h"

enum { PATH_ROOM = 64, NAME_ROOM = 192 };

#define BOTH "\"hidden_act\": \"gelu\", \"num_hidden_layers\": 2, \"num_attention_heads\": 2, "

/* Squares of these widths fill whole pages in f32. */
static const char *const configs[AT_SDXL_PARTS] = {
    "{\"architectures\": [\"CLIPTextModel\"], " BOTH
    "\"hidden_size\": 16, \"intermediate_size\": 24, \"vocab_size\": 50}",
    "{\"architectures\": [\"CLIPTextModelWithProjection\"], " BOTH
    "\"hidden_size\": 32, \"intermediate_size\": 40, \"vocab_size\": 50, \"projection_dim\": 24}",
    "{\"block_out_channels\": [32, 64], \"down_block_types\": [\"DownBlock2D\", "
    "\"CrossAttnDownBlock2D\"], \"up_block_types\": [\"CrossAttnUpBlock2D\", \"UpBlock2D\"], "
    "\"layers_per_block\": 1, \"attention_head_dim\": [2, 4], \"cross_attention_dim\": 48, "
    "\"addition_embed_type\": \"text_time\", \"addition_time_embed_dim\": 8, "
    "\"projection_class_embeddings_input_dim\": 72, \"use_linear_projection\": true}",
    "{\"block_out_channels\": [32], \"down_block_types\": [\"DownEncoderBlock2D\"], "
    "\"up_block_types\": [\"UpDecoderBlock2D\"], \"latent_channels\": 4}",
};

#define QKV  "mid_block.attentions.0.transformer_blocks.0.attn1.to_qkv.weight"
#define KEY  "mid_block.attentions.0.transformer_blocks.0.attn1.to_k.weight"
#define SKIP "up_blocks.0.resnets.0.conv_shortcut.weight"

/* How a file differs from a whole one of f32. */
typedef struct unlike {
    at_stored type;           /* AT_STORED_NONE: f32 */
    bool backwards;           /* its tensors lie in the reverse order */
    const char *without;      /* this tensor, or all that begin with it */
    const char *renamed, *to; /* a tensor under another name */
    const char *longer;       /* a tensor with a row more */
    const char *strange;      /* a tensor of i32 */
    const char *no_text;
    const char *index; /* model_index.json */
    const char *unet;  /* another config */
} unlike;

typedef struct setting {
    char folder[PATH_ROOM], file[PATH_ROOM * 2];
    at_device *device;
} setting;

/* --- files ------------------------------------------------------------------------------------ */

static bool is(const char *name, const char *wanted)
{
    return wanted && !strcmp(name, wanted);
}

static void add_tensor(at_tensors *list, const unlike *u, int part, const at_param *p)
{
    char name[NAME_ROOM];
    int64_t size[AT_RANK_MAX];
    at_error err;
    snprintf(name, sizeof name, "%s.%s", at_sdxl_part_name((at_sdxl_part)part), p->name);
    if (u->without && !strncmp(name, u->without, strlen(u->without)))
        return;
    memcpy(size, p->view.size, sizeof size);
    size[0] += is(name, u->longer);
    at_stored_tensor t = { .size = size, .rank = (int16_t)p->view.rank };
    t.type = is(name, u->strange) ? AT_STORED_I32 : u->type ? u->type : AT_STORED_F32;
    t.bytes = at_stored_about(t.type)->bytes;
    for (int a = 0; a < t.rank; a++)
        t.bytes *= (uint64_t)size[a];
    const char *shown = is(name, u->renamed) ? u->to : name;
    test_must(at_tensors_add(list, &t, shown, strlen(shown), &err), &err);
}

static void add_text(at_tensors *list, const unlike *u, const char *name, const char *text)
{
    at_error err;
    if (text && !is(name, u->no_text))
        test_must(at_tensors_add_text(list, name, strlen(name), text, strlen(text), &err), &err);
}

static void fill_list(at_tensors *list, const unlike *u)
{
    sdxl_model d = sdxl_model_describe(configs);
    char name[NAME_ROOM];
    at_error err;
    for (int k = 0; k < AT_SDXL_PARTS; k++) {
        const int part = u->backwards ? AT_SDXL_PARTS - 1 - k : k,
                  count = sdxl_model_count(&d, part);
        for (int i = 0; i < count; i++)
            add_tensor(list, u, part, sdxl_model_param(&d, part, u->backwards ? count - 1 - i : i));
        snprintf(name, sizeof name, "%s/config.json", at_sdxl_part_name((at_sdxl_part)part));
        add_text(list, u, name, part == AT_SDXL_UNET && u->unet ? u->unet : configs[part]);
    }
    add_text(list, u, "model_index.json", u->index);
    test_must(at_tensors_finish(list, &err), &err);
    sdxl_model_end(&d);
}

/* Weights that follow from their names. */
static void *values_of(const at_stored_tensor *t)
{
    const at_dtype dtype = at_stored_about(t->type)->dtype;
    const int64_t n = (int64_t)(t->bytes / at_dtype_bytes(dtype));
    return sdxl_tiny_numbers(dtype, n, 1, 0, sdxl_tiny_seed(t->name));
}

static void write_file(const setting *s, unlike u)
{
    at_tensors list = { 0 };
    at_checkpoint_writer *w;
    at_error err;
    fill_list(&list, &u);
    test_must(at_checkpoint_writer_new(&w, s->file, &list, &err), &err);
    for (int i = 0; i < list.count; i++) {
        void *values = values_of(&list.items[i]);
        test_must(at_checkpoint_write(w, i, 0, values, (size_t)list.items[i].bytes, &err), &err);
        free(values);
    }
    test_must(at_checkpoint_writer_finish(w, &err), &err);
    at_checkpoint_writer_free(w);
    at_tensors_free(&list);
}

static int setup(void **state)
{
    setting *s = calloc(1, sizeof *s);
    at_error err;
    AT_ASSERT(s, "no memory");
    snprintf(s->folder, sizeof s->folder, "/tmp/atelier-sdxl-XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    snprintf(s->file, sizeof s->file, "%s/model.h5", s->folder);
    test_must(at_device_open(&s->device, "cpu", &(at_device_options){ .threads = 2 }, &err), &err);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    setting *s = *state;
    at_device_close(s->device);
    unlink(s->file);
    rmdir(s->folder);
    free(s);
    return 0;
}

static at_sdxl *open_model(const setting *s, unlike u)
{
    at_sdxl *m;
    at_error err;
    write_file(s, u);
    test_must(at_sdxl_open(&m, s->file, s->device, NULL, &err), &err);
    return m;
}

/* --- weights ---------------------------------------------------------------------------------- */

/* Adds 1 to one tensor. */
static bool touches(void *context, const char *name)
{
    return !strcmp(name, context);
}

static at_status add_one(void *context, const char *name, float *w, int64_t elements, at_error *err)
{
    (void)err;
    assert_string_equal(name, context);
    for (int64_t i = 0; i < elements; i++)
        w[i] += 1;
    return AT_OK;
}

/* What the file has, as the type of the parameter; 'more' is added before it is rounded. */
static void holds(at_params *store, const at_param *p, const char *part, at_dtype from, float more)
{
    char name[NAME_ROOM];
    const int64_t n = at_elements(&p->view);
    snprintf(name, sizeof name, "%s.%s", part, p->name);
    void *expected = sdxl_tiny_numbers(from, n, 1, 0, sdxl_tiny_seed(name));
    void *found = malloc(at_view_bytes(&p->view));
    AT_ASSERT(found, "no memory");
    at_param_download(store, p, found);
    for (int64_t i = 0; i < n; i++) {
        double one;
        at_store(&one, 0, p->view.dtype, (double)((float)at_load(expected, i, from) + more));
        if (at_load(found, i, p->view.dtype) != at_load(&one, 0, p->view.dtype))
            fail_msg("%s, element %lld: %g, expected %g", name, (long long)i,
                     at_load(found, i, p->view.dtype), at_load(&one, 0, p->view.dtype));
    }
    free(expected);
    free(found);
}

static void check_weights(at_sdxl *m, at_sdxl_part part, at_dtype from, const char *changed)
{
    sdxl_model d = sdxl_model_describe(configs);
    at_params *store = at_sdxl_store(m, part);
    for (int i = 0; i < sdxl_model_count(&d, (int)part); i++) {
        const char *name = sdxl_model_param(&d, (int)part, i)->name;
        const at_param *p = at_params_named(store, name);
        assert_non_null(p);
        holds(store, p, at_sdxl_part_name(part), from, is(name, changed));
    }
    sdxl_model_end(&d);
}

static void load(at_sdxl *m, at_sdxl_part part, at_dtype dtype, const at_weight_change *change)
{
    at_error err;
    test_must(at_sdxl_load(m, part, dtype, change, &err), &err);
    assert_int_equal(at_sdxl_dtype(m, part), dtype);
}

static bool is_lent(at_sdxl *m, const char *name)
{
    const at_param *p = at_params_named(at_sdxl_store(m, AT_SDXL_UNET), name);
    assert_non_null(p);
    return p->storage->lent;
}

static void weights_stay_where_they_lie(void **state)
{
    at_sdxl *m = open_model(*state, (unlike){ 0 });
    load(m, AT_SDXL_UNET, AT_F32, NULL);
    assert_true(is_lent(m, "conv_in.weight"));
    assert_true(is_lent(m, QKV));
    assert_true(is_lent(m, KEY));
    assert_false(is_lent(m, SKIP));
    assert_false(is_lent(m, "time_emb_proj.bias"));
    check_weights(m, AT_SDXL_UNET, AT_F32, NULL);
    at_sdxl_drop(m, AT_SDXL_UNET);
    assert_null(at_sdxl_store(m, AT_SDXL_UNET));
    assert_null(at_sdxl_unet_of(m));
    load(m, AT_SDXL_UNET, AT_F32, NULL);
    check_weights(m, AT_SDXL_UNET, AT_F32, NULL);
    at_sdxl_close(m);
}

static void what_lies_apart_is_copied(void **state)
{
    at_sdxl *m = open_model(*state, (unlike){ .backwards = true });
    load(m, AT_SDXL_UNET, AT_F32, NULL);
    assert_true(is_lent(m, "conv_in.weight"));
    assert_false(is_lent(m, QKV));
    check_weights(m, AT_SDXL_UNET, AT_F32, NULL);
    at_sdxl_close(m);
}

static void every_type_is_converted(void **state)
{
    static const at_stored from[] = { AT_STORED_F32, AT_STORED_BF16, AT_STORED_F16 };
    static const at_dtype to[] = { AT_F32, AT_BF16 };
    for (size_t i = 0; i < AT_COUNT(from); i++) {
        at_sdxl *m = open_model(*state, (unlike){ .type = from[i] });
        for (size_t k = 0; k < AT_COUNT(to); k++)
            for (int part = 0; part < AT_SDXL_PARTS; part++) {
                load(m, (at_sdxl_part)part, to[k], NULL);
                check_weights(m, (at_sdxl_part)part, at_stored_about(from[i])->dtype, NULL);
                at_sdxl_drop(m, (at_sdxl_part)part);
            }
        at_sdxl_close(m);
    }
}

static void changes_are_added(void **state)
{
    static char *const names[] = { "unet." KEY, "unet." SKIP, "unet.conv_out.bias" };
    static const at_stored from[] = { AT_STORED_F32, AT_STORED_F16, AT_STORED_BF16 };
    for (size_t i = 0; i < AT_COUNT(names); i++) {
        at_sdxl *m = open_model(*state, (unlike){ .type = from[i] });
        const at_weight_change change = { touches, add_one, names[i] };
        for (int k = 0; k < 2; k++) {
            load(m, AT_SDXL_UNET, k ? AT_F32 : AT_BF16, &change);
            assert_false(is_lent(m, names[i] + strlen("unet.")));
            check_weights(m, AT_SDXL_UNET, at_stored_about(from[i])->dtype,
                          names[i] + strlen("unet."));
            at_sdxl_drop(m, AT_SDXL_UNET);
        }
        at_sdxl_close(m);
    }
}

/* --- what a file says ------------------------------------------------------------------------- */

static void a_model_is_described(void **state)
{
    at_sdxl *m = open_model(*state, (unlike){ 0 });
    const at_sdxl_about *a = at_sdxl_about_of(m);
    for (int i = 0; i < AT_SDXL_PARTS; i++)
        assert_true(a->has[i]);
    assert_int_equal(a->unet.pooled, 24);
    assert_int_equal(a->unet.sizes, 6);
    assert_int_equal(a->vae.latent, 4);
    assert_true(a->zeros_for_no_negative);
    assert_false(a->asks_aesthetics_score);
    assert_int_equal(a->scheduler_bytes, strlen(a->scheduler));
    assert_non_null(at_sdxl_tokenizer(m, 0));
    assert_non_null(at_sdxl_tokenizer(m, 1));
    assert_int_equal(strlen(at_sdxl_hash(m)), 16);
    at_sdxl_close(m);
}

static void a_refiner_has_one_encoder(void **state)
{
    at_sdxl *m = open_model(
        *state, (unlike){ .without = "text_encoder.",
                          .index = "{\"requires_aesthetics_score\": true, "
                                   "\"force_zeros_for_empty_prompt\": false, \"vae\": []}" });
    const at_sdxl_about *a = at_sdxl_about_of(m);
    at_error err;
    assert_false(a->has[AT_SDXL_TEXT_1]);
    assert_true(a->has[AT_SDXL_TEXT_2]);
    assert_false(a->zeros_for_no_negative);
    assert_true(a->asks_aesthetics_score);
    assert_null(at_sdxl_tokenizer(m, 0));
    assert_int_equal(at_sdxl_load(m, AT_SDXL_TEXT_1, AT_F32, NULL, &err), AT_NOT_FOUND);
    assert_non_null(strstr(err.text, "has no text_encoder"));
    at_sdxl_close(m);
}

/* The width of the pooled text is what the sizes leave. */
static void a_unet_stands_alone(void **state)
{
    at_sdxl *m = open_model(*state, (unlike){ .without = "text_encoder" });
    assert_int_equal(at_sdxl_about_of(m)->unet.pooled, 24);
    at_sdxl_close(m);
    m = open_model(*state, (unlike){ .without = "text_encoder",
                                     .index = "{\"requires_aesthetics_score\": true}" });
    assert_int_equal(at_sdxl_about_of(m)->unet.pooled, 32);
    assert_int_equal(at_sdxl_about_of(m)->unet.sizes, 5);
    at_sdxl_close(m);
}

static void a_hash_names_weights(void **state)
{
    char first[17];
    at_sdxl *m = open_model(*state, (unlike){ 0 });
    snprintf(first, sizeof first, "%s", at_sdxl_hash(m));
    at_sdxl_close(m);
    m = open_model(*state, (unlike){ .backwards = true, .index = "{}" });
    assert_string_equal(at_sdxl_hash(m), first);
    at_sdxl_close(m);
    m = open_model(*state, (unlike){ .type = AT_STORED_F16 });
    assert_string_not_equal(at_sdxl_hash(m), first);
    at_sdxl_close(m);
}

static void wrong_files_are_refused(void **state)
{
    static const struct {
        unlike u;
        const char *said;
    } cases[] = {
        { { .without = "unet.conv_in.weight" }, "'unet.conv_in.weight' is missing" },
        { { .without = "vae.decoder.conv_out.b" }, "'vae.decoder.conv_out.bias' is missing" },
        { { .renamed = "unet.conv_in.bias", .to = "unet.conv_in.biases" }, "is missing" },
        { { .renamed = "text_encoder.text_model.final_layer_norm.bias",
            .to = "text_encoder.text_model.embeddings.position_ids" },
          "'text_encoder.text_model.final_layer_norm.bias' is missing" },
        { { .renamed = "vae.quant_conv.bias", .to = "unet.quant_conv.bias" },
          "'unet.quant_conv.bias' is none of a unet of this config" },
        { { .longer = "unet." KEY }, "attn1.to_k.weight' is 65x64: expected 64x64" },
        { { .strange = "vae.quant_conv.weight" }, "is of type i32: expected f32, bf16 or f16" },
        { { .no_text = "vae/config.json" }, "no text 'vae/config.json'" },
        { { .index = "{\"force_zeros_for_empty_prompt\": 3}" }, "model_index.json: " },
        { { .index = "[" }, "model_index.json: " },
        { { .unet = "{\"in_channels\": null}" }, "unet/config.json: " },
        { { .without = "" }, "no model of SDXL's kind" },
    };
    const setting *s = *state;
    for (size_t i = 0; i < AT_COUNT(cases); i++) {
        at_sdxl *m;
        at_error err = { 0 };
        write_file(s, cases[i].u);
        assert_int_not_equal(at_sdxl_open(&m, s->file, s->device, NULL, &err), AT_OK);
        assert_null(m);
        if (!strstr(err.text, cases[i].said) || !strstr(err.text, s->file))
            fail_msg("case %zu: expected '%s', got '%s'", i, cases[i].said, err.text);
    }
}

/* A byte in the middle of the weights. */
static void damage_is_found(void **state)
{
    const setting *s = *state;
    at_sdxl *m = open_model(s, (unlike){ 0 });
    at_error err = { 0 };
    FILE *f = fopen(s->file, "r+b");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    fseek(f, ftell(f) / 3, SEEK_SET);
    fputs("damaged", f);
    fclose(f);
    bool found = false;
    for (int i = 0; i < AT_SDXL_PARTS; i++)
        if (at_sdxl_load(m, (at_sdxl_part)i, AT_F32, NULL, &err) != AT_OK) {
            found = true;
            assert_non_null(strstr(err.text, "is damaged"));
            assert_null(at_sdxl_store(m, (at_sdxl_part)i));
        }
    assert_true(found);
    at_sdxl_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_is_described),      cmocka_unit_test(a_refiner_has_one_encoder),
        cmocka_unit_test(a_unet_stands_alone),       cmocka_unit_test(a_hash_names_weights),
        cmocka_unit_test(wrong_files_are_refused),   cmocka_unit_test(weights_stay_where_they_lie),
        cmocka_unit_test(what_lies_apart_is_copied), cmocka_unit_test(every_type_is_converted),
        cmocka_unit_test(changes_are_added),         cmocka_unit_test(damage_is_found),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
