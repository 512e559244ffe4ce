/* atelier.h -- drawing pictures with libatelier: what a program that embeds it needs.
 *
 *     at_error err;
 *     at_model *model = NULL;
 *     at_drawing *drawing = NULL;
 *     at_request request = at_request_usual;
 *     request.prompt = "a red cube beside a blue ball";
 *     request.seed = 42;
 *     if (at_model_open(&model, "sdxl.h5", NULL, &err) != AT_OK ||
 *         at_draw(&drawing, model, &request, &err) != AT_OK ||
 *         at_drawing_save(drawing, 0, "cube.png", &err) != AT_OK)
 *         fprintf(stderr, "%s\n", err.text);
 *     at_drawing_free(drawing);
 *     at_model_close(model);
 *
 * A model is a file opened on a device; a request is data; a drawing is a request under way, then
 * its pictures. What a function fills in belongs to the caller and is freed by the function named
 * for it; strings in options and requests are the caller's and have to last as long as what was
 * made from them. Models, and what is drawn with them, belong to one thread at a time; models of
 * different devices may be used side by side. Nothing here prints, exits or reads the environment.
 * Functions that fail return a status and say in one sentence what was expected and found. */
#ifndef AT_RUNTIME_ATELIER_H
#define AT_RUNTIME_ATELIER_H

#include "kernels/base.h"

/* --- models ----------------------------------------------------------------------------------- */

typedef struct at_model at_model;

/* Zeros are the usual. */
typedef struct at_model_options {
    const char *device; /* "cpu", "cuda"; NULL: the best that is here */
    /* Of weights and layers: "f32", "bf16"; NULL: bf16 where the file's weights have 16 bits or the
     * device is faster in it, else f32. */
    const char *precision;
    const char *mode; /* NULL, "exact": a picture never depends on its batch; or "fast" */
    int threads;      /* of the cpu; 0: one per core */
    bool keep_parts;  /* keep in memory what the next picture will need, not only this one */
    /* Where it is remembered that files were checked whole; NULL: nowhere. */
    const char *trust_folder;
    /* Of cuda: where its libraries may lie besides the system's places, ended by NULL; or NULL. */
    const char *const *library_folders;
    /* Where choices of variants may lie, as `atelier tune` makes them, ended by NULL; or NULL. What
     * a later one says overrules. */
    const char *const *tuning_folders;
    /* Told what is worth knowing; NULL: nobody asks. */
    void (*warn)(void *context, const char *sentence);
    void *warn_context;
} at_model_options;

/* 'options' may be NULL. */
AT_API at_status at_model_open(at_model **out, const char *path, const at_model_options *options,
                               at_error *err);
AT_API void at_model_close(at_model *m);
AT_API const char *at_model_path(const at_model *m);
/* 16 hexadecimal digits that name the weights. */
AT_API const char *at_model_hash(const at_model *m);
AT_API const char *at_model_device(const at_model *m);
AT_API const char *at_model_precision(const at_model *m);

/* --- requests --------------------------------------------------------------------------------- */

/* 8-bit samples, rows without gaps. */
typedef struct at_pixels {
    int64_t width, height;
    int channels;        /* 1, 3 or 4 */
    const uint8_t *data; /* (height, width, channels) */
} at_pixels;

typedef struct at_lora_use {
    const char *path; /* of safetensors */
    double weight;    /* 1: as it was trained */
} at_lora_use;

/* A request under way, then its pictures. A model makes one drawing at a time: the next begins when
 * one is finished or freed. */
typedef struct at_drawing at_drawing;

/* Start from at_request_usual and change what matters. Sizes in pixels. */
typedef struct at_request {
    const char *prompt;
    const char *prompt_2;              /* for the second encoder; NULL or "": the same */
    const char *negative, *negative_2; /* NULL: none, which is not the same as "" */
    const char *prompt_syntax;         /* "literal", "a1111", "comfy" */
    int clip_skip;                     /* layers of the prompt's encoders to leave out */
    int64_t width, height;             /* 0: the model's usual, or the picture's */
    int count;                         /* pictures, drawn together */
    uint64_t seed;                     /* of the first; each next one has one more */
    const uint64_t *seeds;             /* (count) instead of that, or NULL */
    const char *rng;                   /* "torch", "a1111", "atelier" */
    const char *noise_file;            /* safetensors with the noises instead of seeds, or NULL */
    /* The way from noise to picture; NULL, -1: as the model's scheduler_config has it. */
    const char *sampler; /* a name of samplers.def; NULL: the model's own */
    int steps;
    const char *sigmas;     /* "plain", "karras", "exponential", "beta" */
    const char *spacing;    /* "leading", "trailing", "linspace" */
    const char *prediction; /* "epsilon", "v_prediction", "sample" */
    int zero_snr;           /* 0, 1 */
    double guidance;        /* -1: 5, with a mask 7.5 */
    double guidance_rescale;
    /* What SDXL is told about the picture; -1: that of a whole picture of this size. */
    int64_t original_size[2], target_size[2]; /* height, width */
    int64_t crop[2];                          /* top, left */
    int64_t negative_original_size[2], negative_target_size[2], negative_crop[2];
    double aesthetic_score, negative_aesthetic_score; /* told to refiners; -1: 6, 2.5 */
    /* Drawing over a picture. */
    const at_pixels *picture; /* or NULL */
    const at_pixels *mask;    /* white is drawn anew, black stays; or NULL */
    double strength;          /* 0 to 1; -1: 0.3, with a mask 0.9999 */
    double mask_blur;         /* radius of a Gaussian over the mask; 0: none */
    int only_masked;          /* draw only the mask's surroundings, this wide; -1: all */
    bool paste_original;      /* where the mask is black the picture stays as it was */
    /* A second model that goes on where the first leaves off. */
    at_model *refiner;       /* or NULL */
    double refine_from;      /* the part of the way: 0.8 */
    double begin_at, end_at; /* only a part of the way: 0 and 1 */
    const at_lora_use *loras;
    int n_loras;
    const char *lora_folder; /* of those that a prompt names; NULL: such prompts are refused */
    bool tile_vae;           /* decode in tiles: less memory, other pixels */
    bool latents_only;       /* nothing is decoded */
    /* Called by at_draw() before every step and when all are made; false cancels. A step is one
     * evaluation of the UNet: heun and dpmpp_sde have two where others have one. */
    bool (*progress)(void *context, at_drawing *drawing, int step, int steps);
    void *progress_context;
} at_request;

AT_API extern const at_request at_request_usual;

/* --- drawings --------------------------------------------------------------------------------- */

/* Checks everything, then draws. On failure *out is NULL. A request whose progress() said false
 * ends with AT_CANCELLED. */
AT_API at_status at_draw(at_drawing **out, at_model *m, const at_request *r, at_error *err);

/* The same in pieces: after at_drawing_begin(), step while *more, then finish. */
AT_API at_status at_drawing_begin(at_drawing **out, at_model *m, const at_request *r,
                                  at_error *err);
AT_API at_status at_drawing_step(at_drawing *d, bool *more, at_error *err);
AT_API at_status at_drawing_finish(at_drawing *d, at_error *err);
AT_API void at_drawing_free(at_drawing *d);

AT_API int at_drawing_count(const at_drawing *d);
/* Picture i of a finished drawing; it lives as long as the drawing. */
AT_API at_pixels at_drawing_picture(const at_drawing *d, int i);
/* What the VAE decodes, times its scaling factor: (channels, height, width) f32, and its sizes. */
AT_API const float *at_drawing_latents(const at_drawing *d, int i, int64_t size[3]);
/* A rough look at picture i as the model sees it now, an eighth as large; between steps, or within
 * progress(). The caller frees its data with free(). */
AT_API at_status at_drawing_preview(at_drawing *d, int i, at_pixels *out, at_error *err);
AT_API uint64_t at_drawing_seed(const at_drawing *d, int i);
/* How picture i was made, as JSON: enough to make it again. It lives as long as the drawing. */
AT_API const char *at_drawing_recipe(const at_drawing *d, int i);
/* A PNG carries its recipe; .jpg and .jpeg too, as a comment. The file appears whole or not at
 * all. */
AT_API at_status at_drawing_save(at_drawing *d, int i, const char *path, at_error *err);

/* Seconds, of a finished drawing. */
typedef struct at_drawing_times {
    double load, text, encode, steps, decode, total;
    int evaluations; /* calls of the UNet */
} at_drawing_times;
AT_API at_drawing_times at_drawing_timing(const at_drawing *d);

#endif
