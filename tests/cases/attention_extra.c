/* Variants of attention that a machine could not run, or would not choose, otherwise: the tile
 * kernel on emulated tiles (attention_amx.c compiled with AT_TILE_EMULATED), and bf16 dot products
 * where they are not the faster way. */
#include "kernels/attention.h"
#include "tests/check.h"

#if defined(__x86_64__)
AT_ATTENTION_DECLARE(amx_emulated);
AT_ATTENTION_DECLARE(bf16);

const at_variant check_attention_amx = { "attention_bf16_amx_emulated",
                                         AT_CPU,
                                         AT_CAP_MASK(AVX512_BF16),
                                         AT_ROWS_INDEPENDENT,
                                         at_attention_fits_pairs,
                                         at_attention_prepare_amx_emulated,
                                         NULL,
                                         at_attention_release,
                                         at_attention_amx_emulated };

const at_variant check_attention_bf16 = { "attention_bf16_dot",
                                          AT_CPU,
                                          AT_CAP_MASK(AVX512_BF16),
                                          AT_ROWS_INDEPENDENT,
                                          at_attention_fits_pairs,
                                          at_attention_prepare_bf16,
                                          NULL,
                                          at_attention_release,
                                          at_attention_bf16 };
#endif
