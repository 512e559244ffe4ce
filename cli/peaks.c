#include "cli/peaks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/json.h"

static void put_bandwidth(at_json_writer *w, const at_machine *m, const at_bandwidth *b)
{
    if (m->multiprocessors) {
        at_json_put_measure(w, "copy_gbps", b->copy / 1e9);
        at_json_put_measure(w, "driver_copy_gbps", b->driver_copy / 1e9);
        return;
    }
    at_json_put_measure(w, "read_gbps", b->read / 1e9);
    at_json_put_measure(w, "copy_gbps", b->copy / 1e9);
    at_json_put_measure(w, "streaming_copy_gbps", b->streaming_copy / 1e9);
}

void at_peaks_write(at_json_writer *w, const at_machine *m)
{
    at_json_write_object(w);
    at_json_put_measure(w, "f32_gflops", m->f32_flops / 1e9);
    at_json_put_measure(w, "bf16_gflops", m->bf16_flops / 1e9);
    if (m->multiprocessors) {
        at_json_put_measure(w, "f16_gflops", m->f16_flops / 1e9);
        at_json_put_measure(w, "f8_gflops", m->f8_flops / 1e9);
        at_json_put_measure(w, "launch_us", m->launch_seconds * 1e6);
        if (m->early_seconds > 0)
            at_json_put_measure(w, "early_launch_us", m->early_seconds * 1e6);
        at_json_put_measure(w, "enqueue_us", m->enqueue_seconds * 1e6);
    }
    at_json_write_key(w, "by_bytes");
    at_json_write_array(w);
    for (int i = 0; i < m->n_bandwidth; i++) {
        at_json_write_object(w);
        at_json_put_uint(w, "bytes", m->bandwidth[i].bytes);
        put_bandwidth(w, m, &m->bandwidth[i]);
        at_json_write_close(w);
    }
    at_json_write_close(w);
    if (m->n_bandwidth == AT_MACHINE_SIZES)
        put_bandwidth(w, m, &m->bandwidth[m->n_bandwidth - 1]);
    at_json_write_close(w);
}

void at_peaks_bytes(double bytes, char *text, size_t text_size)
{
    static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
    size_t unit = 0;
    while (bytes >= 1024 && unit + 1 < AT_COUNT(units)) {
        bytes /= 1024;
        unit++;
    }
    snprintf(text, text_size, bytes == floor(bytes) ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

/* ", bf16 170 GFLOP/s" behind what is there; nothing for what was not measured. */
static void add_flops(const char *name, double flops, char *text, size_t text_size)
{
    size_t used = strlen(text);
    bool large = flops >= 1e13;
    if (flops > 0)
        snprintf(text + used, text_size - used, "%s%s %.0f %s", used ? ", " : "", name,
                 flops / (large ? 1e12 : 1e9), large ? "TFLOP/s" : "GFLOP/s");
}

void at_peaks_text(const at_machine *m, char *text, size_t text_size)
{
    char flops[128] = "", size[32];
    if (!m->n_bandwidth) {
        snprintf(text, text_size, "not measured: %s",
                 m->multiprocessors ? "this build has no kernels for a GPU, or it has no memory"
                                    : "that takes at least AVX2 on this processor");
        return;
    }
    const at_bandwidth *last = &m->bandwidth[m->n_bandwidth - 1];
    add_flops("f32", m->f32_flops, flops, sizeof flops);
    add_flops("bf16", m->bf16_flops, flops, sizeof flops);
    add_flops("f16", m->f16_flops, flops, sizeof flops);
    add_flops("f8", m->f8_flops, flops, sizeof flops);
    at_peaks_bytes((double)last->bytes, size, sizeof size);
    snprintf(text, text_size, "%s, %.1f GB/s on %s", flops,
             at_machine_bandwidth(m, (double)last->bytes) / 1e9, size);
    size_t used = strlen(text);
    if (m->multiprocessors && used < text_size)
        snprintf(text + used, text_size - used, ", a launch %.2f us", m->launch_seconds * 1e6);
    used = strlen(text);
    if (m->early_seconds > 0 && used < text_size)
        snprintf(text + used, text_size - used, ", an early one %.2f us", m->early_seconds * 1e6);
}
