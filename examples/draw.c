/* draw.c -- a program that draws a picture with libatelier, which is all of it that it needs.
 *
 *     cc draw.c -o draw $(pkg-config --cflags --libs atelier)
 *     ./draw sdxl.h5 "a red cube beside a blue ball" cube.png
 *
 * `cmake --install build --prefix DIR` puts the library, its headers and atelier.pc there. */
#include <atelier.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Called before every step and at the end; whoever returns false has the drawing cancelled. A
 * preview costs little, since it is made from the latents without the VAE. */
static bool show_step(void *context, at_drawing *drawing, int step, int steps)
{
    at_pixels look;
    (void)context;
    fprintf(stderr, "step %d of %d", step, steps);
    if (at_drawing_preview(drawing, 0, &look, NULL) == AT_OK) {
        const size_t middle = (size_t)(look.height / 2 * look.width + look.width / 2);
        const uint8_t *rgb = look.data + middle * (size_t)look.channels;
        fprintf(stderr, ", its middle is #%02x%02x%02x now", rgb[0], rgb[1], rgb[2]);
        free((void *)look.data);
    }
    fputc('\n', stderr);
    return true;
}

/* What is worth knowing but no failure: a prompt that was cut, no GPU. */
static void warn(void *context, const char *sentence)
{
    (void)context;
    fprintf(stderr, "note: %s\n", sentence);
}

/* Functions that fail say so by their status and in one sentence. */
static at_status draw(const char *path, const at_request *request, const char *out, at_error *err)
{
    at_model *model = NULL;
    at_drawing *drawing = NULL;
    const at_model_options options = { .warn = warn }; /* zeros: the best device that is here */

    at_status status = at_model_open(&model, path, &options, err);
    if (status == AT_OK)
        status = at_draw(&drawing, model, request, err);
    if (status == AT_OK)
        status = at_drawing_save(drawing, 0, out, err);
    if (status == AT_OK) {
        const at_pixels picture = at_drawing_picture(drawing, 0);
        const at_drawing_times times = at_drawing_timing(drawing);
        printf("%s: %lld x %lld, in %.1f s on %s\n", out, (long long)picture.width,
               (long long)picture.height, times.total, at_model_device(model));
        printf("made so: %s\n", at_drawing_recipe(drawing, 0));
    }
    at_drawing_free(drawing); /* NULL is fine, for both */
    at_model_close(model);
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: draw MODEL PROMPT OUT.png [STEPS]\n");
        return 2;
    }
    at_error err = { AT_OK, "" };
    at_request request = at_request_usual; /* and then what matters */
    request.prompt = argv[2];
    request.negative = "blurry";
    request.seed = 42;
    request.progress = show_step;
    if (argc > 4)
        request.steps = (int)strtol(argv[4], NULL, 10);

    if (draw(argv[1], &request, argv[3], &err) == AT_OK)
        return 0;
    fprintf(stderr, "draw: %s\n", err.text);
    return 1;
}
