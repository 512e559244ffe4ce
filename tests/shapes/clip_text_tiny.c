#include "tests/shapes/clip_text_tiny.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/plan.h"
#include "tests/shapes/sdxl_tiny.h"
#include "tests/told.h"

const at_clip_text_config clip_text_tiny[CLIP_TEXT_TINY] = {
    [CLIP_TEXT_QUICK] = { .vocabulary = 61,
                          .positions = 11,
                          .width = 39,
                          .inner = 53,
                          .layers = 3,
                          .heads = 3,
                          .end = 2,
                          .eps = 1e-5f,
                          .act = AT_ACT_QUICK_GELU },
    [CLIP_TEXT_GELU] = { .vocabulary = 97,
                         .positions = 7,
                         .width = 40,
                         .inner = 72,
                         .layers = 4,
                         .heads = 5,
                         .projection = 28,
                         .end = 90,
                         .eps = 1e-3f,
                         .act = AT_ACT_GELU },
};

static const char *const names[CLIP_TEXT_TINY] = { "quick", "gelu" };

enum { TEXTS = 3, VALUES_MAX = 2048 };

/* --- the golden file -------------------------------------------------------------------------- */

typedef struct golden {
    int count;
    double torch_bf16, values[VALUES_MAX];
} golden;

static void read_golden(golden *out, const char *name)
{
    char path[512], found[64];
    snprintf(path, sizeof path, "%s/tests/golden/clip_text.txt", AT_SOURCE_DIR);
    FILE *f = fopen(path, "r");
    AT_ASSERT(f, "%s cannot be read", path);
    while (fscanf(f, "%63s %d %lf", found, &out->count, &out->torch_bf16) == 3) {
        AT_ASSERT(out->count > 0 && out->count <= VALUES_MAX, "%s has %d values", found,
                  out->count);
        for (int i = 0; i < out->count; i++)
            AT_ASSERT(fscanf(f, "%lf", &out->values[i]) == 1, "%s ends early", found);
        if (!strcmp(found, name)) {
            fclose(f);
            return;
        }
    }
    AT_ASSERT(false, "%s is not in %s", name, path);
}

/* --- running ---------------------------------------------------------------------------------- */

typedef struct run {
    at_graph *graph;
    at_plan *plan;
    at_clip_text_io io;
} run;

static void compare(const run *r, at_tensor t, const char *model, clip_text_result *out)
{
    golden *g = malloc(sizeof *g);
    const at_view v = at_graph_view(r->graph, t);
    void *raw = malloc(at_view_bytes(&v));
    double off = 0, all = 0;
    at_error err;
    AT_ASSERT(g && raw, "no memory");
    snprintf(out->name, sizeof out->name, "%s.%s", model, at_graph_tensor(r->graph, t.id)->name);
    read_golden(g, out->name);
    AT_ASSERT(at_elements(&v) == g->count, "%s: %lld values, expected %d", out->name,
              (long long)at_elements(&v), g->count);
    test_must(at_plan_get(r->plan, t, raw, &err), &err);
    for (int i = 0; i < g->count; i++) {
        off += pow(at_load(raw, i, v.dtype) - g->values[i], 2);
        all += pow(g->values[i], 2);
    }
    out->error = sqrt(off / all);
    out->torch_bf16 = g->torch_bf16;
    free(raw);
    free(g);
}

/* A plan for the golden file's texts, which are set, with where they end. */
static void start(run *r, at_params *store, const at_clip_text *m, int which)
{
    const at_clip_text_config *c = &clip_text_tiny[which];
    int32_t ids[TEXTS * 16], ends[TEXTS];
    char name[32];
    golden *g = malloc(sizeof *g);
    at_error err = { 0 };
    AT_ASSERT(g, "no memory");
    snprintf(name, sizeof name, "%s.ids", names[which]);
    read_golden(g, name);
    AT_ASSERT(g->count % TEXTS == 0 && g->count <= (int)AT_COUNT(ids), "%d tokens", g->count);
    const int64_t tokens = g->count / TEXTS;
    for (int i = 0; i < g->count; i++)
        ids[i] = (int32_t)g->values[i];
    free(g);
    r->graph = at_graph_new();
    r->io = at_clip_text_describe(m, r->graph,
                                  (at_clip_text_wanted){ .batch = TEXTS,
                                                         .tokens = tokens,
                                                         .hidden = { 1, -2 },
                                                         .n_hidden = 2,
                                                         .last = true,
                                                         .pooled = !c->projection,
                                                         .embeds = c->projection > 0 });
    test_must(at_plan_new(&r->plan, at_params_device(store), store, r->graph, NULL, &err), &err);
    test_must(at_clip_text_ends(c, ends, ids, TEXTS, tokens, &err), &err);
    test_must(at_plan_set(r->plan, r->io.ids, ids, &err), &err);
    test_must(at_plan_set(r->plan, r->io.ends, ends, &err), &err);
}

void clip_text_tiny_run(at_device *d, int which, at_dtype dtype,
                        clip_text_result out[CLIP_TEXT_RESULTS])
{
    at_params *store = at_params_new(d);
    at_clip_text *m;
    at_error err = { 0 };
    run r;
    test_must(at_clip_text_new(&m, store, &clip_text_tiny[which], dtype, &err), &err);
    sdxl_tiny_fill(store);
    start(&r, store, m, which);
    for (int i = 0; i < 3; i++) /* plainly, captured, replayed */
        test_must(at_plan_run(r.plan, &err), &err);
    compare(&r, r.io.hidden[0], names[which], &out[0]);
    compare(&r, r.io.hidden[1], names[which], &out[1]);
    compare(&r, r.io.last, names[which], &out[2]);
    compare(&r, r.io.embeds.id ? r.io.embeds : r.io.pooled, names[which], &out[3]);
    at_plan_free(r.plan);
    at_graph_free(r.graph);
    at_clip_text_free(m);
    at_params_free(store);
}
