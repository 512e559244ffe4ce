/* base.h -- the words every file uses: status codes, the error sentence, element types, assertions.
 *
 * Read by C11 and CUDA C++: keep to the common subset. Nothing here allocates; every function may
 * be called from any thread. */
#ifndef AT_KERNELS_BASE_H
#define AT_KERNELS_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define AT_API               __attribute__((visibility("default")))
#define AT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define AT_API
#define AT_PRINTF(fmt, args)
#endif

#define AT_COUNT(array) (sizeof(array) / sizeof *(array))

/* --- status ----------------------------------------------------------------------------------- */

typedef enum at_status {
#define AT_STATUS(NAME, text) AT_##NAME,
#include "kernels/status.def"
#undef AT_STATUS
} at_status;

enum { AT_ERROR_TEXT_MAX = 512 };

/* One sentence that names the thing, what was expected and what was found. The caller owns it; a
 * function fills it only when it fails. */
typedef struct at_error {
    at_status status;
    char text[AT_ERROR_TEXT_MAX];
} at_error;

/* Fills 'err' (which may be NULL) and returns 'status', so that a failure is one statement. */
AT_API at_status at_fail(at_error *err, at_status status, const char *fmt, ...) AT_PRINTF(3, 4);
AT_API const char *at_status_name(at_status status);

/* A broken promise inside the program: always on, prints where and stops. */
#define AT_ASSERT(cond, ...)                                        \
    do {                                                            \
        if (!(cond))                                                \
            at_assert_fail(__FILE__, __LINE__, #cond, __VA_ARGS__); \
    } while (0)
AT_API void at_assert_fail(const char *file, int line, const char *cond, const char *fmt, ...)
    AT_PRINTF(4, 5) __attribute__((noreturn, cold));

/* --- element types ---------------------------------------------------------------------------- */

typedef enum at_dtype {
    AT_NONE = 0,
#define AT_DTYPE(NAME, name, bytes, is_float) AT_##NAME,
#include "kernels/dtypes.def"
#undef AT_DTYPE
    AT_DTYPE_COUNT
} at_dtype;

AT_API const char *at_dtype_name(at_dtype dtype);
AT_API size_t at_dtype_bytes(at_dtype dtype);
AT_API bool at_dtype_is_float(at_dtype dtype);
/* AT_NONE when 'name' is not an element type. */
AT_API at_dtype at_dtype_named(const char *name);

/* Conversions: round to nearest even, overflow to infinity (e4m3 has none: it saturates at 448),
 * NaN stays NaN. */
uint16_t at_bf16_from_f32(float x);
float at_bf16_to_f32(uint16_t bits);
uint16_t at_f16_from_f32(float x);
float at_f16_to_f32(uint16_t bits);
uint8_t at_f8_from_f32(float x);
float at_f8_to_f32(uint8_t bits);

/* Element i of an array of 'dtype' as a double and back. References are written with these: the
 * same plain C then computes in f64 when a gradient is checked by finite differences. */
double at_load(const void *data, int64_t i, at_dtype dtype);
void at_store(void *data, int64_t i, at_dtype dtype, double value);

#ifdef __cplusplus
}
#endif
#endif
