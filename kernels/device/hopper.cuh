/* hopper.cuh -- sm_90a: mbarrier, TMA tile loads, wgmma. For *_sm90a.cu files.
 *
 * A stage of a pipeline: its producer waits for 'empty', says how many bytes will come
 * (at_mbarrier_expect) and starts the loads; consumers wait for 'full', multiply, wait for the
 * product, and arrive at 'empty'. A barrier's first phase has parity 0. */
#ifndef AT_KERNELS_DEVICE_HOPPER_CUH
#define AT_KERNELS_DEVICE_HOPPER_CUH

#include "kernels/device/device.cuh"
#include "kernels/device/tensor_map.h"

/* --- mbarrier --------------------------------------------------------------------------------- */

/* One thread; then at_mbarrier_init_fence() and a barrier of the block before others use it. */
__device__ __forceinline__ void at_mbarrier_init(uint64_t *bar, uint32_t arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(at_shared_address(bar)),
                 "r"(arrivals)
                 : "memory");
}

/* Makes initialised barriers visible to TMA. */
__device__ __forceinline__ void at_mbarrier_init_fence()
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ __forceinline__ void at_mbarrier_arrive(uint64_t *bar)
{
    asm volatile(
        "{.reg .b64 t; mbarrier.arrive.shared::cta.b64 t, [%0];}" ::"r"(at_shared_address(bar))
        : "memory");
}

/* Arrives, and the phase lasts until this many more bytes have come. */
__device__ __forceinline__ void at_mbarrier_expect(uint64_t *bar, uint32_t bytes)
{
    asm volatile("{.reg .b64 t; mbarrier.arrive.expect_tx.shared::cta.b64 t, [%0], %1;}" ::"r"(
                     at_shared_address(bar)),
                 "r"(bytes)
                 : "memory");
}

/* Returns when the phase of this parity is over. */
__device__ __forceinline__ void at_mbarrier_wait(uint64_t *bar, uint32_t parity)
{
    asm volatile("{.reg .pred p;\n"
                 "AGAIN_%=: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
                 "@!p bra AGAIN_%=;}" ::"r"(at_shared_address(bar)),
                 "r"(parity)
                 : "memory");
}

/* --- TMA -------------------------------------------------------------------------------------- */

/* The map's box at column x, row y, into shared memory aligned to 1024 (128-byte swizzle), 512
 * (64), 256 (32) or 128; what lies outside of the tensor arrives as zeros. One thread calls. */
__device__ __forceinline__ void at_tma_load_2d(void *shared, const at_tensor_map *map,
                                               uint64_t *bar, int x, int y)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%3, %4}], [%2];" ::"r"(at_shared_address(shared)),
                 "l"(map), "r"(at_shared_address(bar)), "r"(x), "r"(y)
                 : "memory");
}

/* Orders this thread's own writes to shared memory before wgmma and TMA see them. */
__device__ __forceinline__ void at_async_proxy_fence()
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* --- wgmma: 128 threads, aligned to 128, call together ---------------------------------------- */

/* Before the first product, and whenever its registers were touched otherwise. */
__device__ __forceinline__ void at_wgmma_fence()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ __forceinline__ void at_wgmma_commit()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* Until then nobody touches the registers or the tiles of the groups. */
template <int GROUPS_LEFT>
__device__ __forceinline__ void at_wgmma_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(GROUPS_LEFT) : "memory");
}

/* Where a tile lies in shared memory; offsets in bytes. With k innermost 'stride' leads from
 * 8 rows to the next 8, and 'leading' counts only without a swizzle: from 8 columns to the next 8.
 * With k outermost 'leading' leads from one swizzled span of columns to the next, 'stride' from 8
 * rows of k to the next 8. */
__device__ __forceinline__ uint64_t at_wgmma_descriptor(const void *tile, uint32_t leading,
                                                        uint32_t stride, at_swizzle swizzle)
{
    return (uint64_t)((at_shared_address(tile) & 0x3FFFF) >> 4) | (uint64_t)(leading >> 4) << 16 |
           (uint64_t)(stride >> 4) << 32 | (uint64_t)swizzle << 62;
}

/* clang-format off */
#define AT_D8(i)                                                                       \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]),                        \
    "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])

/* d (64, 64) = a (64, 16) * b (16, 64) + (accumulate ? d : 0), bf16 with f32 sums, both operands
 * in shared memory behind descriptors. TRANSPOSED_X: X has k outermost. Register r of thread t is
 * row t / 32 * 16 + t % 32 / 4 + (r & 2 ? 8 : 0), column r / 4 * 8 + t % 4 * 2 + r % 2. */
template <int TRANSPOSED_A, int TRANSPOSED_B>
__device__ __forceinline__ void at_wgmma_m64n64k16_bf16(float (&d)[32], uint64_t a, uint64_t b,
                                                       int accumulate)
{
    asm volatile("{.reg .pred p; setp.ne.b32 p, %34, 0;"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
                 "{%0,%1,%2,%3,%4,%5,%6,%7"
                 ",%8,%9,%10,%11,%12,%13,%14,%15"
                 ",%16,%17,%18,%19,%20,%21,%22,%23"
                 ",%24,%25,%26,%27,%28,%29,%30,%31}, %32, %33, p, 1, 1, %35, %36;}"
                 : AT_D8(0), AT_D8(8), AT_D8(16), AT_D8(24)
                 : "l"(a), "l"(b), "r"(accumulate), "n"(TRANSPOSED_A), "n"(TRANSPOSED_B));
}

/* The same for d (64, 128). */
template <int TRANSPOSED_A, int TRANSPOSED_B>
__device__ __forceinline__ void at_wgmma_m64n128k16_bf16(float (&d)[64], uint64_t a, uint64_t b,
                                                       int accumulate)
{
    asm volatile("{.reg .pred p; setp.ne.b32 p, %66, 0;"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
                 "{%0,%1,%2,%3,%4,%5,%6,%7"
                 ",%8,%9,%10,%11,%12,%13,%14,%15"
                 ",%16,%17,%18,%19,%20,%21,%22,%23"
                 ",%24,%25,%26,%27,%28,%29,%30,%31"
                 ",%32,%33,%34,%35,%36,%37,%38,%39"
                 ",%40,%41,%42,%43,%44,%45,%46,%47"
                 ",%48,%49,%50,%51,%52,%53,%54,%55"
                 ",%56,%57,%58,%59,%60,%61,%62,%63}, %64, %65, p, 1, 1, %67, %68;}"
                 : AT_D8(0), AT_D8(8), AT_D8(16), AT_D8(24),
                   AT_D8(32), AT_D8(40), AT_D8(48), AT_D8(56)
                 : "l"(a), "l"(b), "r"(accumulate), "n"(TRANSPOSED_A), "n"(TRANSPOSED_B));
}

/* The same for d (64, 256). */
template <int TRANSPOSED_A, int TRANSPOSED_B>
__device__ __forceinline__ void at_wgmma_m64n256k16_bf16(float (&d)[128], uint64_t a, uint64_t b,
                                                       int accumulate)
{
    asm volatile("{.reg .pred p; setp.ne.b32 p, %130, 0;"
                 "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 "
                 "{%0,%1,%2,%3,%4,%5,%6,%7"
                 ",%8,%9,%10,%11,%12,%13,%14,%15"
                 ",%16,%17,%18,%19,%20,%21,%22,%23"
                 ",%24,%25,%26,%27,%28,%29,%30,%31"
                 ",%32,%33,%34,%35,%36,%37,%38,%39"
                 ",%40,%41,%42,%43,%44,%45,%46,%47"
                 ",%48,%49,%50,%51,%52,%53,%54,%55"
                 ",%56,%57,%58,%59,%60,%61,%62,%63"
                 ",%64,%65,%66,%67,%68,%69,%70,%71"
                 ",%72,%73,%74,%75,%76,%77,%78,%79"
                 ",%80,%81,%82,%83,%84,%85,%86,%87"
                 ",%88,%89,%90,%91,%92,%93,%94,%95"
                 ",%96,%97,%98,%99,%100,%101,%102,%103"
                 ",%104,%105,%106,%107,%108,%109,%110,%111"
                 ",%112,%113,%114,%115,%116,%117,%118,%119"
                 ",%120,%121,%122,%123,%124,%125,%126,%127}, %128, %129, p, 1, 1, %131, %132;}"
                 : AT_D8(0), AT_D8(8), AT_D8(16), AT_D8(24),
                   AT_D8(32), AT_D8(40), AT_D8(48), AT_D8(56),
                   AT_D8(64), AT_D8(72), AT_D8(80), AT_D8(88),
                   AT_D8(96), AT_D8(104), AT_D8(112), AT_D8(120)
                 : "l"(a), "l"(b), "r"(accumulate), "n"(TRANSPOSED_A), "n"(TRANSPOSED_B));
}

/* The same for e4m3, d (64, 256) = a (64, 32) * b (32, 256): always with k innermost. Sums keep 14
 * bits: every product, and d, is aligned to the largest of them and cut 13 bits below its first. */
__device__ __forceinline__ void at_wgmma_m64n256k32_e4m3(float (&d)[128], uint64_t a, uint64_t b,
                                                         int accumulate)
{
    asm volatile("{.reg .pred p; setp.ne.b32 p, %130, 0;"
                 "wgmma.mma_async.sync.aligned.m64n256k32.f32.e4m3.e4m3 "
                 "{%0,%1,%2,%3,%4,%5,%6,%7"
                 ",%8,%9,%10,%11,%12,%13,%14,%15"
                 ",%16,%17,%18,%19,%20,%21,%22,%23"
                 ",%24,%25,%26,%27,%28,%29,%30,%31"
                 ",%32,%33,%34,%35,%36,%37,%38,%39"
                 ",%40,%41,%42,%43,%44,%45,%46,%47"
                 ",%48,%49,%50,%51,%52,%53,%54,%55"
                 ",%56,%57,%58,%59,%60,%61,%62,%63"
                 ",%64,%65,%66,%67,%68,%69,%70,%71"
                 ",%72,%73,%74,%75,%76,%77,%78,%79"
                 ",%80,%81,%82,%83,%84,%85,%86,%87"
                 ",%88,%89,%90,%91,%92,%93,%94,%95"
                 ",%96,%97,%98,%99,%100,%101,%102,%103"
                 ",%104,%105,%106,%107,%108,%109,%110,%111"
                 ",%112,%113,%114,%115,%116,%117,%118,%119"
                 ",%120,%121,%122,%123,%124,%125,%126,%127}, %128, %129, p, 1, 1;}"
                 : AT_D8(0), AT_D8(8), AT_D8(16), AT_D8(24),
                   AT_D8(32), AT_D8(40), AT_D8(48), AT_D8(56),
                   AT_D8(64), AT_D8(72), AT_D8(80), AT_D8(88),
                   AT_D8(96), AT_D8(104), AT_D8(112), AT_D8(120)
                 : "l"(a), "l"(b), "r"(accumulate));
}
#undef AT_D8
/* clang-format on */

#endif
