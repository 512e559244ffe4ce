/* cudnn_engines_test.c -- the real cuDNN is asked about every graph that our variants make, on a
 * machine without a GPU: cudnn_engines_test [--write].
 *
 * The library takes the properties of a GPU (golden/h200.json) in its place. It then checks graphs,
 * offers engines, and makes plans of those that were compiled long ago; what it compiles at run
 * time gets as far as loading the code, for which there is no driver.
 *
 * The answers are compared with golden/cudnn-engines-VERSION.md, which --write writes. With a
 * version that has no table there, numbers may be others, but a graph that was accepted must be
 * accepted. The last part of the table are graphs that are broken on purpose. */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cuda_libraries.h"
#include "kernels/attention_cudnn.h"
#include "kernels/conv2d_cudnn.h"

enum { LINE = 512, TABLE = 1 << 16, TRIED = 2, ROWS_MAX = 256 };
enum { OUTPUTS = 1, LARGE = 2 };

/* --- what is asked ---------------------------------------------------------------------------- */

static const struct graph {
    const char *part, *op;
    at_dtype dtype;
    int flags;
    const char *batches, *text;
} graphs[] = {
#define AT_GRAPH(part, op, DTYPE, flags, batches, text) \
    { part, #op, AT_##DTYPE, flags, batches, text },
#include "tests/cudnn_graphs.def"
#undef AT_GRAPH
};

static const struct {
    const char *op;
    at_cudnn_describe_fn *describe;
} describers[] = {
    { "conv2d", at_conv2d_cudnn_describe },
    { "conv2d_dgrad", at_conv2d_dgrad_cudnn_describe },
    { "conv2d_wgrad", at_conv2d_wgrad_cudnn_describe },
    { "attention", at_attention_cudnn_describe },
    { "attention_bwd", at_attention_bwd_cudnn_describe },
};

static at_cudnn_describe_fn *describer_of(const char *op)
{
    for (size_t i = 0; i < AT_COUNT(describers); i++)
        if (!strcmp(describers[i].op, op))
            return describers[i].describe;
    return NULL;
}

/* The library's row of an op's table. */
static const at_variant *variant_of(const at_op *op)
{
    for (int i = 0; i < op->n_variants; i++)
        if (op->variants[i].needs == AT_CAP_MASK(CUDNN))
            return &op->variants[i];
    return NULL;
}

/* --- asking ----------------------------------------------------------------------------------- */

typedef struct answer {
    bool own, refused; /* left to own kernels; by the library */
    int offered, usable, compiled, tried, made;
    bool loads;       /* what is compiled was, and stopped where a driver is needed */
    const char *kept; /* the choice of another batch, if there is one ... */
    bool again;       /* ... can be made at this */
    size_t workspace;
    char choice[AT_CHOICE_MAX];
    at_error err;
} answer;

/* Makes plans of the first precompiled engines; of the first one if there are none. */
static void try_engines(at_cudnn_graph *g, const at_cudnn_engines *e, answer *out)
{
    for (int i = 0; i < e->n; i++)
        out->compiled += e->list[i].compiled;
    for (int i = 0; i < e->n && out->tried < TRIED; i++) {
        if (e->list[i].compiled)
            continue;
        out->tried++;
        if (at_cudnn_plan(g, e->list[i].choice, SIZE_MAX) != AT_OK)
            continue;
        if (!out->made++) {
            out->workspace = g->workspace;
            memcpy(out->choice, e->list[i].choice, sizeof out->choice);
        }
    }
    if (e->n && !out->tried) {
        out->workspace = e->list[0].workspace;
        if (at_cudnn_plan(g, e->list[0].choice, SIZE_MAX) != AT_OK)
            out->loads = strstr(out->err.text, "cuLibraryLoadData") != NULL;
    }
    if (out->kept)
        out->again = at_cudnn_plan(g, out->kept, SIZE_MAX) == AT_OK;
}

/* Of a described graph, which it frees. */
static void ask(at_cudnn_graph *g, answer *out)
{
    at_cudnn_engines *e = malloc(sizeof *e);
    AT_ASSERT(e, "no memory");
    out->refused = at_cudnn_graph_end(g) != AT_OK ||
                   at_cudnn_engines_of(g, AT_WORKSPACE_MAX, e) != AT_OK || e->offered == 0;
    if (!out->refused) {
        out->offered = e->offered;
        out->usable = e->n;
        try_engines(g, e, out);
    }
    at_cudnn_graph_free(g);
    free(e);
}

/* --- broken graphs ---------------------------------------------------------------------------- */

/* 640 -> 640 at 64x64 with the bias before the residual and SiLU instead of relu. */
static void bias_first_silu(at_cudnn_graph *g)
{
    enum { X = 1, W, Y, RESIDUAL, BIAS };
    const at_conv c = { .ci = 640, .co = 640, .kh = 3, .kw = 3 };
    const at_cudnn_window window = { { 1, 1 }, { 1, 1 }, { 1, 1 } };
    const at_view picture = at_view_of(AT_BF16, 4, (const int64_t[]){ 2, 64, 64, 640 });
    const int64_t size[] = { 2, 640, 64, 64 };
    at_cudnn_tensor bias = { .id = BIAS, .dtype = AT_BF16, .size = { 1, 640, 1, 1 } };
    at_cudnn_strides_nhwc(&bias);
    at_cudnn_descriptor sums = at_cudnn_add_virtual(g, AT_F32, size);
    at_cudnn_descriptor biased = at_cudnn_add_virtual(g, AT_F32, size);
    at_cudnn_descriptor added = at_cudnn_add_virtual(g, AT_F32, size);
    at_cudnn_add_convolution(g, AT_CUDNN_FORWARD, &window, at_cudnn_add_picture(g, X, &picture),
                             at_cudnn_add_filter(g, W, AT_BF16, &c), sums);
    at_cudnn_add_pointwise(g, AT_CUDNN_POINTWISE_ADD, sums, at_cudnn_add_tensor(g, &bias), biased);
    at_cudnn_add_pointwise(g, AT_CUDNN_POINTWISE_ADD, biased,
                           at_cudnn_add_picture(g, RESIDUAL, &picture), added);
    at_cudnn_add_pointwise(g, AT_CUDNN_POINTWISE_SWISH_FWD, added, NULL,
                           at_cudnn_add_picture(g, Y, &picture));
}

/* The gradient of 640 -> 640 at 64x64 by the weights, to f32 without an operation after it. */
static void wgrad_to_f32(at_cudnn_graph *g)
{
    enum { X = 1, W, Y };
    const at_conv c = { .ci = 640, .co = 640, .kh = 3, .kw = 3 };
    const at_cudnn_window window = { { 1, 1 }, { 1, 1 }, { 1, 1 } };
    const at_view picture = at_view_of(AT_BF16, 4, (const int64_t[]){ 2, 64, 64, 640 });
    at_cudnn_add_convolution(
        g, AT_CUDNN_FILTER_GRADIENT, &window, at_cudnn_add_picture(g, X, &picture),
        at_cudnn_add_filter(g, W, AT_F32, &c), at_cudnn_add_picture(g, Y, &picture));
}

/* Attention to a mask of its own: scores pass through a graph, which the operation has from 9.21
 * on. */
static void masked_attention(at_cudnn_graph *g)
{
    enum { HEADS = 10, SUBGRAPH = 2811 };
    const int64_t size[] = { 2, 4096, 640 };
    at_attention_args a = { .heads = HEADS };
    a.q = a.k = a.v = a.o = at_view_of(AT_BF16, 3, size);
    at_attention_cudnn_describe(g, &a);
    at_cudnn_descriptor mask = g->operations[0];
    if (g->status == AT_OK && g->library->set(mask, SUBGRAPH, AT_CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                                              &mask) != AT_CUDNN_STATUS_SUCCESS)
        g->status = at_fail(g->err, AT_UNSUPPORTED, "there is no mask");
}

/* 'of': the graph of ours that it would be without the fault. */
static const struct {
    const char *name;
    void (*describe)(at_cudnn_graph *g);
    const char *op, *of;
} broken[] = {
    { "bias before residual, SiLU", bias_first_silu, "conv2d",
      "x=2,64,64,640 w=640,640,3,3 bias=640 residual=2,64,64,640 pad=1,1,1,1" },
    { "weight gradient straight to f32", wgrad_to_f32, "conv2d_wgrad",
      "dy=2,64,64,640 x=2,64,64,640 kernel=3,3 pad=1,1,1,1" },
    { "a mask of scores", masked_attention, "attention",
      "q=2,4096,640 k=2,4096,640 v=2,4096,640 heads=10" },
};

/* --- the table -------------------------------------------------------------------------------- */

typedef struct table {
    at_cudnn *library;
    char text[TABLE];
    size_t used;
    int rows, failures;
} table;

__attribute__((format(printf, 2, 3))) static void put(table *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->text + t->used, sizeof t->text - t->used, format, args);
    va_end(args);
    AT_ASSERT(n >= 0 && (size_t)n < sizeof t->text - t->used, "the table is too long");
    t->used += (size_t)n;
}

__attribute__((format(printf, 2, 3))) static void fail(table *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("FAIL cudnn_engines: ");
    vprintf(format, args);
    putchar('\n');
    va_end(args);
    t->failures++;
}

static void put_answer(table *t, const char *name, const answer *a)
{
    put(t, "| %s | ", name);
    if (a->own)
        put(t, "own kernels | | | | | | |\n");
    else if (a->refused)
        put(t, "refused | | | | | | |\n");
    else if (a->tried)
        put(t, "%d | %d | %d | %d of %d | %zu | %s | %s |\n", a->offered, a->usable, a->compiled,
            a->made, a->tried, a->workspace, a->choice,
            !a->kept   ? ""
            : a->again ? "yes"
                       : "no");
    else
        put(t, "%d | %d | %d | %s | %zu | | |\n", a->offered, a->usable, a->compiled,
            !a->usable ? "none"
            : a->loads ? "compiled"
                       : "not compiled",
            a->workspace);
    t->rows++;
}

/* Our own graph for these args. */
static answer ask_args(table *t, const char *name, at_dtype dtype, int flags, const char *text,
                       const char *kept)
{
    const at_op *op = at_op_named(name);
    const at_variant *v = variant_of(op);
    _Alignas(16) unsigned char args[AT_ARGS_MAX];
    at_cudnn_graph g;
    answer a = { .kept = kept };
    AT_ASSERT(v, "%s has no variant of cuDNN", name);
    at_status status = at_args_parse(op, text, dtype, args, &a.err);
    if (status == AT_OK)
        status = at_op_shape(op, args, flags & OUTPUTS ? UINT32_MAX : 0, &a.err);
    AT_ASSERT(status == AT_OK, "%s: %s", text, a.err.text);
    a.own = !v->fits(args);
    if (a.own)
        return a;
    at_cudnn_graph_begin(&g, t->library, &a.err);
    describer_of(name)(&g, args);
    ask(&g, &a);
    return a;
}

/* 'text' with the batch in place of every B. */
static void fill_batch(char *out, const char *text, int batch)
{
    size_t used = 0;
    for (; *text; text++)
        used += (size_t)(*text == 'B' ? snprintf(out + used, LINE - used, "%d", batch)
                                      : snprintf(out + used, LINE - used, "%c", *text));
}

static void ask_graph(table *t, const struct graph *g)
{
    char text[LINE], name[2 * LINE], first[AT_CHOICE_MAX] = "";
    char *at = (char *)(uintptr_t)g->batches;
    while (*at) {
        fill_batch(text, g->text, (int)strtol(at, &at, 10));
        answer a = ask_args(t, g->op, g->dtype, g->flags, text, *first ? first : NULL);
        if (!*first)
            memcpy(first, a.choice, sizeof first);
        snprintf(name, sizeof name, "%s | %s | %s | %s%s", g->part, g->op, at_dtype_name(g->dtype),
                 text, g->flags & OUTPUTS ? " with lse" : "");
        put_answer(t, name, &a);
        if (a.refused)
            fail(t, "%s: refused: %s", name, a.err.text);
        else if (!a.own && !a.usable != !!(g->flags & LARGE))
            fail(t, "%s: %d engines, and %d may be used", name, a.offered, a.usable);
        else if (!a.own && a.usable && (a.tried ? a.made != a.tried : !a.loads))
            fail(t, "%s: a plan was not made: %s", name, a.err.text);
    }
}

static void ask_broken(table *t)
{
    for (size_t i = 0; i < AT_COUNT(broken); i++) {
        char name[LINE];
        at_cudnn_graph g;
        answer a = { 0 }, sound = ask_args(t, broken[i].op, AT_BF16, 0, broken[i].of, NULL);
        at_cudnn_graph_begin(&g, t->library, &a.err);
        broken[i].describe(&g);
        ask(&g, &a);
        snprintf(name, sizeof name, "broken | %s | bf16 | %s", broken[i].op, broken[i].name);
        put_answer(t, name, &a);
        if (sound.refused || (!a.refused && 2 * a.offered >= sound.offered))
            fail(t, "%s: %d engines, and %d without the fault", name, a.offered, sound.offered);
    }
}

/* --- choices that must not be made ------------------------------------------------------------ */

/* In 9.19 the data gradient has an engine 25, which is not deterministic. */
static const char *const not_made[] = {
    "",
    "engine",
    "engine ",
    "engine x",
    "engine -1",
    "engine 100000",
    "engine 99999999999999999999",
    "engine 25",
    "engine 67 k2",
    "engine 67 k2=",
    "engine 67 k2=4 k",
    "engine 67 k2=9999",
    "engine 67 k99=0",
    "engine 67 k2=4 and more",
};

static void ask_not_made(table *t)
{
    const char *text = "dy=4,64,64,640 w=640,640,3,3 in_size=64,64 pad=1,1,1,1";
    const at_op *op = at_op_named("conv2d_dgrad");
    const at_variant *v = variant_of(op);
    const at_caps caps = { .kind = AT_CUDA, .has = AT_CAP_MASK(CUDNN), .cudnn = t->library };
    _Alignas(16) unsigned char args[AT_ARGS_MAX];
    char choice[AT_CHOICE_MAX] = "";
    at_error err;
    at_status status = at_args_parse(op, text, AT_BF16, args, &err);
    if (status == AT_OK)
        status = at_op_shape(op, args, 0, &err);
    AT_ASSERT(status == AT_OK, "%s", err.text);
    for (size_t i = 0; i < AT_COUNT(not_made); i++) {
        const at_prepare_in in = { .caps = &caps, .choice = not_made[i] };
        at_prepared p;
        status = at_prepare(v, args, &in, &p, &err);
        if (status != AT_UNSUPPORTED || !*err.text)
            fail(t, "'%s' was made: %s", not_made[i], at_status_name(status));
        if (status == AT_OK)
            at_release(v, &p);
    }
    for (int i = 0; i < 2; i++) { /* and one that must be, by its place and by its name */
        const at_prepare_in in = { .caps = &caps, .choice = i ? choice : NULL };
        at_prepared p;
        status = at_prepare(v, args, &in, &p, &err);
        if (status != AT_OK || (i && strcmp(p.choice, choice) != 0))
            fail(t, "the first engine was not made%s: %s", i ? " by its name" : "", err.text);
        if (status != AT_OK)
            return;
        memcpy(choice, p.choice, sizeof choice);
        at_release(v, &p);
    }
}

/* --- plans that are shared -------------------------------------------------------------------- */

/* The library's own function, and how often it was called. */
static struct {
    at_cudnn_status (*call)(at_cudnn_descriptor d);
    int calls;
} finalize;

static at_cudnn_status counting(at_cudnn_descriptor d)
{
    finalize.calls++;
    return finalize.call(d);
}

/* What it costs to prepare a convolution of so many rows, in descriptors. */
static int cost_of(table *t, int rows)
{
    char text[LINE];
    snprintf(text, sizeof text, "x=2,%d,32,64 w=64,64,3,3 bias=64 pad=1,1,1,1", rows);
    const at_op *op = at_op_named("conv2d");
    const at_variant *v = variant_of(op);
    const at_caps caps = { .kind = AT_CUDA, .has = AT_CAP_MASK(CUDNN), .cudnn = t->library };
    const at_prepare_in in = { .caps = &caps };
    _Alignas(16) unsigned char args[AT_ARGS_MAX];
    at_prepared p;
    at_error err;
    int before = finalize.calls;
    at_status status = at_args_parse(op, text, AT_BF16, args, &err);
    if (status == AT_OK)
        status = at_op_shape(op, args, 0, &err);
    if (status == AT_OK)
        status = at_prepare(v, args, &in, &p, &err);
    if (status == AT_OK)
        at_release(v, &p);
    else
        fail(t, "%s: %s", text, err.text);
    return finalize.calls - before;
}

/* The second time there is no engine to ask for and no plan to make; until others came between. */
static void ask_shared(table *t)
{
    finalize.call = t->library->finalize;
    t->library->finalize = counting;
    int first = cost_of(t, 32), second = cost_of(t, 32), other = cost_of(t, 33);
    if (second >= first || other != first)
        fail(t, "prepared with %d descriptors, then %d, and another with %d", first, second, other);
    for (int i = 0; i < AT_CUDNN_IDLE_MAX - 1; i++)
        cost_of(t, 34 + i);
    int last = cost_of(t, 33), gone = cost_of(t, 32);
    if (last != second || gone != first)
        fail(t, "after %d others %d descriptors, and after one more %d; expected %d and %d",
             AT_CUDNN_IDLE_MAX - 1, last, gone, second, first);
    t->library->finalize = finalize.call;
}

/* --- the file --------------------------------------------------------------------------------- */

static const char *const folder = AT_SOURCE_DIR "/tests/golden/";

static bool read_text(const char *path, char *out, size_t out_size)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    size_t n = fread(out, 1, out_size - 1, f);
    out[n] = 0;
    fclose(f);
    return true;
}

static int write_text(const table *t, const char *path)
{
    FILE *f = fopen(path, "wb");
    bool written = f && fwrite(t->text, 1, t->used, f) == t->used;
    if (!f || fclose(f) != 0 || !written) {
        printf("cudnn_engines: %s could not be written\n", path);
        return 2;
    }
    printf("cudnn_engines: %d graphs, written to %s\n", t->rows, path);
    return 0;
}

static size_t line_of(const char *text)
{
    return strcspn(text, "\n");
}

/* Line by line, so that a difference is one line of the test's output. */
static void compare(table *t, const char *kept)
{
    const char *now = t->text;
    while (*now || *kept) {
        size_t n = line_of(now), k = line_of(kept);
        if (n != k || memcmp(now, kept, n) != 0)
            fail(t, "expected '%.*s', got '%.*s'", (int)k, kept, (int)n, now);
        now += n + (now[n] != 0);
        kept += k + (kept[k] != 0);
    }
}

static void fill(table *t)
{
    put(t, "# What cuDNN %zu.%zu offers for our graphs on an H200\n\n", t->library->version / 10000,
        t->library->version / 100 % 100);
    put(t,
        "Asked without a GPU, by tests/cudnn_engines_test.c; no speed is known from this.\n\n"
        "- offered: by the heuristics, modes A and fallback\n"
        "- usable: deterministic, in the types' own precision, with at most 64 MiB of workspace\n"
        "- at run time: of those, compiled when a plan is made\n"
        "- plans: made of the first precompiled ones; workspace and name are the first's. Where "
        "all are\n  compiled at run time: whether the first one compiles\n"
        "- again: whether the name that the first batch has can be made at this one\n\n");
    put(t, "| part | op | type | args | offered | usable | at run time | plans | workspace, bytes "
           "| first | again |\n|---|---|---|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < AT_COUNT(graphs); i++)
        ask_graph(t, &graphs[i]);
    ask_broken(t);
    ask_not_made(t);
    ask_shared(t);
}

static int judge(table *t, bool writes)
{
    static char kept[TABLE];
    char path[LINE];
    snprintf(path, sizeof path, "%scudnn-engines-%zu.%zu.md", folder, t->library->version / 10000,
             t->library->version / 100 % 100);
    if (writes && t->failures == 0)
        return write_text(t, path);
    if (!read_text(path, kept, sizeof kept))
        printf("cudnn_engines: no table of this version, refusals alone are looked at\n");
    else
        compare(t, kept);
    printf("cudnn_engines: cuDNN %zu, %d graphs, %d failures\n", t->library->version, t->rows,
           t->failures);
    return t->failures > 0;
}

int main(int argc, char **argv)
{
    static char properties[LINE * 8];
    static table t;
    at_cuda_library found;
    at_cudnn library;
    at_error err;
    bool writes = argc == 2 && !strcmp(argv[1], "--write");
    if (argc > 1 && !writes) {
        printf("usage: cudnn_engines_test [--write]\n");
        return 2;
    }
    /* The library looks for a driver by this one's name, and finds none that answers. */
    if (!dlopen(AT_CUDA_DRIVER_STUB, RTLD_NOW | RTLD_GLOBAL)) {
        printf("SKIP cudnn_engines: no stub of the driver: %s\n", dlerror());
        return 0;
    }
    if (at_cuda_library_open(&found, AT_CUDA_LIBRARY_CUDNN, NULL, &err) != AT_OK) {
        printf("SKIP cudnn_engines: %s\n", err.text);
        return 0;
    }
    AT_ASSERT(read_text(AT_SOURCE_DIR "/tests/golden/h200.json", properties, sizeof properties),
              "tests/golden/h200.json cannot be read");
    if (at_cudnn_bind(&library, found.handle, &err) != AT_OK ||
        at_cudnn_imagine(&library, properties, &err) != AT_OK) {
        printf("cudnn_engines: %s\n", err.text);
        return 1;
    }
    t.library = &library;
    fill(&t);
    int status = judge(&t, writes);
    at_cudnn_close(&library);
    at_cuda_library_close(&found);
    return status;
}
