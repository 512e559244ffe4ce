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

/* The bits of |x|, finite, in a type of 'mantissa' bits whose smallest normal number is
 * 2^min_exponent, ties to even; x too large for the type carries on into exponents that it has not.
 * Added to a number whose last place is the type's, a small x is rounded there. */
static uint32_t narrowed(float x, int mantissa, int min_exponent)
{
    enum { MANTISSA = 23, BIAS = 127 };
    const int cut = MANTISSA - mantissa;
    const uint32_t u = bits_of(x) & 0x7fffffffu;
    if (u < (uint32_t)(BIAS + min_exponent) << MANTISSA) {
        const uint32_t place = (uint32_t)(BIAS + min_exponent + cut) << MANTISSA;
        return bits_of(float_of(u) + float_of(place)) - place;
    }
    const uint32_t even = (1u << (cut - 1)) - 1 + (u >> cut & 1);
    return ((u + even) >> cut) - ((uint32_t)(BIAS + min_exponent - 1) << mantissa);
}

uint16_t at_f16_from_f32(float x)
{
    const uint32_t sign = bits_of(x) >> 16 & 0x8000u, most = 0x7c00u;
    if (isnan(x))
        return (uint16_t)(sign | 0x7e00u);
    const uint32_t bits = narrowed(x, 10, -14);
    return (uint16_t)(sign | (bits < most ? bits : most));
}

float at_f16_to_f32(uint16_t bits)
{
    const uint32_t sign = (uint32_t)(bits & 0x8000u) << 16, e = bits >> 10 & 31u, m = bits & 1023u;
    if (e == 0)
        return sign ? -0x1p-24f * (float)m : 0x1p-24f * (float)m;
    return float_of(sign | (e == 31 ? 255 : e + 112) << 23 | m << 13);
}

uint8_t at_f8_from_f32(float x)
{
    const uint32_t sign = bits_of(x) >> 24 & 0x80u, most = 0x7eu;
    if (isnan(x))
        return (uint8_t)(sign | 0x7fu);
    const uint32_t bits = narrowed(x, 3, -6);
    return (uint8_t)(sign | (bits < most ? bits : most));
}

float at_f8_to_f32(uint8_t bits)
{
    const uint32_t sign = (uint32_t)(bits & 0x80u) << 24, e = bits >> 3 & 15u, m = bits & 7u;
    if (e == 15 && m == 7)
        return float_of(0x7fc00000u);
    if (e == 0)
        return sign ? -0x1p-9f * (float)m : 0x1p-9f * (float)m;
    return float_of(sign | (e + 120) << 23 | m << 20);
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
