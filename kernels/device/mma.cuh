/* mma.cuh -- tensor cores of sm_80 and later: mma.m16n8k16 and ldmatrix. A whole warp calls.
 *
 * Fragments, with g = lane / 4 and t = lane % 4 * 2, two elements a register, low half first:
 *   a[0..3] (16, 16): rows g, g + 8, g, g + 8; columns t, t, t + 8, t + 8
 *   b[0..1] (16, 8):  rows t, t + 8; column g
 *   c, d (16, 8) f32: [0..1] row g, columns t and t + 1; [2..3] row g + 8 */
#ifndef AT_KERNELS_DEVICE_MMA_CUH
#define AT_KERNELS_DEVICE_MMA_CUH

#include "kernels/device/device.cuh"

/* d = a * b + c in bf16 with f32 sums. */
__device__ __forceinline__ void at_mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4],
                                                     const uint32_t (&b)[2], const float (&c)[4])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
                 : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]),
                   "f"(c[1]), "f"(c[2]), "f"(c[3]));
}

/* d = a * b + c in f16 with f32 sums. */
__device__ __forceinline__ void at_mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4],
                                                    const uint32_t (&b)[2], const float (&c)[4])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
                 : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]),
                   "f"(c[1]), "f"(c[2]), "f"(c[3]));
}

/* Four 8x8 matrices of 16-bit elements: lane l gives the address of row l % 8 of matrix l / 8, 16
 * bytes aligned to 16; r[i] gets row lane / 4, columns t and t + 1 of matrix i. */
__device__ __forceinline__ void at_ldmatrix_x4(uint32_t (&r)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at_shared_address(row))
                 : "memory");
}

/* The same, of each matrix's transpose. */
__device__ __forceinline__ void at_ldmatrix_x4_trans(uint32_t (&r)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at_shared_address(row))
                 : "memory");
}

/* Two matrices; the addresses of lanes 0 to 15 count. */
__device__ __forceinline__ void at_ldmatrix_x2(uint32_t (&r)[2], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(at_shared_address(row))
                 : "memory");
}

__device__ __forceinline__ void at_ldmatrix_x2_trans(uint32_t (&r)[2], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(at_shared_address(row))
                 : "memory");
}

#endif
