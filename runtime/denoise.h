/* denoise.h -- the way from noise to latents with one model: the UNet and a sampler's arithmetic,
 * an evaluation at a time, for all pictures of a drawing.
 *
 * Latents stay on the host, (count, channels, height, width) f32, and belong to the caller. A
 * picture with guidance is two rows of the UNet's batch, side by side: without the prompt, and with
 * it. Between at_denoise_begin() and at_denoise_end() nothing is allocated. One thread at a
 * time. */
#ifndef AT_RUNTIME_DENOISE_H
#define AT_RUNTIME_DENOISE_H

#include "runtime/conditioning.h"
#include "runtime/noise.h"
#include "runtime/sampler.h"

/* What a picture is drawn over with; NULL where there is none. */
typedef struct at_inpaint {
    const float *mask;   /* (height, width): 1 is drawn anew */
    const float *image;  /* (count, channels, height, width): what stays; of UNets that read 4 */
    const float *noise;  /* the same: what it is noised with */
    const float *masked; /* the same: what UNets that read 9 are told besides */
} at_inpaint;

enum { AT_DENOISE_SIZES_MAX = 6 };

typedef struct at_denoise_task {
    at_model *model;
    const at_schedule *schedule;
    int64_t begin, end; /* evaluations */
    int count;
    int64_t size[3]; /* channels, height, width of a picture's latents */
    float guidance, rescale;
    const at_conditioning *text;
    float sizes[2][AT_DENOISE_SIZES_MAX]; /* by the text's rows */
    at_noise *noise;
    at_inpaint inpaint;
    float *x; /* (count, channels, height, width), in and out */
} at_denoise_task;

typedef struct at_denoise at_denoise;

/* Loads nothing: the UNet is there. Runs what is the same for all steps. The task's text is needed
 * no longer then, everything else stays the caller's until the end. */
at_status at_denoise_begin(at_denoise **out, const at_denoise_task *task, at_error *err);
/* One evaluation. */
at_status at_denoise_step(at_denoise *d, at_error *err);
/* Evaluations that were made, and in all. */
int64_t at_denoise_done(const at_denoise *d);
int64_t at_denoise_all(const at_denoise *d);
/* What the model takes picture i to be, (channels, height, width); before the first step the noise
 * that it begins as. */
const float *at_denoise_guess(const at_denoise *d, int i);
void at_denoise_end(at_denoise *d);

/* LCM's embedding of guidance: (width). */
void at_denoise_guidance_row(float *out, int64_t width, float guidance);

#endif
