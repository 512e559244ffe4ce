/* linear_grad_cublaslt.c -- the gradients of linear by cuBLASLt: dx^T = w^T dy^T, and dw^T = x^T dy
 * added to what is there (beta = 1), summed and stored in f32 from operands of any type.
 *
 * The gradient of the bias is our own kernel's, as beside our own product: the library's
 * (BGRADB) overwrites and cannot add to bias_acc, and which order it sums in is not told. */
#ifdef AT_HAS_CUDA
#include "kernels/cublaslt_product.h"
#include "kernels/linear_variants.h"

/* --- by the input ----------------------------------------------------------------------------- */

bool at_linear_dgrad_cublaslt_fits(const void *args)
{
    const at_linear_dgrad_args *a = args;
    return at_linear_dgrad_cuda_fits(args) && a->w.dtype == a->dy.dtype &&
           (!at_has(&a->residual) || a->residual.dtype == a->dx.dtype) &&
           at_cublaslt_takes(&a->dx) && at_cublaslt_takes(&a->dy) && at_cublaslt_takes(&a->w) &&
           at_cublaslt_takes(&a->residual);
}

static at_cublaslt_product dgrad_of(const at_linear_dgrad_args *a)
{
    return (at_cublaslt_product){
        .a = a->w, .b = a->dy, .c = a->residual, .d = a->dx, .c_dtype = a->dx.dtype
    };
}

int at_linear_dgrad_cublaslt_candidates(const void *args, const at_caps *caps)
{
    const at_cublaslt_product p = dgrad_of(args);
    return at_cublaslt_product_candidates(&p, caps);
}

at_status at_linear_dgrad_cublaslt_prepare(const void *args, const at_prepare_in *in,
                                           at_prepared *out, at_error *err)
{
    const at_cublaslt_product p = dgrad_of(args);
    return at_cublaslt_product_prepare(&p, in, out, err);
}

at_status at_linear_dgrad_cublaslt(const void *args, const at_prepared *prepared,
                                   const at_launch *l)
{
    const at_cublaslt_product p = dgrad_of(args);
    const at_prepare_in in = { 0 };
    at_prepared own = { 0 };
    if (at_cublaslt_product_aligned(&p))
        return at_cublaslt_product_run(&p, prepared, l);
    at_status status = at_linear_dgrad_cuda_prepare(args, &in, &own, l->err);
    return status == AT_OK ? at_linear_dgrad_cuda(args, &own, l) : status;
}

/* --- by the weights --------------------------------------------------------------------------- */

bool at_linear_wgrad_cublaslt_fits(const void *args)
{
    const at_linear_wgrad_args *a = args;
    return at_linear_wgrad_cuda_fits(args) && a->dy.dtype == a->x.dtype && a->dw.dtype == AT_F32 &&
           at_cublaslt_takes(&a->dw) && at_cublaslt_takes(&a->dy) && at_cublaslt_takes(&a->x) &&
           at_cublaslt_takes(&a->acc);
}

/* Scratch: the sums of dbias, then the library's. */
static at_cublaslt_product wgrad_of(const at_linear_wgrad_args *a)
{
    enum { LINE = 64 };
    return (at_cublaslt_product){ .a = a->x,
                                  .b = a->dy,
                                  .c = a->acc,
                                  .d = a->dw,
                                  .b_turned = true,
                                  .c_dtype = AT_F32,
                                  .own_bytes =
                                      (at_linear_dbias_bytes(a) + LINE - 1) / LINE * LINE };
}

int at_linear_wgrad_cublaslt_candidates(const void *args, const at_caps *caps)
{
    const at_cublaslt_product p = wgrad_of(args);
    return at_cublaslt_product_candidates(&p, caps);
}

/* Our own kernel, which takes what turns out to lie off alignment. */
static at_status prepare_own(const void *args, at_prepared *own, at_error *err)
{
    const at_prepare_in in = { 0 };
    *own = (at_prepared){ 0 };
    return at_linear_wgrad_cuda_prepare(args, &in, own, err);
}

at_status at_linear_wgrad_cublaslt_prepare(const void *args, const at_prepare_in *in,
                                           at_prepared *out, at_error *err)
{
    const at_cublaslt_product p = wgrad_of(args);
    at_prepared own;
    at_status status = prepare_own(args, &own, err);
    if (status == AT_OK)
        status = at_cublaslt_product_prepare(&p, in, out, err);
    if (status == AT_OK && out->scratch_bytes < own.scratch_bytes)
        out->scratch_bytes = own.scratch_bytes;
    return status;
}

at_status at_linear_wgrad_cublaslt(const void *args, const at_prepared *prepared,
                                   const at_launch *l)
{
    const at_linear_wgrad_args *a = args;
    const at_cublaslt_product p = wgrad_of(a);
    if (!at_cublaslt_product_aligned(&p)) {
        at_prepared own;
        at_status status = prepare_own(args, &own, l->err);
        return status == AT_OK ? at_linear_wgrad_cuda(args, &own, l) : status;
    }
    at_status status = at_cublaslt_product_run(&p, prepared, l);
    return status == AT_OK ? at_linear_dbias_cuda(a, l->scratch, l) : status;
}
#endif
