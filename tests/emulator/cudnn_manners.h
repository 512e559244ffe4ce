/* cudnn_manners.h -- how descriptors of cuDNN's graph interface may be used, and how not: a list of
 * uses with what the library must answer. It holds for the real library, which is asked without a
 * GPU, and for the emulated one, so that a call which the real one refuses is refused in both. */
#ifndef AT_TESTS_EMULATOR_CUDNN_MANNERS_H
#define AT_TESTS_EMULATOR_CUDNN_MANNERS_H

#include "kernels/cudnn.h"

/* Prints each use that was answered otherwise, and returns how many there were. A library without a
 * handle is the real one: it is not asked what could bring it down. */
int cudnn_manners(const at_cudnn *c, const char *name);

#endif
