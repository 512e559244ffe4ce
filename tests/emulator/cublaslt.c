/* cublaslt.c -- cuBLASLt's library on the emulated device, opened by engine/device_cuda.c like the
 * real one.
 *
 * A module of its own. It knows the functions and constants of kernels/cublaslt.def and nothing
 * else, and it is stricter than the library: what may not be combined, sizes that do not belong to
 * an attribute, addresses off alignment or outside of the device's memory, a workspace that is too
 * small are refused, and the status's text is the reason. Products are computed on the host.
 *
 * There are three algorithms. PLAIN sums each element in one go. SPLIT cuts the sum in three, and
 * says so; it needs a workspace for the parts. PLANTED says that it does not cut, and does, at a
 * place that depends on the number of columns of D (rows of a batch): its results are right, and a
 * row's bytes are not the same in another batch. What it remembers cannot be read from it. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cublaslt.h"
#include "tests/emulator/machine.h"

#define AT_CUBLASLT_VALUE(NAME, value)
#define AT_CUBLASLT_CALL(returns, name, symbol, args) AT_API returns symbol args;
#include "kernels/cublaslt.def"
#undef AT_CUBLASLT_CALL
#undef AT_CUBLASLT_VALUE

enum { VERSION = 130000, REASON_BYTES = 256, ALIGN_BYTES = 16, WORKSPACE_ALIGN = 256 };

static char reason[REASON_BYTES];
static int n_live; /* handles and descriptors */

static at_cublaslt_status __attribute__((format(printf, 2, 3)))
refuse(at_cublaslt_status status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(reason, sizeof reason, fmt, args);
    va_end(args);
    return status;
}

#define INVALID(...)     refuse(AT_CUBLAS_STATUS_INVALID_VALUE, __VA_ARGS__)
#define UNSUPPORTED(...) refuse(AT_CUBLAS_STATUS_NOT_SUPPORTED, __VA_ARGS__)
#define TRY(call)                           \
    do {                                    \
        at_cublaslt_status s_ = (call);     \
        if (s_ != AT_CUBLAS_STATUS_SUCCESS) \
            return s_;                      \
    } while (0)

size_t cublasLtGetVersion(void)
{
    return VERSION;
}

const char *cublasLtGetStatusString(at_cublaslt_status status)
{
    return status == AT_CUBLAS_STATUS_SUCCESS ? "success" : reason;
}

/* --- objects ---------------------------------------------------------------------------------- */

/* The first word of each tells what it is. */
enum { HANDLE = 0x4c540001, DESC, LAYOUT, PREFERENCE, ALGO };

typedef struct handle {
    int kind;
} handle;

typedef struct desc {
    int kind, turned[2];
    uint32_t epilogue;
    int bias_type; /* -1: D's */
    const void *bias;
    const float *a_scale, *b_scale, *d_scale;
    float *amax;
} desc;

typedef struct layout {
    int kind;
    at_cublaslt_type type;
    uint64_t rows, cols;
    int64_t ld;
} layout;

typedef struct preference {
    int kind;
    uint64_t workspace;
    uint32_t reductions, align[4];
} preference;

static at_cublaslt_status make_object(void **out, const void *object, size_t bytes)
{
    *out = malloc(bytes);
    if (!*out)
        abort();
    memcpy(*out, object, bytes);
    n_live++;
    return AT_CUBLAS_STATUS_SUCCESS;
}

static at_cublaslt_status destroy_object(void *object, int kind)
{
    if (!object || *(int *)object != kind)
        return INVALID("what is destroyed is something else");
    *(int *)object = 0;
    free(object);
    n_live--;
    return AT_CUBLAS_STATUS_SUCCESS;
}

static bool is_kind(const void *object, int kind)
{
    return object && *(const int *)object == kind;
}

at_cublaslt_status cublasLtCreate(at_cublaslt_handle *out)
{
    return make_object(out, &(handle){ HANDLE }, sizeof(handle));
}

at_cublaslt_status cublasLtDestroy(at_cublaslt_handle h)
{
    TRY(destroy_object(h, HANDLE));
    if (n_live == 0)
        return AT_CUBLAS_STATUS_SUCCESS;
    fprintf(stderr, "emulated cuBLASLt: %d descriptors are left when it is closed\n", n_live);
    abort();
}

at_cublaslt_status cublasLtMatmulDescCreate(at_cublaslt_desc *out, at_cublaslt_compute compute,
                                            at_cublaslt_type scale)
{
    if (compute != AT_CUBLAS_COMPUTE_32F || scale != AT_CUDA_R_32F)
        return UNSUPPORTED("computes in %d, scales in %d: only f32 is emulated", compute, scale);
    return make_object(
        out, &(desc){ .kind = DESC, .epilogue = AT_CUBLASLT_EPILOGUE_DEFAULT, .bias_type = -1 },
        sizeof(desc));
}

at_cublaslt_status cublasLtMatmulDescDestroy(at_cublaslt_desc d)
{
    return destroy_object(d, DESC);
}

/* Where an attribute is kept. */
typedef struct slot {
    int attribute;
    size_t offset, bytes;
} slot;

#define SLOT(type, NAME, field)                                      \
    {                                                                \
        AT_##NAME, offsetof(type, field), sizeof(((type *)0)->field) \
    }

static at_cublaslt_status set_slot(void *object, const slot *slots, size_t count, int attribute,
                                   const void *value, size_t bytes)
{
    for (size_t i = 0; i < count; i++) {
        if (slots[i].attribute != attribute)
            continue;
        if (!value || bytes != slots[i].bytes)
            return INVALID("attribute %d has %zu bytes, not %zu", attribute, slots[i].bytes, bytes);
        memcpy((char *)object + slots[i].offset, value, bytes);
        return AT_CUBLAS_STATUS_SUCCESS;
    }
    return INVALID("attribute %d is not emulated", attribute);
}

at_cublaslt_status cublasLtMatmulDescSetAttribute(at_cublaslt_desc d,
                                                  at_cublaslt_desc_attribute attribute,
                                                  const void *value, size_t bytes)
{
    static const slot slots[] = {
        SLOT(desc, CUBLASLT_MATMUL_DESC_TRANSA, turned[0]),
        SLOT(desc, CUBLASLT_MATMUL_DESC_TRANSB, turned[1]),
        SLOT(desc, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue),
        SLOT(desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias),
        SLOT(desc, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, bias_type),
        SLOT(desc, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, a_scale),
        SLOT(desc, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, b_scale),
        SLOT(desc, CUBLASLT_MATMUL_DESC_D_SCALE_POINTER, d_scale),
        SLOT(desc, CUBLASLT_MATMUL_DESC_AMAX_D_POINTER, amax),
    };
    if (!is_kind(d, DESC))
        return INVALID("an attribute is set of something else than an operation");
    return set_slot(d, slots, AT_COUNT(slots), attribute, value, bytes);
}

at_cublaslt_status cublasLtMatrixLayoutCreate(at_cublaslt_layout *out, at_cublaslt_type type,
                                              uint64_t rows, uint64_t cols, int64_t ld)
{
    if (!rows || !cols || rows > INT32_MAX || cols > INT32_MAX || ld < (int64_t)rows)
        return INVALID("a matrix of %llu rows, %llu columns and leading dimension %lld",
                       (unsigned long long)rows, (unsigned long long)cols, (long long)ld);
    return make_object(out, &(layout){ LAYOUT, type, rows, cols, ld }, sizeof(layout));
}

at_cublaslt_status cublasLtMatrixLayoutDestroy(at_cublaslt_layout l)
{
    return destroy_object(l, LAYOUT);
}

at_cublaslt_status cublasLtMatmulPreferenceCreate(at_cublaslt_preference *out)
{
    enum { MASK = 7, ALIGN_WISHED = 256 };
    const preference p = {
        PREFERENCE, 0, MASK, { ALIGN_WISHED, ALIGN_WISHED, ALIGN_WISHED, ALIGN_WISHED }
    };
    return make_object(out, &p, sizeof p);
}

at_cublaslt_status cublasLtMatmulPreferenceDestroy(at_cublaslt_preference p)
{
    return destroy_object(p, PREFERENCE);
}

at_cublaslt_status cublasLtMatmulPreferenceSetAttribute(at_cublaslt_preference p,
                                                        at_cublaslt_preference_attribute attribute,
                                                        const void *value, size_t bytes)
{
    static const slot slots[] = {
        SLOT(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace),
        SLOT(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reductions),
        SLOT(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, align[0]),
        SLOT(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, align[1]),
        SLOT(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, align[2]),
        SLOT(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, align[3]),
    };
    if (!is_kind(p, PREFERENCE))
        return INVALID("an attribute is set of something else than a preference");
    return set_slot(p, slots, AT_COUNT(slots), attribute, value, bytes);
}

/* --- what goes together ----------------------------------------------------------------------- */

static at_dtype dtype_of(at_cublaslt_type type)
{
    switch (type) {
    case AT_CUDA_R_32F: return AT_F32;
    case AT_CUDA_R_16BF: return AT_BF16;
    case AT_CUDA_R_16F: return AT_F16;
    case AT_CUDA_R_8F_E4M3: return AT_F8;
    default: return AT_NONE;
    }
}

/* The library's table for sums and scales in f32: A and B alike, C, D, bias. */
static const struct {
    at_cublaslt_type ab, c, d, bias;
} types[] = {
    { AT_CUDA_R_16BF, AT_CUDA_R_16BF, AT_CUDA_R_16BF, AT_CUDA_R_16BF },
    { AT_CUDA_R_16F, AT_CUDA_R_16F, AT_CUDA_R_16F, AT_CUDA_R_16F },
    { AT_CUDA_R_16BF, AT_CUDA_R_32F, AT_CUDA_R_32F, AT_CUDA_R_32F },
    { AT_CUDA_R_16F, AT_CUDA_R_32F, AT_CUDA_R_32F, AT_CUDA_R_32F },
    { AT_CUDA_R_32F, AT_CUDA_R_32F, AT_CUDA_R_32F, AT_CUDA_R_32F },
    { AT_CUDA_R_8F_E4M3, AT_CUDA_R_16BF, AT_CUDA_R_16BF, AT_CUDA_R_16BF },
    { AT_CUDA_R_8F_E4M3, AT_CUDA_R_16BF, AT_CUDA_R_8F_E4M3, AT_CUDA_R_16BF },
    { AT_CUDA_R_8F_E4M3, AT_CUDA_R_16F, AT_CUDA_R_16F, AT_CUDA_R_16F },
    { AT_CUDA_R_8F_E4M3, AT_CUDA_R_16F, AT_CUDA_R_8F_E4M3, AT_CUDA_R_16F },
    { AT_CUDA_R_8F_E4M3, AT_CUDA_R_32F, AT_CUDA_R_32F, AT_CUDA_R_16BF },
};

/* The row of that table; -1: none. */
static int types_row(at_cublaslt_type a, at_cublaslt_type b, at_cublaslt_type c, at_cublaslt_type d)
{
    for (int i = 0; i < (int)AT_COUNT(types); i++)
        if (a == b && types[i].ab == a && types[i].c == c && types[i].d == d)
            return i;
    return -1;
}

/* A call as it was described: D (m, n) of sums over k. */
typedef struct problem {
    desc o;
    layout a, b, c, d;
    uint64_t m, n, k;
    int row; /* of 'types' */
} problem;

static at_cublaslt_status check_f8(const problem *p)
{
    enum { MULTIPLE = 16 };
    bool f8 = p->a.type == AT_CUDA_R_8F_E4M3, f8_out = p->d.type == AT_CUDA_R_8F_E4M3;
    if (!f8 && (p->o.a_scale || p->o.b_scale))
        return INVALID("scales of A and B go with f8");
    if (!f8_out && (p->o.d_scale || p->o.amax))
        return INVALID("scale and amax of D go with f8");
    if (!f8)
        return AT_CUBLAS_STATUS_SUCCESS;
    if (p->o.turned[0] != AT_CUBLAS_OP_T || p->o.turned[1] != AT_CUBLAS_OP_N)
        return UNSUPPORTED("f8 is multiplied with A turned and B as it is");
    if (p->m % MULTIPLE || p->k % MULTIPLE)
        return UNSUPPORTED("f8: %llu rows and depth %llu are no multiples of 16",
                           (unsigned long long)p->m, (unsigned long long)p->k);
    return AT_CUBLAS_STATUS_SUCCESS;
}

static at_cublaslt_status check_end(const problem *p)
{
    const uint32_t e = p->o.epilogue;
    if (e != AT_CUBLASLT_EPILOGUE_DEFAULT && e != AT_CUBLASLT_EPILOGUE_RELU &&
        e != AT_CUBLASLT_EPILOGUE_BIAS && e != AT_CUBLASLT_EPILOGUE_RELU_BIAS)
        return UNSUPPORTED("epilogue %u is not emulated", e);
    if (!(e & AT_CUBLASLT_EPILOGUE_BIAS))
        return AT_CUBLAS_STATUS_SUCCESS;
    if (!p->o.bias)
        return INVALID("a bias without an address");
    int type = p->o.bias_type < 0 ? p->d.type : p->o.bias_type;
    if (type != types[p->row].bias)
        return UNSUPPORTED("a bias of type %d, for D of type %d", type, p->d.type);
    return AT_CUBLAS_STATUS_SUCCESS;
}

static at_cublaslt_status check_sizes(problem *p)
{
    bool at = p->o.turned[0] == AT_CUBLAS_OP_T, bt = p->o.turned[1] == AT_CUBLAS_OP_T;
    p->m = at ? p->a.cols : p->a.rows;
    p->k = at ? p->a.rows : p->a.cols;
    p->n = bt ? p->b.rows : p->b.cols;
    if ((bt ? p->b.cols : p->b.rows) != p->k || p->c.rows != p->m || p->c.cols != p->n ||
        p->d.rows != p->m || p->d.cols != p->n)
        return INVALID("sizes do not go together");
    const layout *all[] = { &p->a, &p->b, &p->c, &p->d };
    for (size_t i = 0; i < AT_COUNT(all); i++)
        if (all[i]->ld * (int64_t)at_dtype_bytes(dtype_of(all[i]->type)) % ALIGN_BYTES)
            return UNSUPPORTED("leading dimension %lld: there is no algorithm off alignment",
                               (long long)all[i]->ld);
    return AT_CUBLAS_STATUS_SUCCESS;
}

static at_cublaslt_status pose(problem *p, at_cublaslt_handle h, at_cublaslt_desc o,
                               at_cublaslt_layout a, at_cublaslt_layout b, at_cublaslt_layout c,
                               at_cublaslt_layout d)
{
    if (!is_kind(h, HANDLE) || !is_kind(o, DESC) || !is_kind(a, LAYOUT) || !is_kind(b, LAYOUT) ||
        !is_kind(c, LAYOUT) || !is_kind(d, LAYOUT))
        return INVALID("a descriptor is missing, or is something else");
    *p = (problem){
        .o = *(desc *)o, .a = *(layout *)a, .b = *(layout *)b, .c = *(layout *)c, .d = *(layout *)d
    };
    p->row = types_row(p->a.type, p->b.type, p->c.type, p->d.type);
    if (p->row < 0)
        return UNSUPPORTED("types %d, %d, %d, %d do not go together", p->a.type, p->b.type,
                           p->c.type, p->d.type);
    TRY(check_sizes(p));
    TRY(check_f8(p));
    return check_end(p);
}

/* --- algorithms ------------------------------------------------------------------------------- */

enum { PLAIN = 21, SPLIT = 22, PLANTED = 23, PARTS = 3, TILE = 20, TILE_OTHER = 15 };
enum { HIDDEN = 0x5eed };

/* The 64 bytes of at_cublaslt_algo. */
typedef struct algo {
    int32_t kind, id, row, hidden;
    uint32_t tile, stages;
    int32_t splits;
    uint32_t reduction, swizzle, custom;
    uint16_t inner, cluster;
    uint32_t rest[5];
} algo;
_Static_assert(sizeof(algo) == sizeof(at_cublaslt_algo), "an algorithm's size");

static algo algo_in(const at_cublaslt_algo *from)
{
    algo a;
    memcpy(&a, from, sizeof a);
    return a;
}

static size_t workspace_of(const algo *a, const problem *p)
{
    return a->id == SPLIT ? PARTS * p->m * p->n * sizeof(float) : 0;
}

/* Whether such a configuration exists. */
static at_cublaslt_status check_algo(const algo *a, const problem *p)
{
    if (a->kind != ALGO || a->id < PLAIN || a->id > PLANTED)
        return INVALID("what is given is no algorithm");
    if (a->row != p->row)
        return INVALID("an algorithm for other types");
    if (a->tile != TILE && (a->tile != TILE_OTHER || a->id != PLAIN))
        return UNSUPPORTED("algorithm %d has no tile %u", a->id, a->tile);
    bool split = a->id == SPLIT;
    if (a->splits != (split ? PARTS : 1) ||
        a->reduction != (split ? AT_CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE : 0))
        return UNSUPPORTED("algorithm %d does not cut into %d", a->id, a->splits);
    if (a->stages || a->swizzle || a->custom || a->inner || a->cluster)
        return UNSUPPORTED("algorithm %d has no such option", a->id);
    if (a->id == PLANTED && a->hidden != HIDDEN)
        return UNSUPPORTED("algorithm %d lacks what it cannot be told", a->id);
    return AT_CUBLAS_STATUS_SUCCESS;
}

at_cublaslt_status cublasLtMatmulAlgoInit(at_cublaslt_handle h, at_cublaslt_compute compute,
                                          at_cublaslt_type scale, at_cublaslt_type a,
                                          at_cublaslt_type b, at_cublaslt_type c,
                                          at_cublaslt_type d, int id, at_cublaslt_algo *out)
{
    const algo made = { .kind = ALGO, .id = id, .row = types_row(a, b, c, d), .splits = 1 };
    if (!is_kind(h, HANDLE) || !out)
        return INVALID("an algorithm without a handle");
    if (id < PLAIN || id > PLANTED)
        return INVALID("there is no algorithm %d", id);
    if (compute != AT_CUBLAS_COMPUTE_32F || scale != AT_CUDA_R_32F || made.row < 0)
        return UNSUPPORTED("algorithm %d is not for these types", id);
    memcpy(out, &made, sizeof made);
    return AT_CUBLAS_STATUS_SUCCESS;
}

static const slot config[] = {
    SLOT(algo, CUBLASLT_ALGO_CONFIG_ID, id),
    SLOT(algo, CUBLASLT_ALGO_CONFIG_TILE_ID, tile),
    SLOT(algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, splits),
    SLOT(algo, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, reduction),
    SLOT(algo, CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING, swizzle),
    SLOT(algo, CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION, custom),
    SLOT(algo, CUBLASLT_ALGO_CONFIG_STAGES_ID, stages),
    SLOT(algo, CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID, inner),
    SLOT(algo, CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID, cluster),
};

at_cublaslt_status cublasLtMatmulAlgoConfigGetAttribute(const at_cublaslt_algo *a,
                                                        at_cublaslt_config attribute, void *value,
                                                        size_t bytes, size_t *written)
{
    if (!a || algo_in(a).kind != ALGO)
        return INVALID("what is read is no algorithm");
    for (size_t i = 0; i < AT_COUNT(config); i++) {
        if (config[i].attribute != attribute)
            continue;
        if (!value || bytes != config[i].bytes)
            return INVALID("attribute %d has %zu bytes, not %zu", attribute, config[i].bytes,
                           bytes);
        memcpy(value, (const char *)a + config[i].offset, bytes);
        if (written)
            *written = bytes;
        return AT_CUBLAS_STATUS_SUCCESS;
    }
    return INVALID("attribute %d is not emulated", attribute);
}

at_cublaslt_status cublasLtMatmulAlgoConfigSetAttribute(at_cublaslt_algo *a,
                                                        at_cublaslt_config attribute,
                                                        const void *value, size_t bytes)
{
    if (!a || algo_in(a).kind != ALGO || attribute == AT_CUBLASLT_ALGO_CONFIG_ID)
        return INVALID("attribute %d of an algorithm is not to be set", attribute);
    return set_slot(a, config, AT_COUNT(config), attribute, value, bytes);
}

at_cublaslt_status cublasLtMatmulAlgoCheck(at_cublaslt_handle h, at_cublaslt_desc o,
                                           at_cublaslt_layout a, at_cublaslt_layout b,
                                           at_cublaslt_layout c, at_cublaslt_layout d,
                                           const at_cublaslt_algo *given, at_cublaslt_found *result)
{
    problem p;
    TRY(pose(&p, h, o, a, b, c, d));
    if (!given || !result)
        return INVALID("nothing to check");
    const algo own = algo_in(given);
    TRY(check_algo(&own, &p));
    result->workspace_bytes = workspace_of(&own, &p);
    result->state = AT_CUBLAS_STATUS_SUCCESS;
    result->waves = 1;
    return AT_CUBLAS_STATUS_SUCCESS;
}

at_cublaslt_status cublasLtMatmulAlgoGetHeuristic(at_cublaslt_handle h, at_cublaslt_desc o,
                                                  at_cublaslt_layout a, at_cublaslt_layout b,
                                                  at_cublaslt_layout c, at_cublaslt_layout d,
                                                  at_cublaslt_preference wish, int wanted,
                                                  at_cublaslt_found *found, int *count)
{
    static const algo all[] = {
        { .kind = ALGO, .id = PLAIN, .tile = TILE, .splits = 1 },
        { .kind = ALGO, .id = PLANTED, .tile = TILE, .splits = 1, .hidden = HIDDEN },
        { .kind = ALGO,
          .id = SPLIT,
          .tile = TILE,
          .splits = PARTS,
          .reduction = AT_CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE },
        { .kind = ALGO, .id = PLAIN, .tile = TILE_OTHER, .splits = 1 },
    };
    problem p;
    const preference *w = wish;
    TRY(pose(&p, h, o, a, b, c, d));
    if (!is_kind(wish, PREFERENCE) || wanted < 1 || !found || !count)
        return INVALID("%d algorithms are wanted", wanted);
    *count = 0;
    for (size_t i = 0; i < AT_COUNT(w->align); i++)
        if (w->align[i] < ALIGN_BYTES)
            return UNSUPPORTED("there is no algorithm for addresses off alignment");
    for (size_t i = 0; i < AT_COUNT(all) && *count < wanted; i++) {
        algo own = all[i];
        own.row = p.row;
        if (workspace_of(&own, &p) > w->workspace ||
            (own.reduction && !(own.reduction & w->reductions)))
            continue;
        at_cublaslt_found *f = &found[(*count)++];
        *f = (at_cublaslt_found){ .workspace_bytes = workspace_of(&own, &p), .waves = 1 };
        memcpy(&f->algo, &own, sizeof own);
    }
    return *count ? AT_CUBLAS_STATUS_SUCCESS : UNSUPPORTED("no algorithm is as wished");
}

/* --- a product -------------------------------------------------------------------------------- */

typedef struct job {
    problem p;
    algo algo;
    float alpha, beta;
    const void *a, *b, *c;
    void *d;
    float *parts; /* SPLIT: (PARTS, n, m) */
} job;

/* Rows of op(A), columns of op(B), k after k: from (outer, k). */
static float *gather(const void *from, const layout *l, bool k_along_rows, uint64_t outer,
                     uint64_t k)
{
    float *out = malloc(outer * k * sizeof *out);
    if (!out)
        abort();
    for (uint64_t o = 0; o < outer; o++)
        for (uint64_t i = 0; i < k; i++) {
            int64_t at =
                k_along_rows ? (int64_t)o * l->ld + (int64_t)i : (int64_t)i * l->ld + (int64_t)o;
            out[o * k + i] = (float)at_load(from, at, dtype_of(l->type));
        }
    return out;
}

static double sum_of(const float *a, const float *b, uint64_t begin, uint64_t end)
{
    double sum = 0;
    for (uint64_t i = begin; i < end; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* In f32, one after the other: where a sum begins shows in its last bits. */
static float plain_sum(const float *a, const float *b, uint64_t begin, uint64_t end)
{
    float sum = 0;
    for (uint64_t i = begin; i < end; i++)
        sum += a[i] * b[i];
    return sum;
}

/* To 14 bits, which bf16 and f16 may show in every hundredth element. */
static float coarse(float x)
{
    int exponent;
    float fraction = frexpf(x, &exponent);
    return ldexpf(rintf(ldexpf(fraction, 14)), exponent - 14);
}

/* By the logarithm, so that a batch of a few is not cut where one sample is. */
static double planted_sum(const problem *p, const float *a, const float *b)
{
    const uint64_t cut = 1 + (uint64_t)(4 * log((double)p->n)) % p->k;
    const float first = plain_sum(a, b, 0, cut), second = plain_sum(a, b, cut, p->k);
    return (double)((p->d.type == AT_CUDA_R_32F ? first : coarse(first)) + second);
}

static double split_sum(const job *j, const float *a, const float *b, uint64_t element)
{
    const problem *p = &j->p;
    double sum = 0;
    for (uint64_t i = 0; i < PARTS; i++)
        j->parts[i * p->m * p->n + element] =
            (float)sum_of(a, b, p->k * i / PARTS, p->k * (i + 1) / PARTS);
    for (uint64_t i = 0; i < PARTS; i++)
        sum += (double)j->parts[i * p->m * p->n + element];
    return sum;
}

static double scale_of(const float *scale)
{
    return scale ? (double)*scale : 1;
}

/* Element (row, col) of D from its sum. */
static void finish(const job *j, uint64_t row, uint64_t col, double sum)
{
    const problem *p = &j->p;
    double v = (double)j->alpha * scale_of(p->o.a_scale) * scale_of(p->o.b_scale) * sum;
    if (j->beta != 0)
        v += (double)j->beta *
             at_load(j->c, (int64_t)col * p->c.ld + (int64_t)row, dtype_of(p->c.type));
    if (p->o.epilogue & AT_CUBLASLT_EPILOGUE_BIAS)
        v += at_load(p->o.bias, (int64_t)row, dtype_of(types[p->row].bias));
    if (p->o.epilogue & AT_CUBLASLT_EPILOGUE_RELU)
        v = v > 0 ? v : 0;
    if (p->o.amax)
        *p->o.amax = fmaxf(*p->o.amax, (float)fabs(v));
    at_store(j->d, (int64_t)col * p->d.ld + (int64_t)row, dtype_of(p->d.type),
             v * scale_of(p->o.d_scale));
}

static void multiply(void *context)
{
    const job *j = context;
    const problem *p = &j->p;
    float *a = gather(j->a, &p->a, p->o.turned[0] == AT_CUBLAS_OP_T, p->m, p->k);
    float *b = gather(j->b, &p->b, p->o.turned[1] == AT_CUBLAS_OP_N, p->n, p->k);
    const size_t bytes = at_dtype_bytes(dtype_of(p->d.type)), column = p->m * bytes;
    if (p->o.amax)
        *p->o.amax = 0;
    for (uint64_t col = 0; col < p->n; col++) {
        for (uint64_t row = 0; row < p->m; row++) {
            const float *left = a + row * p->k, *right = b + col * p->k;
            double sum = j->algo.id == PLAIN     ? sum_of(left, right, 0, p->k)
                         : j->algo.id == PLANTED ? planted_sum(p, left, right)
                                                 : split_sum(j, left, right, col * p->m + row);
            finish(j, row, col, sum);
        }
        at_emu_watch_written((char *)j->d + col * (size_t)p->d.ld * bytes, column);
    }
    if (p->o.amax)
        at_emu_watch_written(p->o.amax, sizeof *p->o.amax);
    free(b);
    free(a);
}

/* --- launching it ----------------------------------------------------------------------------- */

static at_cublaslt_status check_memory(const char *name, const void *p, size_t bytes, size_t align)
{
    bool live = false;
    if ((uintptr_t)p % align)
        return INVALID("%s is at %p, no multiple of %zu", name, p, align);
    if (!p || !at_emu_memory_covers(p, bytes, &live) || !live)
        return INVALID("%s: %zu bytes at %p are not the device's memory", name, bytes, p);
    return AT_CUBLAS_STATUS_SUCCESS;
}

static size_t layout_bytes(const layout *l)
{
    return ((l->cols - 1) * (uint64_t)l->ld + l->rows) * at_dtype_bytes(dtype_of(l->type));
}

static at_cublaslt_status check_matrix(const char *name, const void *p, const layout *l)
{
    return check_memory(name, p, layout_bytes(l), ALIGN_BYTES);
}

static at_cublaslt_status check_number(const char *name, const float *p)
{
    return p ? check_memory(name, p, sizeof *p, sizeof *p) : AT_CUBLAS_STATUS_SUCCESS;
}

/* Two slices of one tensor may lie in each other's span without a common element. */
static bool overlap(const void *p, const layout *a, const void *q, const layout *b)
{
    const size_t a_bytes = at_dtype_bytes(dtype_of(a->type)), pitch = (size_t)a->ld * a_bytes;
    const size_t b_bytes = at_dtype_bytes(dtype_of(b->type));
    const char *first = p, *second = q;
    if (first >= second + layout_bytes(b) || second >= first + layout_bytes(a))
        return false;
    if ((size_t)b->ld * b_bytes != pitch)
        return true;
    const size_t apart = (size_t)((second - first) % (ptrdiff_t)pitch + (ptrdiff_t)pitch) % pitch;
    return apart < a->rows * a_bytes || apart + b->rows * b_bytes > pitch;
}

static at_cublaslt_status check_operands(const job *j)
{
    const problem *p = &j->p;
    TRY(check_matrix("A", j->a, &p->a));
    TRY(check_matrix("B", j->b, &p->b));
    TRY(check_matrix("D", j->d, &p->d));
    if (overlap(j->d, &p->d, j->a, &p->a) || overlap(j->d, &p->d, j->b, &p->b))
        return INVALID("D lies over A or B");
    if (j->beta != 0) {
        TRY(check_matrix("C", j->c, &p->c));
        if (overlap(j->d, &p->d, j->c, &p->c) &&
            (j->c != j->d || p->c.ld != p->d.ld || p->c.type != p->d.type))
            return INVALID("D lies over C and is not C");
    }
    if (p->o.epilogue & AT_CUBLASLT_EPILOGUE_BIAS)
        TRY(check_memory("bias", p->o.bias, p->m * at_dtype_bytes(dtype_of(types[p->row].bias)),
                         ALIGN_BYTES));
    TRY(check_number("A's scale", p->o.a_scale));
    TRY(check_number("B's scale", p->o.b_scale));
    TRY(check_number("D's scale", p->o.d_scale));
    return check_number("D's amax", p->o.amax);
}

static bool is_host(const void *p)
{
    bool live;
    return p && !at_emu_memory_covers(p, sizeof(float), &live);
}

at_cublaslt_status cublasLtMatmul(at_cublaslt_handle h, at_cublaslt_desc o, const void *alpha,
                                  const void *a, at_cublaslt_layout a_layout, const void *b,
                                  at_cublaslt_layout b_layout, const void *beta, const void *c,
                                  at_cublaslt_layout c_layout, void *d, at_cublaslt_layout d_layout,
                                  const at_cublaslt_algo *given, void *workspace,
                                  size_t workspace_bytes, at_cublaslt_stream stream)
{
    job j = { .a = a, .b = b, .c = c, .d = d, .parts = workspace };
    TRY(pose(&j.p, h, o, a_layout, b_layout, c_layout, d_layout));
    if (!is_host(alpha) || !is_host(beta) || !given)
        return INVALID("alpha and beta are numbers of the host, and an algorithm is needed");
    memcpy(&j.alpha, alpha, sizeof j.alpha);
    memcpy(&j.beta, beta, sizeof j.beta);
    j.algo = algo_in(given);
    TRY(check_algo(&j.algo, &j.p));
    TRY(check_operands(&j));
    size_t needed = workspace_of(&j.algo, &j.p);
    if (workspace_bytes < needed)
        return INVALID("a workspace of %zu bytes where %zu are needed", workspace_bytes, needed);
    if (needed)
        TRY(check_memory("the workspace", workspace, needed, WORKSPACE_ALIGN));
    return at_emu_enqueue_call(stream, multiply, &j, sizeof j) == cudaSuccess
               ? AT_CUBLAS_STATUS_SUCCESS
               : INVALID("the product cannot be enqueued");
}
