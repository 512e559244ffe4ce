#include "cli/peaks.h"

#include <math.h>
#include <stdio.h>

static json_t *bandwidth_json(const at_bandwidth *b)
{
    return json_pack("{s:I, s:f, s:f, s:f}", "bytes", (json_int_t)b->bytes, "read_gbps",
                     b->read / 1e9, "copy_gbps", b->copy / 1e9, "streaming_copy_gbps",
                     b->streaming_copy / 1e9);
}

json_t *at_peaks_json(const at_machine *m)
{
    json_t *by_bytes = json_array();
    for (int i = 0; i < m->n_bandwidth; i++)
        json_array_append_new(by_bytes, bandwidth_json(&m->bandwidth[i]));
    json_t *peaks = json_pack("{s:f, s:f, s:o}", "f32_gflops", m->f32_flops / 1e9, "bf16_gflops",
                              m->bf16_flops / 1e9, "by_bytes", by_bytes);
    if (m->n_bandwidth == AT_MACHINE_SIZES) {
        json_t *memory = bandwidth_json(&m->bandwidth[m->n_bandwidth - 1]);
        json_object_del(memory, "bytes");
        json_object_update(peaks, memory);
        json_decref(memory);
    }
    return peaks;
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

void at_json_print(json_t *document)
{
    json_dumpf(document, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    fputc('\n', stdout);
    json_decref(document);
}

void at_peaks_text(const at_machine *m, char *text, size_t text_size)
{
    char flops[96], size[32];
    if (!m->n_bandwidth) {
        snprintf(text, text_size, "not measured: that takes at least AVX2 on this processor");
        return;
    }
    const at_bandwidth *last = &m->bandwidth[m->n_bandwidth - 1];
    snprintf(flops, sizeof flops, "f32 %.0f GFLOP/s", m->f32_flops / 1e9);
    if (m->bf16_flops > 0)
        snprintf(flops, sizeof flops, "f32 %.0f GFLOP/s, bf16 %.0f GFLOP/s", m->f32_flops / 1e9,
                 m->bf16_flops / 1e9);
    at_peaks_bytes((double)last->bytes, size, sizeof size);
    snprintf(text, text_size, "%s, %.1f GB/s on %s", flops,
             at_machine_bandwidth(m, (double)last->bytes) / 1e9, size);
}
