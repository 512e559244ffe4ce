/* tuning_machine.c -- what choices are valid for, read off the device and the libraries. */
#include <stdio.h>
#include <string.h>

#include "engine/device_cuda.h"
#include "engine/kernels_hash.h"
#include "engine/machine.h"
#include "engine/tuning_inside.h"
#include "kernels/cublaslt.h"
#include "kernels/cudnn.h"
#include "kernels/onednn.h"

static const char *const names[] = {
#define AT_TUNED_FOR(FIELD, name) name,
#include "engine/tuning_machine.def"
#undef AT_TUNED_FOR
};

const char *at_tuned_for_name(int field)
{
    return field >= 0 && field < AT_TUNED_FOR_COUNT ? names[field] : NULL;
}

/* The libraries of the cpu's variants in this build. */
static const struct {
    int field;
    void (*version)(char *text, size_t text_size);
} cpu_libraries[] = {
#ifdef AT_HAS_ONEDNN
    { AT_TUNED_FOR_ONEDNN, at_dnn_version },
#endif
    { -1, NULL },
};

static void describe_cpu(const at_device *d, at_tuned_for *out)
{
    at_machine_name(out->field[AT_TUNED_FOR_DEVICE], AT_TUNING_FIELD_MAX);
    snprintf(out->field[AT_TUNED_FOR_COMPUTE], AT_TUNING_FIELD_MAX, "threads %d, capabilities %x",
             d->caps.threads, (unsigned)d->caps.has);
    for (size_t i = 0; i < AT_COUNT(cpu_libraries); i++)
        if (cpu_libraries[i].version)
            cpu_libraries[i].version(out->field[cpu_libraries[i].field], AT_TUNING_FIELD_MAX);
}

/* The number of the driver that the kernel runs, which says more than the CUDA that it serves:
 * "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  ...". Empty where it is not told. */
static void kernel_driver(char *text, size_t text_size)
{
    char line[256] = { 0 };
    FILE *f = fopen("/proc/driver/nvidia/version", "r");
    bool read = f && fgets(line, sizeof line, f) != NULL;
    if (f)
        fclose(f);
    *text = 0;
    for (const char *at = line; read && *at; at += strcspn(at, " \t\n")) {
        at += strspn(at, " \t\n");
        size_t n = strspn(at, "0123456789.");
        if (n > 2 && n < text_size && memchr(at, '.', n)) {
            snprintf(text, text_size, "%.*s", (int)n, at);
            return;
        }
    }
}

static void put_version(char *field, size_t version)
{
    snprintf(field, AT_TUNING_FIELD_MAX, "%zu", version);
}

static at_status describe_gpu(at_device *d, at_tuned_for *out, at_error *err)
{
    at_cuda_about about;
    char driver[32];
    at_status status = at_device_cuda_about(d, &about, err);
    if (status != AT_OK)
        return status;
    kernel_driver(driver, sizeof driver);
    snprintf(out->field[AT_TUNED_FOR_DEVICE], AT_TUNING_FIELD_MAX, "%.*s", AT_TUNING_FIELD_MAX - 1,
             about.name);
    snprintf(out->field[AT_TUNED_FOR_COMPUTE], AT_TUNING_FIELD_MAX, "%d.%d", about.sm / 10,
             about.sm % 10);
    snprintf(out->field[AT_TUNED_FOR_DRIVER], AT_TUNING_FIELD_MAX, "%d%s%s", about.driver_version,
             *driver ? " " : "", driver);
    if (d->caps.cublaslt)
        put_version(out->field[AT_TUNED_FOR_CUBLASLT], d->caps.cublaslt->version);
    if (d->caps.cudnn)
        put_version(out->field[AT_TUNED_FOR_CUDNN], d->caps.cudnn->version);
    return AT_OK;
}

/* Fields are words of a line. */
static void clean(char *field)
{
    for (char *c = field; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
    for (size_t n = strlen(field); n > 0 && field[n - 1] == ' '; n--)
        field[n - 1] = 0;
    if (!*field)
        snprintf(field, AT_TUNING_FIELD_MAX, "none");
}

at_status at_tuned_for_device(at_device *d, at_tuned_for *out, at_error *err)
{
    *out = (at_tuned_for){ 0 };
    at_status status = AT_OK;
    if (d->caps.kind == AT_CUDA)
        status = describe_gpu(d, out, err);
    else
        describe_cpu(d, out);
    snprintf(out->field[AT_TUNED_FOR_KERNELS], AT_TUNING_FIELD_MAX, "%s", at_kernels_hash);
    for (int i = 0; i < AT_TUNED_FOR_COUNT; i++)
        clean(out->field[i]);
    return status;
}

/* Appends the text in letters that any file system takes, a dash between it and what is there. */
static void append(at_tuning *t, const char *text)
{
    size_t n = strlen(t->file), most = sizeof t->file - sizeof ".tuning";
    if (n)
        t->file[n++] = '-';
    for (const char *c = text; *c && n < most; c++) {
        bool upper = *c >= 'A' && *c <= 'Z', lower = *c >= 'a' && *c <= 'z';
        if (upper || lower || (*c >= '0' && *c <= '9'))
            t->file[n++] = (char)(upper ? *c - 'A' + 'a' : *c);
        else if (n && t->file[n - 1] != '-')
            t->file[n++] = '-';
    }
    while (n && t->file[n - 1] == '-')
        n--;
    t->file[n] = 0;
}

/* The device's name; of a processor also how much of it is used, which is the user's to say. */
void at_tuning_name_file(at_tuning *t)
{
    const char *compute = t->machine.field[AT_TUNED_FOR_COMPUTE];
    append(t, t->machine.field[AT_TUNED_FOR_DEVICE]);
    if (!strncmp(compute, "threads", 7))
        append(t, compute);
    size_t n = strlen(t->file);
    snprintf(t->file + n, sizeof t->file - n, ".tuning");
}

const char *at_tuning_file(const at_tuning *t)
{
    return t->file;
}
