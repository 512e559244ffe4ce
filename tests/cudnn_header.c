/* cudnn_header.c -- our declarations of cuDNN's graph interface against the real ones. It is
 * compiled where cuDNN's headers are, and it either compiles or tells the row that is wrong. */
#include <cudnn_graph.h>

#include "kernels/cudnn.h"

_Static_assert(sizeof(at_cudnn_status) == sizeof(cudnnStatus_t) &&
                   sizeof(at_cudnn_kind) == sizeof(cudnnBackendDescriptorType_t) &&
                   sizeof(at_cudnn_attribute) == sizeof(cudnnBackendAttributeName_t) &&
                   sizeof(at_cudnn_type) == sizeof(cudnnBackendAttributeType_t),
               "enumerations are passed as int");
_Static_assert(sizeof(cudnnDataType_t) == sizeof(int) &&
                   sizeof(cudnnConvolutionMode_t) == sizeof(int) &&
                   sizeof(cudnnPointwiseMode_t) == sizeof(int) &&
                   sizeof(cudnnReduceTensorOp_t) == sizeof(int) &&
                   sizeof(cudnnBackendHeurMode_t) == sizeof(int) &&
                   sizeof(cudnnBackendKnobType_t) == sizeof(int) &&
                   sizeof(cudnnBackendNumericalNote_t) == sizeof(int) &&
                   sizeof(cudnnBackendBehaviorNote_t) == sizeof(int),
               "attributes of these types are passed as int");

/* The rows once more, with the real types. */
#define at_cudnn_status     cudnnStatus_t
#define at_cudnn_kind       cudnnBackendDescriptorType_t
#define at_cudnn_attribute  cudnnBackendAttributeName_t
#define at_cudnn_type       cudnnBackendAttributeType_t
#define at_cudnn_handle     cudnnHandle_t
#define at_cudnn_descriptor cudnnBackendDescriptor_t
#define at_cudnn_stream     cudaStream_t

#define AT_CUDNN_VALUE(NAME, value) _Static_assert((int)NAME == (value), #NAME);
#define AT_CUDNN_CALL(returns, name, symbol, args) \
    _Static_assert(__builtin_types_compatible_p(__typeof__(symbol), returns args), #symbol);
#include "kernels/cudnn.def"
