/* peaks.h -- the machine's measured peaks, as text and as JSON. */
#ifndef AT_CLI_PEAKS_H
#define AT_CLI_PEAKS_H

#include "engine/json_write.h"
#include "engine/machine.h"

/* "f32 350 GFLOP/s, bf16 170 GFLOP/s, 43.0 GB/s on 512 MiB": the largest working set measured;
 * of a GPU f16, f8 and a launch too. */
void at_peaks_text(const at_machine *m, char *text, size_t text_size);
/* An object of GFLOP/s and GB/s: of memory, if that was measured; "by_bytes" has them by working
 * set. */
void at_peaks_write(at_json_writer *w, const at_machine *m);
/* "512 MiB": whole units of 1024. */
void at_peaks_bytes(double bytes, char *text, size_t text_size);

#endif
