/* cublaslt_main.c -- the emulated cuBLASLt held against sums written out here, and against misuse:
 * each of the calls that the library must refuse is a right one with one thing wrong.
 *
 * Exit status: 0 all of it; 1 a result is wrong, or a misuse went through. */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cublaslt.h"
#include "tests/emulator/machine.h"

enum { M = 48, N = 21, K = 64, FOUND = 8, GAP = 16, WORKSPACE = 1 << 20 };

static at_cublaslt lib;
static int failures;

static void failed(const char *what, const char *why)
{
    printf("FAIL %s: %s\n", what, why);
    failures++;
}

static void must(at_cublaslt_status s)
{
    AT_ASSERT(s == AT_CUBLAS_STATUS_SUCCESS, "cuBLASLt: %s", lib.status_text(s));
}

/* --- a call ----------------------------------------------------------------------------------- */

typedef struct matrix {
    at_cublaslt_type type;
    at_dtype dtype;
    int64_t rows, cols, ld;
    void *data;
    at_cublaslt_layout layout;
} matrix;

/* A right call, and what becomes of it by what a misuse changes. */
typedef struct call {
    matrix a, b, c, d;
    at_dtype bias_dtype;
    void *bias, *workspace;
    float *scales; /* (3): of A, B and D */
    float *amax;
    bool a_turned, b_turned, relu, accumulate;
    at_cublaslt_desc desc;
    at_cublaslt_preference wish;
    at_cublaslt_found found[FOUND];
    int n;
} call;

static void *take(size_t bytes)
{
    void *p = NULL;
    AT_ASSERT(cudaMalloc(&p, bytes) == cudaSuccess, "no memory");
    return p;
}

static double number(uint32_t i)
{
    i = i * 2654435761u + 12345u;
    i = (i ^ i >> 15) * 2246822519u;
    return (double)(i >> 8) / 8388608.0 - 1;
}

static void make_matrix(matrix *m, at_dtype dtype, int64_t rows, int64_t cols, uint32_t seed)
{
    static const at_cublaslt_type types[] = { [AT_F32] = AT_CUDA_R_32F,
                                              [AT_BF16] = AT_CUDA_R_16BF,
                                              [AT_F16] = AT_CUDA_R_16F,
                                              [AT_F8] = AT_CUDA_R_8F_E4M3 };
    const int64_t ld = (rows + GAP - 1) / GAP * GAP + GAP;
    *m = (matrix){ types[dtype], dtype, rows, cols, ld, NULL, NULL };
    m->data = take((size_t)(ld * cols) * at_dtype_bytes(dtype));
    for (int64_t i = 0; i < ld * cols; i++)
        at_store(m->data, i, dtype, number((uint32_t)i + seed));
    must(lib.layout_create(&m->layout, m->type, (uint64_t)rows, (uint64_t)cols, ld));
}

static double at(const matrix *m, int64_t row, int64_t col)
{
    return at_load(m->data, col * m->ld + row, m->dtype);
}

static void set_int(call *c, int attribute, int32_t value)
{
    must(lib.desc_set(c->desc, attribute, &value, sizeof value));
}

static void set_pointer(call *c, int attribute, const void *value)
{
    must(lib.desc_set(c->desc, attribute, &value, sizeof value));
}

static void make_desc(call *c)
{
    must(lib.desc_create(&c->desc, AT_CUBLAS_COMPUTE_32F, AT_CUDA_R_32F));
    set_int(c, AT_CUBLASLT_MATMUL_DESC_TRANSA, c->a_turned ? AT_CUBLAS_OP_T : AT_CUBLAS_OP_N);
    set_int(c, AT_CUBLASLT_MATMUL_DESC_TRANSB, c->b_turned ? AT_CUBLAS_OP_T : AT_CUBLAS_OP_N);
    int epilogue = c->relu ? AT_CUBLASLT_EPILOGUE_RELU : AT_CUBLASLT_EPILOGUE_DEFAULT;
    if (c->bias) {
        epilogue = c->relu ? AT_CUBLASLT_EPILOGUE_RELU_BIAS : AT_CUBLASLT_EPILOGUE_BIAS;
        set_pointer(c, AT_CUBLASLT_MATMUL_DESC_BIAS_POINTER, c->bias);
        set_int(c, AT_CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE,
                c->bias_dtype == AT_F32    ? AT_CUDA_R_32F
                : c->bias_dtype == AT_BF16 ? AT_CUDA_R_16BF
                                           : AT_CUDA_R_16F);
    }
    set_int(c, AT_CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    if (c->a.dtype != AT_F8)
        return;
    set_pointer(c, AT_CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &c->scales[0]);
    set_pointer(c, AT_CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &c->scales[1]);
    if (c->d.dtype == AT_F8) {
        set_pointer(c, AT_CUBLASLT_MATMUL_DESC_D_SCALE_POINTER, &c->scales[2]);
        set_pointer(c, AT_CUBLASLT_MATMUL_DESC_AMAX_D_POINTER, c->amax);
    }
}

static void make_wish(call *c)
{
    static const int alignments[] = { AT_CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
                                      AT_CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                                      AT_CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                                      AT_CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES };
    const uint64_t workspace = WORKSPACE;
    const uint32_t sixteen = 16;
    must(lib.preference_create(&c->wish));
    must(lib.preference_set(c->wish, AT_CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                            sizeof workspace));
    for (size_t i = 0; i < AT_COUNT(alignments); i++)
        must(lib.preference_set(c->wish, alignments[i], &sixteen, sizeof sixteen));
}

typedef struct kind {
    at_dtype ab, cd, d, bias; /* bias: AT_NONE, none */
    bool a_turned, b_turned, relu, accumulate;
} kind;

static void make_call(call *c, const kind *k)
{
    *c = (call){ .bias_dtype = k->bias,
                 .a_turned = k->a_turned,
                 .b_turned = k->b_turned,
                 .relu = k->relu,
                 .accumulate = k->accumulate };
    make_matrix(&c->a, k->ab, k->a_turned ? K : M, k->a_turned ? M : K, 1);
    make_matrix(&c->b, k->ab, k->b_turned ? N : K, k->b_turned ? K : N, 77777);
    make_matrix(&c->c, k->cd, M, N, 155555);
    make_matrix(&c->d, k->d, M, N, 233333);
    c->scales = take(3 * sizeof(float));
    memcpy(c->scales, (float[]){ 0.5f, 0.25f, 3 }, 3 * sizeof(float));
    c->amax = take(sizeof(float));
    if (k->bias != AT_NONE) {
        c->bias = take(M * at_dtype_bytes(k->bias));
        for (int i = 0; i < M; i++)
            at_store(c->bias, i, k->bias, number((uint32_t)i));
    }
    c->workspace = take(WORKSPACE);
    make_desc(c);
    make_wish(c);
    at_cublaslt_status s = lib.heuristic(lib.handle, c->desc, c->a.layout, c->b.layout, c->c.layout,
                                         c->d.layout, c->wish, FOUND, c->found, &c->n);
    AT_ASSERT(s == AT_CUBLAS_STATUS_SUCCESS, "no algorithms: %s", lib.status_text(s));
}

static void clear_call(call *c)
{
    matrix *all[] = { &c->a, &c->b, &c->c, &c->d };
    for (size_t i = 0; i < AT_COUNT(all); i++) {
        must(lib.layout_destroy(all[i]->layout));
        cudaFree(all[i]->data);
    }
    must(lib.desc_destroy(c->desc));
    must(lib.preference_destroy(c->wish));
    cudaFree(c->scales);
    cudaFree(c->amax);
    cudaFree(c->bias);
    cudaFree(c->workspace);
}

static at_cublaslt_status run(call *c, int candidate, cudaStream_t stream)
{
    const float alpha = 1, beta = c->accumulate;
    const at_cublaslt_found *f = &c->found[candidate];
    return lib.matmul(lib.handle, c->desc, &alpha, c->a.data, c->a.layout, c->b.data, c->b.layout,
                      &beta, c->c.data, c->c.layout, c->d.data, c->d.layout, &f->algo, c->workspace,
                      f->workspace_bytes, stream);
}

/* --- results ---------------------------------------------------------------------------------- */

static double expected(const call *c, int64_t row, int64_t col, double *unscaled)
{
    bool f8 = c->a.dtype == AT_F8;
    double v = 0;
    for (int64_t k = 0; k < K; k++)
        v += (c->a_turned ? at(&c->a, k, row) : at(&c->a, row, k)) *
             (c->b_turned ? at(&c->b, col, k) : at(&c->b, k, col));
    v *= f8 ? 0.5 * 0.25 : 1;
    v += c->accumulate ? at(&c->c, row, col) : 0;
    v += c->bias ? at_load(c->bias, row, c->bias_dtype) : 0;
    v = c->relu && v < 0 ? 0 : v;
    *unscaled = v;
    return c->d.dtype == AT_F8 ? 3 * v : v;
}

/* How far apart two roundings of a type may lie, relative to one; sums are of size 5 here. */
static double tolerance_of(at_dtype dtype)
{
    return dtype == AT_F32 ? 1e-5 : dtype == AT_F16 ? 0x1p-9 : dtype == AT_BF16 ? 0x1p-6 : 0x1p-3;
}

static void check_result(const call *c, const char *what)
{
    double top = 0, v;
    for (int64_t col = 0; col < N; col++)
        for (int64_t row = 0; row < M; row++) {
            double want = expected(c, row, col, &v), got = at(&c->d, row, col);
            top = fmax(top, fabs(v));
            if (fabs(want - got) <= tolerance_of(c->d.dtype) * (fabs(want) + 1))
                continue;
            char why[128];
            snprintf(why, sizeof why, "D(%d,%d) is %g, expected %g", (int)row, (int)col, got, want);
            failed(what, why);
            return;
        }
    if (c->d.dtype == AT_F8 && fabs(*c->amax - top) > 1e-5)
        failed(what, "amax is wrong");
    for (int64_t i = c->d.rows; i < c->d.ld; i++) {
        double gap = number((uint32_t)i + 233333);
        if (fabs(at(&c->d, i, 0) - gap) > tolerance_of(c->d.dtype) * (fabs(gap) + 1))
            failed(what, "wrote between columns");
    }
}

static const kind kinds[] = {
    { AT_F32, AT_F32, AT_F32, AT_F32, true, false, false, false },
    { AT_F32, AT_F32, AT_F32, AT_NONE, false, true, false, true },
    { AT_BF16, AT_BF16, AT_BF16, AT_BF16, true, false, true, false },
    { AT_BF16, AT_BF16, AT_BF16, AT_NONE, false, false, false, true },
    { AT_BF16, AT_F32, AT_F32, AT_F32, true, false, false, false },
    { AT_F16, AT_F16, AT_F16, AT_F16, true, true, true, true },
    { AT_F16, AT_F32, AT_F32, AT_NONE, false, true, false, true },
    { AT_F8, AT_BF16, AT_BF16, AT_BF16, true, false, false, true },
    { AT_F8, AT_BF16, AT_F8, AT_BF16, true, false, true, false },
    { AT_F8, AT_F16, AT_F8, AT_NONE, true, false, false, false },
    { AT_F8, AT_F32, AT_F32, AT_BF16, true, false, false, false },
};

static int check_results(void)
{
    int runs = 0;
    for (size_t i = 0; i < AT_COUNT(kinds); i++) {
        call c;
        make_call(&c, &kinds[i]);
        if (c.n < 3)
            failed("algorithms", "fewer than three are offered");
        for (int k = 0; k < c.n; k++, runs++) {
            char what[64];
            snprintf(what, sizeof what, "types %zu, algorithm %d", i, k);
            memset(c.workspace, 0xff, WORKSPACE);
            *c.amax = 1000; /* more than comes out */
            at_cublaslt_status s = run(&c, k, NULL);
            if (s != AT_CUBLAS_STATUS_SUCCESS)
                failed(what, lib.status_text(s));
            else
                check_result(&c, what);
        }
        clear_call(&c);
    }
    return runs;
}

/* A captured product happens at the replay, with what its operands hold then, and needs its
 * descriptors no longer. */
static void check_capture(void)
{
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    call c;
    make_call(&c, &kinds[2]);
    const double before = at(&c.d, 0, 0);
    AT_ASSERT(cudaStreamCreateWithFlags(&stream, 0) == cudaSuccess, "no stream");
    AT_ASSERT(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess,
              "no capture");
    must(run(&c, 0, stream));
    AT_ASSERT(cudaStreamEndCapture(stream, &graph) == cudaSuccess &&
                  cudaGraphInstantiate(&exec, graph, 0) == cudaSuccess,
              "no graph");
    if (at(&c.d, 0, 0) != before)
        failed("capture", "the product was computed at once");
    at_store(c.a.data, 0, c.a.dtype, 2.5);
    must(lib.desc_destroy(c.desc));
    AT_ASSERT(cudaGraphLaunch(exec, stream) == cudaSuccess, "no replay");
    check_result(&c, "replay");
    make_desc(&c);
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
    cudaStreamDestroy(stream);
    clear_call(&c);
}

/* --- misuse ----------------------------------------------------------------------------------- */

/* Each turns a right call of bf16 with a bias (or of f8) into a wrong one and says what comes. */
static at_cublaslt_status small_attribute(call *c)
{
    return lib.desc_set(c->desc, AT_CUBLASLT_MATMUL_DESC_TRANSA, "", 1);
}

static at_cublaslt_status unknown_attribute(call *c)
{
    return lib.desc_set(c->desc, 99, &(int){ 0 }, sizeof(int));
}

static at_cublaslt_status short_ld(call *c)
{
    at_cublaslt_layout l;
    return lib.layout_create(&l, c->a.type, K, M, K - 1);
}

/* The call with another layout of a matrix. */
static at_cublaslt_status run_with(call *c, matrix *m, at_cublaslt_type type, int64_t rows,
                                   int64_t cols, int64_t ld)
{
    at_cublaslt_layout kept = m->layout;
    must(lib.layout_create(&m->layout, type, (uint64_t)rows, (uint64_t)cols, ld));
    at_cublaslt_status s = run(c, 0, NULL);
    must(lib.layout_destroy(m->layout));
    m->layout = kept;
    return s;
}

static at_cublaslt_status odd_ld(call *c)
{
    return run_with(c, &c->a, c->a.type, c->a.rows, c->a.cols, c->a.rows + 1);
}

static at_cublaslt_status wrong_types(call *c)
{
    return run_with(c, &c->b, AT_CUDA_R_16F, c->b.rows, c->b.cols, c->b.ld);
}

static at_cublaslt_status wrong_sizes(call *c)
{
    return run_with(c, &c->b, c->b.type, c->b.rows - 1, c->b.cols, c->b.ld);
}

static at_cublaslt_status past_the_end(call *c)
{
    return run_with(c, &c->a, c->a.type, c->a.rows, c->a.cols, c->a.ld + GAP);
}

static at_cublaslt_status wrong_bias_type(call *c)
{
    set_int(c, AT_CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, AT_CUDA_R_32F);
    return run(c, 0, NULL);
}

static at_cublaslt_status no_bias(call *c)
{
    set_pointer(c, AT_CUBLASLT_MATMUL_DESC_BIAS_POINTER, NULL);
    return run(c, 0, NULL);
}

static at_cublaslt_status unknown_epilogue(call *c)
{
    enum { GELU = 32 };
    set_int(c, AT_CUBLASLT_MATMUL_DESC_EPILOGUE, GELU);
    return run(c, 0, NULL);
}

static at_cublaslt_status scaled_bf16(call *c)
{
    set_pointer(c, AT_CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, c->scales);
    return run(c, 0, NULL);
}

static at_cublaslt_status off_alignment(call *c)
{
    c->d.data = (char *)c->d.data + 8;
    at_cublaslt_status s = run(c, 0, NULL);
    c->d.data = (char *)c->d.data - 8;
    return s;
}

static at_cublaslt_status host_memory(call *c)
{
    static _Alignas(64) char host[1 << 16];
    void *kept = c->b.data;
    c->b.data = host;
    at_cublaslt_status s = run(c, 0, NULL);
    c->b.data = kept;
    return s;
}

static at_cublaslt_status over_an_operand(call *c)
{
    void *kept = c->d.data;
    c->d.data = c->a.data;
    at_cublaslt_status s = run(c, 0, NULL);
    c->d.data = kept;
    return s;
}

static int with_workspace(const call *c)
{
    int i = 0;
    while (i < c->n && !c->found[i].workspace_bytes)
        i++;
    AT_ASSERT(i < c->n, "no algorithm has a workspace");
    return i;
}

static at_cublaslt_status small_workspace(call *c)
{
    int i = with_workspace(c);
    c->found[i].workspace_bytes--;
    return run(c, i, NULL);
}

static at_cublaslt_status odd_workspace(call *c)
{
    c->workspace = (char *)c->workspace + 64;
    at_cublaslt_status s = run(c, with_workspace(c), NULL);
    c->workspace = (char *)c->workspace - 64;
    return s;
}

static at_cublaslt_status unaligned_wish(call *c)
{
    const uint32_t two = 2;
    must(lib.preference_set(c->wish, AT_CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &two,
                            sizeof two));
    return lib.heuristic(lib.handle, c->desc, c->a.layout, c->b.layout, c->c.layout, c->d.layout,
                         c->wish, FOUND, c->found, &c->n);
}

static at_cublaslt_status unset_algorithm(call *c)
{
    memset(&c->found[0].algo, 0, sizeof c->found[0].algo);
    return run(c, 0, NULL);
}

/* An algorithm put together from what can be asked of the planted one lacks what cannot. */
static at_cublaslt_status incomplete_algorithm(call *c)
{
    const uint32_t tile = 20;
    at_cublaslt_algo algo;
    must(lib.algo_init(lib.handle, AT_CUBLAS_COMPUTE_32F, AT_CUDA_R_32F, c->a.type, c->b.type,
                       c->c.type, c->d.type, 23, &algo));
    must(lib.config_set(&algo, AT_CUBLASLT_ALGO_CONFIG_TILE_ID, &tile, sizeof tile));
    return lib.algo_check(lib.handle, c->desc, c->a.layout, c->b.layout, c->c.layout, c->d.layout,
                          &algo, &c->found[0]);
}

static at_cublaslt_status f8_as_it_is(call *c)
{
    set_int(c, AT_CUBLASLT_MATMUL_DESC_TRANSA, AT_CUBLAS_OP_N);
    return run_with(c, &c->a, c->a.type, M, K, c->a.ld);
}

static at_cublaslt_status wrong_object(call *c)
{
    return lib.layout_destroy(c->desc);
}

static const struct {
    const char *name;
    at_cublaslt_status (*run)(call *);
    int kind; /* of 'kinds' */
    const char *says;
} misuses[] = {
    { "small_attribute", small_attribute, 2, "4 bytes, not 1" },
    { "unknown_attribute", unknown_attribute, 2, "attribute 99" },
    { "short_ld", short_ld, 2, "leading dimension 63" },
    { "odd_ld", odd_ld, 2, "off alignment" },
    { "wrong_types", wrong_types, 2, "do not go together" },
    { "wrong_sizes", wrong_sizes, 2, "sizes do not go together" },
    { "past_the_end", past_the_end, 2, "A: " },
    { "wrong_bias_type", wrong_bias_type, 2, "a bias of type 0" },
    { "no_bias", no_bias, 2, "without an address" },
    { "unknown_epilogue", unknown_epilogue, 2, "epilogue 32" },
    { "scaled_bf16", scaled_bf16, 2, "go with f8" },
    { "off_alignment", off_alignment, 2, "no multiple of 16" },
    { "host_memory", host_memory, 2, "B: " },
    { "over_an_operand", over_an_operand, 2, "over A or B" },
    { "small_workspace", small_workspace, 2, "a workspace of" },
    { "odd_workspace", odd_workspace, 2, "no multiple of 256" },
    { "unaligned_wish", unaligned_wish, 2, "off alignment" },
    { "unset_algorithm", unset_algorithm, 2, "no algorithm" },
    { "incomplete_algorithm", incomplete_algorithm, 2, "cannot be told" },
    { "f8_as_it_is", f8_as_it_is, 7, "A turned" },
    { "wrong_object", wrong_object, 2, "something else" },
};

static void check_misuses(void)
{
    for (size_t i = 0; i < AT_COUNT(misuses); i++) {
        call c;
        make_call(&c, &kinds[misuses[i].kind]);
        at_cublaslt_status s = misuses[i].run(&c);
        if (s == AT_CUBLAS_STATUS_SUCCESS)
            failed(misuses[i].name, "went through");
        else if (!strstr(lib.status_text(s), misuses[i].says))
            failed(misuses[i].name, lib.status_text(s));
        clear_call(&c);
    }
}

int main(void)
{
    at_error err = { 0 };
    void *module = dlopen(AT_EMULATED_CUBLASLT, RTLD_NOW | RTLD_LOCAL);
    AT_ASSERT(module, "%s", dlerror());
    AT_ASSERT(at_cublaslt_open(&lib, module, &err) == AT_OK, "%s", err.text);
    int runs = check_results();
    check_capture();
    check_misuses();
    at_cublaslt_close(&lib);
    printf("emulated cuBLASLt: %d products, %zu misuses, %d failed\n", runs, AT_COUNT(misuses),
           failures);
    return failures > 0;
}
