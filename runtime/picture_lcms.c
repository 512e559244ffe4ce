/* picture_lcms.c -- colour profiles through Little CMS, in place, perceptual as Pillow's
 * profileToProfile() does by default. */
#include <lcms2.h>
#include <lcms2_plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/picture_format.h"

enum {
    /* A profile's tables; lcms would try to get half a gigabyte if a damaged one says so. */
    LCMS_BYTES_MAX = 32 << 20,
    POOL_BYTES = 512 << 10,
    SMALL_BYTES_MAX = 32 << 10,
    HEAD_BYTES = 16, /* before each block: its size */
};

/* --- memory ----------------------------------------------------------------------------------- */

/* lcms 2.14 uses small blocks (mutexes, lists) without asking whether it got them. They come from a
 * pool that is there before it starts and are freed with it; tables, which it does check, are
 * allocated one by one. */
typedef struct lcms_memory {
    unsigned char *pool;
    size_t used;
    at_picture_load *load;
} lcms_memory;

static bool is_pooled(const lcms_memory *m, const void *p)
{
    return (uintptr_t)p - (uintptr_t)m->pool < POOL_BYTES;
}

static void *lcms_malloc(cmsContext context, cmsUInt32Number bytes)
{
    lcms_memory *m = cmsGetContextUserData(context);
    size_t all = ((size_t)bytes + HEAD_BYTES + 15) / 16 * 16;
    unsigned char *block = NULL;
    if (bytes > LCMS_BYTES_MAX)
        return NULL;
    if (bytes <= SMALL_BYTES_MAX && all <= POOL_BYTES - m->used) {
        block = m->pool + m->used;
        m->used += all;
    } else {
        block = malloc(all);
    }
    if (!block) {
        m->load->no_memory = true;
        return NULL;
    }
    memcpy(block, &bytes, sizeof bytes);
    return block + HEAD_BYTES;
}

static void lcms_free(cmsContext context, void *p)
{
    const lcms_memory *m = cmsGetContextUserData(context);
    if (p && !is_pooled(m, p))
        free((unsigned char *)p - HEAD_BYTES);
}

static void *lcms_realloc(cmsContext context, void *p, cmsUInt32Number bytes)
{
    cmsUInt32Number before = 0;
    unsigned char *out = lcms_malloc(context, bytes);
    if (!out || !p)
        return out;
    memcpy(&before, (unsigned char *)p - HEAD_BYTES, sizeof before);
    memcpy(out, p, before < bytes ? before : bytes);
    lcms_free(context, p);
    return out;
}

static const cmsPluginMemHandler memory_handler = {
    .base = { cmsPluginMagicNumber, 2060, cmsPluginMemHandlerSig, NULL },
    .MallocPtr = lcms_malloc,
    .FreePtr = lcms_free,
    .ReallocPtr = lcms_realloc,
};

/* --- transforms ------------------------------------------------------------------------------- */

/* lcms's name for the samples of a picture that a profile of 'space' describes; 0: it does not. */
static cmsUInt32Number samples_of(const at_picture_load *load, cmsColorSpaceSignature space)
{
    const at_picture *p = &load->picture;
    bool wide = p->depth == 16, cmyk = load->info.is_cmyk;
    if (space == cmsSigCmykData && cmyk)
        return TYPE_CMYK_8;
    if (space == cmsSigGrayData && p->channels == 1)
        return wide ? TYPE_GRAY_16 : TYPE_GRAY_8;
    if (space == cmsSigRgbData && p->channels == 3)
        return wide ? TYPE_RGB_16 : TYPE_RGB_8;
    if (space == cmsSigRgbData && p->channels == 4 && !cmyk)
        return wide ? TYPE_RGBA_16 : TYPE_RGBA_8;
    return 0;
}

/* sRGB, or grey with its curve. */
static cmsHPROFILE target_profile(cmsContext context, bool grey)
{
    const cmsFloat64Number srgb[] = { 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045 };
    if (!grey)
        return cmsCreate_sRGBProfileTHR(context);
    cmsToneCurve *curve = cmsBuildParametricToneCurve(context, 4, srgb);
    cmsHPROFILE profile = curve ? cmsCreateGrayProfileTHR(context, cmsD50_xyY(), curve) : NULL;
    if (curve)
        cmsFreeToneCurve(curve);
    return profile;
}

/* NULL: the profile is damaged or is not for such pixels. */
static cmsHTRANSFORM make_transform(cmsContext context, at_picture_load *load)
{
    cmsHTRANSFORM transform = NULL;
    cmsHPROFILE from =
        cmsOpenProfileFromMemTHR(context, load->profile, (cmsUInt32Number)load->profile_bytes);
    cmsUInt32Number samples = from ? samples_of(load, cmsGetColorSpace(from)) : 0;
    cmsHPROFILE to = samples ? target_profile(context, load->picture.channels == 1) : NULL;
    if (to)
        transform = cmsCreateTransformTHR(context, from, samples, to,
                                          samples == TYPE_CMYK_8 ? TYPE_RGB_8 : samples,
                                          INTENT_PERCEPTUAL, cmsFLAGS_COPY_ALPHA);
    if (to)
        cmsCloseProfile(to);
    if (from)
        cmsCloseProfile(from);
    return transform;
}

/* Whether 8-bit colours on a grid keep their value within one: most profiles are sRGB's own. */
static bool changes_nothing(cmsHTRANSFORM transform, int channels)
{
    enum { STEPS = 6 };
    uint8_t from[STEPS * STEPS * STEPS * 4] = { 0 }, to[sizeof from];
    int colours = channels == 1 ? 1 : 3, n = STEPS * STEPS * STEPS;
    for (int i = 0; i < n; i++)
        for (int c = 0, rest = i; c < channels; c++, rest /= STEPS)
            from[i * channels + c] = (uint8_t)(c < 3 ? rest % STEPS * 51 : 255);
    memcpy(to, from, sizeof to);
    cmsDoTransform(transform, from, to, (cmsUInt32Number)n);
    for (int i = 0; i < n; i++)
        for (int c = 0; c < colours; c++)
            if (abs(from[i * channels + c] - to[i * channels + c]) > 1)
                return false;
    return true;
}

static void apply(cmsHTRANSFORM transform, at_picture_load *load)
{
    at_picture *p = &load->picture;
    if (p->depth == 8 && !load->info.is_cmyk && changes_nothing(transform, p->channels))
        return;
    cmsDoTransform(transform, p->pixels, p->pixels, (cmsUInt32Number)(p->width * p->height));
    if (load->info.is_cmyk)
        at_picture_shrink(p, 3);
}

static bool convert(cmsContext context, at_picture_load *load)
{
    cmsHTRANSFORM transform = make_transform(context, load);
    bool used = transform && !load->no_memory;
    if (used)
        apply(transform, load);
    else
        at_picture_warn(load, "the colour profile is damaged or not for such pixels");
    if (transform)
        cmsDeleteTransform(transform);
    return used;
}

bool at_picture_to_srgb_lcms(at_picture_load *load)
{
    cmsPluginMemHandler plugin = memory_handler; /* lcms takes it as if it could change */
    lcms_memory m = { .pool = malloc(POOL_BYTES), .load = load };
    cmsContext context = m.pool ? cmsCreateContext(&plugin, &m) : NULL;
    bool used = context && convert(context, load);
    load->no_memory = load->no_memory || !context;
    if (context)
        cmsDeleteContext(context);
    free(m.pool);
    return used;
}

void at_picture_lcms_version(char *text, size_t text_size)
{
    int v = cmsGetEncodedCMMversion();
    snprintf(text, text_size, "%d.%d.%d", v / 1000, v / 10 % 100, v % 10);
}
