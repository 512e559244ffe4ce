/* linear_cublaslt.c -- linear by cuBLASLt: y^T = w x^T, with bias, ReLU and residual in the same
 * launch.
 *
 * What the library does otherwise than linear's definition is left to our own kernel: its GELU is
 * the approximation by tanh and ours is by erf, it has no SiLU or quick GELU, and of what is before
 * an activation it keeps a bit (ReLU) or what its own backward reads. So z is not to be had, and an
 * activation other than ReLU would take a second pass over y, which rounds in between and, by the
 * bytes that it moves, takes about as long as a faster product saves. ReLU and a residual together
 * no model asks for.
 *
 * In f8 one number scales all of x and one all of w; scales of rows and columns are our own
 * kernel's. Sums are kept at full precision (FAST_ACCUM stays off). */
#ifdef AT_HAS_CUDA
#include "kernels/cublaslt_product.h"
#include "kernels/linear_variants.h"

enum { OWN_BYTES = 64, F8_MULTIPLE = 16 };

static bool has_16_bits(at_dtype type)
{
    return type == AT_BF16 || type == AT_F16;
}

static bool is_or_absent(const at_view *v, at_dtype type)
{
    return !at_has(v) || v->dtype == type;
}

static bool is_one(const at_view *scale)
{
    return at_elements(scale) == 1;
}

/* C's type, which bias has too: D's, and of 16 bits for products of f8 that end in f8 or f32. */
static at_dtype bias_type_of(const at_linear_args *a)
{
    if (a->x.dtype != AT_F8 || has_16_bits(a->y.dtype))
        return a->y.dtype;
    bool half = a->y.dtype == AT_F8 && at_has(&a->bias) && a->bias.dtype == AT_F16;
    return half ? AT_F16 : AT_BF16;
}

static bool types_fit(const at_linear_args *a)
{
    const at_dtype x = a->x.dtype, y = a->y.dtype;
    if (a->w.dtype != x || !is_or_absent(&a->bias, bias_type_of(a)) ||
        !is_or_absent(&a->residual, y))
        return false;
    if (x != AT_F8)
        return y == x || (y == AT_F32 && has_16_bits(x));
    return is_one(&a->x_scale) && is_one(&a->w_scale) &&
           (y == AT_F32 || y == AT_F8 || has_16_bits(y));
}

/* What f8 adds: it comes out of the library where it also goes in. */
static bool f8_fits(const at_linear_args *a)
{
    if (a->y.dtype == AT_F8)
        return a->x.dtype == AT_F8 && !at_has(&a->residual) && at_cols(&a->y) % F8_MULTIPLE == 0 &&
               at_cols(&a->x) % F8_MULTIPLE == 0;
    return !at_has(&a->y_amax) && (a->x.dtype != AT_F8 || (at_cols(&a->x) % F8_MULTIPLE == 0 &&
                                                           at_cols(&a->y) % F8_MULTIPLE == 0));
}

bool at_linear_cublaslt_fits(const void *args)
{
    const at_linear_args *a = args;
    bool ends = a->act == AT_ACT_NONE || (a->act == AT_ACT_RELU && !at_has(&a->residual));
    return at_linear_cuda_fits(args) && ends && !at_has(&a->z) && types_fit(a) && f8_fits(a) &&
           at_cublaslt_takes(&a->x) && at_cublaslt_takes(&a->w) && at_cublaslt_takes(&a->y) &&
           at_cublaslt_takes(&a->residual);
}

static at_cublaslt_product product_of(const at_linear_args *a)
{
    at_cublaslt_product p = { .a = a->w,
                              .b = a->x,
                              .c = a->residual,
                              .d = a->y,
                              .a_turned = true,
                              .relu = a->act == AT_ACT_RELU,
                              .c_dtype = a->y.dtype,
                              .bias = a->bias };
    if (a->x.dtype != AT_F8)
        return p;
    p.scaled = true;
    p.a_scale = a->w_scale.data;
    p.b_scale = a->x_scale.data;
    if (a->y.dtype == AT_F8) {
        p.c_dtype = bias_type_of(a);
        p.d_scaled = true;
        p.has_amax = at_has(&a->y_amax);
        p.amax = p.has_amax ? a->y_amax.data : NULL;
        p.own_bytes = OWN_BYTES;
    }
    return p;
}

int at_linear_cublaslt_candidates(const void *args, const at_caps *caps)
{
    const at_cublaslt_product p = product_of(args);
    return at_cublaslt_product_candidates(&p, caps);
}

at_status at_linear_cublaslt_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                     at_error *err)
{
    const at_cublaslt_product p = product_of(args);
    return at_cublaslt_product_prepare(&p, in, out, err);
}

/* A slice may begin off alignment, which is known only here: any address will do for our kernel. */
static at_status run_own(const void *args, const at_launch *l)
{
    const at_prepare_in in = { 0 };
    at_prepared own = { 0 };
    at_status status = at_linear_cuda_prepare(args, &in, &own, l->err);
    return status == AT_OK ? at_linear_cuda(args, &own, l) : status;
}

at_status at_linear_cublaslt(const void *args, const at_prepared *prepared, const at_launch *l)
{
    const at_linear_args *a = args;
    at_cublaslt_product p = product_of(a);
    if (!at_cublaslt_product_aligned(&p))
        return run_own(args, l);
    if (p.d_scaled) { /* the library multiplies where we divide */
        at_status status = at_linear_f8_scale_cuda(l->scratch, a, l);
        if (status != AT_OK)
            return status;
        p.d_scale = l->scratch;
    }
    return at_cublaslt_product_run(&p, prepared, l);
}
#endif
