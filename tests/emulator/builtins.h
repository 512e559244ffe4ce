/* builtins.h -- what nvcc knows without an include: threads, barriers, shuffles, votes, atomics,
 * intrinsics. C++ only; included by the twin of cuda_runtime.h.
 *
 * Each collective takes the caller's file and line as hidden last arguments. __shared__ does not
 * exist here: shared memory is taken with the macros of kernels/device/device.cuh, which give every
 * array a place that is poisoned, guarded and watched. */
#ifndef AT_TESTS_EMULATOR_BUILTINS_H
#define AT_TESTS_EMULATOR_BUILTINS_H

#include "tests/emulator/machine.h"

#define AT_EMU_HERE  const char *file_ = __builtin_FILE(), int line_ = __builtin_LINE()
#define AT_EMU_PLACE (at_emu_place{ file_, line_ })

#define threadIdx (at_emu_now.fibre->thread)
#define blockIdx  (at_emu_now.block)
#define blockDim  (at_emu_now.block_size)
#define gridDim   (at_emu_now.grid_size)
#define warpSize  32

/* --- barriers --------------------------------------------------------------------------------- */

inline void __syncthreads(AT_EMU_HERE)
{
    at_emu_barrier(AT_EMU_PLACE);
}

inline void at_emu_act_syncwarp(void **, uint32_t mask, void *)
{
    at_emu_watch_warp(at_emu_now.fibre->warp, mask);
}

inline void __syncwarp(unsigned mask = ~0u, AT_EMU_HERE)
{
    at_emu_warp(mask, nullptr, at_emu_act_syncwarp, nullptr, "__syncwarp", AT_EMU_PLACE);
}

inline void __threadfence()
{
}

inline void __threadfence_block()
{
}

[[noreturn]] inline void __trap(AT_EMU_HERE)
{
    at_emu_fail(AT_EMU_PLACE, "__trap");
}

/* --- shuffles --------------------------------------------------------------------------------- */

template <class T>
struct at_emu_shuffle {
    T value, result;
    int source; /* lane, or -1 for the own value */
};

template <class T>
void at_emu_act_shuffle(void **data, uint32_t mask, void *)
{
    for (int i = 0; i < AT_EMU_LANES; i++) {
        if (!(mask >> i & 1))
            continue;
        auto *s = static_cast<at_emu_shuffle<T> *>(data[i]);
        if (s->source < 0)
            continue;
        if (!(mask >> s->source & 1))
            at_emu_fail(at_emu_now.fibre->place,
                        "shuffle: lane %d reads lane %d, which mask %08x leaves out,", i, s->source,
                        mask);
        s->result = static_cast<at_emu_shuffle<T> *>(data[s->source])->value;
    }
}

template <class T>
T at_emu_shuffled(unsigned mask, T value, int source, const char *what, at_emu_place place)
{
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a type that shuffles");
    at_emu_shuffle<T> s = { value, value, source };
    at_emu_warp(mask, &s, at_emu_act_shuffle<T>, nullptr, what, place);
    return s.result;
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, AT_EMU_HERE)
{
    int lane = (int)at_emu_now.fibre->lane;
    return at_emu_shuffled(mask, value, (lane & ~(width - 1)) | (source & (width - 1)),
                           "__shfl_sync", AT_EMU_PLACE);
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, AT_EMU_HERE)
{
    int lane = (int)at_emu_now.fibre->lane, from = lane ^ bits;
    return at_emu_shuffled(mask, value, from < (lane & ~(width - 1)) + width ? from : -1,
                           "__shfl_xor_sync", AT_EMU_PLACE);
}

template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, AT_EMU_HERE)
{
    int lane = (int)at_emu_now.fibre->lane, from = lane + (int)delta;
    return at_emu_shuffled(mask, value, from < (lane & ~(width - 1)) + width ? from : -1,
                           "__shfl_down_sync", AT_EMU_PLACE);
}

template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, AT_EMU_HERE)
{
    int lane = (int)at_emu_now.fibre->lane, from = lane - (int)delta;
    return at_emu_shuffled(mask, value, from >= (lane & ~(width - 1)) ? from : -1, "__shfl_up_sync",
                           AT_EMU_PLACE);
}

/* --- votes ------------------------------------------------------------------------------------ */

struct at_emu_vote {
    bool value;
    uint32_t ballot;
};

inline void at_emu_act_vote(void **data, uint32_t mask, void *)
{
    uint32_t ballot = 0;
    for (int i = 0; i < AT_EMU_LANES; i++)
        if ((mask >> i & 1) && static_cast<at_emu_vote *>(data[i])->value)
            ballot |= 1u << i;
    for (int i = 0; i < AT_EMU_LANES; i++)
        if (mask >> i & 1)
            static_cast<at_emu_vote *>(data[i])->ballot = ballot;
}

inline unsigned __ballot_sync(unsigned mask, int predicate, AT_EMU_HERE)
{
    at_emu_vote v = { predicate != 0, 0 };
    at_emu_warp(mask, &v, at_emu_act_vote, nullptr, "__ballot_sync", AT_EMU_PLACE);
    return v.ballot;
}

inline int __any_sync(unsigned mask, int predicate, AT_EMU_HERE)
{
    at_emu_vote v = { predicate != 0, 0 };
    at_emu_warp(mask, &v, at_emu_act_vote, nullptr, "__any_sync", AT_EMU_PLACE);
    return v.ballot != 0;
}

inline int __all_sync(unsigned mask, int predicate, AT_EMU_HERE)
{
    at_emu_vote v = { predicate == 0, 0 };
    at_emu_warp(mask, &v, at_emu_act_vote, nullptr, "__all_sync", AT_EMU_PLACE);
    return v.ballot == 0;
}

/* --- atomics ---------------------------------------------------------------------------------- */

#define AT_EMU_ATOMIC_OP(name, op, type, function)  \
    inline type name(type *p, type v, AT_EMU_HERE)  \
    {                                               \
        return function(p, op, v, 0, AT_EMU_PLACE); \
    }
#define AT_EMU_ATOMIC_OPS(type, function)                              \
    AT_EMU_ATOMIC_OP(atomicAdd, AT_EMU_ADD, type, function)            \
    AT_EMU_ATOMIC_OP(atomicMin, AT_EMU_MIN, type, function)            \
    AT_EMU_ATOMIC_OP(atomicMax, AT_EMU_MAX, type, function)            \
    AT_EMU_ATOMIC_OP(atomicAnd, AT_EMU_AND, type, function)            \
    AT_EMU_ATOMIC_OP(atomicOr, AT_EMU_OR, type, function)              \
    AT_EMU_ATOMIC_OP(atomicXor, AT_EMU_XOR, type, function)            \
    AT_EMU_ATOMIC_OP(atomicExch, AT_EMU_EXCHANGE, type, function)      \
    inline type atomicCAS(type *p, type expected, type v, AT_EMU_HERE) \
    {                                                                  \
        return function(p, AT_EMU_COMPARE, v, expected, AT_EMU_PLACE); \
    }
AT_EMU_ATOMIC_OPS(int, at_emu_atomic_i32)
AT_EMU_ATOMIC_OPS(unsigned, at_emu_atomic_u32)
AT_EMU_ATOMIC_OPS(unsigned long long, at_emu_atomic_u64)

inline float atomicAdd(float *p, float v, AT_EMU_HERE)
{
    return at_emu_atomic_f32(p, AT_EMU_ADD, v, AT_EMU_PLACE);
}

inline float atomicExch(float *p, float v, AT_EMU_HERE)
{
    return at_emu_atomic_f32(p, AT_EMU_EXCHANGE, v, AT_EMU_PLACE);
}

/* --- intrinsics ------------------------------------------------------------------------------- */

template <class T>
T __ldg(const T *p)
{
    return *p;
}

inline float rsqrtf(float x)
{
    return 1.0f / sqrtf(x);
}

inline float __expf(float x)
{
    return expf(x);
}

inline float __logf(float x)
{
    return logf(x);
}

inline float __fdividef(float a, float b)
{
    return a / b;
}

inline float __frcp_rn(float x)
{
    return 1.0f / x;
}

inline float __fsqrt_rn(float x)
{
    return sqrtf(x);
}

inline float __fdiv_rn(float a, float b)
{
    return a / b;
}

inline float __fmaf_rn(float a, float b, float c)
{
    return fmaf(a, b, c);
}

inline float __fadd_rn(float a, float b)
{
    return a + b;
}

inline float __fsub_rn(float a, float b)
{
    return a - b;
}

inline float __fmul_rn(float a, float b)
{
    return a * b;
}

inline float __saturatef(float x)
{
    return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f;
}

inline float __sinf(float x)
{
    return sinf(x);
}

inline float __cosf(float x)
{
    return cosf(x);
}

inline float __powf(float x, float y)
{
    return powf(x, y);
}

inline float __log2f(float x)
{
    return log2f(x);
}

inline int __float2int_rn(float x)
{
    return (int)rintf(x);
}

inline int __float2int_rz(float x)
{
    return (int)x;
}

inline unsigned __brev(unsigned v)
{
    unsigned r = 0;
    for (int i = 0; i < 32; i++)
        r |= (v >> i & 1u) << (31 - i);
    return r;
}

inline int __popc(unsigned v)
{
    return __builtin_popcount(v);
}

inline int __ffs(int v)
{
    return __builtin_ffs(v);
}

inline int __clz(int v)
{
    return v ? __builtin_clz((unsigned)v) : 32;
}

inline unsigned __umulhi(unsigned a, unsigned b)
{
    return (unsigned)((uint64_t)a * b >> 32);
}

inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b)
{
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}

inline float __uint_as_float(unsigned u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

inline unsigned __float_as_uint(float f)
{
    unsigned u;
    memcpy(&u, &f, sizeof u);
    return u;
}

inline float __int_as_float(int i)
{
    return __uint_as_float((unsigned)i);
}

inline int __float_as_int(float f)
{
    return (int)__float_as_uint(f);
}

#define AT_EMU_MIN_MAX(type)        \
    inline type min(type a, type b) \
    {                               \
        return b < a ? b : a;       \
    }                               \
    inline type max(type a, type b) \
    {                               \
        return a < b ? b : a;       \
    }
AT_EMU_MIN_MAX(int)
AT_EMU_MIN_MAX(unsigned)
AT_EMU_MIN_MAX(long)
AT_EMU_MIN_MAX(unsigned long)
AT_EMU_MIN_MAX(long long)
AT_EMU_MIN_MAX(unsigned long long)

inline float min(float a, float b)
{
    return fminf(a, b);
}

inline float max(float a, float b)
{
    return fmaxf(a, b);
}

#endif
