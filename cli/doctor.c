/* doctor.c -- atelier doctor: what this machine has, what would be used and why.
 *
 * First everything is found out, into one struct; then it is said, in words or as JSON. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/device.h"
#include "cli/json.h"
#include "cli/libraries.h"
#include "cli/peaks.h"
#include "cli/threads.h"
#include "engine/bench.h"
#include "engine/device_cuda.h"
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
    char precision_why[TEXT_MAX], threads_why[TEXT_MAX], waiting[TEXT_MAX];
    char gpu[2 * AT_ERROR_TEXT_MAX]; /* what it is, or why there is none; why the cpu is used */
    bool cuda_device, device_node;
    at_cuda_about cuda; /* with cuda_device */
    size_t cuda_free;
    int cuda_kernels; /* variants of ops for it, in this build */
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

static void describe_gpu(findings *f)
{
    char size[32], rest[32], cache[32];
    const at_cuda_about *a = &f->cuda;
    at_peaks_bytes((double)a->cache_bytes, cache, sizeof cache);
    at_peaks_bytes((double)a->bytes, size, sizeof size);
    at_peaks_bytes((double)f->cuda_free, rest, sizeof rest);
    snprintf(f->gpu, sizeof f->gpu,
             "%s, compute capability %d.%d, %d multiprocessors, %s, %s free, %s of L2, driver for "
             "CUDA %d.%d%s",
             a->name, a->sm / 10, a->sm % 10, a->multiprocessors, size, rest, cache,
             a->driver_version / 1000, a->driver_version % 1000 / 10,
             f->cuda_kernels ? "" : "; this build has no kernels for it: the cpu is used");
}

/* It is opened, not only looked for: that is the answer which counts. */
static void find_gpu(findings *f)
{
    at_device *d;
    at_error err = { 0 };
    f->device_node = access("/dev/nvidiactl", F_OK) == 0;
    f->cuda_kernels = at_variants_for(AT_CUDA);
    if (at_command_gpu(&d, &err) == AT_OK) {
        f->cuda_free = at_device_memory_free(d);
        f->cuda_device =
            at_device_cuda_about(d, &f->cuda, &err) == AT_OK && at_device_check(d, &err) == AT_OK;
        at_device_close(d);
    }
    if (f->cuda_device)
        describe_gpu(f);
    else
        snprintf(f->gpu, sizeof f->gpu, "none: %s%s; the cpu is used", err.text,
                 f->device_node ? ", though /dev/nvidiactl is there" : "");
}

/* The capabilities that a variant needs and the device lacks: "needs amx". */
static void missing_caps(const at_variant *v, uint32_t has, char *text, size_t text_size)
{
    snprintf(text, text_size, "%s", "does not take this call");
    for (int i = 0; at_cap_name(i); i++)
        if (v->needs & ~has & (1u << i))
            snprintf(text, text_size, "needs %s", at_cap_name(i));
}

/* Which better variants for the same device were passed over, and why. */
static void explain(const at_op *op, const at_variant *picked, uint32_t has, char *why)
{
    size_t used = 0;
    int choices = 0;
    *why = '\0';
    for (int i = 0; i < op->n_variants; i++)
        choices += op->variants[i].device == picked->device;
    for (const at_variant *v = op->variants; v < picked && used < TEXT_MAX; v++) {
        char reason[64];
        if (v->device != picked->device)
            continue;
        missing_caps(v, has, reason, sizeof reason);
        int n = snprintf(why + used, TEXT_MAX - used, "%s%s %s", used ? ", " : "", v->name, reason);
        used += n > 0 ? (size_t)n : 0;
    }
    if (!used)
        snprintf(why, TEXT_MAX, "the first choice of %d", choices);
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
    for (int i = 0; at_cap_is_for(i, AT_CPU); i++) {
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
    at_library l;
    for (int i = 0; at_library_about(&l, i); i++) {
        char text[2 * TEXT_MAX];
        snprintf(text, sizeof text, "%-13s %-8s %s", l.name, *l.version ? l.version : "-",
                 l.detail);
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

/* Whether the GPU uses a library; it does where nothing says why not. */
static void print_use(const char *name, const at_error *why_not)
{
    char text[2 * AT_ERROR_TEXT_MAX];
    snprintf(text, sizeof text, "%s%s%s", name, *why_not->text ? " is not used: " : " is used",
             why_not->text);
    line("", text);
}

static void print_words(const findings *f)
{
    print_machine(f);
    print_peaks(f);
    print_libraries();
    line("gpu", f->gpu);
    if (f->cuda_device) {
        print_use("cuBLASLt", &f->cuda.no_cublaslt);
        print_use("cuDNN", &f->cuda.no_cudnn);
    }
    print_choices(f);
}

/* --- as JSON ---------------------------------------------------------------------------------- */

static void write_cpu(at_json_writer *w, const findings *f)
{
    at_json_write_object(w);
    at_json_put_text(w, "name", f->machine.name);
    at_json_put_int(w, "cores", f->machine.cores);
    at_json_write_key(w, "instructions");
    at_json_write_object(w);
    for (int i = 0; at_cap_is_for(i, AT_CPU); i++)
        at_json_put_bool(w, at_cap_name(i), f->device->caps.has & (1u << i));
    at_json_write_close(w);
    at_json_write_close(w);
}

static void write_memory(at_json_writer *w, const findings *f)
{
    at_json_write_object(w);
    at_json_put_uint(w, "bytes", f->machine.memory_bytes);
    at_json_put_uint(w, "free_bytes", f->memory_free);
    at_json_write_close(w);
}

static void write_peaks(at_json_writer *w, const findings *f)
{
    at_peaks_write(w, &f->machine);
}

static void write_libraries(at_json_writer *w, const findings *f)
{
    at_library l;
    (void)f;
    at_json_write_array(w);
    for (int i = 0; at_library_about(&l, i); i++) {
        at_json_write_object(w);
        at_json_put_text(w, "name", l.name);
        at_json_put_text(w, "version", l.version);
        at_json_put_text(w, "detail", l.detail);
        at_json_write_close(w);
    }
    at_json_write_close(w);
}

static void write_use(at_json_writer *w, const char *key, const at_error *why_not)
{
    at_json_write_key(w, key);
    at_json_write_object(w);
    at_json_put_bool(w, "used", !*why_not->text);
    at_json_put_text(w, "why", why_not->text);
    at_json_write_close(w);
}

static void write_gpu(at_json_writer *w, const findings *f)
{
    at_json_write_object(w);
    at_json_put_bool(w, "cuda_device", f->cuda_device);
    at_json_put_bool(w, "device_node", f->device_node);
    at_json_put_int(w, "kernels", f->cuda_kernels);
    at_json_put_text(w, "why", f->gpu);
    if (f->cuda_device) {
        at_json_put_text(w, "name", f->cuda.name);
        at_json_put_int(w, "sm", f->cuda.sm);
        at_json_put_int(w, "driver_version", f->cuda.driver_version);
        at_json_put_uint(w, "bytes", f->cuda.bytes);
        at_json_put_uint(w, "free_bytes", f->cuda_free);
        at_json_put_uint(w, "cache_bytes", f->cuda.cache_bytes);
        at_json_put_int(w, "multiprocessors", f->cuda.multiprocessors);
        write_use(w, "cublaslt", &f->cuda.no_cublaslt);
        write_use(w, "cudnn", &f->cuda.no_cudnn);
    }
    at_json_write_close(w);
}

static void write_precision(at_json_writer *w, const findings *f)
{
    at_json_write_object(w);
    at_json_put_text(w, "dtype", at_dtype_name(f->dtype));
    at_json_put_measure(w, "bf16_ratio", f->bf16_ratio);
    at_json_put_text(w, "why", f->precision_why);
    at_json_write_close(w);
}

static void write_threads(at_json_writer *w, const findings *f)
{
    at_json_write_object(w);
    at_json_put_int(w, "count", f->machine.threads);
    at_json_put_text(w, "why", f->threads_why);
    at_json_put_text(w, "waiting", f->waiting);
    at_json_write_close(w);
}

static void write_choices(at_json_writer *w, const findings *f)
{
    at_json_write_array(w);
    for (size_t i = 0; i < AT_COUNT(questions); i++) {
        const choice *c = &f->choices[i];
        at_json_write_object(w);
        at_json_put_text(w, "what", c->what);
        at_json_put_text(w, "op", c->op);
        at_json_put_text(w, "shape", c->shape);
        at_json_put_text(w, "variant", c->variant);
        at_json_put_text(w, "why", c->why);
        at_json_write_close(w);
    }
    at_json_write_close(w);
}

static at_status print_json(const findings *f, at_error *err)
{
    static const struct {
        const char *key;
        void (*write)(at_json_writer *w, const findings *f);
    } parts[] = {
        { "cpu", write_cpu },         { "memory", write_memory },
        { "peaks", write_peaks },     { "libraries", write_libraries },
        { "gpu", write_gpu },         { "precision", write_precision },
        { "threads", write_threads }, { "choices", write_choices },
    };
    at_json_writer w = at_json_stdout();
    at_json_write_object(&w);
    at_json_put_text(&w, "version", AT_VERSION);
    for (size_t i = 0; i < AT_COUNT(parts); i++) {
        at_json_write_key(&w, parts[i].key);
        parts[i].write(&w, f);
    }
    at_json_write_close(&w);
    return at_json_finish(&w, err);
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
    if (status == AT_OK && o.json)
        status = print_json(&f, &err);
    else if (status == AT_OK)
        print_words(&f);
    at_device_close(f.device);
    return status == AT_OK ? AT_EXIT_OK : at_unable("doctor", &err);
}
