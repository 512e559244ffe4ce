#include "models/layers.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/arena.h"

static const at_tensor none = { 0 };

/* --- naming ----------------------------------------------------------------------------------- */

void at_naming_start(at_naming *n, at_params *store, at_dtype dtype, at_error *err)
{
    *n = (at_naming){ .store = store, .dtype = dtype, .err = err };
}

void at_naming_free(at_naming *n)
{
    free(n->named);
    *n = (at_naming){ 0 };
}

size_t at_naming_enter(at_naming *n, const char *fmt, ...)
{
    const size_t mark = strlen(n->path), room = sizeof n->path - mark;
    va_list ap;
    va_start(ap, fmt);
    int written = vsnprintf(n->path + mark, room, fmt, ap);
    va_end(ap);
    AT_ASSERT(written >= 0 && (size_t)written + 1 < room, "the name '%s...' is too long", n->path);
    memcpy(n->path + mark + written, ".", 2);
    return mark;
}

void at_naming_leave(at_naming *n, size_t mark)
{
    n->path[mark] = 0;
}

static void full_name(const at_naming *n, const char *name, char *out, size_t room)
{
    int written = snprintf(out, room, "%s%s", n->path, name);
    AT_ASSERT(written >= 0 && (size_t)written < room, "the name '%s%s' is too long", n->path, name);
}

static at_param *list(at_naming *n, at_param *p)
{
    if (!p) {
        n->status = AT_NO_MEMORY;
        return NULL;
    }
    n->named = at_grow(n->named, n->n_named, &n->capacity, sizeof(at_param *));
    return n->named[n->n_named++] = p;
}

at_param *at_name_storage(at_naming *n, const char *name, at_dtype dtype, int rank,
                          const int64_t *size)
{
    char full[AT_PARAM_NAME_MAX];
    if (n->status != AT_OK)
        return NULL;
    full_name(n, name, full, sizeof full);
    at_param *p = at_params_add(n->store, full, dtype, rank, size, n->err);
    if (!p)
        n->status = AT_NO_MEMORY;
    return p;
}

at_param *at_name_param(at_naming *n, const char *name, int rank, const int64_t *size)
{
    at_param *p = at_name_storage(n, name, n->dtype, rank, size);
    return n->status == AT_OK ? list(n, p) : NULL;
}

at_param *at_name_rows(at_naming *n, const char *name, at_param *storage, int64_t first,
                       int64_t rows)
{
    char full[AT_PARAM_NAME_MAX];
    if (n->status != AT_OK)
        return NULL;
    full_name(n, name, full, sizeof full);
    return list(n, at_params_slice(n->store, full, storage, first, rows));
}

static at_param *name_vector(at_naming *n, const char *name, int64_t size)
{
    return at_name_param(n, name, 1, &size);
}

at_affine at_name_linear(at_naming *n, const char *name, int64_t out, int64_t in, at_bias bias)
{
    const int64_t size[] = { out, in };
    const size_t mark = at_naming_enter(n, "%s", name);
    at_affine a = { .weight = at_name_param(n, "weight", 2, size) };
    if (bias == AT_WITH_BIAS)
        a.bias = name_vector(n, "bias", out);
    at_naming_leave(n, mark);
    return a;
}

at_affine at_name_conv(at_naming *n, const char *name, int64_t out, int64_t in, int64_t kernel)
{
    const int64_t size[] = { out, in, kernel, kernel };
    const size_t mark = at_naming_enter(n, "%s", name);
    at_affine a = { .weight = at_name_param(n, "weight", 4, size) };
    a.bias = name_vector(n, "bias", out);
    at_naming_leave(n, mark);
    return a;
}

at_affine at_name_norm(at_naming *n, const char *name, int64_t channels)
{
    const size_t mark = at_naming_enter(n, "%s", name);
    at_affine a = { .weight = name_vector(n, "weight", channels) };
    a.bias = name_vector(n, "bias", channels);
    at_naming_leave(n, mark);
    return a;
}

at_affine at_name_linears(at_naming *n, const char *storage, const char *const *names, int64_t out,
                          int64_t in, at_bias bias)
{
    int64_t count = 0;
    while (names[count])
        count++;
    const int64_t size[] = { count * out, in };
    size_t mark = at_naming_enter(n, "%s", storage);
    at_affine a = { .weight = at_name_storage(n, "weight", n->dtype, 2, size) };
    if (bias == AT_WITH_BIAS)
        a.bias = at_name_storage(n, "bias", n->dtype, 1, size);
    at_naming_leave(n, mark);
    for (int64_t i = 0; i < count; i++) {
        mark = at_naming_enter(n, "%s", names[i]);
        at_name_rows(n, "weight", a.weight, i * out, out);
        if (bias == AT_WITH_BIAS)
            at_name_rows(n, "bias", a.bias, i * out, out);
        at_naming_leave(n, mark);
    }
    return a;
}

/* --- layers in a graph ------------------------------------------------------------------------ */

static at_tensor param(at_graph *g, at_param *p)
{
    return p ? at_graph_param(g, p) : none;
}

at_tensor at_layer_conv(at_graph *g, at_tensor x, const at_affine *a, int64_t stride,
                        at_tensor residual)
{
    return at_conv2d(g, (at_conv){ .x = x,
                                   .w = param(g, a->weight),
                                   .bias = param(g, a->bias),
                                   .residual = residual,
                                   .stride = stride,
                                   .pad = a->weight->view.size[2] / 2 });
}

at_tensor at_layer_linear(at_graph *g, at_tensor x, const at_affine *a, at_tensor residual,
                          at_act act)
{
    return at_linear(g, x, param(g, a->weight), param(g, a->bias), residual, act);
}

at_tensor at_layer_norm_affine(at_graph *g, at_tensor x, const at_affine *a)
{
    return at_layer_norm(g, x, param(g, a->weight), param(g, a->bias), 1e-5f);
}

at_tensor at_layer_tokens(at_graph *g, at_tensor x)
{
    const at_view v = at_graph_view(g, x);
    const int64_t size[] = { v.size[0], v.size[1] * v.size[2], v.size[3] };
    return at_graph_reshape(g, x, 3, size);
}

at_tensor at_layer_picture(at_graph *g, at_tensor x, at_tensor like)
{
    const at_view v = at_graph_view(g, x);
    at_view to = at_graph_view(g, like);
    to.size[3] = at_cols(&v);
    return at_graph_reshape(g, x, 4, to.size);
}

/* --- residual blocks -------------------------------------------------------------------------- */

/* The file has one weight for the input and the skip that continues it; the products are two. */
static void name_shortcut(at_naming *n, at_resnet *r, at_resnet_size size)
{
    const size_t mark = at_naming_enter(n, "conv_shortcut");
    const int64_t first[] = { size.out, size.in, 1, 1 }, second[] = { size.out, size.skip, 1, 1 };
    if (size.skip) {
        at_param *parts[] = { at_name_storage(n, "weight.x", n->dtype, 4, first),
                              at_name_storage(n, "weight.skip", n->dtype, 4, second) };
        char full[AT_PARAM_NAME_MAX];
        full_name(n, "weight", full, sizeof full);
        if (n->status == AT_OK)
            list(n, at_params_join(n->store, full, parts, 2));
        r->shortcut.weight = parts[0];
        r->shortcut_skip = parts[1];
    } else {
        r->shortcut.weight = at_name_param(n, "weight", 4, first);
    }
    r->shortcut.bias = name_vector(n, "bias", size.out);
    at_naming_leave(n, mark);
}

at_resnet at_name_resnet(at_naming *n, at_resnet_size size, at_name_between *between, void *ctx)
{
    at_resnet r = { .norm1 = at_name_norm(n, "norm1", size.in + size.skip) };
    r.conv1 = at_name_conv(n, "conv1", size.out, size.in + size.skip, 3);
    if (between)
        between(n, ctx);
    r.norm2 = at_name_norm(n, "norm2", size.out);
    r.conv2 = at_name_conv(n, "conv2", size.out, size.out, 3);
    if (size.skip || size.in != size.out)
        name_shortcut(n, &r, size);
    return r;
}

static at_tensor group_norm(at_graph *g, const at_affine *a, const at_resnet_in *in, at_group n)
{
    n.gamma = param(g, a->weight);
    n.beta = param(g, a->bias);
    n.groups = in->groups;
    n.eps = in->eps;
    n.silu = true;
    return at_group_norm(g, n);
}

at_tensor at_layer_resnet(at_graph *g, const at_resnet *r, at_resnet_in in)
{
    at_tensor h = group_norm(g, &r->norm1, &in, (at_group){ .x = in.x, .x2 = in.skip });
    h = at_layer_conv(g, h, &r->conv1, 1, none);
    h = group_norm(g, &r->norm2, &in, (at_group){ .x = h, .add = in.time });
    at_tensor shortcut = in.x;
    if (r->shortcut.weight)
        shortcut = at_layer_conv(g, in.x, &r->shortcut, 1, none);
    if (r->shortcut_skip) {
        const at_affine second = { .weight = r->shortcut_skip };
        shortcut = at_layer_conv(g, in.skip, &second, 1, shortcut);
    }
    return at_layer_conv(g, h, &r->conv2, 1, shortcut);
}
