/* picture_resize.c -- Pillow's Image.resize() through the resize op, on the calling thread: a
 * server resizes several pictures at once. */
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu.h"
#include "runtime/picture_format.h"

/* What a call needs; every member may be freed when it is zero. */
typedef struct resizing {
    at_resize_args args;
    const at_variant *variant;
    at_prepared prepared;
    void *scratch;
} resizing;

static at_status resize_run(resizing *r, at_error *err)
{
    const at_caps caps = { AT_CPU, at_cpu_probe(), 1, 0 };
    const at_stream stream = { AT_CPU, 1, NULL };
    const at_prepare_in in = { .caps = &caps };
    const at_variant *v = at_op_pick(&at_op_resize, &r->args, &caps, false);
    AT_ASSERT(v, "resize of %s has no variant", at_dtype_name(r->args.x.dtype));
    AT_TRY(at_prepare(v, &r->args, &in, &r->prepared, err));
    r->variant = v;
    r->scratch = aligned_alloc(64, (r->prepared.scratch_bytes + 64) / 64 * 64);
    if (!r->scratch)
        return at_picture_no_memory("resize", err);
    const at_launch launch = { &stream, r->scratch };
    return v->run(&r->args, &r->prepared, &launch);
}

/* 'out' has its size and its room. */
static at_status resize_pixels(at_picture *out, const at_picture *in, int filter, at_error *err)
{
    resizing r = { 0 };
    r.args.x = at_view_of(AT_U8, 4, (const int64_t[]){ 1, in->height, in->width, in->channels });
    r.args.x.data = in->pixels;
    r.args.size[0] = out->height;
    r.args.size[1] = out->width;
    r.args.filter = filter;
    at_status status = at_op_shape(&at_op_resize, &r.args, 0, err);
    r.args.y.data = out->pixels;
    if (status == AT_OK)
        status = resize_run(&r, err);
    if (r.variant)
        at_release(r.variant, &r.prepared);
    free(r.scratch);
    return status;
}

static at_status copy_of(at_picture *out, const at_picture *in, at_error *err)
{
    *out = *in;
    out->info = (at_picture_info){ .format = AT_PICTURE_UNKNOWN };
    out->pixels = malloc(at_picture_size(in));
    if (!out->pixels)
        return at_picture_no_memory("resize", err);
    memcpy(out->pixels, in->pixels, at_picture_size(in));
    return AT_OK;
}

static at_status resize_premultiplied(at_picture *out, const at_picture *in, int filter,
                                      at_error *err)
{
    at_picture scaled;
    AT_TRY(copy_of(&scaled, in, err));
    at_picture_premultiply(&scaled);
    at_status status = resize_pixels(out, &scaled, filter, err);
    if (status == AT_OK)
        at_picture_unpremultiply(out);
    at_picture_free(&scaled);
    return status;
}

at_status at_picture_resize(at_picture *out, const at_picture *in, int64_t width, int64_t height,
                            int filter, at_error *err)
{
    if (width < 1 || height < 1 || width > AT_PICTURE_SIDE_MAX || height > AT_PICTURE_SIDE_MAX ||
        width * height > AT_PICTURE_PIXELS_MAX)
        return at_fail(err, AT_INVALID,
                       "resize to %lld x %lld, expected 1 to %d a side, %lld pixels",
                       (long long)width, (long long)height, AT_PICTURE_SIDE_MAX,
                       (long long)AT_PICTURE_PIXELS_MAX);
    if (in->depth != 8)
        return at_fail(err, AT_UNSUPPORTED, "resize of a picture of %d bits, expected 8",
                       in->depth);
    if (filter < AT_BILINEAR || filter > AT_LANCZOS)
        return at_fail(err, AT_INVALID,
                       "resize with filter %d, expected bilinear, bicubic or lanczos", filter);
    if (width == in->width && height == in->height)
        return copy_of(out, in, err);
    at_picture made = { width, height, in->channels, 8, NULL, { .orientation = 1 } };
    made.pixels = malloc(at_picture_size(&made));
    if (!made.pixels)
        return at_picture_no_memory("resize", err);
    at_status status = in->channels == 4 ? resize_premultiplied(&made, in, filter, err)
                                         : resize_pixels(&made, in, filter, err);
    if (status != AT_OK)
        at_picture_free(&made);
    else
        *out = made;
    return status;
}
