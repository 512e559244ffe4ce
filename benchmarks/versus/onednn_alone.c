/* onednn_alone.c -- what oneDNN alone gives for a convolution or a product, in its best layout.
 *
 * The yardstick of "at least 97 % of oneDNN alone": bare primitives whose memory formats oneDNN may
 * choose itself (`any`: weights packed, activations too), bias and residual fused, no reorder
 * timed. Each op has several ways to ask for it; every one is timed and printed as a variant, and
 * the fastest is the yardstick.
 *
 *   onednn_alone --op conv2d --shape "x=2,64,64,640 w=640,640,3,3 stride=1,1 pad=1,1,1,1"
 *                --dtype bf16 --threads 2 [--variant NAME] [--seconds 0.5]
 *
 * Ops: conv2d, conv2d_dgrad, conv2d_wgrad, linear, linear_dgrad, linear_wgrad. Prints the JSON of
 * `atelier bench ops`. Weight gradients are f32, as training sums them. oneDNN 2.x. */
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#if DNNL_VERSION_MAJOR != 2
#error "onednn_alone.c is written for oneDNN 2.x"
#endif

enum {
    AXES_MAX = 4,
    ARGS_MAX = 5,
    CALLS_MIN = 3,
    CALLS_MAX = 1000,
    HUGE_PAGE = 2 << 20,
    CPU_NAME_MAX = 256
};

/* --- failing ---------------------------------------------------------------------------------- */

static void refuse(const char *what, const char *name)
{
    fprintf(stderr, "onednn_alone: %s '%s'\n", what, name);
    exit(2);
}

#define CHECK(call)                                                                     \
    do {                                                                                \
        dnnl_status_t status_ = (call);                                                 \
        if (status_ != dnnl_success) {                                                  \
            fprintf(stderr, "onednn_alone: %s gives status %d\n", #call, (int)status_); \
            exit(1);                                                                    \
        }                                                                               \
    } while (0)

/* --- shapes as text --------------------------------------------------------------------------- */

typedef struct sizes {
    int n; /* 0: not in the text */
    dnnl_dim_t at[AXES_MAX];
} sizes;

/* Finds "name=1,2,3" in a list of fields that are separated by blanks. */
static sizes find_field(const char *text, const char *name)
{
    sizes found = { 0 };
    size_t length = strlen(name);
    const char *field = text;
    while (field && *field) {
        field += strspn(field, " ");
        if (strncmp(field, name, length) == 0 && field[length] == '=') {
            char *next = NULL;
            const char *value = field + length + 1;
            do {
                if (found.n == AXES_MAX)
                    refuse("too many sizes in", name);
                found.at[found.n] = strtoll(value, &next, 10);
                if (next == value || found.at[found.n] < 0)
                    refuse("not a size in", name);
                found.n++;
                value = next + 1;
            } while (*next == ',');
            return found;
        }
        field = strchr(field, ' ');
    }
    return found;
}

static sizes need_field(const char *text, const char *name, int axes)
{
    sizes found = find_field(text, name);
    if (found.n != axes)
        refuse("the shape lacks, or gives another number of sizes for, the operand", name);
    return found;
}

/* --- memory ----------------------------------------------------------------------------------- */

typedef struct bench {
    const char *op, *shape, *variant;
    dnnl_data_type_t dtype;
    int threads, printed;
    double seconds;
    char cpu[CPU_NAME_MAX];
    dnnl_engine_t engine;
    dnnl_stream_t stream;
} bench;

static dnnl_memory_desc_t describe(int n, const dnnl_dim_t *dims, dnnl_data_type_t dtype,
                                   dnnl_format_tag_t tag)
{
    dnnl_memory_desc_t md;
    dnnl_dims_t all = { 0 }; /* the library's type has room for all axes it knows */
    memcpy(all, dims, (size_t)n * sizeof *dims);
    CHECK(dnnl_memory_desc_init_by_tag(&md, n, all, dtype, tag));
    return md;
}

/* Numbers in (-0.5, 0.5): zeros would let the chip run cooler and faster than work does. */
static void fill_random(void *data, size_t bytes, dnnl_data_type_t dtype)
{
    uint32_t state = 1;
    size_t count = bytes / (dtype == dnnl_f32 ? 4 : 2);
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        float x = (float)(state >> 8) / 16777216.0f - 0.5f;
        uint32_t bits;
        memcpy(&bits, &x, 4);
        if (dtype == dnnl_f32)
            ((float *)data)[i] = x;
        else
            ((uint16_t *)data)[i] = (uint16_t)(bits >> 16);
    }
}

static dnnl_memory_t make_memory(const bench *b, const dnnl_memory_desc_t *md)
{
    size_t bytes = dnnl_memory_desc_get_size(md);
    size_t room = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    void *data = aligned_alloc(HUGE_PAGE, room ? room : HUGE_PAGE);
    if (!data) {
        fprintf(stderr, "onednn_alone: no memory for %zu bytes\n", room);
        exit(2);
    }
    madvise(data, room, MADV_HUGEPAGE); /* a wish; refused, it costs a little speed */
    fill_random(data, bytes, md->data_type);
    dnnl_memory_t memory;
    CHECK(dnnl_memory_create(&memory, md, b->engine, data));
    return memory;
}

/* --- a primitive and its clock ---------------------------------------------------------------- */

typedef struct work {
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t args[ARGS_MAX];
    int n_args;
} work;

static void add_arg(const bench *b, work *w, int arg, dnnl_query_t query)
{
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(w->desc, query, 0);
    w->args[w->n_args].arg = arg;
    w->args[w->n_args++].memory = make_memory(b, md);
}

/* Index 1 of the weights is the bias. */
static void add_bias(const bench *b, work *w, int arg, dnnl_query_t query)
{
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(w->desc, query, 1);
    if (!md || md->ndims == 0)
        return;
    w->args[w->n_args].arg = arg;
    w->args[w->n_args++].memory = make_memory(b, md);
}

static void release(work *w)
{
    for (int i = 0; i < w->n_args; i++) {
        void *data = NULL;
        CHECK(dnnl_memory_get_data_handle(w->args[i].memory, &data));
        CHECK(dnnl_memory_destroy(w->args[i].memory));
        free(data);
    }
    CHECK(dnnl_primitive_destroy(w->primitive));
    CHECK(dnnl_primitive_desc_destroy(w->desc));
}

static double call_us(const bench *b, const work *w)
{
    struct timespec t0, t1;
    clock_gettime(CLOCK_MONOTONIC, &t0);
    CHECK(dnnl_primitive_execute(w->primitive, b->stream, w->n_args, w->args));
    CHECK(dnnl_stream_wait(b->stream));
    clock_gettime(CLOCK_MONOTONIC, &t1);
    return (double)(t1.tv_sec - t0.tv_sec) * 1e6 + (double)(t1.tv_nsec - t0.tv_nsec) * 1e-3;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Times what was described, prints one result, and releases it. */
static void time_work(bench *b, work *w, const char *variant, double flops, double bytes)
{
    static const char *names[] = { "f32", "bf16" };
    double us[CALLS_MAX], total = 0;
    int calls = 0;
    const char *impl = "?";
    CHECK(dnnl_primitive_desc_query(w->desc, dnnl_query_impl_info_str, 0, &impl));
    call_us(b, w);
    while (calls < CALLS_MIN || (calls < CALLS_MAX && total < b->seconds * 1e6))
        total += us[calls] = call_us(b, w), calls++;
    qsort(us, (size_t)calls, sizeof *us, compare);
    double median = us[calls / 2];
    if (!b->printed)
        printf("{\"cpu\":\"%s\",\"threads\":%d,\"onednn\":\"%d.%d.%d\",\"results\":[", b->cpu,
               b->threads, dnnl_version()->major, dnnl_version()->minor, dnnl_version()->patch);
    printf("%s\n  {\"op\":\"%s\",\"shape\":\"%s\",\"dtype\":\"%s\",\"variant\":\"%s\","
           "\"impl\":\"%s\",\"us\":%.1f,\"us_min\":%.1f,\"gflops\":%.1f,\"gbps\":%.2f,"
           "\"share\":null,\"calls\":%d}",
           b->printed++ ? "," : "", b->op, b->shape, names[b->dtype == dnnl_bf16], variant, impl,
           median, us[0], flops / median * 1e-3, bytes / median * 1e-3, calls);
    release(w);
}

static bool wanted(const bench *b, const char *variant)
{
    return !b->variant || strcmp(b->variant, variant) == 0;
}

static double bytes_of(const work *w)
{
    double bytes = 0;
    for (int i = 0; i < w->n_args; i++) {
        const dnnl_memory_desc_t *md;
        CHECK(dnnl_memory_get_memory_desc(w->args[i].memory, &md));
        bytes += (double)dnnl_memory_desc_get_size(md);
    }
    return bytes;
}

/* --- convolution ------------------------------------------------------------------------------ */

typedef struct conv {
    dnnl_dim_t n, c, h, w, o, kh, kw, oh, ow;
    dnnl_dims_t stride, begin, end; /* two used; the library's prototypes name its largest rank */
    bool bias, residual;
} conv;

static conv parse_conv(const char *op, const char *shape)
{
    sizes stride = need_field(shape, "stride", 2), pad = need_field(shape, "pad", 4);
    conv v = {
        .stride = { stride.at[0], stride.at[1] },
        .begin = { pad.at[0], pad.at[1] }, /* top, left, bottom, right */
        .end = { pad.at[2], pad.at[3] },
    };
    if (v.stride[0] < 1 || v.stride[1] < 1)
        refuse("a size below 1 in", "stride");
    bool dgrad = strcmp(op, "conv2d_dgrad") == 0, wgrad = strcmp(op, "conv2d_wgrad") == 0;
    if (!dgrad) {
        sizes x = need_field(shape, "x", 4);
        v.n = x.at[0], v.h = x.at[1], v.w = x.at[2], v.c = x.at[3];
    } else {
        sizes in = need_field(shape, "in_size", 2);
        v.h = in.at[0], v.w = in.at[1];
    }
    if (!wgrad) {
        sizes w = need_field(shape, "w", 4);
        if (v.c && v.c != w.at[1])
            refuse("channels that do not fit those of x:", "w");
        v.o = w.at[0], v.c = w.at[1], v.kh = w.at[2], v.kw = w.at[3];
    } else {
        sizes kernel = need_field(shape, "kernel", 2);
        v.kh = kernel.at[0], v.kw = kernel.at[1];
    }
    v.oh = (v.h + v.begin[0] + v.end[0] - v.kh) / v.stride[0] + 1;
    v.ow = (v.w + v.begin[1] + v.end[1] - v.kw) / v.stride[1] + 1;
    v.bias = wgrad || find_field(shape, "bias").n > 0;
    v.residual = find_field(shape, "residual").n > 0;
    if (dgrad || wgrad) {
        sizes dy = need_field(shape, "dy", 4);
        v.n = dy.at[0], v.o = dy.at[3];
        if (dy.at[1] != v.oh || dy.at[2] != v.ow)
            refuse("sizes that do not follow from the other operands:", "dy");
    }
    return v;
}

static double conv_flops(const conv *v)
{
    return 2.0 * (double)(v->n * v->oh * v->ow) * (double)(v->o * v->c) * (double)(v->kh * v->kw);
}

typedef struct conv_mds {
    dnnl_memory_desc_t x, w, bias, y; /* (N, C, H, W), (O, C, kh, kw), (O), (N, O, OH, OW) */
    dnnl_memory_desc_t dw;            /* f32 */
} conv_mds;

static conv_mds describe_conv(const bench *b, const conv *v, dnnl_format_tag_t tag)
{
    dnnl_dim_t x[] = { v->n, v->c, v->h, v->w }, w[] = { v->o, v->c, v->kh, v->kw };
    dnnl_dim_t y[] = { v->n, v->o, v->oh, v->ow };
    return (conv_mds){
        .x = describe(4, x, b->dtype, tag),
        .w = describe(4, w, b->dtype, dnnl_format_tag_any),
        .bias = v->bias ? describe(1, &v->o, dnnl_f32, dnnl_a) : (dnnl_memory_desc_t){ 0 },
        .y = describe(4, y, b->dtype, tag),
        .dw = describe(4, w, dnnl_f32, dnnl_format_tag_any),
    };
}

/* The forward primitive: to be run, or as the hint that backward ones ask for. */
static dnnl_primitive_desc_t conv_forward_desc(const bench *b, const conv *v, conv_mds *m,
                                               dnnl_prop_kind_t kind)
{
    dnnl_convolution_desc_t d;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_attr_t attr;
    dnnl_post_ops_t ops;
    CHECK(dnnl_convolution_forward_desc_init(&d, kind, dnnl_convolution_direct, &m->x, &m->w,
                                             &m->bias, &m->y, v->stride, v->begin, v->end));
    CHECK(dnnl_primitive_attr_create(&attr));
    CHECK(dnnl_post_ops_create(&ops));
    if (v->residual)
        CHECK(dnnl_post_ops_append_sum(ops, 1.0f));
    CHECK(dnnl_primitive_attr_set_post_ops(attr, ops));
    CHECK(dnnl_primitive_desc_create(&desc, &d, attr, b->engine, NULL));
    CHECK(dnnl_post_ops_destroy(ops));
    CHECK(dnnl_primitive_attr_destroy(attr));
    return desc;
}

static void conv_forward(const bench *b, const conv *v, conv_mds *m, work *w)
{
    w->desc = conv_forward_desc(b, v, m, dnnl_forward_inference);
    add_arg(b, w, DNNL_ARG_SRC, dnnl_query_src_md);
    add_arg(b, w, DNNL_ARG_WEIGHTS, dnnl_query_weights_md);
    add_bias(b, w, DNNL_ARG_BIAS, dnnl_query_weights_md);
    add_arg(b, w, DNNL_ARG_DST, dnnl_query_dst_md); /* holds the residual, is summed onto */
}

static void conv_dgrad(const bench *b, const conv *v, conv_mds *m, work *w)
{
    dnnl_primitive_desc_t hint = conv_forward_desc(b, v, m, dnnl_forward_training);
    dnnl_convolution_desc_t d;
    CHECK(dnnl_convolution_backward_data_desc_init(&d, dnnl_convolution_direct, &m->x, &m->w, &m->y,
                                                   v->stride, v->begin, v->end));
    CHECK(dnnl_primitive_desc_create(&w->desc, &d, NULL, b->engine, hint));
    CHECK(dnnl_primitive_desc_destroy(hint));
    add_arg(b, w, DNNL_ARG_DIFF_DST, dnnl_query_diff_dst_md);
    add_arg(b, w, DNNL_ARG_WEIGHTS, dnnl_query_weights_md);
    add_arg(b, w, DNNL_ARG_DIFF_SRC, dnnl_query_diff_src_md);
}

static void conv_wgrad(const bench *b, const conv *v, conv_mds *m, work *w)
{
    dnnl_primitive_desc_t hint = conv_forward_desc(b, v, m, dnnl_forward_training);
    dnnl_convolution_desc_t d;
    CHECK(dnnl_convolution_backward_weights_desc_init(
        &d, dnnl_convolution_direct, &m->x, &m->dw, &m->bias, &m->y, v->stride, v->begin, v->end));
    CHECK(dnnl_primitive_desc_create(&w->desc, &d, NULL, b->engine, hint));
    CHECK(dnnl_primitive_desc_destroy(hint));
    add_arg(b, w, DNNL_ARG_SRC, dnnl_query_src_md);
    add_arg(b, w, DNNL_ARG_DIFF_DST, dnnl_query_diff_dst_md);
    add_arg(b, w, DNNL_ARG_DIFF_WEIGHTS, dnnl_query_diff_weights_md);
    add_bias(b, w, DNNL_ARG_DIFF_BIAS, dnnl_query_diff_weights_md);
}

typedef void conv_maker(const bench *b, const conv *v, conv_mds *m, work *w);

static void bench_conv(bench *b)
{
    static const struct {
        const char *op;
        conv_maker *make;
    } makers[] = { { "conv2d", conv_forward },
                   { "conv2d_dgrad", conv_dgrad },
                   { "conv2d_wgrad", conv_wgrad } };
    static const struct {
        const char *variant;
        dnnl_format_tag_t tag;
    } layouts[] = { { "any", dnnl_format_tag_any }, { "nhwc", dnnl_nhwc } };
    conv v = parse_conv(b->op, b->shape);
    for (size_t i = 0; i < 2; i++) {
        if (!wanted(b, layouts[i].variant))
            continue;
        conv_mds m = describe_conv(b, &v, layouts[i].tag);
        work w = { 0 };
        for (size_t k = 0; k < 3; k++)
            if (strcmp(makers[k].op, b->op) == 0)
                makers[k].make(b, &v, &m, &w);
        CHECK(dnnl_primitive_create(&w.primitive, w.desc));
        time_work(b, &w, layouts[i].variant, conv_flops(&v), bytes_of(&w));
    }
}

/* --- products --------------------------------------------------------------------------------- */

typedef struct product {
    dnnl_dim_t m, k, n; /* x (M, K), w (N, K), y (M, N) */
    bool bias;
} product;

/* An operand (..., last) as a matrix; sets what is still 0, refuses what differs. */
static void parse_matrix(const char *shape, const char *name, dnnl_dim_t *rows, dnnl_dim_t *last)
{
    sizes found = find_field(shape, name);
    if (found.n < 2)
        refuse("the shape lacks, or gives too few sizes for, the operand", name);
    dnnl_dim_t all = 1;
    for (int i = 0; i < found.n - 1; i++)
        all *= found.at[i];
    if ((*rows && *rows != all) || (*last && *last != found.at[found.n - 1]))
        refuse("sizes that do not fit the other operand's:", name);
    *rows = all;
    *last = found.at[found.n - 1];
}

static product parse_product(const char *op, const char *shape)
{
    product p = { 0 };
    if (strcmp(op, "linear_dgrad") != 0)
        parse_matrix(shape, "x", &p.m, &p.k);
    if (strcmp(op, "linear_wgrad") != 0)
        parse_matrix(shape, "w", &p.n, &p.k);
    if (strcmp(op, "linear") != 0)
        parse_matrix(shape, "dy", &p.m, &p.n);
    p.bias = strcmp(op, "linear") != 0 || find_field(shape, "bias").n > 0;
    return p;
}

/* (M, A) times (A, B): forward with A = K, B = N; the data gradient with A = N, B = K. */
static void matmul(const bench *b, dnnl_dim_t m, dnnl_dim_t a, dnnl_dim_t n, bool bias, work *w)
{
    dnnl_dim_t x[] = { m, a }, y[] = { m, n }, weights[] = { a, n }, one[] = { 1, n };
    dnnl_memory_desc_t xd = describe(2, x, b->dtype, dnnl_ab);
    dnnl_memory_desc_t wd = describe(2, weights, b->dtype, dnnl_format_tag_any);
    dnnl_memory_desc_t yd = describe(2, y, b->dtype, dnnl_ab);
    dnnl_memory_desc_t bd = describe(2, one, dnnl_f32, dnnl_ab);
    dnnl_matmul_desc_t d;
    CHECK(dnnl_matmul_desc_init(&d, &xd, &wd, bias ? &bd : NULL, &yd));
    CHECK(dnnl_primitive_desc_create(&w->desc, &d, NULL, b->engine, NULL));
    add_arg(b, w, DNNL_ARG_SRC, dnnl_query_src_md);
    add_arg(b, w, DNNL_ARG_WEIGHTS, dnnl_query_weights_md);
    add_bias(b, w, DNNL_ARG_BIAS, dnnl_query_weights_md);
    add_arg(b, w, DNNL_ARG_DST, dnnl_query_dst_md);
}

/* dy (M, N) read as its transpose, times x (M, K): dw (N, K), without the bias's gradient. */
static void matmul_wgrad(const bench *b, const product *p, work *w)
{
    dnnl_dim_t dy[] = { p->n, p->m }, x[] = { p->m, p->k }, dw[] = { p->n, p->k };
    dnnl_memory_desc_t dyd = describe(2, dy, b->dtype, dnnl_ba);
    dnnl_memory_desc_t xd = describe(2, x, b->dtype, dnnl_ab);
    dnnl_memory_desc_t dwd = describe(2, dw, dnnl_f32, dnnl_ab);
    dnnl_matmul_desc_t d;
    CHECK(dnnl_matmul_desc_init(&d, &dyd, &xd, NULL, &dwd));
    CHECK(dnnl_primitive_desc_create(&w->desc, &d, NULL, b->engine, NULL));
    add_arg(b, w, DNNL_ARG_SRC, dnnl_query_src_md);
    add_arg(b, w, DNNL_ARG_WEIGHTS, dnnl_query_weights_md);
    add_arg(b, w, DNNL_ARG_DST, dnnl_query_dst_md);
}

/* oneDNN's other product, which knows gradients by name. 'tag' is the activations' layout. */
static void inner_product(const bench *b, const product *p, dnnl_format_tag_t tag, work *w)
{
    dnnl_dim_t x[] = { p->m, p->k }, weights[] = { p->n, p->k }, y[] = { p->m, p->n };
    bool wgrad = strcmp(b->op, "linear_wgrad") == 0, forward = strcmp(b->op, "linear") == 0;
    dnnl_memory_desc_t xd = describe(2, x, b->dtype, tag), yd = describe(2, y, b->dtype, tag);
    dnnl_memory_desc_t wd = describe(2, weights, b->dtype, dnnl_format_tag_any);
    dnnl_memory_desc_t dwd = describe(2, weights, dnnl_f32, dnnl_format_tag_any);
    dnnl_memory_desc_t bd = { 0 };
    dnnl_inner_product_desc_t d;
    dnnl_primitive_desc_t hint;
    if (p->bias)
        bd = describe(1, &p->n, dnnl_f32, dnnl_a);
    CHECK(dnnl_inner_product_forward_desc_init(
        &d, forward ? dnnl_forward_inference : dnnl_forward_training, &xd, &wd, &bd, &yd));
    CHECK(dnnl_primitive_desc_create(&hint, &d, NULL, b->engine, NULL));
    if (forward) {
        w->desc = hint;
        add_arg(b, w, DNNL_ARG_SRC, dnnl_query_src_md);
        add_arg(b, w, DNNL_ARG_WEIGHTS, dnnl_query_weights_md);
        add_bias(b, w, DNNL_ARG_BIAS, dnnl_query_weights_md);
        add_arg(b, w, DNNL_ARG_DST, dnnl_query_dst_md);
        return;
    }
    if (wgrad)
        CHECK(dnnl_inner_product_backward_weights_desc_init(&d, &xd, &dwd, &bd, &yd));
    else
        CHECK(dnnl_inner_product_backward_data_desc_init(&d, &xd, &wd, &yd));
    CHECK(dnnl_primitive_desc_create(&w->desc, &d, NULL, b->engine, hint));
    CHECK(dnnl_primitive_desc_destroy(hint));
    add_arg(b, w, DNNL_ARG_DIFF_DST, dnnl_query_diff_dst_md);
    if (wgrad) {
        add_arg(b, w, DNNL_ARG_SRC, dnnl_query_src_md);
        add_arg(b, w, DNNL_ARG_DIFF_WEIGHTS, dnnl_query_diff_weights_md);
        add_bias(b, w, DNNL_ARG_DIFF_BIAS, dnnl_query_diff_weights_md);
    } else {
        add_arg(b, w, DNNL_ARG_WEIGHTS, dnnl_query_weights_md);
        add_arg(b, w, DNNL_ARG_DIFF_SRC, dnnl_query_diff_src_md);
    }
}

static void bench_product(bench *b)
{
    static const char *variants[] = { "matmul", "inner_product", "inner_product_any" };
    product p = parse_product(b->op, b->shape);
    double flops = 2.0 * (double)p.m * (double)p.k * (double)p.n;
    for (size_t i = 0; i < 3; i++) {
        if (!wanted(b, variants[i]))
            continue;
        work w = { 0 };
        if (i > 0)
            inner_product(b, &p, i == 1 ? dnnl_ab : dnnl_format_tag_any, &w);
        else if (strcmp(b->op, "linear") == 0)
            matmul(b, p.m, p.k, p.n, p.bias, &w);
        else if (strcmp(b->op, "linear_dgrad") == 0)
            matmul(b, p.m, p.n, p.k, false, &w);
        else
            matmul_wgrad(b, &p, &w);
        CHECK(dnnl_primitive_create(&w.primitive, w.desc));
        time_work(b, &w, variants[i], flops, bytes_of(&w));
    }
}

/* --- the program ------------------------------------------------------------------------------ */

static void read_cpu_name(char *name, size_t size)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "r");
    snprintf(name, size, "unknown");
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        colon[strcspn(colon, "\n\"\\")] = 0;
        snprintf(name, size, "%s", colon + 2);
        break;
    }
    if (f)
        fclose(f);
}

static bench parse_options(int argc, char **argv)
{
    bench b = { .dtype = dnnl_f32, .seconds = 0.5, .threads = omp_get_max_threads() };
    for (int i = 1; i < argc; i++) {
        const char *option = argv[i];
        if (strcmp(option, "--json") == 0)
            continue; /* it is all this program prints */
        if (i + 1 == argc)
            refuse("unknown option, or no value after", option);
        const char *value = argv[++i];
        if (strcmp(option, "--op") == 0)
            b.op = value;
        else if (strcmp(option, "--shape") == 0)
            b.shape = value;
        else if (strcmp(option, "--variant") == 0)
            b.variant = value;
        else if (strcmp(option, "--seconds") == 0)
            b.seconds = strtod(value, NULL);
        else if (strcmp(option, "--threads") == 0)
            b.threads = (int)strtol(value, NULL, 10);
        else if (strcmp(option, "--dtype") != 0)
            refuse("unknown option", option);
        else if (strcmp(value, "bf16") == 0)
            b.dtype = dnnl_bf16;
        else if (strcmp(value, "f32") != 0)
            refuse("--dtype is f32 or bf16, not", value);
    }
    if (!b.op || !b.shape)
        refuse("needed but not given:", !b.op ? "--op" : "--shape");
    if (strpbrk(b.shape, "\"\\"))
        refuse("not a shape:", b.shape);
    if (b.threads < 1)
        refuse("--threads must be at least", "1");
    return b;
}

int main(int argc, char **argv)
{
    bench b = parse_options(argc, argv);
    bool is_conv = strncmp(b.op, "conv2d", 6) == 0, is_linear = strncmp(b.op, "linear", 6) == 0;
    const char *suffix = b.op + (is_conv || is_linear ? 6 : 0);
    if ((!is_conv && !is_linear) ||
        (*suffix && strcmp(suffix, "_dgrad") != 0 && strcmp(suffix, "_wgrad") != 0))
        refuse("not an op of this program:", b.op);
    omp_set_num_threads(b.threads);
    CHECK(dnnl_engine_create(&b.engine, dnnl_cpu, 0));
    CHECK(dnnl_stream_create(&b.stream, b.engine, dnnl_stream_default_flags));
    read_cpu_name(b.cpu, sizeof b.cpu);
    if (is_conv)
        bench_conv(&b);
    else
        bench_product(&b);
    if (!b.printed)
        refuse("not a variant of this op:", b.variant);
    printf("\n]}\n");
    CHECK(dnnl_stream_destroy(b.stream));
    CHECK(dnnl_engine_destroy(b.engine));
    return 0;
}
