#include "kernels/peak_gpu.h"

static const at_peak_gpu kernels[] = {
#ifdef AT_HAS_CUDA
    { at_peak_gpu_copy, at_peak_gpu_f32, at_peak_gpu_nothing },
#endif
    { NULL, NULL, NULL }
};

const at_peak_gpu *at_peak_gpu_kernels(void)
{
    return kernels[0].copy ? &kernels[0] : NULL;
}
