/* cublaslt_product.c -- algorithms are asked for, written down as text, and made from that text.
 *
 * The text is what the library says of an algorithm ("algo 66 tile 20 splitk 1 ..."). Where making
 * the algorithm from it does not give the same bytes again, it holds something that it does not
 * tell, and the text is those bytes. Either way what is timed is what a later run makes. */
#include "kernels/cublaslt_product.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/shape.h"

enum { ALIGN_BYTES = 16, WORKSPACE_ALIGN = 256 };

/* The library asks for the alignment of addresses that are not known yet. */
static const uintptr_t somewhere = 0x1010;

typedef struct matmul {
    const at_cublaslt *lib;
    at_cublaslt_desc desc;
    at_cublaslt_layout a, b, c, d;
    at_cublaslt_preference preference;
    at_cublaslt_algo algo;
    size_t workspace_bytes;
} matmul;

bool at_cublaslt_takes(const at_view *v)
{
    return !at_has(v) ||
           (v->pitch * (int64_t)at_dtype_bytes(v->dtype) % ALIGN_BYTES == 0 &&
            at_rows(v) <= INT32_MAX && at_cols(v) <= INT32_MAX && v->pitch <= INT32_MAX);
}

static bool is_aligned(const at_view *v)
{
    return !at_has(v) || (uintptr_t)v->data % ALIGN_BYTES == 0;
}

bool at_cublaslt_product_aligned(const at_cublaslt_product *p)
{
    return is_aligned(&p->a) && is_aligned(&p->b) && is_aligned(&p->c) && is_aligned(&p->d) &&
           is_aligned(&p->bias);
}

/* --- descriptors ------------------------------------------------------------------------------ */

static at_cublaslt_type type_of(at_dtype type)
{
    switch (type) {
    case AT_F32: return AT_CUDA_R_32F;
    case AT_BF16: return AT_CUDA_R_16BF;
    case AT_F16: return AT_CUDA_R_16F;
    case AT_F8: return AT_CUDA_R_8F_E4M3;
    default: AT_ASSERT(false, "cuBLASLt is not asked for %s", at_dtype_name(type));
    }
}

static at_status set(const matmul *m, at_cublaslt_desc_attribute attribute, const void *value,
                     size_t value_bytes, at_error *err)
{
    return at_cublaslt_check(m->lib, m->lib->desc_set(m->desc, attribute, value, value_bytes), err,
                             "describing a product");
}

static at_status set_int(const matmul *m, at_cublaslt_desc_attribute attribute, int32_t value,
                         at_error *err)
{
    return set(m, attribute, &value, sizeof value, err);
}

static at_status set_pointer(const matmul *m, at_cublaslt_desc_attribute attribute,
                             const void *value, at_error *err)
{
    return set(m, attribute, &value, sizeof value, err);
}

/* An address of the call, or of nothing in particular when there is none yet. */
static at_status set_addresses(const matmul *m, const at_cublaslt_product *p, at_error *err)
{
    const void *none = (const void *)somewhere;
    if (at_has(&p->bias))
        AT_TRY(set_pointer(m, AT_CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                           p->bias.data ? p->bias.data : none, err));
    if (p->scaled) {
        AT_TRY(set_pointer(m, AT_CUBLASLT_MATMUL_DESC_A_SCALE_POINTER,
                           p->a_scale ? p->a_scale : none, err));
        AT_TRY(set_pointer(m, AT_CUBLASLT_MATMUL_DESC_B_SCALE_POINTER,
                           p->b_scale ? p->b_scale : none, err));
    }
    if (p->d_scaled)
        AT_TRY(set_pointer(m, AT_CUBLASLT_MATMUL_DESC_D_SCALE_POINTER,
                           p->d_scale ? p->d_scale : none, err));
    if (p->has_amax)
        AT_TRY(
            set_pointer(m, AT_CUBLASLT_MATMUL_DESC_AMAX_D_POINTER, p->amax ? p->amax : none, err));
    return AT_OK;
}

static at_status describe(matmul *m, const at_cublaslt_product *p, at_error *err)
{
    AT_TRY(at_cublaslt_check(m->lib,
                             m->lib->desc_create(&m->desc, AT_CUBLAS_COMPUTE_32F, AT_CUDA_R_32F),
                             err, "describing a product"));
    AT_TRY(set_int(m, AT_CUBLASLT_MATMUL_DESC_TRANSA, p->a_turned ? AT_CUBLAS_OP_T : AT_CUBLAS_OP_N,
                   err));
    AT_TRY(set_int(m, AT_CUBLASLT_MATMUL_DESC_TRANSB, p->b_turned ? AT_CUBLAS_OP_T : AT_CUBLAS_OP_N,
                   err));
    int epilogue = p->relu ? AT_CUBLASLT_EPILOGUE_RELU : AT_CUBLASLT_EPILOGUE_DEFAULT;
    if (at_has(&p->bias)) {
        epilogue = p->relu ? AT_CUBLASLT_EPILOGUE_RELU_BIAS : AT_CUBLASLT_EPILOGUE_BIAS;
        AT_TRY(set_int(m, AT_CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type_of(p->bias.dtype), err));
    }
    AT_TRY(set_int(m, AT_CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue, err));
    return set_addresses(m, p, err);
}

static at_status lay_out(const matmul *m, at_cublaslt_layout *out, const at_view *v, at_dtype type,
                         at_error *err)
{
    return at_cublaslt_check(m->lib,
                             m->lib->layout_create(out, type_of(type), (uint64_t)at_cols(v),
                                                   (uint64_t)at_rows(v), v->pitch),
                             err, "describing a matrix");
}

static at_status lay_out_all(matmul *m, const at_cublaslt_product *p, at_error *err)
{
    AT_TRY(lay_out(m, &m->a, &p->a, p->a.dtype, err));
    AT_TRY(lay_out(m, &m->b, &p->b, p->b.dtype, err));
    AT_TRY(lay_out(m, &m->c, at_has(&p->c) ? &p->c : &p->d, p->c_dtype, err));
    return lay_out(m, &m->d, &p->d, p->d.dtype, err);
}

static void clear(matmul *m)
{
    if (m->preference)
        m->lib->preference_destroy(m->preference);
    if (m->d)
        m->lib->layout_destroy(m->d);
    if (m->c)
        m->lib->layout_destroy(m->c);
    if (m->b)
        m->lib->layout_destroy(m->b);
    if (m->a)
        m->lib->layout_destroy(m->a);
    if (m->desc)
        m->lib->desc_destroy(m->desc);
    *m = (matmul){ .lib = m->lib };
}

/* --- algorithms ------------------------------------------------------------------------------- */

/* What makes up an algorithm besides its number, in the order in which it is written. */
static const struct {
    const char *name;
    at_cublaslt_config attribute;
    size_t bytes; /* of an unsigned number; a splitk below zero keeps its bits */
} config[] = {
    { "tile", AT_CUBLASLT_ALGO_CONFIG_TILE_ID, 4 },
    { "stages", AT_CUBLASLT_ALGO_CONFIG_STAGES_ID, 4 },
    { "splitk", AT_CUBLASLT_ALGO_CONFIG_SPLITK_NUM, 4 },
    { "reduction", AT_CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, 4 },
    { "swizzle", AT_CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING, 4 },
    { "custom", AT_CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION, 4 },
    { "inner", AT_CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID, 2 },
    { "cluster", AT_CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID, 2 },
};

static at_status get_config(const matmul *m, const at_cublaslt_algo *algo,
                            at_cublaslt_config attribute, size_t bytes, uint32_t *out,
                            at_error *err)
{
    uint16_t small = 0;
    size_t written = 0;
    void *to = bytes == sizeof small ? (void *)&small : (void *)out;
    AT_TRY(at_cublaslt_check(m->lib, m->lib->config_get(algo, attribute, to, bytes, &written), err,
                             "reading an algorithm"));
    if (bytes == sizeof small)
        *out = small;
    return AT_OK;
}

static at_status set_config(const matmul *m, at_cublaslt_algo *algo, at_cublaslt_config attribute,
                            size_t bytes, uint32_t value)
{
    uint16_t small = (uint16_t)value;
    const void *from = bytes == sizeof small ? (const void *)&small : (const void *)&value;
    if (bytes == sizeof small && small != value)
        return AT_UNSUPPORTED;
    return m->lib->config_set(algo, attribute, from, bytes) == AT_CUBLAS_STATUS_SUCCESS
               ? AT_OK
               : AT_UNSUPPORTED;
}

/* No sum is cut, so that where it would be cut cannot depend on how many rows there are. */
static at_status is_whole(const matmul *m, const at_cublaslt_algo *algo, bool *out, at_error *err)
{
    uint32_t splits = 0, reduction = 0;
    AT_TRY(get_config(m, algo, AT_CUBLASLT_ALGO_CONFIG_SPLITK_NUM, 4, &splits, err));
    AT_TRY(get_config(m, algo, AT_CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, 4, &reduction, err));
    *out = splits <= 1 && reduction == AT_CUBLASLT_REDUCTION_SCHEME_NONE;
    return AT_OK;
}

/* Bytes that are left to the library of the region that scratch comes from. */
static size_t workspace_max(const at_cublaslt_product *p)
{
    size_t taken = p->own_bytes + WORKSPACE_ALIGN;
    return taken < AT_WORKSPACE_MAX ? AT_WORKSPACE_MAX - taken : 0;
}

/* Partial sums are added up in f32: in D's type each part would be rounded. */
static uint32_t reductions(const at_cublaslt_product *p, bool exact)
{
    if (exact)
        return AT_CUBLASLT_REDUCTION_SCHEME_NONE;
    return AT_CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE |
           (p->d.dtype == AT_F32 ? (uint32_t)AT_CUBLASLT_REDUCTION_SCHEME_INPLACE : 0);
}

static at_status prefer(matmul *m, const at_cublaslt_product *p, bool exact, at_error *err)
{
    static const at_cublaslt_preference_attribute alignments[] = {
        AT_CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
        AT_CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        AT_CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
        AT_CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
    };
    const at_cublaslt *lib = m->lib;
    const uint64_t workspace = workspace_max(p);
    const uint32_t mask = reductions(p, exact), align = ALIGN_BYTES;
    at_cublaslt_status s = m->preference ? 0 : lib->preference_create(&m->preference);
    if (s == AT_CUBLAS_STATUS_SUCCESS)
        s = lib->preference_set(m->preference, AT_CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                &workspace, sizeof workspace);
    if (s == AT_CUBLAS_STATUS_SUCCESS)
        s = lib->preference_set(m->preference, AT_CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &mask,
                                sizeof mask);
    for (size_t i = 0; i < AT_COUNT(alignments) && s == AT_CUBLAS_STATUS_SUCCESS; i++)
        s = lib->preference_set(m->preference, alignments[i], &align, sizeof align);
    return at_cublaslt_check(lib, s, err, "asking for algorithms");
}

/* The library's algorithms, those it thinks fastest first. */
static at_status find(matmul *m, const at_cublaslt_product *p, bool exact, at_cublaslt_algo *out,
                      int *count, at_error *err)
{
    at_cublaslt_found found[AT_CUBLASLT_CANDIDATES_MAX];
    int n = 0;
    *count = 0;
    AT_TRY(prefer(m, p, exact, err));
    at_cublaslt_status s = m->lib->heuristic(m->lib->handle, m->desc, m->a, m->b, m->c, m->d,
                                             m->preference, AT_CUBLASLT_CANDIDATES_MAX, found, &n);
    if (s == AT_CUBLAS_STATUS_NOT_SUPPORTED)
        return AT_OK;
    AT_TRY(at_cublaslt_check(m->lib, s, err, "asking for algorithms"));
    for (int i = 0; i < n; i++) {
        bool whole = true;
        if (found[i].state != AT_CUBLAS_STATUS_SUCCESS ||
            found[i].workspace_bytes > workspace_max(p))
            continue;
        if (exact)
            AT_TRY(is_whole(m, &found[i].algo, &whole, err));
        if (whole)
            out[(*count)++] = found[i].algo;
    }
    return AT_OK;
}

/* --- algorithms as text ----------------------------------------------------------------------- */

static const char raw_prefix[] = "raw";

static at_status write_told(const matmul *m, const at_cublaslt_algo *algo, char *text,
                            at_error *err)
{
    uint32_t value = 0;
    AT_TRY(get_config(m, algo, AT_CUBLASLT_ALGO_CONFIG_ID, 4, &value, err));
    int n = snprintf(text, AT_CHOICE_MAX, "algo %u", value);
    for (size_t i = 0; i < AT_COUNT(config); i++) {
        AT_TRY(get_config(m, algo, config[i].attribute, config[i].bytes, &value, err));
        n += snprintf(text + n, AT_CHOICE_MAX - (size_t)n, " %s %u", config[i].name, value);
    }
    AT_ASSERT(n < AT_CHOICE_MAX, "an algorithm's text has %d characters", n);
    return AT_OK;
}

static void write_raw(const at_cublaslt_algo *algo, char *text)
{
    int n = snprintf(text, AT_CHOICE_MAX, "%s", raw_prefix);
    for (size_t i = 0; i < AT_COUNT(algo->data); i++)
        n += snprintf(text + n, AT_CHOICE_MAX - (size_t)n, " %llx",
                      (unsigned long long)algo->data[i]);
}

static bool read_raw(const char *text, at_cublaslt_algo *out)
{
    const char *p = text + sizeof raw_prefix - 1;
    for (size_t i = 0; i < AT_COUNT(out->data); i++) {
        char *end;
        if (*p != ' ' || !strspn(p + 1, "0123456789abcdef"))
            return false;
        out->data[i] = strtoull(p + 1, &end, 16);
        p = end;
    }
    return !*p;
}

/* A "NAME NUMBER" of the text, and where the text goes on; NULL: something else. */
static const char *read_number(const char *text, const char *name, uint32_t *out)
{
    size_t n = strlen(name);
    if (strncmp(text, name, n) || text[n] != ' ' || !strspn(text + n + 1, "0123456789"))
        return NULL;
    char *end;
    unsigned long value = strtoul(text + n + 1, &end, 10);
    *out = (uint32_t)value;
    return value <= UINT32_MAX && (*end == ' ' || !*end) ? end + (*end == ' ') : NULL;
}

static bool read_told(const matmul *m, const at_cublaslt_product *p, const char *text,
                      at_cublaslt_algo *out)
{
    uint32_t value = 0, there = 0;
    const char *rest = read_number(text, "algo", &value);
    if (!rest || value > INT32_MAX ||
        m->lib->algo_init(m->lib->handle, AT_CUBLAS_COMPUTE_32F, AT_CUDA_R_32F, type_of(p->a.dtype),
                          type_of(p->b.dtype), type_of(p->c_dtype), type_of(p->d.dtype), (int)value,
                          out) != AT_CUBLAS_STATUS_SUCCESS)
        return false;
    for (size_t i = 0; i < AT_COUNT(config); i++) {
        rest = read_number(rest, config[i].name, &value);
        if (!rest || get_config(m, out, config[i].attribute, config[i].bytes, &there, NULL) ||
            (value != there && set_config(m, out, config[i].attribute, config[i].bytes, value)))
            return false;
    }
    return !*rest;
}

/* m->algo from its text, for this product: the library says whether it can, and in what memory. */
static at_status make(matmul *m, const at_cublaslt_product *p, bool exact, const char *text,
                      at_error *err)
{
    at_cublaslt_found result = { 0 };
    bool whole = true;
    bool read = strncmp(text, raw_prefix, sizeof raw_prefix - 1) ? read_told(m, p, text, &m->algo)
                                                                 : read_raw(text, &m->algo);
    if (!read)
        return at_fail(err, AT_UNSUPPORTED, "cuBLASLt has no algorithm '%s' for these types", text);
    at_cublaslt_status s =
        m->lib->algo_check(m->lib->handle, m->desc, m->a, m->b, m->c, m->d, &m->algo, &result);
    if (s != AT_CUBLAS_STATUS_SUCCESS || result.workspace_bytes > workspace_max(p))
        return at_fail(err, AT_UNSUPPORTED, "cuBLASLt does not compute this by '%s': %s", text,
                       m->lib->status_text(s));
    if (exact)
        AT_TRY(is_whole(m, &m->algo, &whole, err));
    if (!whole)
        return at_fail(err, AT_UNSUPPORTED, "cuBLASLt cuts sums in '%s': it is not exact", text);
    m->workspace_bytes = result.workspace_bytes;
    return AT_OK;
}

/* The text of a candidate. */
static at_status name_candidate(matmul *m, const at_cublaslt_product *p, const at_prepare_in *in,
                                char *text, at_error *err)
{
    at_cublaslt_algo algos[AT_CUBLASLT_CANDIDATES_MAX], again;
    int n;
    AT_TRY(find(m, p, in->exact, algos, &n, err));
    if (in->candidate >= n)
        return at_fail(err, AT_UNSUPPORTED, "cuBLASLt has %d %salgorithms for this product", n,
                       in->exact ? "exact " : "");
    const at_cublaslt_algo *algo = &algos[in->candidate];
    AT_TRY(write_told(m, algo, text, err));
    if (!read_told(m, p, text, &again) || memcmp(&again, algo, sizeof again) != 0)
        write_raw(algo, text);
    return AT_OK;
}

/* --- what is called --------------------------------------------------------------------------- */

int at_cublaslt_product_candidates(const at_cublaslt_product *p, const at_caps *caps)
{
    at_cublaslt_algo algos[AT_CUBLASLT_CANDIDATES_MAX];
    matmul m = { .lib = caps->cublaslt };
    int fast = 0, exact = 0;
    if (describe(&m, p, NULL) == AT_OK && lay_out_all(&m, p, NULL) == AT_OK &&
        find(&m, p, false, algos, &fast, NULL) == AT_OK)
        find(&m, p, true, algos, &exact, NULL);
    clear(&m);
    return fast > exact ? fast : exact;
}

at_status at_cublaslt_product_prepare(const at_cublaslt_product *p, const at_prepare_in *in,
                                      at_prepared *out, at_error *err)
{
    matmul *m = calloc(1, sizeof *m);
    if (!m)
        return at_fail(err, AT_NO_MEMORY, "no memory to prepare a product");
    m->lib = in->caps->cublaslt;
    at_status status = describe(m, p, err);
    if (status == AT_OK)
        status = lay_out_all(m, p, err);
    if (status == AT_OK && !in->choice)
        status = name_candidate(m, p, in, out->choice, err);
    if (status == AT_OK)
        status = make(m, p, in->exact, in->choice ? in->choice : out->choice, err);
    if (status != AT_OK) {
        clear(m);
        free(m);
        return status;
    }
    if (in->choice)
        snprintf(out->choice, sizeof out->choice, "%s", in->choice);
    out->state = m;
    out->scratch_bytes = p->own_bytes;
    if (m->workspace_bytes)
        out->scratch_bytes += m->workspace_bytes + WORKSPACE_ALIGN;
    return AT_OK;
}

void at_cublaslt_product_release(at_prepared *p)
{
    if (p->state)
        clear(p->state);
    free(p->state);
}

static void *workspace_of(const matmul *m, const at_cublaslt_product *p, const at_launch *l)
{
    if (!m->workspace_bytes)
        return NULL;
    char *first = (char *)l->scratch + p->own_bytes;
    return first + (WORKSPACE_ALIGN - (uintptr_t)first % WORKSPACE_ALIGN) % WORKSPACE_ALIGN;
}

at_status at_cublaslt_product_run(const at_cublaslt_product *p, const at_prepared *prepared,
                                  const at_launch *l)
{
    const matmul *m = prepared->state;
    const float alpha = 1, beta = at_has(&p->c) ? 1 : 0;
    /* C is not read then, but of D's type it must be somewhere. */
    const void *c = at_has(&p->c) ? p->c.data : p->c_dtype == p->d.dtype ? p->d.data : NULL;
    AT_TRY(set_addresses(m, p, l->err));
    return at_cublaslt_check(m->lib,
                             m->lib->matmul(m->lib->handle, m->desc, &alpha, p->a.data, m->a,
                                            p->b.data, m->b, &beta, c, m->c, p->d.data, m->d,
                                            &m->algo, workspace_of(m, p, l), m->workspace_bytes,
                                            l->stream->native),
                             l->err, "a product");
}
