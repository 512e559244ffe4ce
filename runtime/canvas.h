/* canvas.h -- the picture that is drawn over, its mask, and how what was drawn goes back into it,
 * to the byte as diffusers does with Pillow.
 *
 * Only plain pixels; the caller owns a canvas and frees it. Any thread. */
#ifndef AT_RUNTIME_CANVAS_H
#define AT_RUNTIME_CANVAS_H

#include "runtime/atelier.h"
#include "runtime/picture.h"

typedef struct at_canvas {
    int64_t width, height; /* of what is drawn */
    at_picture picture;    /* (height, width, 3) */
    at_picture mask;       /* (height, width) grey, white is drawn anew; without pixels: none */
    /* Where only the mask's surroundings are drawn: the box, with right and bottom outside, and
     * picture and mask as they came, RGB and grey. */
    bool cropped;
    int64_t left, top, right, bottom;
    at_picture whole, whole_mask;
} at_canvas;

/* Of a request that is resolved and has a picture. */
at_status at_canvas_make(at_canvas *out, const at_request *r, at_error *err);
void at_canvas_free(at_canvas *c);

/* 1 where a pixel is drawn anew. */
bool at_canvas_drawn(const at_canvas *c, int64_t y, int64_t x);

/* The finished picture out of what was drawn, (height, width, 3): the same pixels, or, where only a
 * part was drawn or the request asks for it, mixed by the mask with those that were there. 'out' is
 * to be freed. */
at_status at_canvas_finish(const at_canvas *c, at_picture *out, const uint8_t *drawn,
                           const at_request *r, at_error *err);

/* Pillow's ImageFilter.GaussianBlur(radius), of a grey picture. */
AT_API at_status at_canvas_blur(at_picture *grey, double radius, at_error *err);

#endif
