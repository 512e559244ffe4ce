/* kernels_hash.h -- which version of the kernels' sources this build has. */
#ifndef AT_ENGINE_KERNELS_HASH_H
#define AT_ENGINE_KERNELS_HASH_H

/* SHA-256, in hexadecimal, over the names and contents of the sources in kernels/, so that what was
 * measured with other kernels is seen to be old. Written by cmake/kernels_hash.cmake. */
extern const char at_kernels_hash[];

#endif
