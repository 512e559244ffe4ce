/* lora_own.h -- one adapter as it is kept: its matrices as the file has them. For the files of the
 * module lora only. */
#ifndef AT_RUNTIME_LORA_OWN_H
#define AT_RUNTIME_LORA_OWN_H

#include "engine/arena.h"
#include "kernels/view.h"
#include "runtime/lora_names.h"

enum {
    AT_LORA_RANK_MAX = 4096,
    AT_LORA_MID_RANK_MAX = 512, /* with a convolution in the middle: its square is multiplied */
    AT_LORA_KEYS_MAX = 1 << 14
};
#define AT_LORA_BYTES_MAX ((uint64_t)8 << 30) /* of one adapter's tensors */

/* w += weight * scale * up * down, w a matrix (rows, cols), of a convolution (Co, Ci * Kh * Kw). */
typedef struct at_lora_update {
    const char *name; /* PART.NAME */
    at_sdxl_part part;
    at_view up, down; /* (rows, rank), (rank, cols): f32, f16 or bf16 */
    double scale;     /* alpha / rank */
    double largest;   /* no element of scale * up * down is farther from zero */
} at_lora_update;

typedef struct at_lora {
    at_arena *arena;
    at_lora_update *updates; /* in the order of their names */
    int count;
    double weight;
} at_lora;

/* at_lora_free() in any case. */
at_status at_lora_read(at_lora *lora, const at_sdxl_about *model, const char *path, at_error *err);
void at_lora_free(at_lora *lora);

#endif
