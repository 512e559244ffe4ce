/* conv2d_cudnn.h -- what convolution and its gradients share where cuDNN computes them. */
#ifndef AT_KERNELS_CONV2D_CUDNN_H
#define AT_KERNELS_CONV2D_CUDNN_H

#include "kernels/conv2d_packing.h"
#include "kernels/cudnn_plans.h"

/* --- graphs, for the variants and for whoever asks the library about them --------------------- */

at_cudnn_describe_fn at_conv2d_cudnn_describe, at_conv2d_dgrad_cudnn_describe,
    at_conv2d_wgrad_cudnn_describe;

at_cudnn_window at_cudnn_window_of(const at_conv *c);
/* Whole chunks of 16 bytes of channels, padding by zeros. */
bool at_cudnn_window_fits(const at_conv *c);
/* v (B, H, W, C) */
at_cudnn_descriptor at_cudnn_add_picture(at_cudnn_graph *g, int64_t id, const at_view *v);
/* (Co, Kh, Kw, Ci) in memory */
at_cudnn_descriptor at_cudnn_add_filter(at_cudnn_graph *g, int64_t id, at_dtype dtype,
                                        const at_conv *c);

#endif
