/* clip_text_tiny.h -- two small text encoders, run on a device and held against transformers' f64
 * (tests/golden/clip_text.txt, by tests/reference/clip_text.py). */
#ifndef AT_TESTS_SHAPES_CLIP_TEXT_TINY_H
#define AT_TESTS_SHAPES_CLIP_TEXT_TINY_H

#include "models/clip_text.h"

typedef enum clip_text_tiny_id {
    CLIP_TEXT_QUICK,
    CLIP_TEXT_GELU,
    CLIP_TEXT_TINY
} clip_text_tiny_id;

extern const at_clip_text_config clip_text_tiny[CLIP_TEXT_TINY];

/* One output of one encoder: distances are relative and L2. */
typedef struct clip_text_result {
    char name[32];     /* "quick.hidden.-2" */
    double error;      /* of ours */
    double torch_bf16; /* of torch computing in bf16 */
} clip_text_result;

enum { CLIP_TEXT_RESULTS = 4 /* of an encoder */ };

/* Runs one of clip_text_tiny_id on the golden file's texts. */
void clip_text_tiny_run(at_device *d, int which, at_dtype dtype,
                        clip_text_result out[CLIP_TEXT_RESULTS]);

#endif
