/* main.c -- conformance [--list] [--seed=N] [NAME...]: runs the cases, under every schedule there
 * is.
 *
 * Exit status: 0 all as expected, or nothing to run on (SKIP); 1 a case failed; 2 usage. */
#include "tests/conformance/conformance.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFERS_MAX = 16 };

static const conformance_case *const lists[] = { conformance_threads, conformance_tiles,
                                                 conformance_hopper };
static void *buffers[BUFFERS_MAX];
static int n_buffers;

bool conformance_fail(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    printf("    ");
    vprintf(fmt, args);
    putchar('\n');
    va_end(args);
    return false;
}

void *conformance_upload(const void *host, size_t bytes)
{
    void *p = NULL;
    cudaError_t status = n_buffers < BUFFERS_MAX ? cudaMalloc(&p, bytes) : cudaErrorInvalidValue;
    if (status == cudaSuccess)
        buffers[n_buffers++] = p;
    if (status == cudaSuccess && host)
        status = cudaMemcpy(p, host, bytes, cudaMemcpyHostToDevice);
    if (status == cudaSuccess)
        return p;
    conformance_fail("%zu bytes: %s", bytes, cudaGetErrorString(status));
    return NULL;
}

bool conformance_download(void *host, const void *device, size_t bytes, cudaError_t status)
{
    if (status == cudaSuccess)
        status = cudaDeviceSynchronize();
    if (status == cudaSuccess)
        status = cudaMemcpy(host, device, bytes, cudaMemcpyDeviceToHost);
    return status == cudaSuccess || conformance_fail("%s", cudaGetErrorString(status));
}

bool conformance_same_f32(const float *expected, const float *found, int n)
{
    for (int i = 0; i < n; i++)
        if (!(expected[i] == found[i]))
            return conformance_fail("element %d of %d: %g expected, %g found", i, n,
                                    (double)expected[i], (double)found[i]);
    return true;
}

bool conformance_same_u32(const uint32_t *expected, const uint32_t *found, int n)
{
    for (int i = 0; i < n; i++)
        if (expected[i] != found[i])
            return conformance_fail("element %d of %d: %08x expected, %08x found", i, n,
                                    expected[i], found[i]);
    return true;
}

int conformance_value(int i)
{
    return (int)((unsigned)i * 2654435761u >> 13) % 7 - 3;
}

static void free_buffers(void)
{
    while (n_buffers > 0)
        cudaFree(buffers[--n_buffers]);
}

static bool is_chosen(const char *name, char **names, int n)
{
    bool chosen = n == 0;
    for (int i = 0; i < n; i++)
        chosen = chosen || strstr(name, names[i]);
    return chosen;
}

static int list_cases(void)
{
    int number = 0;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (const conformance_case *c = lists[i]; c->name; c++)
            printf("%3d  sm_%d  %s\n", ++number, c->sm, c->name);
    return 0;
}

/* Prints failures, and one line for a case that the device cannot run. */
static int run_cases(const char *schedule, int sm, char **names, int n_names, int *n_run)
{
    int failed = 0, number = 0;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (const conformance_case *c = lists[i]; c->name; c++) {
            number++;
            if (!is_chosen(c->name, names, n_names))
                continue;
            if (c->sm > sm) {
                printf("SKIP %d %s: it needs sm_%d, this device is sm_%d\n", number, c->name, c->sm,
                       sm);
                continue;
            }
            bool good = c->run();
            free_buffers();
            *n_run += 1;
            failed += !good;
            if (!good)
                printf("FAIL %d %s (%s)\n", number, c->name, schedule);
        }
    return failed;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    int first = 1, failed = 0, n_run = 0, n_schedules = 0, count = 0;
    struct cudaDeviceProp device;
    const char *schedule;
    for (; first < argc && argv[first][0] == '-'; first++) {
        if (!strcmp(argv[first], "--list"))
            return list_cases();
        if (strncmp(argv[first], "--seed=", 7) != 0) {
            fprintf(stderr, "usage: conformance [--list] [--seed=N] [NAME...]\n");
            return 2;
        }
        seed = strtoull(argv[first] + 7, NULL, 10);
    }
    cudaError_t status = cudaGetDeviceCount(&count);
    if (status != cudaSuccess || count == 0) {
        printf("SKIP conformance: there is no CUDA device (%s)\n", cudaGetErrorString(status));
        return 0;
    }
    status = cudaGetDeviceProperties(&device, 0);
    if (status != cudaSuccess) {
        fprintf(stderr, "conformance: %s\n", cudaGetErrorString(status));
        return 2;
    }
    while ((schedule = conformance_schedule(n_schedules, seed)) != NULL) {
        n_schedules++;
        failed += run_cases(schedule, device.major * 10 + device.minor, argv + first, argc - first,
                            &n_run);
    }
    printf("conformance: %s, seed %llu: %d runs in %d schedules, %d failed\n", device.name,
           (unsigned long long)seed, n_run, n_schedules, failed);
    return failed > 0;
}
