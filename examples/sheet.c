/* sheet.c -- a picture for every line of a file, side by side in one.
 *
 *     build/examples/sheet MODEL PROMPTS.txt OUT.png [STEPS [GUIDANCE [THREADS]]]
 *
 * One model, opened once, draws them all; picture i has the seed i. Small pictures are enlarged,
 * since one wants to look at them. `make demo` calls it with the model that comes along. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ops.h"
#include "runtime/atelier.h"
#include "runtime/picture.h"

enum { COLUMNS = 4, GAP = 4, CHANNELS = 3, SIDE = 160, PROMPTS_MAX = 64, LINE_MAX_BYTES = 1024 };

typedef struct sheet {
    at_picture picture;
    char prompts[PROMPTS_MAX][LINE_MAX_BYTES];
    int count;
} sheet;

static at_status read_prompts(sheet *s, const char *path, at_error *err)
{
    FILE *f = fopen(path, "r");
    if (!f)
        return at_fail(err, AT_NOT_FOUND, "%s: cannot be read", path);
    while (s->count < PROMPTS_MAX && fgets(s->prompts[s->count], LINE_MAX_BYTES, f)) {
        char *line = s->prompts[s->count];
        line[strcspn(line, "\r\n")] = '\0';
        s->count += *line != '\0';
    }
    fclose(f);
    return s->count ? AT_OK : at_fail(err, AT_INVALID, "%s: expected a prompt a line", path);
}

static at_status make_sheet(sheet *s, at_error *err)
{
    const int rows = (s->count + COLUMNS - 1) / COLUMNS;
    s->picture = (at_picture){ .width = COLUMNS * (SIDE + GAP) + GAP,
                               .height = rows * (SIDE + GAP) + GAP,
                               .channels = CHANNELS,
                               .depth = 8 };
    const size_t bytes = (size_t)(s->picture.width * s->picture.height * CHANNELS);
    s->picture.pixels = malloc(bytes);
    if (!s->picture.pixels)
        return at_fail(err, AT_NO_MEMORY, "no memory for a sheet of %zu bytes", bytes);
    memset(s->picture.pixels, 0xff, bytes);
    return AT_OK;
}

static at_status put(sheet *s, int i, const at_pixels *drawn, at_error *err)
{
    const at_picture from = { .width = drawn->width,
                              .height = drawn->height,
                              .channels = drawn->channels,
                              .depth = 8,
                              .pixels = (void *)(uintptr_t)drawn->data };
    at_picture cell = { 0 };
    at_status status = at_picture_resize(&cell, &from, SIDE, SIDE, AT_BICUBIC, err);
    if (status != AT_OK)
        return status;
    const int64_t left = GAP + i % COLUMNS * (SIDE + GAP), top = GAP + i / COLUMNS * (SIDE + GAP);
    for (int64_t y = 0; y < SIDE; y++)
        memcpy((uint8_t *)s->picture.pixels + ((top + y) * s->picture.width + left) * CHANNELS,
               (const uint8_t *)cell.pixels + y * SIDE * CHANNELS, (size_t)SIDE * CHANNELS);
    at_picture_free(&cell);
    return AT_OK;
}

static at_status draw_all(sheet *s, at_model *model, at_request *request, at_error *err)
{
    at_status status = AT_OK;
    for (int i = 0; i < s->count && status == AT_OK; i++) {
        at_drawing *drawing = NULL;
        request->prompt = s->prompts[i];
        request->seed = (uint64_t)i;
        status = at_draw(&drawing, model, request, err);
        if (status == AT_OK) {
            const at_pixels drawn = at_drawing_picture(drawing, 0);
            printf("%2d. %s: %.2f s\n", i + 1, s->prompts[i], at_drawing_timing(drawing).total);
            status = put(s, i, &drawn, err);
        }
        at_drawing_free(drawing);
    }
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: sheet MODEL PROMPTS.txt OUT.png [STEPS [GUIDANCE [THREADS]]]\n");
        return 2;
    }
    static sheet s;
    at_error err = { AT_OK, "" };
    at_model *model = NULL;
    const at_model_options options = { .keep_parts = true,
                                       .threads = argc > 6 ? (int)strtol(argv[6], NULL, 10) : 0 };
    at_request request = at_request_usual;
    request.steps = argc > 4 ? (int)strtol(argv[4], NULL, 10) : 20;
    request.guidance = argc > 5 ? strtod(argv[5], NULL) : 4;

    at_status status = read_prompts(&s, argv[2], &err);
    if (status == AT_OK)
        status = make_sheet(&s, &err);
    if (status == AT_OK)
        status = at_model_open(&model, argv[1], &options, &err);
    if (status == AT_OK)
        status = draw_all(&s, model, &request, &err);
    if (status == AT_OK)
        status = at_picture_write(argv[3], &s.picture, NULL, &err);
    if (status != AT_OK)
        fprintf(stderr, "sheet: %s\n", err.text);
    at_model_close(model);
    at_picture_free(&s.picture);
    return status == AT_OK ? 0 : 2;
}
