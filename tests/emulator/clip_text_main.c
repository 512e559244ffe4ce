/* clip_text_main.c -- small text encoders on the emulated device against transformers' numbers:
 * what tests/clip_text_test.c holds of the CPU. Plans are captured and replayed. */
#include <stdio.h>

#include "tests/emulator/device.h"
#include "tests/emulator/emulator.h"
#include "tests/shapes/clip_text_tiny.h"
#include "tests/told.h"

/* f32: sums in another order, and tiles' partial sums; bf16: twice what torch's own loses. */
static double most_of(const clip_text_result *r, at_dtype dtype)
{
    return dtype == AT_F32 ? 1e-5 : 2 * r->torch_bf16;
}

static void compare(at_device *d, int which, at_dtype dtype)
{
    clip_text_result r[CLIP_TEXT_RESULTS];
    clip_text_tiny_run(d, which, dtype, r);
    for (int i = 0; i < CLIP_TEXT_RESULTS; i++) {
        printf("%s, %s: %.2g off; torch's bf16 %.2g\n", r[i].name, at_dtype_name(dtype), r[i].error,
               r[i].torch_bf16);
        if (!(r[i].error <= most_of(&r[i], dtype)))
            test_failed("%s, %s: %.3g off, expected at most %.3g", r[i].name, at_dtype_name(dtype),
                        r[i].error, most_of(&r[i], dtype));
    }
}

int main(void)
{
    at_device *d;
    at_error err = { 0 };
    at_emu_configure(&(at_emu_settings){ .order = AT_EMU_RANDOM, .seed = 7, .quiet = true });
    test_must(at_device_emulated(&d, &err), &err);
    for (int which = 0; which < CLIP_TEXT_TINY; which++) {
        compare(d, which, AT_F32);
        compare(d, which, AT_BF16);
    }
    at_device_close(d);
    return test_failures() != 0;
}
