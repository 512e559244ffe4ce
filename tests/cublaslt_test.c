/* cublaslt_test.c -- what kernels/cublaslt_product.c hands to cuBLASLt, handed to the library.
 *
 * Attributes and algorithms' settings need no GPU, so their sizes are held here; where the library
 * is not installed there is nothing to hold them against. It is not started: without a GPU that
 * fails, and leaks. */
#include <stdio.h>
#include <string.h>

#include "engine/cuda_libraries.h"
#include "kernels/cublaslt.h"
#include "kernels/symbols.h"
#include "tests/unit.h"

static const at_symbol calls[] = {
#define AT_CUBLASLT_VALUE(NAME, value)
#define AT_CUBLASLT_CALL(returns, name, symbol, args) { offsetof(at_cublaslt, name), #symbol },
#include "kernels/cublaslt.def"
#undef AT_CUBLASLT_CALL
#undef AT_CUBLASLT_VALUE
};

typedef struct sized {
    int attribute;
    size_t bytes;
} sized;

enum { BYTES_MAX = 16 };

static bool open_library(at_cublaslt *lib)
{
    static const char *const folders[] = { "/usr/local/cuda*/lib", NULL };
    at_cuda_library l;
    at_error err;
    *lib = (at_cublaslt){ 0 };
    if (at_cuda_library_open(&l, AT_CUDA_LIBRARY_CUBLASLT, folders, &err) != AT_OK) {
        printf("SKIP cublaslt: %s\n", err.text);
        return false;
    }
    assert_null(at_symbols_find(lib, calls, AT_COUNT(calls), l.handle));
    printf("cuBLASLt %zu\n", lib->get_version());
    assert_true(lib->get_version() >= AT_CUBLASLT_VERSION_MIN);
    return true;
}

static void attributes_have_our_sizes(void **state)
{
    static const sized of_desc[] = {
        { AT_CUBLASLT_MATMUL_DESC_TRANSA, sizeof(int32_t) },
        { AT_CUBLASLT_MATMUL_DESC_TRANSB, sizeof(int32_t) },
        { AT_CUBLASLT_MATMUL_DESC_EPILOGUE, sizeof(int32_t) },
        { AT_CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, sizeof(int32_t) },
        { AT_CUBLASLT_MATMUL_DESC_BIAS_POINTER, sizeof(void *) },
        { AT_CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, sizeof(void *) },
        { AT_CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, sizeof(void *) },
        { AT_CUBLASLT_MATMUL_DESC_D_SCALE_POINTER, sizeof(void *) },
        { AT_CUBLASLT_MATMUL_DESC_AMAX_D_POINTER, sizeof(void *) },
    };
    static const sized of_preference[] = {
        { AT_CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, sizeof(uint64_t) },
        { AT_CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, sizeof(uint32_t) },
        { AT_CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, sizeof(uint32_t) },
        { AT_CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, sizeof(uint32_t) },
        { AT_CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, sizeof(uint32_t) },
        { AT_CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, sizeof(uint32_t) },
    };
    static const char value[BYTES_MAX] = { 1 };
    at_cublaslt lib;
    at_cublaslt_desc desc;
    at_cublaslt_preference preference;
    (void)state;
    if (!open_library(&lib))
        return;
    assert_int_equal(lib.desc_create(&desc, AT_CUBLAS_COMPUTE_32F, AT_CUDA_R_32F), 0);
    assert_int_equal(lib.preference_create(&preference), 0);
    for (size_t bytes = 1; bytes <= BYTES_MAX; bytes *= 2) {
        for (size_t i = 0; i < AT_COUNT(of_desc); i++)
            assert_int_equal(lib.desc_set(desc, of_desc[i].attribute, value, bytes) == 0,
                             bytes == of_desc[i].bytes);
        for (size_t i = 0; i < AT_COUNT(of_preference); i++)
            assert_int_equal(
                lib.preference_set(preference, of_preference[i].attribute, value, bytes) == 0,
                bytes == of_preference[i].bytes);
    }
    assert_int_equal(lib.preference_destroy(preference), 0);
    assert_int_equal(lib.desc_destroy(desc), 0);
}

/* What is set of an algorithm is read again, and none of it lies where another setting does. */
static void settings_are_kept(void **state)
{
    static const sized settings[] = {
        { AT_CUBLASLT_ALGO_CONFIG_TILE_ID, sizeof(uint32_t) },
        { AT_CUBLASLT_ALGO_CONFIG_SPLITK_NUM, sizeof(int32_t) },
        { AT_CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, sizeof(uint32_t) },
        { AT_CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING, sizeof(uint32_t) },
        { AT_CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION, sizeof(uint32_t) },
        { AT_CUBLASLT_ALGO_CONFIG_STAGES_ID, sizeof(uint32_t) },
        { AT_CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID, sizeof(uint16_t) },
        { AT_CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID, sizeof(uint16_t) },
    };
    at_cublaslt lib;
    at_cublaslt_algo algo = { 0 };
    (void)state;
    if (!open_library(&lib))
        return;
    for (size_t i = 0; i < AT_COUNT(settings); i++) {
        const unsigned char value[BYTES_MAX] = { i == 3 ? 1 : (unsigned char)(i % 4 + 1) };
        assert_int_equal(lib.config_set(&algo, settings[i].attribute, value, settings[i].bytes), 0);
        assert_int_not_equal(
            lib.config_set(&algo, settings[i].attribute, value, 2 * settings[i].bytes), 0);
    }
    for (size_t i = 0; i < AT_COUNT(settings); i++) {
        unsigned char value[BYTES_MAX] = { 0 };
        size_t written = 0;
        assert_int_equal(
            lib.config_get(&algo, settings[i].attribute, value, settings[i].bytes, &written), 0);
        assert_int_equal(written, settings[i].bytes);
        assert_int_equal(value[0], i == 3 ? 1 : i % 4 + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attributes_have_our_sizes),
        cmocka_unit_test(settings_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
