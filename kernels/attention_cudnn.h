/* attention_cudnn.h -- the graphs of attention, for the variants and for whoever asks the library
 * about them. */
#ifndef AT_KERNELS_ATTENTION_CUDNN_H
#define AT_KERNELS_ATTENTION_CUDNN_H

#include "kernels/attention.h"
#include "kernels/cudnn_plans.h"

at_cudnn_describe_fn at_attention_cudnn_describe, at_attention_bwd_cudnn_describe;

/* v (B, L, H*D) as heads (B, H, L, D), or, turned, as (B, H, D, L). */
typedef enum at_cudnn_heads { AT_CUDNN_HEADS, AT_CUDNN_HEADS_TURNED } at_cudnn_heads;
at_cudnn_descriptor at_cudnn_add_heads(at_cudnn_graph *g, int64_t id, const at_view *v,
                                       int64_t heads, at_cudnn_heads how);
/* v (B, H, L) as (B, H, L, 1) */
at_cudnn_descriptor at_cudnn_add_rows(at_cudnn_graph *g, int64_t id, const at_view *v);
/* Whole chunks of 16 bytes, as far as is known before there is an address. */
bool at_cudnn_heads_fit(const at_view *v, int64_t heads);

#endif
