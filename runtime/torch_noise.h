/* torch_noise.h -- the numbers of torch.randn() on the CPU, bit for bit, so that a seed gives the
 * picture that it gives in Python.
 *
 * One generator is one torch.Generator("cpu") after manual_seed(), of whose seed only the low 32
 * bits count. A draw is one call of randn(): two draws of 8 are not one of 16. Torch computes a
 * draw of 16 and more with AVX2 where the processor has it, as all that matter here do; these are
 * that code's numbers, on every processor. The caller owns the generator, one thread at a time. */
#ifndef AT_RUNTIME_TORCH_NOISE_H
#define AT_RUNTIME_TORCH_NOISE_H

#include "kernels/base.h"

enum { AT_MT19937_WORDS = 624 };

typedef struct at_torch_noise {
    uint32_t word[AT_MT19937_WORDS];
    int used;      /* words that were drawn since the state was made */
    bool has_next; /* small draws make numbers in pairs */
    double next;
} at_torch_noise;

AT_API void at_torch_noise_seed(at_torch_noise *g, uint64_t seed);
/* torch.randn(n), in f32. bf16 and f16 noise is this rounded. */
AT_API void at_torch_noise_draw(at_torch_noise *g, float *out, int64_t n);

#endif
