/* conv2d_packing.h -- own kernels that a library's convolution needs before and after it: weights
 * with their channels innermost, and their gradient back. They are in conv2d.cu and
 * conv2d_wgrad.cu, take a stream and never wait. */
#ifndef AT_KERNELS_CONV2D_PACKING_H
#define AT_KERNELS_CONV2D_PACKING_H

#include "kernels/conv2d_variants.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Asks for w (Co, Ci, Kh, Kw) as (Co, Kh, Kw, Ci) of 'computed': a form where it is a parameter,
 * else scratch, which it adds to out->scratch_bytes. */
void at_conv2d_weights_book_cuda(at_prepared *out, const at_prepare_in *in, const at_view *w,
                                 at_dtype computed);
/* '*out': that form, or w packed into the beginning of l->scratch. */
at_status at_conv2d_weights_cuda(const void **out, const at_view *w, at_dtype computed,
                                 const at_prepared *p, const at_launch *l);
/* v (n), n a multiple of 8, in another type. */
at_status at_conv2d_vector_cuda(const at_view *v, void *out, at_dtype computed, const at_launch *l);
/* dw = acc + sums (Co, Kh, Kw, Ci); dbias, over 'bias_sums' of at_conv2d_bias_bytes_cuda(). */
at_status at_conv2d_wgrad_finish_cuda(const at_conv2d_wgrad_args *a, const void *sums,
                                      void *bias_sums, const at_launch *l);
size_t at_conv2d_bias_bytes_cuda(const at_conv2d_wgrad_args *a);

#ifdef __cplusplus
}
#endif
#endif
