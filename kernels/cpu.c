/* cpu.c -- asks the processor and the operating system, not the build. */
#define _GNU_SOURCE
#include "kernels/cpu.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kernels/onednn.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#endif

static const struct {
    at_device_kind device;
    const char *name, *text;
} caps[] = {
#define AT_CAP(DEVICE, NAME, name, text) { AT_##DEVICE, #name, text },
#include "kernels/caps.def"
#undef AT_CAP
};

const char *at_cap_name(int bit)
{
    return bit >= 0 && (size_t)bit < AT_COUNT(caps) ? caps[bit].name : NULL;
}

const char *at_cap_text(int bit)
{
    return bit >= 0 && (size_t)bit < AT_COUNT(caps) ? caps[bit].text : NULL;
}

bool at_cap_is_for(int bit, at_device_kind device)
{
    return at_cap_name(bit) && caps[bit].device == device;
}

bool at_cpu_cap(uint32_t *has, const char *level)
{
    if (!strcmp(level, "plain")) {
        *has = 0;
        return true;
    }
    for (int i = 0; at_cap_name(i); i++)
        if (at_cap_is_for(i, AT_CPU) && !strcmp(at_cap_name(i), level)) {
            *has &= (2u << i) - 1u;
            return true;
        }
    return false;
}

#if defined(__x86_64__)
static bool tiles_permitted(void)
{
    /* Linux hands out the tile registers only to those who ask: ARCH_REQ_XCOMP_PERM, XTILEDATA. */
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

uint32_t at_cpu_probe(void)
{
    uint32_t has = 0;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        has |= AT_CAP_MASK(AVX2);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        has |= AT_CAP_MASK(AVX512);
    unsigned a, b, c, d;
    bool bf16 = __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1);
    if ((has & AT_CAP_MASK(AVX512)) && bf16)
        has |= AT_CAP_MASK(AVX512_BF16);
    bool tiles = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 22 & 1) && (d >> 24 & 1);
    if ((has & AT_CAP_MASK(AVX512_BF16)) && tiles && tiles_permitted())
        has |= AT_CAP_MASK(AMX_BF16);
    return has;
}
#else
uint32_t at_cpu_probe(void)
{
    return 0;
}
#endif

/* First number in a file such as ".../thread_siblings_list"; -1 when there is none. */
static int first_sibling(int cpu)
{
    char path[96];
    int sibling = -1;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    FILE *f = fopen(path, "r");
    if (f && fscanf(f, "%d", &sibling) != 1)
        sibling = -1;
    if (f)
        fclose(f);
    return sibling;
}

int at_cpu_cores(void)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return 1;
    int cores = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET((size_t)cpu, &allowed))
            continue;
        int first = first_sibling(cpu);
        /* A core counts once: at its first thread that we may use. */
        bool counted = first >= 0 && first < cpu && CPU_ISSET((size_t)first, &allowed);
        cores += !counted;
    }
    return cores > 0 ? cores : 1;
}

#if defined(AT_HAS_ONEDNN)
void at_cpu_limit(uint32_t has)
{
    at_dnn_limit(has);
}
#else
void at_cpu_limit(uint32_t has)
{
    (void)has;
}
#endif
