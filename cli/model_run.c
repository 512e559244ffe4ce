#include "cli/model_run.h"

#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/device.h"
#include "cli/json.h"
#include "runtime/component.h"

enum { REPEATS_MAX = 1000 };

typedef struct options {
    const char *in, *out, *precision, *mode, *name;
    at_device_options device;
    int repeats;
    bool json;
} options;

static at_status find_precision(const char *name, at_dtype *out, at_error *err)
{
    *out = name ? at_dtype_named(name) : AT_F32;
    if (*out == AT_F32 || *out == AT_BF16)
        return AT_OK;
    return at_fail(err, AT_INVALID, "--precision %.40s: expected f32 or bf16", name);
}

static at_status find_mode(const char *mode, bool *fast, at_error *err)
{
    *fast = mode && !strcmp(mode, "fast");
    if (*fast || !mode || !strcmp(mode, "exact"))
        return AT_OK;
    return at_fail(err, AT_INVALID, "--mode %.40s: expected exact or fast", mode);
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

static at_status print_times(const at_component_how *how, bool json, at_error *err)
{
    if (!json) {
        for (int i = 0; i < how->repeats; i++)
            printf("%.6f s\n", how->seconds[i]);
        return AT_OK;
    }
    at_json_writer w = at_json_stdout();
    at_json_write_object(&w);
    at_json_write_key(&w, "seconds");
    at_json_write_array(&w);
    for (int i = 0; i < how->repeats; i++)
        at_json_write_real(&w, how->seconds[i]);
    at_json_write_close(&w);
    at_json_write_close(&w);
    return at_json_finish(&w, err);
}

static at_status run(const options *o, const char *const *words, at_error *err)
{
    at_device *device = NULL;
    at_sdxl *m = NULL;
    double seconds[REPEATS_MAX];
    at_component_how how = { .repeats = o->repeats, .seconds = seconds };
    at_status status = AT_OK;
    if (!o->in || !o->out)
        return at_fail(err, AT_INVALID, "expected --in FILE and --out FILE");
    status = find_precision(o->precision, &how.dtype, err);
    if (status == AT_OK)
        status = find_mode(o->mode, &how.fast, err);
    if (status == AT_OK)
        status = open_device(o, &device, err);
    if (status == AT_OK)
        status = at_sdxl_open(&m, words[0], device, NULL, err);
    if (status == AT_OK)
        status = at_component_run(m, words[1], &how, o->in, o->out, err);
    if (status == AT_OK && (o->repeats || o->json))
        status = print_times(&how, o->json, err);
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
        { "--mode", AT_OPTION_TEXT, &o.mode, 0, 0, "MODE",
          "exact: a sample never depends on its batch; or fast (exact)" },
        { "--repeat", AT_OPTION_INT, &o.repeats, 1, REPEATS_MAX, "N",
          "compute it N times more, and print what each took" },
        { "--device", AT_OPTION_TEXT, &o.name, 0, 0, "NAME", "cpu or cuda; else the best one" },
        AT_OPTION_THREADS(&o.device),
        AT_OPTION_ISA(&o.device),
        { "--json", AT_OPTION_FLAG, &o.json, 0, 0, NULL, "print the times as JSON" },
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
