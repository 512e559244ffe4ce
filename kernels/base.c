/* base.c -- conversions are done on the bits, so that they mean the same on every machine. */
#include "kernels/base.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/view.h"

at_status at_fail(at_error *err, at_status status, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        err->status = status;
        vsnprintf(err->text, sizeof err->text, fmt, ap);
        va_end(ap);
        /* Names come from outside: what a terminal or a log might obey is not repeated. */
        for (char *p = err->text; *p; p++)
            if ((unsigned char)*p < ' ' || *p == 0x7f)
                *p = '?';
    }
    return status;
}

const char *at_status_name(at_status status)
{
    static const char *const names[] = {
#define AT_STATUS(NAME, text) text,
#include "kernels/status.def"
#undef AT_STATUS
    };
    return (size_t)status < AT_COUNT(names) ? names[status] : "unknown status";
}

void at_assert_fail(const char *file, int line, const char *cond, const char *fmt, ...)
{
    va_list ap;
    fprintf(stderr, "%s:%d: assertion '%s' failed: ", file, line, cond);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    abort();
}

/* --- element types ---------------------------------------------------------------------------- */

typedef struct dtype_info {
    const char *name;
    size_t bytes;
    bool is_float;
} dtype_info;

static const dtype_info dtypes[AT_DTYPE_COUNT] = {
    [AT_NONE] = { "none", 0, false },
#define AT_DTYPE(NAME, name, bytes, is_float) [AT_##NAME] = { #name, bytes, is_float },
#include "kernels/dtypes.def"
#undef AT_DTYPE
};

const char *at_dtype_name(at_dtype dtype)
{
    return dtypes[dtype].name;
}

size_t at_dtype_bytes(at_dtype dtype)
{
    return dtypes[dtype].bytes;
}

bool at_dtype_is_float(at_dtype dtype)
{
    return dtypes[dtype].is_float;
}

at_dtype at_dtype_named(const char *name)
{
    for (int i = 1; i < AT_DTYPE_COUNT; i++)
        if (!strcmp(dtypes[i].name, name))
            return (at_dtype)i;
    return AT_NONE;
}

static uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

uint16_t at_bf16_from_f32(float x)
{
    uint32_t u = bits_of(x);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40); /* stays a NaN, made quiet */
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

float at_bf16_to_f32(uint16_t bits)
{
    return float_of((uint32_t)bits << 16);
}

/* Rounds a positive magnitude to a type of 'mantissa' bits whose smallest normal number is
 * 2^min_exponent: to a multiple of the last place at its own scale, ties to even. */
static double round_magnitude(double x, int mantissa, int min_exponent)
{
    int e;
    frexp(x, &e); /* x = f * 2^e, f in [0.5, 1) */
    int place = (e - 1 < min_exponent ? min_exponent : e - 1) - mantissa;
    return ldexp(nearbyint(ldexp(x, -place)), place);
}

uint16_t at_f16_from_f32(float x)
{
    uint32_t sign = bits_of(x) >> 16 & 0x8000u;
    if (isnan(x))
        return (uint16_t)(sign | 0x7e00u);
    double m = round_magnitude(fabs((double)x), 10, -14);
    if (m > 65504.0)
        return (uint16_t)(sign | 0x7c00u);
    if (m < ldexp(1.0, -14))
        return (uint16_t)(sign | (uint32_t)ldexp(m, 24));
    int e;
    double f = frexp(m, &e); /* f in [0.5, 1) */
    return (uint16_t)(sign | (uint32_t)(e - 1 + 15) << 10 | (uint32_t)(ldexp(f, 11) - 1024.0));
}

float at_f16_to_f32(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000u) << 16, e = bits >> 10 & 31u, m = bits & 1023u;
    if (e == 31)
        return float_of(sign | 0x7f800000u | m << 13);
    float x = e ? ldexpf((float)(m + 1024), (int)e - 25) : ldexpf((float)m, -24);
    return sign ? -x : x;
}

uint8_t at_f8_from_f32(float x)
{
    uint32_t sign = bits_of(x) >> 24 & 0x80u;
    if (isnan(x))
        return (uint8_t)(sign | 0x7fu);
    double m = round_magnitude(fabs((double)x), 3, -6);
    if (m >= 448.0 || isinf(x))
        return (uint8_t)(sign | 0x7eu);
    if (m < ldexp(1.0, -6))
        return (uint8_t)(sign | (uint32_t)ldexp(m, 9));
    int e;
    double f = frexp(m, &e);
    return (uint8_t)(sign | (uint32_t)(e - 1 + 7) << 3 | (uint32_t)(ldexp(f, 4) - 8.0));
}

float at_f8_to_f32(uint8_t bits)
{
    uint32_t e = bits >> 3 & 15u, m = bits & 7u;
    if (e == 15 && m == 7)
        return float_of(0x7fc00000u);
    float x = e ? ldexpf((float)(m + 8), (int)e - 10) : ldexpf((float)m, -9);
    return bits & 0x80u ? -x : x;
}

double at_load(const void *data, int64_t i, at_dtype dtype)
{
    switch (dtype) {
    case AT_F32: return (double)((const float *)data)[i];
    case AT_BF16: return (double)at_bf16_to_f32(((const uint16_t *)data)[i]);
    case AT_F16: return (double)at_f16_to_f32(((const uint16_t *)data)[i]);
    case AT_F8: return (double)at_f8_to_f32(((const uint8_t *)data)[i]);
    case AT_F64: return ((const double *)data)[i];
    case AT_I32: return (double)((const int32_t *)data)[i];
    case AT_I64: return (double)((const int64_t *)data)[i];
    case AT_U8: return (double)((const uint8_t *)data)[i];
    case AT_NONE:
    case AT_DTYPE_COUNT: break;
    }
    AT_ASSERT(false, "element type %d", (int)dtype);
}

static double saturate(double x, double low, double high)
{
    return isnan(x) ? 0 : x < low ? low : x > high ? high : x;
}

void at_store(void *data, int64_t i, at_dtype dtype, double value)
{
    switch (dtype) {
    case AT_F32: ((float *)data)[i] = (float)value; return;
    case AT_BF16: ((uint16_t *)data)[i] = at_bf16_from_f32((float)value); return;
    case AT_F16: ((uint16_t *)data)[i] = at_f16_from_f32((float)value); return;
    case AT_F8: ((uint8_t *)data)[i] = at_f8_from_f32((float)value); return;
    case AT_F64: ((double *)data)[i] = value; return;
    case AT_I32: ((int32_t *)data)[i] = (int32_t)saturate(value, INT32_MIN, INT32_MAX); return;
    case AT_I64:
        ((int64_t *)data)[i] = (int64_t)saturate(value, -0x1p63, 0x1.fffffffffffffp62);
        return;
    case AT_U8: ((uint8_t *)data)[i] = (uint8_t)saturate(value, 0, 255); return;
    case AT_NONE:
    case AT_DTYPE_COUNT: break;
    }
    AT_ASSERT(false, "element type %d", (int)dtype);
}

/* --- views ------------------------------------------------------------------------------------ */

size_t at_view_bytes(const at_view *v)
{
    int64_t rows = at_rows(v);
    int64_t elements = rows ? (rows - 1) * v->pitch + at_cols(v) : 0;
    return (size_t)elements * at_dtype_bytes(v->dtype);
}

at_view at_view_of(at_dtype dtype, int rank, const int64_t *size)
{
    at_view v = { .rank = rank, .dtype = dtype };
    for (int i = 0; i < rank; i++)
        v.size[i] = size[i];
    v.pitch = at_cols(&v);
    return v;
}

bool at_same_shape(const at_view *a, const at_view *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->size[i] != b->size[i])
            return false;
    return true;
}
