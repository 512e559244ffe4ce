/* doctor.c -- atelier doctor: what this machine has, what would be used and why.
 *
 * First everything is found out, into one struct; then it is said, in words or as JSON. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/libraries.h"
#include "cli/peaks.h"
#include "cli/threads.h"
#include "engine/bench.h"
#include "kernels/cpu.h"
#include "kernels/ops.h"

enum { TEXT_MAX = 256 };

typedef struct options {
    at_device_options device;
    bool json;
} options;

/* What would compute one of the models' main ops. */
typedef struct choice {
    const char *what, *op, *shape;
    const char *variant; /* NULL: none */
    char why[TEXT_MAX];
} choice;

/* Shapes of SDXL at 1024x1024, guided: two samples. */
static const choice questions[] = {
    { "convolution", "conv2d",
      "x=2,64,64,640 w=640,640,3,3 bias=640 residual=2,64,64,640 stride=1,1 pad=1,1,1,1", NULL,
      "" },
    { "product", "linear", "x=8192,640 w=640,640 bias=640", NULL, "" },
    { "attention", "attention", "q=2,4096,640 k=2,4096,640 v=2,4096,640 heads=10", NULL, "" },
    { "group norm", "group_norm", "x=2,128,128,320 gamma=320 beta=320 groups=32 eps=1e-5 silu=yes",
      NULL, "" },
    { "layer norm", "layer_norm", "x=2,4096,640 gamma=640 beta=640 eps=1e-5", NULL, "" },
};

typedef struct findings {
    at_device *device;
    at_machine machine;
    size_t memory_free;
    at_dtype dtype;
    double bf16_ratio; /* of f32's FLOP/s; 0: no instructions for it */
    char precision_why[TEXT_MAX], threads_why[TEXT_MAX], waiting[TEXT_MAX], gpu[TEXT_MAX];
    bool driver_library, device_node;
    choice choices[AT_COUNT(questions)];
} findings;

/* --- finding out ------------------------------------------------------------------------------ */

static void find_precision(findings *f)
{
    uint32_t has = f->device->caps.has;
    f->dtype = at_device_default_dtype(f->device);
    f->bf16_ratio = at_machine_bf16_ratio(has);
    if (f->bf16_ratio > 0)
        snprintf(f->precision_why, TEXT_MAX,
                 "bf16 products measured at %.2f of f32's speed%s; it is the default from %.2f on",
                 f->bf16_ratio, has & AT_CAP_MASK(AMX_BF16) ? ", in matrix tiles" : "",
                 AT_BF16_WORTH);
    else
        snprintf(f->precision_why, TEXT_MAX, "no bf16 instructions are here, or may be used");
}

static void find_threads(findings *f, const options *o)
{
    const at_machine *m = &f->machine;
    snprintf(f->threads_why, TEXT_MAX, "%s",
             o->device.threads        ? "as asked for"
             : m->threads == m->cores ? "one per core that this process may use"
                                      : "as the device was opened");
    at_threads_describe(f->waiting, sizeof f->waiting);
}

static void find_gpu(findings *f)
{
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
    f->driver_library = driver != NULL;
    f->device_node = access("/dev/nvidiactl", F_OK) == 0;
    if (driver)
        dlclose(driver);
    snprintf(f->gpu, TEXT_MAX, "none: this build has no CUDA device; %s, %s",
             f->driver_library ? "the driver's library is here"
                               : "there is no NVIDIA driver library",
             f->device_node ? "and so is a device" : "no device either");
}

/* The capabilities that a variant needs and the device lacks: "needs amx". */
static void missing_caps(const at_variant *v, uint32_t has, char *text, size_t text_size)
{
    snprintf(text, text_size, "%s", "does not take this call");
    for (int i = 0; at_cap_name(i); i++)
        if (v->needs & ~has & (1u << i))
            snprintf(text, text_size, "needs %s", at_cap_name(i));
}

/* Which better variants were passed over, and why. */
static void explain(const at_op *op, const at_variant *picked, uint32_t has, char *why)
{
    size_t used = 0;
    for (const at_variant *v = op->variants; v < picked && used < TEXT_MAX; v++) {
        char reason[64];
        missing_caps(v, has, reason, sizeof reason);
        int n = snprintf(why + used, TEXT_MAX - used, "%s%s %s", used ? ", " : "", v->name, reason);
        used += n > 0 ? (size_t)n : 0;
    }
    if (picked == op->variants)
        snprintf(why, TEXT_MAX, "the first choice of %d", op->n_variants);
}

static void find_choice(findings *f, choice *c)
{
    _Alignas(16) unsigned char args[AT_ARGS_MAX];
    const at_op *op = at_op_named(c->op);
    at_error err = { 0 };
    if (at_args_parse(op, c->shape, f->dtype, args, &err) != AT_OK ||
        at_op_shape(op, args, 0, &err) != AT_OK) {
        snprintf(c->why, sizeof c->why, "%.*s", TEXT_MAX - 1, err.text);
        return;
    }
    const at_variant *v = at_op_pick(op, args, &f->device->caps, false);
    snprintf(c->why, sizeof c->why, "nothing here can run it");
    if (!v)
        return;
    c->variant = v->name;
    explain(op, v, f->device->caps.has, c->why);
}

static at_status find_out(findings *f, const options *o, at_error *err)
{
    at_status status = at_device_open(&f->device, "cpu", &o->device, err);
    if (status != AT_OK)
        return status;
    f->memory_free = at_device_memory_free(f->device);
    status = at_machine_measure(f->device, 0, &f->machine, err);
    if (status != AT_OK)
        return status;
    find_precision(f);
    find_threads(f, o);
    find_gpu(f);
    for (size_t i = 0; i < AT_COUNT(questions); i++) {
        f->choices[i] = questions[i];
        find_choice(f, &f->choices[i]);
    }
    return AT_OK;
}

/* --- in words --------------------------------------------------------------------------------- */

static void line(const char *name, const char *text)
{
    printf("%-14s %s\n", name, text);
}

static void print_machine(const findings *f)
{
    char text[TEXT_MAX], size[32], rest[32];
    const at_machine *m = &f->machine;
    line("processor", m->name);
    snprintf(text, sizeof text, "%d core%s", m->cores, m->cores == 1 ? "" : "s");
    line("cores", text);
    at_peaks_bytes((double)m->memory_bytes, size, sizeof size);
    at_peaks_bytes((double)f->memory_free, rest, sizeof rest);
    snprintf(text, sizeof text, "%s, %s free", size, rest);
    line("memory", text);
    for (int i = 0; at_cap_name(i); i++) {
        bool has = f->device->caps.has & (1u << i);
        snprintf(text, sizeof text, "%-12s %-4s %s", at_cap_name(i), has ? "yes" : "no",
                 at_cap_text(i));
        line(i ? "" : "instructions", text);
    }
}

static void print_peaks(const findings *f)
{
    char text[TEXT_MAX], size[32];
    const at_machine *m = &f->machine;
    at_peaks_text(m, text, sizeof text);
    line("peaks", text);
    for (int i = 0; i < m->n_bandwidth; i++) {
        const at_bandwidth *b = &m->bandwidth[i];
        at_peaks_bytes((double)b->bytes, size, sizeof size);
        snprintf(text, sizeof text, "%-8s read %.1f, copy %.1f, streaming copy %.1f GB/s", size,
                 b->read / 1e9, b->copy / 1e9, b->streaming_copy / 1e9);
        line(i ? "" : "bandwidth", text);
    }
}

static void print_libraries(void)
{
    for (int i = 0; at_library_at(i); i++) {
        char version[64], detail[128], text[TEXT_MAX];
        at_library_at(i)->describe(version, sizeof version, detail, sizeof detail);
        snprintf(text, sizeof text, "%-12s %-8s %s", at_library_at(i)->name,
                 *version ? version : "-", detail);
        line(i ? "" : "libraries", text);
    }
}

static void print_choices(const findings *f)
{
    char text[3 * TEXT_MAX];
    snprintf(text, sizeof text, "%s: %s", at_dtype_name(f->dtype), f->precision_why);
    line("precision", text);
    snprintf(text, sizeof text, "%d: %s; %s", f->machine.threads, f->threads_why, f->waiting);
    line("threads", text);
    printf("\nAt SDXL's shapes, 1024x1024, in %s:\n", at_dtype_name(f->dtype));
    for (size_t i = 0; i < AT_COUNT(questions); i++) {
        const choice *c = &f->choices[i];
        printf("%-14s %-24s %s\n", c->what, c->variant ? c->variant : "nothing", c->why);
    }
}

static void print_words(const findings *f)
{
    print_machine(f);
    print_peaks(f);
    print_libraries();
    line("gpu", f->gpu);
    print_choices(f);
}

/* --- as JSON ---------------------------------------------------------------------------------- */

static json_t *instructions_json(const findings *f)
{
    json_t *all = json_object();
    for (int i = 0; at_cap_name(i); i++)
        json_object_set_new(all, at_cap_name(i), json_boolean(f->device->caps.has & (1u << i)));
    return all;
}

static json_t *libraries_json(void)
{
    json_t *all = json_array();
    for (int i = 0; at_library_at(i); i++) {
        char version[64], detail[128];
        at_library_at(i)->describe(version, sizeof version, detail, sizeof detail);
        json_array_append_new(all, json_pack("{s:s, s:s, s:s}", "name", at_library_at(i)->name,
                                             "version", version, "detail", detail));
    }
    return all;
}

static json_t *choices_json(const findings *f)
{
    json_t *all = json_array();
    for (size_t i = 0; i < AT_COUNT(questions); i++) {
        const choice *c = &f->choices[i];
        json_array_append_new(all,
                              json_pack("{s:s, s:s, s:s, s:s?, s:s}", "what", c->what, "op", c->op,
                                        "shape", c->shape, "variant", c->variant, "why", c->why));
    }
    return all;
}

static void print_json(const findings *f)
{
    const at_machine *m = &f->machine;
    json_t *document = json_object();
    json_object_set_new(document, "version", json_string(AT_VERSION));
    json_object_set_new(document, "cpu",
                        json_pack("{s:s, s:i, s:o}", "name", m->name, "cores", m->cores,
                                  "instructions", instructions_json(f)));
    json_object_set_new(document, "memory",
                        json_pack("{s:I, s:I}", "bytes", (json_int_t)m->memory_bytes, "free_bytes",
                                  (json_int_t)f->memory_free));
    json_object_set_new(document, "peaks", at_peaks_json(m));
    json_object_set_new(document, "libraries", libraries_json());
    json_object_set_new(document, "gpu",
                        json_pack("{s:b, s:b, s:b, s:s}", "cuda_device", 0, "driver_library",
                                  f->driver_library, "device_node", f->device_node, "why", f->gpu));
    json_object_set_new(document, "precision",
                        json_pack("{s:s, s:f, s:s}", "dtype", at_dtype_name(f->dtype), "bf16_ratio",
                                  f->bf16_ratio, "why", f->precision_why));
    json_object_set_new(document, "threads",
                        json_pack("{s:i, s:s, s:s}", "count", m->threads, "why", f->threads_why,
                                  "waiting", f->waiting));
    json_object_set_new(document, "choices", choices_json(f));
    at_json_print(document);
}

int at_command_doctor(int argc, char **argv)
{
    options o = { 0 };
    const at_option list[] = {
        AT_OPTION_THREADS(&o.device),
        AT_OPTION_ISA(&o.device),
        { "--json", AT_OPTION_FLAG, &o.json, 0, 0, NULL, "print JSON" },
    };
    const at_usage usage = { "doctor",
                             "Says what this machine has, what would be used and why.",
                             "",
                             list,
                             (int)AT_COUNT(list),
                             NULL };
    at_parsed parsed = at_options_parse(&usage, argc, argv, NULL, 0);
    if (parsed != AT_PARSED)
        return at_parsed_exit(parsed);
    findings f = { 0 };
    at_error err = { 0 };
    at_status status = find_out(&f, &o, &err);
    if (status == AT_OK)
        (o.json ? print_json : print_words)(&f);
    at_device_close(f.device);
    return status == AT_OK ? AT_EXIT_OK : at_unable("doctor", &err);
}
