/* cudnn_manners_main.c -- the real cuDNN, asked without a GPU whether it answers as the emulated
 * one must. SKIP where it is not installed. */
#include <stdio.h>

#include "engine/cuda_libraries.h"
#include "tests/emulator/cudnn_manners.h"

int main(void)
{
    at_cuda_library library;
    at_cudnn cudnn;
    at_error err;
    at_status status = at_cuda_library_open(&library, AT_CUDA_LIBRARY_CUDNN, NULL, &err);
    if (status == AT_OK)
        status = at_cudnn_bind(&cudnn, library.handle, &err);
    if (status != AT_OK) {
        printf("SKIP cudnn_manners: %s\n", err.text);
        return 0;
    }
    int wrong = cudnn_manners(&cudnn, library.version);
    printf("cuDNN %s: %d uses answered otherwise\n", library.version, wrong);
    return wrong > 0;
}
