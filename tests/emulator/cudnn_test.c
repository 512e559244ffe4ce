/* cudnn_test.c -- the emulated cuDNN itself: its graphs against sums written here, its engines,
 * what it refuses at a run, and a captured run. Which graphs it has engines for is
 * cudnn_graphs_test.c, how descriptors are used wrongly cudnn_manners.c. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/emulator/cudnn_manners.h"
#include "tests/emulator/cudnn_tests.h"
#include "tests/emulator/device.h"
#include "tests/emulator/machine.h"

enum { TENSORS = 8, ALIGN = 256 };

/* --- tensors with values ---------------------------------------------------------------------- */

typedef struct array {
    shape s;
    double *v; /* by logical index: n, c, h, w */
    void *device;
    size_t bytes;
} array;

static at_device *device;

static at_dtype dtype_of(int type)
{
    return type == AT_CUDNN_DATA_FLOAT ? AT_F32 : type == AT_CUDNN_DATA_HALF ? AT_F16 : AT_BF16;
}

static int64_t elements(const shape *s)
{
    return s->size[0] * s->size[1] * s->size[2] * s->size[3];
}

static int64_t logical(const shape *s, int64_t n, int64_t c, int64_t h, int64_t w)
{
    return ((n * s->size[1] + c) * s->size[2] + h) * s->size[3] + w;
}

/* Where element i lies in memory. */
static int64_t where(const shape *s, int64_t i)
{
    int64_t at = 0;
    for (int k = 3; k >= 0; k--) {
        at += i % s->size[k] * s->stride[k];
        i /= s->size[k];
    }
    return at;
}

/* Values that their type holds, of so many digits that the order of a sum shows; or NaN for what
 * will be written. */
typedef enum content { NUMBERS, UNWRITTEN } content;

static array array_of(shape s, content what)
{
    array a = { .s = s };
    a.bytes = (size_t)(where(&s, elements(&s) - 1) + 1) * at_dtype_bytes(dtype_of(s.type));
    a.v = calloc((size_t)elements(&s), sizeof *a.v);
    a.device = at_device_alloc(device, a.bytes);
    char *host = malloc(a.bytes);
    assert_true(a.v && a.device && host);
    memset(host, 0xFF, a.bytes);
    for (int64_t i = 0; i < elements(&s); i++) {
        uint32_t bits = ((uint32_t)i + 1) * 2654435761u + (uint32_t)s.id * 40503u;
        bits = (bits ^ bits >> 15) * 2246822519u;
        a.v[i] = what == NUMBERS ? (double)((int)(bits >> 20 & 255) - 127) / 128 : NAN;
        if (s.type == AT_CUDNN_DATA_FLOAT)
            a.v[i] = (float)(a.v[i] * 1.1);
        at_store(host, where(&s, i), dtype_of(s.type), a.v[i]);
    }
    at_device_upload(device, a.device, host, a.bytes);
    free(host);
    return a;
}

static void download(array *a)
{
    char *host = malloc(a->bytes);
    assert_non_null(host);
    at_device_download(device, host, a->device, a->bytes);
    for (int64_t i = 0; i < elements(&a->s); i++)
        a->v[i] = at_load(host, where(&a->s, i), dtype_of(a->s.type));
    free(host);
}

static void array_free(array *a)
{
    if (a->device)
        at_device_free(device, a->device, a->bytes);
    free(a->v);
    *a = (array){ 0 };
}

/* As far as rounding once to the type may be off, and a sum in another order. */
static double tolerance(int type)
{
    return type == AT_CUDNN_DATA_FLOAT ? 1e-5 : type == AT_CUDNN_DATA_HALF ? 0x1p-10 : 0x1p-7;
}

static void expect_near(const char *what, const array *a, const double *expected)
{
    for (int64_t i = 0; i < elements(&a->s); i++)
        if (!(fabs(a->v[i] - expected[i]) <= tolerance(a->s.type) * (1 + fabs(expected[i]))))
            fail_msg("%s: element %lld is %g, expected %g", what, (long long)i, a->v[i],
                     expected[i]);
}

/* --- a run ------------------------------------------------------------------------------------ */

/* What a run hands over; a test spoils one thing of it. */
typedef struct pack {
    int64_t ids[TENSORS], n;
    void *at[TENSORS];
    void *workspace; /* NULL: none is set */
} pack;

static pack pack_of(const array *arrays, int n)
{
    pack p = { .n = n };
    for (int i = 0; i < n; i++)
        p.ids[i] = arrays[i].s.id, p.at[i] = arrays[i].device;
    return p;
}

static at_cudnn_descriptor build_pack(build *b, const pack *p)
{
    at_cudnn_descriptor d = build_make(b, AT_CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    build_set(b, d, AT_CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, AT_CUDNN_TYPE_INT64, p->n, p->ids);
    build_set(b, d, AT_CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, AT_CUDNN_TYPE_VOID_PTR, p->n, p->at);
    if (p->workspace)
        build_set(b, d, AT_CUDNN_ATTR_VARIANT_PACK_WORKSPACE, AT_CUDNN_TYPE_VOID_PTR, 1,
                  &p->workspace);
    return build_finish(b, d);
}

static int64_t workspace_of(build *b, at_cudnn_descriptor plan)
{
    int64_t bytes = -1, n = 0;
    build_note(b, b->c->get(plan, AT_CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, AT_CUDNN_TYPE_INT64,
                            1, &n, &bytes));
    return bytes;
}

/* Builds what 'ops' say and runs it on an engine; the status of the first call that fails. */
static at_cudnn_status execute(build *b, const at_cudnn_descriptor *ops, int n_ops, pack p,
                               int64_t engine, int64_t knob)
{
    at_cudnn_descriptor plan = build_plan(b, build_graph(b, ops, n_ops), engine, knob);
    if (b->status != AT_CUDNN_STATUS_SUCCESS)
        return b->status;
    int64_t bytes = workspace_of(b, plan);
    void *workspace = bytes > 0 ? at_device_alloc(device, (size_t)bytes) : NULL;
    p.workspace = workspace;
    at_cudnn_descriptor v = build_pack(b, &p);
    if (b->status == AT_CUDNN_STATUS_SUCCESS)
        build_note(b, b->c->execute(b->c->handle, plan, v));
    if (workspace)
        at_device_free(device, workspace, (size_t)bytes);
    return b->status;
}

static build build_begin(void)
{
    return (build){ .c = device->caps.cudnn };
}

/* --- convolutions, as their definition says --------------------------------------------------- */

static const conv_shape window = { { 2, 1 }, { 1, 2 }, { 1, 2 }, { 0, 1 } };

static int64_t out_size(const shape *x, const shape *w, int i)
{
    int64_t reach = (w->size[2 + i] - 1) * window.dilation[i] + 1;
    return (x->size[2 + i] + window.before[i] + window.after[i] - reach) / window.stride[i] + 1;
}

typedef enum conv_kind { FORWARD, DATA, FILTER } conv_kind;

/* Adds every product of the convolution to where it belongs, as one loop over all of them. */
static double *convolve(conv_kind kind, const array *x, const array *w, const array *y)
{
    const array *to = kind == FORWARD ? y : kind == DATA ? x : w;
    double *sum = calloc((size_t)elements(&to->s), sizeof *sum);
    assert_non_null(sum);
    for (int64_t i = 0; i < elements(&y->s) * w->s.size[1] * w->s.size[2] * w->s.size[3]; i++) {
        int64_t rest = i, s = rest % w->s.size[3];
        int64_t r = (rest /= w->s.size[3]) % w->s.size[2];
        int64_t c = (rest /= w->s.size[2]) % w->s.size[1];
        int64_t q = (rest /= w->s.size[1]) % y->s.size[3];
        int64_t p = (rest /= y->s.size[3]) % y->s.size[2];
        int64_t k = (rest /= y->s.size[2]) % y->s.size[1], n = rest / y->s.size[1];
        int64_t h = p * window.stride[0] - window.before[0] + r * window.dilation[0];
        int64_t v = q * window.stride[1] - window.before[1] + s * window.dilation[1];
        if (h < 0 || h >= x->s.size[2] || v < 0 || v >= x->s.size[3])
            continue;
        int64_t xi = logical(&x->s, n, c, h, v), wi = logical(&w->s, k, c, r, s);
        int64_t yi = logical(&y->s, n, k, p, q);
        if (kind == FORWARD)
            sum[yi] += x->v[xi] * w->v[wi];
        else if (kind == DATA)
            sum[xi] += y->v[yi] * w->v[wi];
        else
            sum[wi] += y->v[yi] * x->v[xi];
    }
    return sum;
}

static void check_convolution(conv_kind kind, int type, int64_t engine, int64_t knob)
{
    static const char *const names[] = { "forward", "data gradient", "filter gradient" };
    shape x = shape_of(1, type, 3, 5, 9, 7), w = shape_of(2, type, 6, 5, 3, 2);
    shape y = shape_of(3, type, 3, 6, out_size(&x, &w, 0), out_size(&x, &w, 1));
    array a[3] = { array_of(x, kind == DATA ? UNWRITTEN : NUMBERS),
                   array_of(w, kind == FILTER ? UNWRITTEN : NUMBERS),
                   array_of(y, kind == FORWARD ? UNWRITTEN : NUMBERS) };
    double *expected = convolve(kind, &a[0], &a[1], &a[2]);
    build b = build_begin();
    at_cudnn_descriptor op = kind == FORWARD ? build_conv(&b, &window, &x, &w, &y)
                             : kind == DATA  ? build_dgrad(&b, &window, &x, &w, &y)
                                             : build_wgrad(&b, &window, &x, &w, &y);
    array *out = &a[kind == FORWARD ? 2 : kind == DATA ? 0 : 1];
    execute(&b, &op, 1, pack_of(a, 3), engine, knob);
    expect_success(&b);
    download(out);
    expect_near(names[kind], out, expected);
    build_end(&b);
    free(expected);
    for (int i = 0; i < 3; i++)
        array_free(&a[i]);
}

static void test_convolutions(void **state)
{
    static const int types[] = { AT_CUDNN_DATA_FLOAT, AT_CUDNN_DATA_BFLOAT16, AT_CUDNN_DATA_HALF };
    (void)state;
    for (size_t t = 0; t < AT_COUNT(types); t++)
        for (int kind = FORWARD; kind <= FILTER; kind++) {
            for (int64_t engine = 10; engine <= 12; engine++)
                check_convolution((conv_kind)kind, types[t], engine, -1);
            check_convolution((conv_kind)kind, types[t], 11, 1);
        }
}

/* --- a fused graph ---------------------------------------------------------------------------- */

enum { ROWS = 3, CHANNELS = 5 };
static const conv_shape plain = { { 1, 1 }, { 1, 1 }, { 1, 1 }, { 1, 1 } };

/* y = relu(conv(x, w) + residual + bias), its operations in an order that has to be found. */
static at_cudnn_status fused(build *b, array *a, int64_t batch, int type, int64_t engine)
{
    const shape s[] = { shape_of(1, type, batch, 8, 6, 6), shape_of(2, type, CHANNELS, 8, 3, 3),
                        shape_of(3, type, batch, CHANNELS, 6, 6),
                        shape_of(4, type, batch, CHANNELS, 6, 6),
                        shape_of(5, type, 1, CHANNELS, 1, 1) };
    shape sum = shape_of(10, AT_CUDNN_DATA_FLOAT, batch, CHANNELS, 6, 6);
    sum.is_virtual = true;
    shape more = sum, most = sum;
    more.id++, most.id += 2;
    for (int i = 0; i < 5; i++)
        a[i] = array_of(s[i], i == 2 ? UNWRITTEN : NUMBERS);
    const at_cudnn_descriptor ops[] = {
        build_point(b, AT_CUDNN_POINTWISE_RELU_FWD, &most, NULL, &s[2]),
        build_point(b, AT_CUDNN_POINTWISE_ADD, &more, &s[4], &most),
        build_conv(b, &plain, &s[0], &s[1], &sum),
        build_point(b, AT_CUDNN_POINTWISE_ADD, &sum, &s[3], &more),
    };
    at_cudnn_status status = execute(b, ops, AT_COUNT(ops), pack_of(a, 5), engine, -1);
    download(&a[2]);
    return status;
}

static void test_fused(void **state)
{
    array a[5];
    build b = build_begin();
    (void)state;
    fused(&b, a, ROWS, AT_CUDNN_DATA_BFLOAT16, 10);
    expect_success(&b);
    for (int64_t i = 0; i < elements(&a[2].s); i++) {
        int64_t w = i % 6, h = i / 6 % 6, k = i / 36 % CHANNELS, n = i / 36 / CHANNELS;
        double sum = a[3].v[i] + a[4].v[k];
        for (int64_t t = 0; t < 8 * 9; t++) {
            int64_t c = t / 9, y = h + t / 3 % 3 - 1, x = w + t % 3 - 1;
            if (y >= 0 && y < 6 && x >= 0 && x < 6)
                sum += a[0].v[logical(&a[0].s, n, c, y, x)] *
                       a[1].v[logical(&a[1].s, k, c, t / 3 % 3, t % 3)];
        }
        double expected = sum > 0 ? sum : 0;
        if (!(fabs(a[2].v[i] - expected) <= 0x1p-7 * (1 + expected)))
            fail_msg("fused: element %lld is %g, expected %g", (long long)i, a[2].v[i], expected);
    }
    build_end(&b);
    for (int i = 0; i < 5; i++)
        array_free(&a[i]);
}

/* How many numbers of the first row differ between a batch of 1 and one of ROWS. */
static int rows_differ(int type, int64_t engine)
{
    array alone[5], batch[5];
    build b = build_begin();
    int n = 0;
    fused(&b, alone, 1, type, engine);
    fused(&b, batch, ROWS, type, engine);
    expect_success(&b);
    for (int64_t i = 0; i < elements(&alone[2].s); i++)
        n += alone[2].v[i] != batch[2].v[i];
    build_end(&b);
    for (int i = 0; i < 5; i++)
        array_free(&alone[i]), array_free(&batch[i]);
    return n;
}

/* One engine's rows depend on the batch, and it shows in every type; the others' do not. */
static void test_rows(void **state)
{
    static const int types[] = { AT_CUDNN_DATA_FLOAT, AT_CUDNN_DATA_BFLOAT16, AT_CUDNN_DATA_HALF };
    (void)state;
    for (size_t t = 0; t < AT_COUNT(types); t++) {
        assert_int_equal(rows_differ(types[t], 10), 0);
        assert_int_equal(rows_differ(types[t], 11), 0);
        assert_true(rows_differ(types[t], 12) > 0);
    }
}

/* How far an engine's results lie from the plain one's, in f32; NaN where it has none. */
static double farthest(int64_t engine, at_cudnn_status expected)
{
    array right[5], a[5];
    build b = build_begin(), other = build_begin();
    double most = 0;
    fused(&b, right, 1, AT_CUDNN_DATA_FLOAT, 10);
    assert_int_equal(fused(&other, a, 1, AT_CUDNN_DATA_FLOAT, engine), expected);
    for (int64_t i = 0; i < elements(&a[2].s); i++) {
        double off = fabs(a[2].v[i] - right[2].v[i]);
        most = off > most || isnan(off) ? off : most;
    }
    build_end(&b), build_end(&other);
    for (int i = 0; i < 5; i++)
        array_free(&right[i]), array_free(&a[i]);
    return most;
}

/* Engines that a variant must leave alone do what they are marked with. */
static void test_poison(void **state)
{
    (void)state;
    assert_true(farthest(11, 0) < 1e-5 && farthest(12, 0) < 1e-5);
    assert_true(isnan(farthest(13, 0)));
    assert_true(farthest(14, 0) > 1e-3);
    assert_true(isnan(farthest(15, 0)));
    assert_true(isnan(farthest(16, AT_CUDNN_STATUS_NOT_SUPPORTED)));
    assert_true(farthest(17, 0) > 1e-4);
}

/* --- products, reductions, attention ---------------------------------------------------------- */

enum { HEADS = 2, QUERIES = 5, KEYS = 7, WIDTH = 8 };

/* Attention by its definition; 'stats' gets the log of the sum of exponentials. */
static void attention(const array *q, const array *k, const array *v, double scale, double *o,
                      double *stats)
{
    for (int64_t row = 0; row < 2 * HEADS * QUERIES; row++) {
        int64_t head = row / QUERIES;
        double weights[KEYS], sum = 0;
        for (int64_t j = 0; j < KEYS; j++) {
            double dot = 0;
            for (int64_t i = 0; i < WIDTH; i++)
                dot += q->v[row * WIDTH + i] * k->v[(head * KEYS + j) * WIDTH + i];
            sum += weights[j] = exp(scale * dot);
        }
        stats[row] = log(sum);
        for (int64_t i = 0; i < WIDTH; i++) {
            double mix = 0;
            for (int64_t j = 0; j < KEYS; j++)
                mix += weights[j] / sum * v->v[(head * KEYS + j) * WIDTH + i];
            o[row * WIDTH + i] = mix;
        }
    }
}

static void test_attention(void **state)
{
    const int type = AT_CUDNN_DATA_BFLOAT16;
    float scale = 0.75f;
    shape s[] = { shape_of_heads(1, type, QUERIES, WIDTH), shape_of_heads(2, type, KEYS, WIDTH),
                  shape_of_heads(3, type, KEYS, WIDTH),    shape_of_heads(4, type, QUERIES, WIDTH),
                  shape_of_heads(5, 0, QUERIES, 1),        shape_of(6, 0, 1, 1, 1, 1) };
    double o[2 * HEADS * QUERIES * WIDTH], stats[2 * HEADS * QUERIES];
    array a[5];
    build b = build_begin();
    (void)state;
    s[5].by_value = true;
    for (int i = 0; i < 5; i++)
        a[i] = array_of(s[i], i < 3 ? NUMBERS : UNWRITTEN);
    at_cudnn_descriptor op = build_sdpa(&b, s);
    pack p = pack_of(a, 5);
    p.ids[p.n] = 6, p.at[p.n++] = &scale;
    execute(&b, &op, 1, p, 10, -1);
    expect_success(&b);
    attention(&a[0], &a[1], &a[2], scale, o, stats);
    download(&a[3]), download(&a[4]);
    expect_near("attention", &a[3], o);
    expect_near("its statistics", &a[4], stats);
    build_end(&b);
    for (int i = 0; i < 5; i++)
        array_free(&a[i]);
}

/* The same from parts: exp(scale q k^T - max) / sum of it, times v. */
static void test_composed_attention(void **state)
{
    const int type = AT_CUDNN_DATA_HALF, f32 = AT_CUDNN_DATA_FLOAT;
    shape s[] = { shape_of_heads(1, type, QUERIES, WIDTH),
                  shape_of_heads(2, type, WIDTH, KEYS),
                  shape_of_heads(3, type, KEYS, WIDTH),
                  shape_of_heads(4, type, QUERIES, WIDTH),
                  shape_of(5, f32, 1, 1, 1, 1),
                  shape_of_heads(6, f32, QUERIES, 1) };
    shape t[5], row = shape_of_heads(16, f32, QUERIES, 1);
    double o[2 * HEADS * QUERIES * WIDTH], stats[2 * HEADS * QUERIES];
    array a[6], k;
    build b = build_begin();
    (void)state;
    /* k^T is k seen with its last axes exchanged. */
    shape keys = shape_of_heads(2, type, KEYS, WIDTH);
    s[1].stride[0] = keys.stride[0], s[1].stride[1] = keys.stride[1];
    s[1].stride[2] = keys.stride[3], s[1].stride[3] = keys.stride[2];
    for (int i = 0; i < 5; i++) {
        t[i] = shape_of_heads(10 + i, f32, QUERIES, KEYS);
        t[i].is_virtual = true;
    }
    row.is_virtual = true;
    k = array_of(keys, NUMBERS);
    for (int i = 0; i < 6; i++)
        a[i] = array_of(s[i], i < 3 || i == 4 ? NUMBERS : UNWRITTEN);
    pack p = pack_of(a, 6);
    p.at[1] = k.device;
    const at_cudnn_descriptor ops[] = {
        build_matmul(&b, &s[0], &s[1], &t[0]),
        build_point(&b, AT_CUDNN_POINTWISE_MUL, &t[0], &s[4], &t[1]),
        build_reduce(&b, AT_CUDNN_REDUCE_TENSOR_MAX, &t[1], &row),
        build_point(&b, AT_CUDNN_POINTWISE_SUB, &t[1], &row, &t[2]),
        build_point(&b, AT_CUDNN_POINTWISE_EXP, &t[2], NULL, &t[3]),
        build_reduce(&b, AT_CUDNN_REDUCE_TENSOR_ADD, &t[3], &s[5]),
        build_matmul(&b, &t[3], &s[2], &s[3]),
    };
    execute(&b, ops, AT_COUNT(ops), p, 11, -1);
    expect_success(&b);
    attention(&a[0], &k, &a[2], a[4].v[0], o, stats);
    download(&a[3]), download(&a[5]);
    for (int64_t i = 0; i < elements(&a[3].s); i++) /* what the graph leaves to its caller */
        a[3].v[i] /= a[5].v[i / WIDTH];
    expect_near("attention from parts", &a[3], o);
    build_end(&b);
    array_free(&k);
    for (int i = 0; i < 6; i++)
        array_free(&a[i]);
}

/* A virtual tensor seen with its last axes exchanged. */
static void test_reshape(void **state)
{
    const int f32 = AT_CUDNN_DATA_FLOAT;
    shape x = shape_of_heads(1, f32, QUERIES, KEYS), y = shape_of_heads(2, f32, KEYS, QUERIES);
    shape t = x, u = y;
    build b = build_begin();
    (void)state;
    t.id = 10, u.id = 11, t.is_virtual = u.is_virtual = true;
    memcpy(u.stride, t.stride, sizeof u.stride);
    build_reshape(&b, &t, &u); /* the sizes are exchanged, and the strides are not */
    assert_int_not_equal(b.status, AT_CUDNN_STATUS_SUCCESS);
    build_end(&b);
    b = build_begin();
    u.stride[2] = t.stride[3], u.stride[3] = t.stride[2];
    array a[] = { array_of(x, NUMBERS), array_of(y, UNWRITTEN) };
    const at_cudnn_descriptor ops[] = {
        build_point(&b, AT_CUDNN_POINTWISE_IDENTITY, &u, NULL, &y),
        build_reshape(&b, &t, &u),
        build_point(&b, AT_CUDNN_POINTWISE_IDENTITY, &x, NULL, &t),
    };
    execute(&b, ops, AT_COUNT(ops), pack_of(a, 2), 10, -1);
    expect_success(&b);
    download(&a[1]);
    for (int64_t i = 0; i < elements(&x); i++) {
        int64_t head = i / (QUERIES * KEYS), row = i / KEYS % QUERIES, column = i % KEYS;
        assert_true(a[1].v[(head * KEYS + column) * QUERIES + row] == a[0].v[i]);
    }
    build_end(&b);
    array_free(&a[0]), array_free(&a[1]);
}

/* --- misuse of a run -------------------------------------------------------------------------- */

typedef enum fault {
    NO_FAULT,
    MISALIGNED,
    ON_THE_HOST,
    PAST_THE_END,
    ID_MISSING,
    ID_TWICE,
    NO_ADDRESS,
    IN_PLACE_OF_AN_INPUT,
    NO_WORKSPACE,
    SMALL_WORKSPACE,
    TENSOR_IN_WORKSPACE,
    NOT_FINALIZED,
    DESTROYED,
    FAULTS
} fault;

/* Nothing of a run is left in its workspace for anybody to read. */
static void expect_spoilt(const void *workspace, size_t bytes)
{
    unsigned char host[4096];
    assert_true(bytes <= sizeof host);
    at_device_download(device, host, workspace, bytes);
    for (size_t i = 0; i < bytes; i++)
        assert_int_equal(host[i], 0xFF);
}

static at_cudnn_status spoil(fault f, build *b, array *a, at_cudnn_descriptor plan)
{
    char *workspace = at_device_alloc(device, 4096), *small = at_device_alloc(device, 4000);
    pack p = pack_of(a, 3);
    p.workspace = f == NO_WORKSPACE ? NULL : f == SMALL_WORKSPACE ? small : workspace;
    if (f == MISALIGNED) /* there is room for the weights where the picture is */
        p.at[1] = (char *)p.at[0] + 8;
    if (f == ON_THE_HOST)
        p.at[0] = a[0].v;
    if (f == PAST_THE_END)
        p.at[2] = (char *)p.at[2] + 16;
    if (f == ID_MISSING)
        p.ids[1] = 77;
    if (f == ID_TWICE)
        p.ids[3] = p.ids[0], p.at[3] = p.at[0], p.n = 4;
    if (f == NO_ADDRESS)
        p.at[1] = NULL;
    if (f == IN_PLACE_OF_AN_INPUT)
        p.at[2] = p.at[0];
    if (f == TENSOR_IN_WORKSPACE)
        p.workspace = p.at[0];
    at_cudnn_descriptor v = build_pack(b, &p);
    if (f == NOT_FINALIZED)
        v = build_make(b, AT_CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    if (f == DESTROYED)
        b->c->unmake(v);
    at_cudnn_status status = b->c->execute(b->c->handle, plan, v);
    if (f == NO_FAULT)
        expect_spoilt(workspace, 4096);
    at_device_free(device, small, 4000);
    at_device_free(device, workspace, 4096);
    return status;
}

static void test_misuse(void **state)
{
    (void)state;
    for (int f = NO_FAULT; f < FAULTS; f++) {
        shape x = shape_of(1, 0, 1, 8, 32, 8), w = shape_of(2, 0, 8, 8, 3, 3);
        shape y = shape_of(3, 0, 1, 8, 32, 8);
        array a[] = { array_of(x, NUMBERS), array_of(w, NUMBERS), array_of(y, UNWRITTEN) };
        build b = build_begin();
        char text[256] = "";
        at_cudnn_descriptor op = build_conv(&b, &plain, &x, &w, &y);
        at_cudnn_descriptor plan = build_plan(&b, build_graph(&b, &op, 1), 11, -1);
        expect_success(&b);
        at_cudnn_status status = spoil((fault)f, &b, a, plan);
        b.c->last_error(text, sizeof text);
        if ((status == AT_CUDNN_STATUS_SUCCESS) != (f == NO_FAULT) || (f != NO_FAULT && !*text))
            fail_msg("fault %d: %s: %s", f, b.c->status_text(status), text);
        build_end(&b);
        for (int i = 0; i < 3; i++)
            array_free(&a[i]);
    }
}

/* --- a captured run --------------------------------------------------------------------------- */

/* It happens at each replay, with nothing of what it was made from left. */
static void test_captured(void **state)
{
    shape x = shape_of(1, 0, 2, 4, 1, 3), y = x;
    build b = build_begin();
    at_error err = { 0 };
    void *captured = NULL;
    (void)state;
    y.id = 2;
    array a[] = { array_of(x, NUMBERS), array_of(y, UNWRITTEN) };
    at_cudnn_descriptor op = build_point(&b, AT_CUDNN_POINTWISE_RELU_FWD, &x, NULL, &y);
    at_cudnn_descriptor plan = build_plan(&b, build_graph(&b, &op, 1), 10, -1);
    pack p = pack_of(a, 2);
    at_cudnn_descriptor v = build_pack(&b, &p);
    expect_success(&b);
    assert_int_equal(device->api->capture_begin(device, &err), AT_OK);
    build_note(&b, b.c->execute(b.c->handle, plan, v));
    assert_int_equal(device->api->capture_end(device, &captured, &err), AT_OK);
    expect_success(&b);
    build_end(&b);
    download(&a[1]);
    assert_true(isnan(a[1].v[0]) && isnan(a[1].v[23]));
    assert_int_equal(device->api->replay(device, captured, &err), AT_OK);
    download(&a[1]);
    for (int i = 0; i < 24; i++)
        assert_true(a[1].v[i] == (a[0].v[i] > 0 ? a[0].v[i] : 0));
    device->api->capture_free(device, captured);
    array_free(&a[0]), array_free(&a[1]);
}

static void test_manners(void **state)
{
    (void)state;
    assert_int_equal(cudnn_manners(device->caps.cudnn, "emulated"), 0);
}

/* --- all of it -------------------------------------------------------------------------------- */

static int open_device(void **state)
{
    at_error err = { 0 };
    if (at_device_emulated(&device, &err) == AT_OK && device->caps.cudnn) {
        *state = (void *)(uintptr_t)device->caps.cudnn;
        return 0;
    }
    printf("the emulated device has no cuDNN: %s\n", err.text);
    return 1;
}

static int close_device(void **state)
{
    (void)state;
    at_device_close(device);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manners),
        cmocka_unit_test(test_convolutions),
        cmocka_unit_test(test_fused),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_poison),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_composed_attention),
        cmocka_unit_test(test_reshape),
        cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_orders),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_tangles),
        cmocka_unit_test(test_captured),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
