/* sdxl_names_test.c -- names of SDXL's tensors against lists of the published models
 * (reference/sdxl_names.py), the order in which model files hold them, and the tokenizers that are
 * written beside them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/clip_tokenizer_write.h"
#include "tests/shapes/sdxl_made.h"
#include "tests/shapes/sdxl_tiny.h"
#include "tests/told.h"
#include "tests/unit.h"

enum { PATH_BYTES = 512 };

/* --- names ------------------------------------------------------------------------------------ */

typedef struct digest {
    int lines;
    uint64_t sum;
} digest;

static void add_line(digest *d, const char *line)
{
    d->sum += sdxl_tiny_seed(line);
    d->lines++;
}

static void shape_text(char text[96], const int64_t *size, int rank)
{
    const at_stored_tensor t = { .size = size, .rank = (int16_t)rank };
    at_stored_shape_text(&t, text, 96);
}

/* The line that a list has for a tensor: both names, sizes, and those of the single file where the
 * list has them. */
static void add_pair(digest *d, at_sdxl_part part, const at_sdxl_wanted *w,
                     const at_sdxl_sizes *sizes)
{
    char line[2 * AT_TENSOR_NAME_MAX + 256], shape[96], other[96];
    const int64_t as_conv[] = { w->size[0], w->size[1], 1, 1 };
    at_sdxl_name name;
    assert_true(at_sdxl_name_single(&name, part, w->name, sizes));
    shape_text(shape, w->size, w->rank);
    shape_text(other, name.form == AT_SDXL_POINTWISE ? as_conv : w->size,
               name.form == AT_SDXL_POINTWISE ? 4 : w->rank);
    const bool both = part == AT_SDXL_VAE;
    snprintf(line, sizeof line, "%s\t%s%s\t%s%s%s", w->name, at_sdxl_prefix(part, 0), name.text,
             shape, both ? "\t" : "", both ? other : "");
    add_line(d, line);
}

static digest pairs_of(at_sdxl_part part, const at_sdxl_configs *c)
{
    const at_sdxl_sizes sizes = { &c->unet, &c->vae };
    at_sdxl_wanted_list wanted;
    at_error err = { 0 };
    digest d = { 0 };
    test_must(at_sdxl_wanted_of(&wanted, part, c, &err), &err);
    for (int i = 0; i < wanted.count; i++)
        add_pair(&d, part, &wanted.items[i], &sizes);
    at_sdxl_wanted_free(&wanted);
    return d;
}

/* Names of one layout alone. */
static digest names_of(const at_sdxl_configs *c, bool single)
{
    sdxl_made m = { 0 };
    char line[AT_TENSOR_NAME_MAX + 128], shape[96];
    digest d = { 0 };
    if (single)
        sdxl_made_single_part(&m, AT_SDXL_TEXT_2, c, AT_STORED_F16, false);
    else
        sdxl_made_part(&m, AT_SDXL_TEXT_2, c, AT_STORED_F16);
    for (int i = 0; i < m.list.count; i++) {
        at_stored_shape_text(&m.list.items[i], shape, sizeof shape);
        snprintf(line, sizeof line, "%s\t%s", m.list.items[i].name, shape);
        add_line(&d, line);
    }
    sdxl_made_free(&m);
    return d;
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

static void names_are_those_of_the_lists(void **state)
{
    const at_sdxl_configs base = published(false), refiner = published(true);
    const digest found[] = {
        pairs_of(AT_SDXL_UNET, &base), pairs_of(AT_SDXL_UNET, &refiner),
        pairs_of(AT_SDXL_VAE, &base),  pairs_of(AT_SDXL_TEXT_1, &base),
        names_of(&base, false),        names_of(&base, true),
    };
    char text[1024], name[64];
    unsigned long long sum;
    int lines, used, n = 0;
    (void)state;
    read_golden("sdxl_names.txt", text, sizeof text);
    for (const char *at = text; sscanf(at, "%63s %d %llx %n", name, &lines, &sum, &used) == 3;
         at += used, n++) {
        assert_true(n < (int)AT_COUNT(found));
        if (found[n].lines != lines || found[n].sum != sum)
            fail_msg("%s: %d lines of sum %016llx, expected %d of %016llx", name, found[n].lines,
                     (unsigned long long)found[n].sum, lines, sum);
    }
    assert_int_equal(n, AT_COUNT(found));
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* No two tensors share a name in a single file but the thirds of one: the names lead back. */
static void names_lead_back(void **state)
{
    static char names[2048][AT_TENSOR_NAME_MAX + 8];
    static const char *sorted[2048];
    const at_sdxl_configs base = published(false);
    const at_sdxl_sizes sizes = { &base.unet, &base.vae };
    (void)state;
    for (int part = 0; part < AT_SDXL_PARTS; part++) {
        at_sdxl_wanted_list wanted;
        at_sdxl_name name;
        at_error err = { 0 };
        test_must(at_sdxl_wanted_of(&wanted, (at_sdxl_part)part, &base, &err), &err);
        for (int i = 0; i < wanted.count; i++) {
            assert_true(
                at_sdxl_name_single(&name, (at_sdxl_part)part, wanted.items[i].name, &sizes));
            snprintf(names[i], sizeof names[i], "%s %d", name.text, (int)name.form);
            sorted[i] = names[i];
        }
        qsort(sorted, (size_t)wanted.count, sizeof *sorted, compare_texts);
        for (int i = 1; i < wanted.count; i++)
            assert_string_not_equal(sorted[i - 1], sorted[i]);
        at_sdxl_wanted_free(&wanted);
    }
}

/* --- the order of a model file ---------------------------------------------------------------- */

static int place_of(const at_sdxl_wanted_list *list, const char *name)
{
    for (int i = 0; i < list->count; i++)
        if (!strcmp(list->items[i].name, name))
            return i;
    fail_msg("%s is not there", name);
    return -1;
}

static void what_is_computed_as_one_lies_side_by_side(void **state)
{
    static const char *const unet[] = {
        "up_blocks.1.attentions.2.transformer_blocks.1.attn1.to_q.weight",
        "up_blocks.1.attentions.2.transformer_blocks.1.attn1.to_k.weight",
        "up_blocks.1.attentions.2.transformer_blocks.1.attn1.to_v.weight",
    };
    static const char *const times[] = { "down_blocks.0.resnets.0.time_emb_proj.weight",
                                         "down_blocks.0.resnets.1.time_emb_proj.weight" };
    static const char *const clip[] = { "text_model.encoder.layers.1.self_attn.k_proj.weight",
                                        "text_model.encoder.layers.1.self_attn.v_proj.weight",
                                        "text_model.encoder.layers.1.self_attn.q_proj.weight" };
    at_sdxl_wanted_list w;
    at_error err = { 0 };
    (void)state;
    test_must(at_sdxl_wanted_of(&w, AT_SDXL_UNET, &sdxl_made_configs, &err), &err);
    assert_int_equal(place_of(&w, unet[1]), place_of(&w, unet[0]) + 1);
    assert_int_equal(place_of(&w, unet[2]), place_of(&w, unet[0]) + 2);
    assert_int_equal(place_of(&w, times[1]), place_of(&w, times[0]) + 1);
    at_sdxl_wanted_free(&w);
    test_must(at_sdxl_wanted_of(&w, AT_SDXL_TEXT_2, &sdxl_made_configs, &err), &err);
    assert_int_equal(place_of(&w, clip[1]), place_of(&w, clip[0]) + 1);
    assert_int_equal(place_of(&w, clip[2]), place_of(&w, clip[0]) + 2);
    at_sdxl_wanted_free(&w);
}

/* --- tokenizers ------------------------------------------------------------------------------- */

static void written_tokenizers_are_those_that_are_built_in(void **state)
{
    static const char prompt[] =
        "A photo! of 12 cats, naïve \xf0\x9f\x98\x80 don't <|endoftext|> ok";
    (void)state;
    for (int which = AT_CLIP_SDXL_1; which <= AT_CLIP_SDXL_2; which++) {
        char *text[AT_CLIP_WRITTEN_COUNT];
        size_t bytes[AT_CLIP_WRITTEN_COUNT];
        at_clip_tokenizer *built, *read;
        at_error err = { 0 };
        int32_t a[AT_CLIP_LENGTH], b[AT_CLIP_LENGTH];
        for (int i = 0; i < AT_CLIP_WRITTEN_COUNT; i++)
            test_must(at_clip_tokenizer_write(&text[i], &bytes[i], (at_clip_builtin)which,
                                              (at_clip_written)i, &err),
                      &err);
        const at_clip_files files = {
            .vocab = { text[AT_CLIP_WRITTEN_VOCAB], bytes[AT_CLIP_WRITTEN_VOCAB] },
            .merges = { text[AT_CLIP_WRITTEN_MERGES], bytes[AT_CLIP_WRITTEN_MERGES] },
            .config = { text[AT_CLIP_WRITTEN_CONFIG], bytes[AT_CLIP_WRITTEN_CONFIG] },
            .special = { text[AT_CLIP_WRITTEN_SPECIAL], bytes[AT_CLIP_WRITTEN_SPECIAL] },
        };
        test_must(at_clip_tokenizer_open(&read, &files, &err), &err);
        test_must(at_clip_tokenizer_builtin(&built, (at_clip_builtin)which, &err), &err);
        assert_int_equal(at_clip_tokenizer_size(read), at_clip_tokenizer_size(built));
        test_must(at_clip_tokenizer_encode(read, a, AT_CLIP_LENGTH, NULL, prompt, sizeof prompt - 1,
                                           &err),
                  &err);
        test_must(at_clip_tokenizer_encode(built, b, AT_CLIP_LENGTH, NULL, prompt,
                                           sizeof prompt - 1, &err),
                  &err);
        assert_memory_equal(a, b, sizeof a);
        at_clip_tokenizer_free(read);
        at_clip_tokenizer_free(built);
        for (int i = 0; i < AT_CLIP_WRITTEN_COUNT; i++)
            free(text[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_those_of_the_lists),
        cmocka_unit_test(names_lead_back),
        cmocka_unit_test(what_is_computed_as_one_lies_side_by_side),
        cmocka_unit_test(written_tokenizers_are_those_that_are_built_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
