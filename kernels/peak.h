/* peak.h -- loops that do nothing but what the processor does fastest: the figures that shares of
 * the machine's peak are taken of. Each works on one thread; the caller starts as many as it wants
 * to load. */
#ifndef AT_KERNELS_PEAK_H
#define AT_KERNELS_PEAK_H

#include <stddef.h>
#include <stdint.h>

/* Returns the floating point operations that it did. 'numbers' holds a factor a little below 1 and
 * a small summand, and takes the result: the compiler must neither know what comes in (clang left
 * out a chain of sums whose value it could foresee) nor see that nobody needs what comes out. */
typedef double at_peak_fn(int64_t rounds, float numbers[2]);
/* Reads 'bytes' at 'from'; copies them to 'to' with ordinary or with streaming stores. 'to' and the
 * sizes are multiples of 64. */
typedef float at_read_fn(const void *from, size_t bytes);
typedef void at_copy_fn(void *to, const void *from, size_t bytes);

#if defined(__x86_64__)
at_peak_fn at_peak_f32_avx512, at_peak_f32_avx2, at_peak_dot_bf16, at_peak_tiles_bf16;
at_read_fn at_read_avx512, at_read_avx2;
at_copy_fn at_copy_avx512, at_copy_avx2, at_copy_streaming_avx512, at_copy_streaming_avx2;
#else
at_peak_fn at_peak_f32_simd;
at_read_fn at_read_simd;
at_copy_fn at_copy_simd, at_copy_streaming_simd;
#endif

#endif
