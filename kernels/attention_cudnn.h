/* attention_cudnn.h -- the graphs of attention, for the variants and for whoever asks the library
 * about them. */
#ifndef AT_KERNELS_ATTENTION_CUDNN_H
#define AT_KERNELS_ATTENTION_CUDNN_H

#include "kernels/attention.h"
#include "kernels/cudnn_graph.h"

at_cudnn_describe_fn at_attention_cudnn_describe;

#endif
