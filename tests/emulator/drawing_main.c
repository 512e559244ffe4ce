/* drawing_main.c -- a whole drawing on the emulated device against the same one on the CPU: text
 * encoders, UNet, VAE both ways, a mask; with plans captured and replayed.
 *
 *     emulated_drawing FOLDER     a model's configurations: sdxl_file.h */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/model.h"
#include "tests/emulator/device.h"
#include "tests/emulator/emulator.h"
#include "tests/shapes/sdxl_file.h"
#include "tests/told.h"

enum { WIDTH = 24, HEIGHT = 16, COUNT = 2, LEVELS_F32 = 2 };

/* f32 sums in another order, in a few evaluations that each take the last one's. */
static const double relative_f32 = 1e-3;

static at_drawing *draw(const char *path, at_device *device, const at_request *r)
{
    const at_model_options options = { .precision = "f32", .keep_parts = true };
    static at_model *models[2]; /* which outlive their drawings */
    static int n;
    at_drawing *d;
    at_error err = { 0 };
    AT_ASSERT(n < 2, "a third model");
    test_must(at_model_open_on(&models[n], path, device, &options, &err), &err);
    test_must(at_draw(&d, models[n++], r, &err), &err);
    return d;
}

static void compare(const at_drawing *a, const at_drawing *b, int i)
{
    int64_t size[3];
    const float *x = at_drawing_latents(a, i, size), *y = at_drawing_latents(b, i, size);
    const at_pixels p = at_drawing_picture(a, i), q = at_drawing_picture(b, i);
    double wrong = 0, sum = 0;
    int worst = 0;
    for (int64_t k = 0; k < size[0] * size[1] * size[2]; k++) {
        wrong += pow((double)x[k] - (double)y[k], 2);
        sum += pow((double)y[k], 2);
    }
    for (int64_t k = 0; k < p.width * p.height * p.channels; k++) {
        const int off = abs(p.data[k] - q.data[k]);
        worst = off > worst ? off : worst;
    }
    printf("picture %d: latents %.2g off, pixels at most %d levels\n", i, sqrt(wrong / sum), worst);
    if (!(sqrt(wrong / sum) <= relative_f32) || worst > LEVELS_F32)
        test_failed("picture %d: latents %.3g off, expected %g; pixels %d levels, expected %d", i,
                    sqrt(wrong / sum), relative_f32, worst, LEVELS_F32);
}

int main(int argc, char **argv)
{
    static uint8_t picture[WIDTH * HEIGHT * 3], mask[WIDTH * HEIGHT];
    const at_pixels over = { WIDTH, HEIGHT, 3, picture }, masked = { WIDTH, HEIGHT, 1, mask };
    char path[] = "/tmp/atelier-emulated-XXXXXX";
    at_request r = at_request_usual;
    at_device *emulated, *cpu;
    at_error err = { 0 };
    AT_ASSERT(argc == 2, "expected a folder");
    for (int i = 0; i < WIDTH * HEIGHT * 3; i++) {
        picture[i] = (uint8_t)(i * 37 % 251);
        mask[i / 3] = i / 3 % WIDTH > WIDTH / 3 ? 255 : 0;
    }
    r.prompt = "a photo of a cat";
    r.width = WIDTH;
    r.height = HEIGHT;
    r.count = COUNT;
    r.steps = 3;
    r.strength = 1;
    r.picture = &over;
    r.mask = &masked;
    at_emu_configure(&(at_emu_settings){ .order = AT_EMU_RANDOM, .seed = 7, .quiet = true });
    const int fd = mkstemp(path);
    AT_ASSERT(fd >= 0, "no file at %s", path);
    close(fd);
    test_must(sdxl_file_write(path, argv[1], &err), &err);
    test_must(at_device_emulated(&emulated, &err), &err);
    test_must(at_device_open(&cpu, "cpu", &(at_device_options){ .threads = 2 }, &err), &err);
    at_drawing *a = draw(path, emulated, &r), *b = draw(path, cpu, &r);
    for (int i = 0; i < COUNT; i++)
        compare(a, b, i);
    unlink(path);
    return test_failures() != 0;
}
