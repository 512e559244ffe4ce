#include "cli/peaks.h"

#include <math.h>
#include <stdio.h>

#include "cli/json.h"

static void put_bandwidth(at_json_writer *w, const at_bandwidth *b)
{
    at_json_put_measure(w, "read_gbps", b->read / 1e9);
    at_json_put_measure(w, "copy_gbps", b->copy / 1e9);
    at_json_put_measure(w, "streaming_copy_gbps", b->streaming_copy / 1e9);
}

void at_peaks_write(at_json_writer *w, const at_machine *m)
{
    at_json_write_object(w);
    at_json_put_measure(w, "f32_gflops", m->f32_flops / 1e9);
    at_json_put_measure(w, "bf16_gflops", m->bf16_flops / 1e9);
    at_json_write_key(w, "by_bytes");
    at_json_write_array(w);
    for (int i = 0; i < m->n_bandwidth; i++) {
        at_json_write_object(w);
        at_json_put_uint(w, "bytes", m->bandwidth[i].bytes);
        put_bandwidth(w, &m->bandwidth[i]);
        at_json_write_close(w);
    }
    at_json_write_close(w);
    if (m->n_bandwidth == AT_MACHINE_SIZES)
        put_bandwidth(w, &m->bandwidth[m->n_bandwidth - 1]);
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
