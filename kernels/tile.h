/* tile.h -- the tile registers of a processor (AMX), one wrapper per instruction.
 *
 * Eight registers of 16 rows x 64 bytes. A product takes A (16 rows of 32 bf16) and B (16 rows of
 * 16 pairs) and adds to C (16 x 16 floats): C[m][n] += A[m][2k] * B[k][2n] + A[m][2k+1] *
 * B[k][2n+1].
 *
 * The compiler's own wrappers are not used: gcc 12's loads do not say that they read memory, and
 * its configuration call declares 8 of the 64 bytes it reads, so stores before them may be dropped
 * or come late. A thread must configure before the first use and release after the last.
 *
 * With AT_TILE_EMULATED the same names work on an array, so that a kernel's logic is proved on
 * machines without tiles; at_tiles is then the registers, else nothing. */
#ifndef AT_KERNELS_TILE_H
#define AT_KERNELS_TILE_H

#include <stdint.h>
#include <string.h>

#include "kernels/base.h"

enum { AT_TILES = 8, AT_TILE_ROWS = 16, AT_TILE_ROW_BYTES = 64 };

#if defined(AT_TILE_EMULATED)

typedef struct at_tiles {
    uint8_t reg[AT_TILES][AT_TILE_ROWS][AT_TILE_ROW_BYTES];
} at_tiles;

static inline void at_tile_configure(void)
{
}

static inline void at_tile_release(void)
{
}

static inline void at_tile_load(at_tiles *t, int n, const void *p, int64_t stride)
{
    for (int r = 0; r < AT_TILE_ROWS; r++)
        memcpy(t->reg[n][r], (const char *)p + r * stride, AT_TILE_ROW_BYTES);
}

static inline void at_tile_store(at_tiles *t, int n, void *p, int64_t stride)
{
    for (int r = 0; r < AT_TILE_ROWS; r++)
        memcpy((char *)p + r * stride, t->reg[n][r], AT_TILE_ROW_BYTES);
}

static inline void at_tile_multiply(at_tiles *t, int c, int a, int b)
{
    enum { PAIRS = AT_TILE_ROW_BYTES / 4 };
    for (int m = 0; m < AT_TILE_ROWS; m++)
        for (int n = 0; n < PAIRS; n++) {
            uint16_t x[2 * PAIRS], y[2];
            float sum;
            memcpy(x, t->reg[a][m], sizeof x);
            memcpy(&sum, t->reg[c][m] + 4 * n, sizeof sum);
            for (int k = 0; k < PAIRS; k++) {
                memcpy(y, t->reg[b][k] + 4 * n, sizeof y);
                sum += at_bf16_to_f32(x[2 * k]) * at_bf16_to_f32(y[0]);
                sum += at_bf16_to_f32(x[2 * k + 1]) * at_bf16_to_f32(y[1]);
            }
            memcpy(t->reg[c][m] + 4 * n, &sum, sizeof sum);
        }
}

#define AT_TILE_ZERO(t, n)             memset((t)->reg[n], 0, sizeof(t)->reg[n])
#define AT_TILE_LOAD(t, n, p, stride)  at_tile_load(t, n, p, stride)
#define AT_TILE_STORE(t, n, p, stride) at_tile_store(t, n, p, stride)
#define AT_TILE_MULTIPLY(t, c, a, b)   at_tile_multiply(t, c, a, b)

#else

typedef struct at_tiles {
    char none;
} at_tiles;

/* All eight registers whole. */
static inline void at_tile_configure(void)
{
    struct {
        uint8_t palette, start, zero[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = { .palette = 1 };
    for (int i = 0; i < AT_TILES; i++) {
        config.row_bytes[i] = AT_TILE_ROW_BYTES;
        config.rows[i] = AT_TILE_ROWS;
    }
    __asm__ volatile("ldtilecfg %0" ::"m"(config));
}

static inline void at_tile_release(void)
{
    __asm__ volatile("tilerelease" ::: "memory");
}

/* The number of a register is part of the instruction, so these are macros and n a literal. */
#define AT_TILE_ZERO(t, n)                        \
    do {                                          \
        (void)(t);                                \
        __asm__ volatile("tilezero %%tmm" #n ::); \
    } while (0)
#define AT_TILE_LOAD(t, n, p, stride)                                              \
    do {                                                                           \
        (void)(t);                                                                 \
        __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #n ::"r"((const void *)(p)), \
                         "r"((int64_t)(stride))                                    \
                         : "memory");                                              \
    } while (0)
#define AT_TILE_STORE(t, n, p, stride)                                           \
    do {                                                                         \
        (void)(t);                                                               \
        __asm__ volatile("tilestored %%tmm" #n ", (%0,%1,1)" ::"r"((void *)(p)), \
                         "r"((int64_t)(stride))                                  \
                         : "memory");                                            \
    } while (0)
#define AT_TILE_MULTIPLY(t, c, a, b)                                         \
    do {                                                                     \
        (void)(t);                                                           \
        __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::); \
    } while (0)

#endif
#endif
