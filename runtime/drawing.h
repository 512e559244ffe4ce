/* drawing.h -- a drawing from inside: what its stages leave for each other.
 *
 * A drawing goes its way in legs, one for each model: the base's, and a refiner's. Everything that
 * depends on neither step nor leg is made by at_drawing_begin(). */
#ifndef AT_RUNTIME_DRAWING_H
#define AT_RUNTIME_DRAWING_H

#include "runtime/canvas.h"
#include "runtime/denoise.h"
#include "runtime/request.h"

enum { AT_DRAWING_LEGS = 2 };

typedef struct at_leg {
    at_model *model;
    at_sampler sampler;
    at_schedule schedule;
    int64_t begin, end; /* evaluations of the schedule */
    at_prompts prompts;
    bool guided;
} at_leg;

struct at_drawing {
    at_model *model;
    at_request request; /* with nothing left open */
    uint64_t *seeds;    /* (count) */
    at_leg legs[AT_DRAWING_LEGS];
    int n_legs, leg; /* the one that is under way */
    at_model_adapters adapters;
    at_noise *noise;
    int64_t size[3]; /* of a picture's latents: channels, height, width */
    int64_t each;    /* numbers of them */
    at_canvas canvas;
    float *latents; /* (count, each) */
    /* Of drawing over a picture, or NULL: what stays, what it is noised with, the mask, and what
     * UNets of inpainting read besides. (count, each), the mask (height, width). */
    float *image, *image_noise, *mask, *masked;
    bool tells_mask; /* the UNet is told the mask and the masked picture */
    at_denoise *denoise;
    float *guess;                 /* (count, each): the last leg's, for previews after it */
    at_picture *pictures;         /* (count), when finished */
    char **recipes, **parameters; /* the same: recipe.h's two texts */
    bool finished;
    at_drawing_times times;
    double begun; /* by at_clock_seconds() */
};

/* Latents to begin with: noise, or a picture and noise. Encodes what there is. */
at_status at_drawing_start_latents(at_drawing *d, at_error *err);

#endif
