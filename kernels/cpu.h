/* cpu.h -- what this processor can do. */
#ifndef AT_KERNELS_CPU_H
#define AT_KERNELS_CPU_H

#include "kernels/op.h"

/* Instruction sets that the processor and the operating system support, as capability bits; asks
 * the kernel for the tile registers once. BF16_FAST is not set here: it is measured. */
AT_API uint32_t at_cpu_probe(void);
/* The bits left when nothing beyond the level named ("avx2", "avx512", ...; "plain" for none) may
 * be used; false when there is no such level. */
AT_API bool at_cpu_cap(uint32_t *has, const char *level);
/* Tells the libraries behind the variants to keep to these bits too; before the first call to any
 * of them, once for the process. */
AT_API void at_cpu_limit(uint32_t has);
/* Physical cores that this process may run on. */
AT_API int at_cpu_cores(void);
/* Name of a capability bit and what it means; NULL past the end. */
AT_API const char *at_cap_name(int bit);
AT_API const char *at_cap_text(int bit);
AT_API bool at_cap_is_for(int bit, at_device_kind device);
#endif
