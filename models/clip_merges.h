/* clip_merges.h -- the merges of CLIP's vocabulary, in their order. */
#ifndef AT_MODELS_CLIP_MERGES_H
#define AT_MODELS_CLIP_MERGES_H

#include <stdint.h>

/* Two symbols a merge. The first 512 symbols are bytes, within a word and at its end; each merge
 * makes the next. Written by cmake/clip_merges.cmake from models/clip_merges.bin, which
 * tests/reference/clip_merges.py made of the list that OpenAI published with CLIP. */
enum { AT_CLIP_MERGES = 48894 };
extern const uint16_t at_clip_merges[2 * AT_CLIP_MERGES];

#endif
