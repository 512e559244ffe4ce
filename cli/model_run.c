#include "cli/model_run.h"

#include <string.h>

#include "cli/command.h"
#include "cli/device.h"
#include "runtime/component.h"

typedef struct options {
    const char *in, *out, *precision, *name;
    at_device_options device;
} options;

static at_status find_precision(const char *name, at_dtype *out, at_error *err)
{
    *out = name ? at_dtype_named(name) : AT_F32;
    if (*out == AT_F32 || *out == AT_BF16)
        return AT_OK;
    return at_fail(err, AT_INVALID, "--precision %.40s: expected f32 or bf16", name);
}

/* Threads and an instruction set are the cpu's. */
static at_status open_device(const options *o, at_device **out, at_error *err)
{
    at_error no_gpu;
    const char *name = o->name || !(o->device.isa || o->device.threads) ? o->name : "cpu";
    if (name && !strcmp(name, "emulated"))
        return at_fail(err, AT_UNSUPPORTED,
                       "device emulated is a test's: build/tests/emulated_model_run has it, with "
                       "the same options");
    return at_command_device(out, name, &o->device, &no_gpu, err);
}

static at_status run(const options *o, const char *const *words, at_error *err)
{
    at_device *device = NULL;
    at_sdxl *m = NULL;
    at_dtype dtype = AT_NONE;
    at_status status = AT_OK;
    if (!o->in || !o->out)
        return at_fail(err, AT_INVALID, "expected --in FILE and --out FILE");
    status = find_precision(o->precision, &dtype, err);
    if (status == AT_OK)
        status = open_device(o, &device, err);
    if (status == AT_OK)
        status = at_sdxl_open(&m, words[0], device, NULL, err);
    if (status == AT_OK)
        status = at_component_run(m, words[1], dtype, o->in, o->out, err);
    at_sdxl_close(m);
    at_device_close(device);
    return status;
}

int at_model_run(int argc, char **argv)
{
    const char *words[2];
    options o = { .in = NULL };
    at_error err = { 0 };
    const at_option list[] = {
        { "--in", AT_OPTION_TEXT, &o.in, 0, 0, "FILE", "safetensors: what it reads" },
        { "--out", AT_OPTION_TEXT, &o.out, 0, 0, "FILE", "safetensors: what it computes, in f32" },
        { "--precision", AT_OPTION_TEXT, &o.precision, 0, 0, "TYPE",
          "f32 or bf16: of weights and layers (f32)" },
        { "--device", AT_OPTION_TEXT, &o.name, 0, 0, "NAME", "cpu or cuda; else the best one" },
        AT_OPTION_THREADS(&o.device),
        AT_OPTION_ISA(&o.device),
    };
    const at_usage usage = {
        "model run",
        "Runs a part of a model by itself, to hold it against another program's.",
        "FILE COMPONENT",
        list,
        (int)AT_COUNT(list),
        "COMPONENT and the tensors that it reads -> and computes; pictures are (B, C, H, W):\n"
        "  unet            sample, timestep, encoder_hidden_states, text_embeds, time_ids and, of\n"
        "                  models that have one, timestep_cond -> sample\n"
        "  vae_decoder     z, divided by the scaling factor -> sample\n"
        "  vae_encoder     x -> mean, logvar\n"
        "  text_encoder    input_ids -> hidden_states.-2, last_hidden_state and, where there is a\n"
        "  text_encoder_2  projection, text_embeds\n"
    };
    at_parsed parsed = at_options_parse_all(&usage, argc, argv, words, 2);
    if (parsed != AT_PARSED)
        return at_parsed_exit(parsed);
    return run(&o, words, &err) == AT_OK ? AT_EXIT_OK : at_unable(usage.command, &err);
}
