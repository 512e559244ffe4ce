/* check_fill.c -- the values of inputs: random numbers from the seed and the operand's name, in the
 * range that the case gives. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/check.h"

static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdull;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ull;
    return x ^ x >> 33;
}

/* The range that 'fill' gives to 'name': "name=low:high". */
static bool fill_range(const char *fill, const char *name, double *low, double *high)
{
    size_t n = strlen(name);
    for (const char *p = fill; p && *p; p += strcspn(p, " "), p += strspn(p, " ")) {
        if (strncmp(p, name, n) || p[n] != '=')
            continue;
        if (sscanf(p + n + 1, "const:%lf", low) == 1) {
            *high = *low;
            return true;
        }
        AT_ASSERT(sscanf(p + n + 1, "%lf:%lf", low, high) == 2, "fill '%s'", p);
        return true;
    }
    return false;
}

void check_fill(const at_check *c, const char *fill, const char *name, const at_view *v)
{
    bool whole = !at_dtype_is_float(v->dtype);
    double low = whole ? 0 : -1, high = whole ? 3 : 1;
    fill_range(fill, name, &low, &high);
    uint64_t state = c->seed;
    for (const char *p = name; *p; p++)
        state = mix(state + (unsigned char)*p);
    int64_t rows = at_rows(v), cols = at_cols(v);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < cols; i++) {
            state += 0x9e3779b97f4a7c15ull;
            double u = (double)(mix(state) >> 11) * 0x1p-53;
            at_set(v, r, i, whole ? low + floor(u * (high - low + 1)) : low + u * (high - low));
        }
}
