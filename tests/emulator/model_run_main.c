/* model_run_main.c -- `atelier model run` on the emulated device: the same words, but for those
 * that choose a device. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "runtime/component.h"
#include "tests/emulator/device.h"
#include "tests/emulator/emulator.h"

static at_status run(const char *const *words, const char *precision, const char *in,
                     const char *out, at_error *err)
{
    const at_dtype dtype = precision ? at_dtype_named(precision) : AT_F32;
    at_device *device = NULL;
    at_sdxl *m = NULL;
    if (!in || !out)
        return at_fail(err, AT_INVALID, "expected --in FILE and --out FILE");
    if (dtype != AT_F32 && dtype != AT_BF16)
        return at_fail(err, AT_INVALID, "--precision %.40s: expected f32 or bf16", precision);
    at_emu_configure(&(at_emu_settings){ .order = AT_EMU_RANDOM, .seed = 7, .quiet = true });
    at_status status = at_device_emulated(&device, err);
    if (status == AT_OK)
        status = at_sdxl_open(&m, words[0], device, NULL, err);
    if (status == AT_OK)
        status = at_component_run(m, words[1], &(at_component_how){ .dtype = dtype }, in, out, err);
    at_sdxl_close(m);
    at_device_close(device);
    return status;
}

int main(int argc, char **argv)
{
    const char *words[2], *in = NULL, *out = NULL, *precision = NULL;
    at_error err = { 0 };
    const at_option list[] = {
        { "--in", AT_OPTION_TEXT, &in, 0, 0, "FILE", "safetensors: what it reads" },
        { "--out", AT_OPTION_TEXT, &out, 0, 0, "FILE", "safetensors: what it computes" },
        { "--precision", AT_OPTION_TEXT, &precision, 0, 0, "f32|bf16", "of weights and layers" },
    };
    const at_usage usage = { "model run",         "Runs a part of a model on the emulated device.",
                             "FILE COMPONENT",    list,
                             (int)AT_COUNT(list), NULL };
    at_parsed parsed = at_options_parse_all(&usage, argc, argv, words, 2);
    if (parsed != AT_PARSED)
        return at_parsed_exit(parsed);
    return run(words, precision, in, out, &err) == AT_OK ? AT_EXIT_OK
                                                         : at_unable(usage.command, &err);
}
