/* onednn.c -- the only file that knows the library and the differences between its versions. */
#include "kernels/onednn.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <oneapi/dnnl/dnnl.h>
#include <oneapi/dnnl/dnnl_version.h>

#include "kernels/ops.h"

/* --- what differs between versions ------------------------------------------------------------ */

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t dnn_md;
typedef const_dnnl_memory_desc_t dnn_md_in;
#define DNN_IN(md) (md)

static dnnl_status_t md_by_tag(dnn_md *md, int rank, const int64_t *size, dnnl_data_type_t type,
                               dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_create_with_tag(md, rank, size, type, tag);
}

static dnnl_status_t md_by_strides(dnn_md *md, int rank, const int64_t *size, dnnl_data_type_t type,
                                   const int64_t *strides)
{
    return dnnl_memory_desc_create_with_strides(md, rank, size, type, strides);
}

static void md_free(dnn_md md)
{
    if (md)
        dnnl_memory_desc_destroy(md);
}

static dnnl_status_t make_conv(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnn_md x, dnn_md w,
                               dnn_md b, dnn_md y, const int64_t *stride, const int64_t *gap,
                               const int64_t *before, const int64_t *after,
                               dnnl_primitive_attr_t attr)
{
    return dnnl_convolution_forward_primitive_desc_create(pd, engine, dnnl_forward_training,
                                                          dnnl_convolution_direct, x, w, b, y,
                                                          stride, gap, before, after, attr);
}

static dnnl_status_t make_conv_wgrad(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnn_md x,
                                     dnn_md w, dnn_md b, dnn_md y, const int64_t *stride,
                                     const int64_t *gap, const int64_t *before,
                                     const int64_t *after, dnnl_primitive_desc_t hint,
                                     dnnl_primitive_attr_t attr)
{
    return dnnl_convolution_backward_weights_primitive_desc_create(
        pd, engine, dnnl_convolution_direct, x, w, b, y, stride, gap, before, after, hint, attr);
}

static dnnl_status_t make_product(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnn_md x,
                                  dnn_md w, dnn_md b, dnn_md y, dnnl_primitive_attr_t attr)
{
    return dnnl_matmul_primitive_desc_create(pd, engine, x, w, b, y, attr);
}

static dnnl_status_t make_act(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_alg_kind_t alg,
                              float alpha, dnn_md x, dnn_md y, dnnl_primitive_attr_t attr)
{
    return dnnl_eltwise_forward_primitive_desc_create(pd, engine, dnnl_forward_inference, alg, x, y,
                                                      alpha, 0, attr);
}

static dnnl_status_t append_act(dnnl_post_ops_t ops, dnnl_alg_kind_t alg, float alpha)
{
    return dnnl_post_ops_append_eltwise(ops, alg, alpha, 0);
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1, 0, dnnl_data_type_undef);
}

static void md_text(dnn_md_in md, char *text, size_t size)
{
    int rank = 0, blocks = 0;
    dnnl_dims_t *strides = NULL, *inner = NULL, *axes = NULL;
    dnnl_memory_desc_query(md, dnnl_query_ndims_s32, &rank);
    dnnl_memory_desc_query(md, dnnl_query_strides, &strides);
    dnnl_memory_desc_query(md, dnnl_query_inner_nblks_s32, &blocks);
    dnnl_memory_desc_query(md, dnnl_query_inner_blks, &inner);
    dnnl_memory_desc_query(md, dnnl_query_inner_idxs, &axes);
    size_t used = (size_t)snprintf(text, size, "s");
    for (int i = 0; i < rank && strides && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, ",%lld", (long long)(*strides)[i]);
    for (int i = 0; i < blocks && inner && axes && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, " %lldx%lld", (long long)(*axes)[i],
                                 (long long)(*inner)[i]);
}
#else
typedef dnnl_memory_desc_t dnn_md;
typedef const dnnl_memory_desc_t *dnn_md_in;
#define DNN_IN(md) (&(md))

static dnnl_status_t md_by_tag(dnn_md *md, int rank, const int64_t *size, dnnl_data_type_t type,
                               dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_init_by_tag(md, rank, size, type, tag);
}

static dnnl_status_t md_by_strides(dnn_md *md, int rank, const int64_t *size, dnnl_data_type_t type,
                                   const int64_t *strides)
{
    return dnnl_memory_desc_init_by_strides(md, rank, size, type, strides);
}

static void md_free(dnn_md md)
{
    (void)md;
}

static dnnl_status_t make_conv(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnn_md x, dnn_md w,
                               dnn_md b, dnn_md y, const int64_t *stride, const int64_t *gap,
                               const int64_t *before, const int64_t *after,
                               dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t c;
    dnnl_status_t s = dnnl_dilated_convolution_forward_desc_init(
        &c, dnnl_forward_training, dnnl_convolution_direct, &x, &w, b.ndims ? &b : NULL, &y, stride,
        gap, before, after);
    return s == dnnl_success ? dnnl_primitive_desc_create(pd, &c, attr, engine, NULL) : s;
}

static dnnl_status_t make_conv_wgrad(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnn_md x,
                                     dnn_md w, dnn_md b, dnn_md y, const int64_t *stride,
                                     const int64_t *gap, const int64_t *before,
                                     const int64_t *after, dnnl_primitive_desc_t hint,
                                     dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t c;
    dnnl_status_t s = dnnl_dilated_convolution_backward_weights_desc_init(
        &c, dnnl_convolution_direct, &x, &w, b.ndims ? &b : NULL, &y, stride, gap, before, after);
    return s == dnnl_success ? dnnl_primitive_desc_create(pd, &c, attr, engine, hint) : s;
}

static dnnl_status_t make_product(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnn_md x,
                                  dnn_md w, dnn_md b, dnn_md y, dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t m;
    dnnl_status_t s = dnnl_matmul_desc_init(&m, &x, &w, b.ndims ? &b : NULL, &y);
    return s == dnnl_success ? dnnl_primitive_desc_create(pd, &m, attr, engine, NULL) : s;
}

static dnnl_status_t make_act(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_alg_kind_t alg,
                              float alpha, dnn_md x, dnn_md y, dnnl_primitive_attr_t attr)
{
    dnnl_eltwise_desc_t e;
    (void)y; /* the same as x */
    dnnl_status_t s = dnnl_eltwise_forward_desc_init(&e, dnnl_forward_inference, alg, &x, alpha, 0);
    return s == dnnl_success ? dnnl_primitive_desc_create(pd, &e, attr, engine, NULL) : s;
}

static dnnl_status_t append_act(dnnl_post_ops_t ops, dnnl_alg_kind_t alg, float alpha)
{
    return dnnl_post_ops_append_eltwise(ops, 1, alg, alpha, 0);
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1);
}

static void md_text(dnn_md_in md, char *text, size_t size)
{
    const dnnl_blocking_desc_t *b = &md->format_desc.blocking;
    size_t used = (size_t)snprintf(text, size, "s");
    for (int i = 0; i < md->ndims && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, ",%lld", (long long)b->strides[i]);
    for (int i = 0; i < b->inner_nblks && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, " %lldx%lld",
                                 (long long)b->inner_idxs[i], (long long)b->inner_blks[i]);
}
#endif

/* --- sets and jobs ---------------------------------------------------------------------------- */

enum { JOBS_MAX = 16, WORKERS_MAX = 256 };

typedef enum job_kind { CONV, CONV_WGRAD, PRODUCT, ACT, REORDER } job_kind;

typedef struct job {
    job_kind kind;
    union {
        at_dnn_conv conv;
        at_dnn_product product;
        int64_t reorder[3]; /* job, type, direction */
    } what;
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t primitive;
    int argument[AT_DNN_SLOTS]; /* the library's name of a slot; 0: not used */
    dnnl_memory_t *memory;      /* per worker AT_DNN_SLOTS and the scratch */
} job;

struct at_dnn {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    int workers, n_jobs;
    size_t scratch_bytes;
    job jobs[JOBS_MAX];
};

static dnnl_data_type_t type_of(at_dtype type)
{
    return type == AT_BF16 ? dnnl_bf16 : dnnl_f32;
}

static at_status failed(const char *what, dnnl_status_t s, at_error *err)
{
    return at_fail(err, AT_UNSUPPORTED, "oneDNN cannot make %s: status %d", what, (int)s);
}

at_status at_dnn_new(at_dnn **out, int workers, at_error *err)
{
    AT_ASSERT(workers > 0 && workers <= WORKERS_MAX, "%d workers", workers);
    at_dnn *d = calloc(1, sizeof *d);
    if (!d)
        return at_fail(err, AT_NO_MEMORY, "no memory for a set of primitives");
    d->workers = workers;
    dnnl_status_t s = dnnl_engine_create(&d->engine, dnnl_cpu, 0);
    if (s == dnnl_success)
        s = dnnl_stream_create(&d->stream, d->engine, dnnl_stream_default_flags);
    if (s != dnnl_success) {
        at_dnn_free(d);
        return failed("an engine", s, err);
    }
    *out = d;
    return AT_OK;
}

static void free_job(const at_dnn *d, job *j)
{
    for (int i = 0; j->memory && i < d->workers * (AT_DNN_SLOTS + 1); i++)
        if (j->memory[i])
            dnnl_memory_destroy(j->memory[i]);
    free(j->memory);
    if (j->primitive)
        dnnl_primitive_destroy(j->primitive);
    if (j->pd)
        dnnl_primitive_desc_destroy(j->pd);
    *j = (job){ 0 };
}

void at_dnn_free(at_dnn *d)
{
    if (!d)
        return;
    for (int i = 0; i < d->n_jobs; i++)
        free_job(d, &d->jobs[i]);
    if (d->stream)
        dnnl_stream_destroy(d->stream);
    if (d->engine)
        dnnl_engine_destroy(d->engine);
    free(d);
}

void at_dnn_limit(uint32_t has)
{
    dnnl_cpu_isa_t isa = dnnl_cpu_isa_sse41;
    if (has & AT_CAP_MASK(AVX2))
        isa = dnnl_cpu_isa_avx2;
    if (has & AT_CAP_MASK(AVX512))
        isa = dnnl_cpu_isa_avx512_core;
    if (has & AT_CAP_MASK(AVX512_BF16))
        isa = dnnl_cpu_isa_avx512_core_bf16;
    if (has & AT_CAP_MASK(AMX_BF16))
        return;
    dnnl_set_max_cpu_isa(
        isa); /* refused after the first primitive: then it was asked for too late */
}

void at_dnn_version(char *text, size_t text_size)
{
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, text_size, "%d.%d.%d", v->major, v->minor, v->patch);
}

/* --- making a job ----------------------------------------------------------------------------- */

static dnnl_query_t slot_query(const job *j, int slot)
{
    static const dnnl_query_t forward[] = { dnnl_query_src_md, dnnl_query_weights_md,
                                            dnnl_query_weights_md, dnnl_query_dst_md };
    static const dnnl_query_t weights[] = { dnnl_query_src_md, dnnl_query_diff_weights_md,
                                            dnnl_query_diff_weights_md, dnnl_query_diff_dst_md };
    static const dnnl_query_t reorder[] = { dnnl_query_src_md, dnnl_query_dst_md, dnnl_query_undef,
                                            dnnl_query_undef };
    return j->kind == CONV_WGRAD ? weights[slot]
           : j->kind == REORDER  ? reorder[slot]
                                 : forward[slot];
}

static dnn_md_in slot_md(const job *j, int slot)
{
    return dnnl_primitive_desc_query_md(j->pd, slot_query(j, slot), slot == AT_DNN_BIAS);
}

/* One handle per worker and slot; addresses come with each run. */
static dnnl_status_t make_memory(const at_dnn *d, job *j)
{
    j->memory = calloc((size_t)d->workers * (AT_DNN_SLOTS + 1), sizeof *j->memory);
    dnnl_status_t s = j->memory ? dnnl_success : dnnl_out_of_memory;
    for (int i = 0; i < d->workers * (AT_DNN_SLOTS + 1) && s == dnnl_success; i++) {
        int slot = i % (AT_DNN_SLOTS + 1);
        dnn_md_in md = slot == AT_DNN_SLOTS
                           ? dnnl_primitive_desc_query_md(j->pd, dnnl_query_scratchpad_md, 0)
                       : j->argument[slot] ? slot_md(j, slot)
                                           : NULL;
        if (md)
            s = dnnl_memory_create(&j->memory[i], md, d->engine, NULL);
    }
    return s;
}

/* 'j' has its description, its arguments and its primitive's description; takes it over. */
static at_status finish_job(at_dnn *d, job *j, dnnl_status_t s, const char *what, int *index,
                            at_error *err)
{
    if (s == dnnl_success)
        s = dnnl_primitive_create(&j->primitive, j->pd);
    if (s == dnnl_success)
        s = make_memory(d, j);
    if (s == dnnl_success && d->n_jobs == JOBS_MAX)
        s = dnnl_out_of_memory;
    if (s != dnnl_success) {
        free_job(d, j);
        return failed(what, s, err);
    }
    size_t bytes =
        dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(j->pd, dnnl_query_scratchpad_md, 0));
    d->scratch_bytes = bytes > d->scratch_bytes ? bytes : d->scratch_bytes;
    *index = d->n_jobs;
    d->jobs[d->n_jobs++] = *j;
    return AT_OK;
}

static bool known(const at_dnn *d, const job *j, int *index)
{
    for (int i = 0; i < d->n_jobs; i++)
        if (d->jobs[i].kind == j->kind && !memcmp(&d->jobs[i].what, &j->what, sizeof j->what)) {
            *index = i;
            return true;
        }
    return false;
}

/* The library looks at the caller's number of threads when it makes a primitive. */
static int alone(void)
{
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    return threads;
}

static dnnl_alg_kind_t act_of(int act, float *alpha)
{
    *alpha = act == AT_ACT_QUICK_GELU ? 1.702f : act == AT_ACT_SILU ? 1.0f : 0.0f;
    switch ((at_act)act) {
    case AT_ACT_RELU: return dnnl_eltwise_relu;
    case AT_ACT_GELU: return dnnl_eltwise_gelu_erf;
    case AT_ACT_QUICK_GELU:
    case AT_ACT_SILU: return dnnl_eltwise_swish;
    case AT_ACT_NONE: break;
    }
    return dnnl_alg_kind_undef;
}

static dnnl_status_t make_attr(dnnl_primitive_attr_t *attr, bool sum, int act)
{
    dnnl_post_ops_t ops = NULL;
    float alpha;
    dnnl_alg_kind_t alg = act_of(act, &alpha);
    dnnl_status_t s = dnnl_primitive_attr_create(attr);
    if (s == dnnl_success)
        s = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
    if (s == dnnl_success)
        s = dnnl_post_ops_create(&ops);
    if (s == dnnl_success && sum)
        s = append_sum(ops);
    if (s == dnnl_success && act)
        s = append_act(ops, alg, alpha);
    if (s == dnnl_success)
        s = dnnl_primitive_attr_set_post_ops(*attr, ops);
    if (ops)
        dnnl_post_ops_destroy(ops);
    return s;
}

/* --- convolution ------------------------------------------------------------------------------ */

typedef struct conv_mds {
    dnn_md x, w, b, y, dw;
} conv_mds;

static dnnl_status_t conv_mds_of(const at_dnn_conv *c, conv_mds *m)
{
    const dnnl_dims_t x = { c->b, c->ci, c->h, c->w }, w = { c->co, c->ci, c->kh, c->kw };
    const dnnl_dims_t y = { c->b, c->co, (c->h + c->top + c->bottom - c->kh) / c->sh + 1,
                            (c->w + c->left + c->right - c->kw) / c->sw + 1 };
    const dnnl_dims_t b = { c->co };
    dnnl_status_t s = md_by_tag(&m->x, 4, x, type_of(c->type), dnnl_nhwc);
    if (s == dnnl_success)
        s = md_by_tag(&m->w, 4, w, type_of(c->type), dnnl_format_tag_any);
    if (s == dnnl_success)
        s = md_by_tag(&m->dw, 4, w, dnnl_f32, dnnl_format_tag_any);
    if (s == dnnl_success)
        s = md_by_tag(&m->y, 4, y, type_of(c->y_type), dnnl_nhwc);
    if (s == dnnl_success && c->bias_type != AT_NONE)
        s = md_by_tag(&m->b, 1, b, type_of(c->bias_type), dnnl_a);
    return s;
}

static void conv_mds_free(conv_mds *m)
{
    md_free(m->x), md_free(m->w), md_free(m->b), md_free(m->y), md_free(m->dw);
}

static dnnl_status_t describe_conv(const at_dnn *d, const at_dnn_conv *c, job *j)
{
    static const dnnl_dims_t gap = { 0, 0 };
    const dnnl_dims_t stride = { c->sh, c->sw }, before = { c->top, c->left };
    const dnnl_dims_t after = { c->bottom, c->right };
    conv_mds m;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t forward = NULL;
    memset(&m, 0, sizeof m);
    dnnl_status_t s = conv_mds_of(c, &m);
    if (s == dnnl_success)
        s = make_attr(&attr, c->sum, c->relu ? AT_ACT_RELU : AT_ACT_NONE);
    if (s == dnnl_success)
        s = make_conv(&forward, d->engine, m.x, m.w, m.b, m.y, stride, gap, before, after, attr);
    if (j->kind == CONV) {
        j->pd = forward;
        forward = NULL;
    } else if (s == dnnl_success) {
        s = make_conv_wgrad(&j->pd, d->engine, m.x, m.dw, m.b, m.y, stride, gap, before, after,
                            forward, attr);
    }
    if (forward)
        dnnl_primitive_desc_destroy(forward);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    conv_mds_free(&m);
    return s;
}

static at_status add_conv(at_dnn *d, job_kind kind, const at_dnn_conv *c, int *index, at_error *err)
{
    job j;
    memset(&j, 0, sizeof j);
    j.kind = kind;
    j.what.conv = *c;
    if (known(d, &j, index))
        return AT_OK;
    bool forward = kind == CONV;
    j.argument[AT_DNN_X] = DNNL_ARG_SRC;
    j.argument[AT_DNN_W] = forward ? DNNL_ARG_WEIGHTS : DNNL_ARG_DIFF_WEIGHTS;
    j.argument[AT_DNN_Y] = forward ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST;
    if (c->bias_type != AT_NONE)
        j.argument[AT_DNN_BIAS] = forward ? DNNL_ARG_BIAS : DNNL_ARG_DIFF_BIAS;
    int threads = alone();
    at_status status = finish_job(d, &j, describe_conv(d, c, &j), "a convolution", index, err);
    omp_set_num_threads(threads);
    return status;
}

at_status at_dnn_add_conv(at_dnn *d, const at_dnn_conv *c, int *index, at_error *err)
{
    return add_conv(d, CONV, c, index, err);
}

at_status at_dnn_add_conv_wgrad(at_dnn *d, const at_dnn_conv *c, int *index, at_error *err)
{
    return add_conv(d, CONV_WGRAD, c, index, err);
}

/* --- products --------------------------------------------------------------------------------- */

static dnnl_status_t describe_product(const at_dnn *d, const at_dnn_product *p, job *j)
{
    const dnnl_dims_t x = { p->m, p->k }, w = { p->k, p->n }, y = { p->m, p->n };
    const dnnl_dims_t b = { 1, p->n };
    conv_mds m;
    dnnl_primitive_attr_t attr = NULL;
    memset(&m, 0, sizeof m);
    dnnl_status_t s = md_by_tag(&m.x, 2, x, type_of(p->type), dnnl_ab);
    if (s == dnnl_success)
        s = md_by_tag(&m.w, 2, w, type_of(p->type), dnnl_format_tag_any);
    if (s == dnnl_success)
        s = md_by_tag(&m.y, 2, y, type_of(p->y_type), dnnl_ab);
    if (s == dnnl_success && p->bias_type != AT_NONE)
        s = md_by_tag(&m.b, 2, b, type_of(p->bias_type), dnnl_ab);
    if (s == dnnl_success)
        s = make_attr(&attr, p->sum, p->act);
    if (s == dnnl_success)
        s = make_product(&j->pd, d->engine, m.x, m.w, m.b, m.y, attr);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    conv_mds_free(&m);
    return s;
}

at_status at_dnn_add_product(at_dnn *d, const at_dnn_product *p, int *index, at_error *err)
{
    job j;
    memset(&j, 0, sizeof j);
    j.kind = PRODUCT;
    j.what.product = *p;
    if (known(d, &j, index))
        return AT_OK;
    j.argument[AT_DNN_X] = DNNL_ARG_SRC;
    j.argument[AT_DNN_W] = DNNL_ARG_WEIGHTS;
    j.argument[AT_DNN_Y] = DNNL_ARG_DST;
    j.argument[AT_DNN_BIAS] = p->bias_type != AT_NONE ? DNNL_ARG_BIAS : 0;
    int threads = alone();
    at_status status = finish_job(d, &j, describe_product(d, p, &j), "a product", index, err);
    omp_set_num_threads(threads);
    return status;
}

static dnnl_status_t describe_act(const at_dnn *d, const at_dnn_product *p, job *j)
{
    const dnnl_dims_t size = { p->m, p->n };
    dnn_md x;
    float alpha;
    dnnl_alg_kind_t alg = act_of(p->act, &alpha);
    dnnl_primitive_attr_t attr = NULL;
    memset(&x, 0, sizeof x);
    dnnl_status_t s = md_by_tag(&x, 2, size, type_of(p->y_type), dnnl_ab);
    if (s == dnnl_success)
        s = make_attr(&attr, false, AT_ACT_NONE);
    if (s == dnnl_success)
        s = make_act(&j->pd, d->engine, alg, alpha, x, x, attr);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    md_free(x);
    return s;
}

at_status at_dnn_add_act(at_dnn *d, const at_dnn_product *p, int *index, at_error *err)
{
    job j;
    memset(&j, 0, sizeof j);
    j.kind = ACT;
    j.what.product = *p;
    if (known(d, &j, index))
        return AT_OK;
    j.argument[AT_DNN_X] = DNNL_ARG_SRC;
    j.argument[AT_DNN_Y] = DNNL_ARG_DST;
    int threads = alone();
    at_status status = finish_job(d, &j, describe_act(d, p, &j), "an activation", index, err);
    omp_set_num_threads(threads);
    return status;
}

/* --- layouts of weights ----------------------------------------------------------------------- */

bool at_dnn_same_weights(const at_dnn *d, int index, int other)
{
    return dnnl_memory_desc_equal(slot_md(&d->jobs[index], AT_DNN_W),
                                  slot_md(&d->jobs[other], AT_DNN_W));
}

size_t at_dnn_weight_bytes(const at_dnn *d, int index)
{
    return dnnl_memory_desc_get_size(slot_md(&d->jobs[index], AT_DNN_W));
}

void at_dnn_weight_text(const at_dnn *d, int index, char *text, size_t size)
{
    md_text(slot_md(&d->jobs[index], AT_DNN_W), text, size);
}

static dnnl_status_t plain_md(const job *j, at_dtype type, dnn_md *md)
{
    if (j->kind == PRODUCT) {
        const at_dnn_product *p = &j->what.product;
        const dnnl_dims_t size = { p->k, p->n }, strides = { p->k_stride, p->n_stride };
        return md_by_strides(md, 2, size, type_of(type), strides);
    }
    const at_dnn_conv *c = &j->what.conv;
    const dnnl_dims_t size = { c->co, c->ci, c->kh, c->kw };
    return md_by_tag(md, 4, size, type_of(type), dnnl_oihw);
}

static at_status add_reorder(at_dnn *d, int of, at_dtype type, bool back, int *index, at_error *err)
{
    job j;
    dnn_md plain;
    dnnl_primitive_attr_t attr = NULL;
    memset(&j, 0, sizeof j);
    memset(&plain, 0, sizeof plain);
    j.kind = REORDER;
    j.what.reorder[0] = of, j.what.reorder[1] = (int64_t)type, j.what.reorder[2] = back;
    if (known(d, &j, index))
        return AT_OK;
    j.argument[AT_DNN_X] = DNNL_ARG_FROM;
    j.argument[AT_DNN_W] = DNNL_ARG_TO;
    dnn_md_in packed = slot_md(&d->jobs[of], AT_DNN_W);
    int threads = alone();
    dnnl_status_t s = plain_md(&d->jobs[of], type, &plain);
    if (s == dnnl_success)
        s = make_attr(&attr, false, AT_ACT_NONE);
    if (s == dnnl_success)
        s = dnnl_reorder_primitive_desc_create(&j.pd, back ? packed : DNN_IN(plain), d->engine,
                                               back ? DNN_IN(plain) : packed, d->engine, attr);
    at_status status = finish_job(d, &j, s, "a reorder", index, err);
    omp_set_num_threads(threads);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    md_free(plain);
    return status;
}

at_status at_dnn_add_packing(at_dnn *d, int of, at_dtype type, int *index, at_error *err)
{
    return add_reorder(d, of, type, false, index, err);
}

at_status at_dnn_add_unpacking(at_dnn *d, int of, int *index, at_error *err)
{
    return add_reorder(d, of, AT_F32, true, index, err);
}

/* --- running ---------------------------------------------------------------------------------- */

size_t at_dnn_scratch_bytes(const at_dnn *d)
{
    enum { LINE = 64 };
    return (d->scratch_bytes + LINE - 1) / LINE * LINE;
}

at_status at_dnn_run(at_dnn *d, int index, int worker, void *const memory[AT_DNN_SLOTS],
                     void *scratch)
{
    const job *j = &d->jobs[index];
    dnnl_memory_t *own = j->memory + worker * (AT_DNN_SLOTS + 1);
    dnnl_exec_arg_t args[AT_DNN_SLOTS + 1];
    dnnl_status_t s = dnnl_success;
    int n = 0;
    AT_ASSERT(index < d->n_jobs && worker < d->workers, "job %d, worker %d", index, worker);
    for (int i = 0; i <= AT_DNN_SLOTS && s == dnnl_success; i++) {
        if (!own[i])
            continue;
        s = dnnl_memory_set_data_handle(own[i], i == AT_DNN_SLOTS ? scratch : memory[i]);
        int name = i == AT_DNN_SLOTS ? DNNL_ARG_SCRATCHPAD : j->argument[i];
        args[n++] = (dnnl_exec_arg_t){ name, own[i] };
    }
    int threads = omp_get_max_threads();
    if (threads > 1)
        omp_set_num_threads(1);
    if (s == dnnl_success)
        s = dnnl_primitive_execute(j->primitive, d->stream, n, args);
    if (s == dnnl_success)
        s = dnnl_stream_wait(d->stream);
    if (threads > 1)
        omp_set_num_threads(threads);
    return s == dnnl_success ? AT_OK : AT_DEVICE;
}
