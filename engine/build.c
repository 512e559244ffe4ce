#include "engine/build.h"

#define VIEW(t) at_graph_view(g, t)

/* Appends a call whose first output is its result. */
#define APPEND(op, args) (at_graph_append(g, &at_op_##op, &(args), 0), at_tensor_of(&(args).y))

static int cast_choice(at_dtype dtype)
{
    for (int i = 0; i < 8; i++) {
        static const at_dtype types[] = { AT_F32, AT_BF16, AT_F16, AT_F8,
                                          AT_F64, AT_I32,  AT_I64, AT_U8 };
        if (types[i] == dtype)
            return i;
    }
    AT_ASSERT(false, "no choice for %s", at_dtype_name(dtype));
}

at_tensor at_make_dense(at_graph *g, at_tensor x)
{
    at_view v = VIEW(x);
    if (at_dense(&v))
        return x;
    return at_slice(g, x, v.rank - 1, 0, at_cols(&v));
}

/* --- convolution and products ----------------------------------------------------------------- */

at_tensor at_conv2d(at_graph *g, at_conv c)
{
    at_conv2d_args a = {
        .x = VIEW(at_make_dense(g, c.x)),
        .w = VIEW(c.w),
        .bias = VIEW(c.bias),
        .residual = c.residual.id ? VIEW(at_make_dense(g, c.residual)) : (at_view){ 0 },
        .pad_mode = (int)c.pad_mode,
        .relu = c.relu,
    };
    a.stride[0] = a.stride[1] = c.stride ? c.stride : 1;
    for (int i = 0; i < 4; i++)
        a.pad[i] = c.pad ? c.pad : c.pads[i];
    return APPEND(conv2d, a);
}

at_tensor at_linear(at_graph *g, at_tensor x, at_tensor w, at_tensor bias, at_tensor residual,
                    at_act act)
{
    at_linear_args a = {
        .x = VIEW(x), .w = VIEW(w), .bias = VIEW(bias), .residual = VIEW(residual), .act = (int)act
    };
    return APPEND(linear, a);
}

at_tensor at_linear_geglu(at_graph *g, at_tensor x, at_tensor w, at_tensor bias)
{
    at_linear_geglu_args a = { .x = VIEW(x), .w = VIEW(w), .bias = VIEW(bias) };
    return APPEND(linear_geglu, a);
}

at_tensor at_lora_linear(at_graph *g, at_tensor y, at_tensor x, at_tensor down, at_tensor up,
                         float scale)
{
    at_tensor none = { 0 }, low = at_linear(g, x, down, none, none, AT_ACT_NONE);
    return at_linear(g, at_scale(g, low, scale, 0), up, none, y, AT_ACT_NONE);
}

at_tensor at_lora_conv2d(at_graph *g, at_tensor y, at_conv down, at_tensor up, float scale)
{
    at_tensor low = at_scale(g, at_conv2d(g, down), scale, 0);
    return at_conv2d(g, (at_conv){ .x = low, .w = up, .residual = y });
}

at_tensor at_gram(at_graph *g, at_tensor x, float scale)
{
    at_gram_args a = { .x = VIEW(x), .scale = scale };
    return APPEND(gram, a);
}

/* --- attention -------------------------------------------------------------------------------- */

at_tensor at_attention(at_graph *g, at_attend t)
{
    at_attention_args a = { .q = VIEW(t.q),
                            .k = VIEW(t.k),
                            .v = VIEW(t.v),
                            .lengths = VIEW(t.lengths),
                            .heads = t.heads,
                            .scale = t.scale,
                            .causal = t.causal };
    at_graph_append(g, &at_op_attention, &a, 0);
    return at_tensor_of(&a.o);
}

void at_kv_append(at_graph *g, at_tensor k_cache, at_tensor v_cache, at_tensor k, at_tensor v,
                  at_tensor pos)
{
    at_kv_append_args a = { VIEW(k_cache), VIEW(v_cache), VIEW(k), VIEW(v), VIEW(pos) };
    at_graph_append(g, &at_op_kv_append, &a, 0);
}

/* --- norms ------------------------------------------------------------------------------------ */

at_tensor at_group_norm(at_graph *g, at_group n)
{
    at_group_norm_args a = { .x = VIEW(n.x),
                             .x2 = VIEW(n.x2),
                             .add = VIEW(n.add),
                             .gamma = VIEW(n.gamma),
                             .beta = VIEW(n.beta),
                             .groups = n.groups,
                             .eps = n.eps,
                             .silu = n.silu };
    return APPEND(group_norm, a);
}

at_tensor at_layer_norm(at_graph *g, at_tensor x, at_tensor gamma, at_tensor beta, float eps)
{
    at_layer_norm_args a = { .x = VIEW(x), .gamma = VIEW(gamma), .beta = VIEW(beta), .eps = eps };
    return APPEND(layer_norm, a);
}

at_tensor at_instance_norm(at_graph *g, at_instance n)
{
    at_instance_norm_args a = { .x = VIEW(n.x),
                                .gamma = VIEW(n.gamma),
                                .beta = VIEW(n.beta),
                                .mean_in = VIEW(n.mean),
                                .rstd_in = VIEW(n.rstd),
                                .eps = n.eps,
                                .relu = n.relu };
    return APPEND(instance_norm, a);
}

at_statistics at_mean_std(at_graph *g, at_tensor x, float eps, at_variance variance)
{
    at_mean_std_args a = { .x = VIEW(x), .eps = eps, .unbiased = variance == AT_UNBIASED };
    at_graph_append(g, &at_op_mean_std, &a, 0);
    return (at_statistics){ at_tensor_of(&a.mean), at_tensor_of(&a.std) };
}

at_tensor at_adain(at_graph *g, at_tensor x, at_statistics content, at_statistics style,
                   float alpha)
{
    at_adain_args a = { .x = VIEW(x),
                        .x_mean = VIEW(content.mean),
                        .x_std = VIEW(content.std),
                        .mean = VIEW(style.mean),
                        .std = VIEW(style.std),
                        .alpha = alpha };
    return APPEND(adain, a);
}

at_tensor at_softmax(at_graph *g, at_tensor x, float scale)
{
    at_softmax_args a = { .x = VIEW(x), .scale = scale };
    return APPEND(softmax, a);
}

at_tensor at_l2_normalize(at_graph *g, at_tensor x, float eps)
{
    at_l2_normalize_args a = { .x = VIEW(x), .eps = eps };
    return APPEND(l2_normalize, a);
}

/* --- elementwise ------------------------------------------------------------------------------ */

static at_tensor unary(at_graph *g, at_tensor x, at_unary_kind kind, float first, float second)
{
    at_unary_args a = { .x = VIEW(x), .kind = (int)kind, .a = first, .b = second };
    return APPEND(unary, a);
}

at_tensor at_unary(at_graph *g, at_tensor x, at_unary_kind kind)
{
    return unary(g, x, kind, 0, 0);
}

at_tensor at_clamp(at_graph *g, at_tensor x, float low, float high)
{
    return unary(g, x, AT_CLAMP, low, high);
}

at_tensor at_scale(at_graph *g, at_tensor x, float factor, float shift)
{
    return unary(g, x, AT_SCALE, factor, shift);
}

static at_spread spread_of(const at_view *a, const at_view *b)
{
    if (at_same_shape(a, b))
        return AT_SAME;
    if (b->rank == 1 && b->size[0] == 1)
        return AT_SCALAR;
    if (b->rank == 2 && a->rank > 2 && b->size[0] == a->size[0] && at_cols(a) == at_cols(b))
        return AT_PER_SAMPLE;
    return AT_SUFFIX;
}

at_tensor at_binary(at_graph *g, at_tensor x, at_tensor b, at_binary_kind kind)
{
    at_binary_args a = { .a = VIEW(x), .b = VIEW(b), .kind = (int)kind };
    a.spread = (int)spread_of(&a.a, &a.b);
    return APPEND(binary, a);
}

at_tensor at_add(at_graph *g, at_tensor a, at_tensor b)
{
    return at_binary(g, a, b, AT_ADD);
}

at_tensor at_mul(at_graph *g, at_tensor a, at_tensor b)
{
    return at_binary(g, a, b, AT_MUL);
}

at_tensor at_lerp(at_graph *g, at_tensor x, at_tensor b, at_tensor t)
{
    at_lerp_args a = { .a = VIEW(x), .b = VIEW(b), .t = VIEW(t) };
    return APPEND(lerp, a);
}

at_tensor at_geglu(at_graph *g, at_tensor x)
{
    at_geglu_args a = { .x = VIEW(x) };
    return APPEND(geglu, a);
}

at_tensor at_cast(at_graph *g, at_tensor x, at_dtype to)
{
    at_cast_args a = { .x = VIEW(x), .to = cast_choice(to) };
    return a.x.dtype == to ? x : APPEND(cast, a);
}

at_tensor at_fill(at_graph *g, at_dtype dtype, int rank, const int64_t *size, float value)
{
    at_fill_args a = { .value = value, .to = cast_choice(dtype) };
    for (int i = 0; i < rank; i++)
        a.size[i] = size[i];
    return APPEND(fill, a);
}

at_tensor at_reduce(at_graph *g, at_tensor x, at_reduction kind, at_over over)
{
    at_reduce_args a = { .x = VIEW(x), .kind = (int)kind, .over = (int)over };
    return APPEND(reduce, a);
}

/* --- moving ----------------------------------------------------------------------------------- */

at_tensor at_concat(at_graph *g, const at_tensor *parts, int n, int axis)
{
    at_tensor p[4] = { { 0 } };
    AT_ASSERT(n >= 1, "concat of %d tensors", n);
    if (n > 4) { /* an op takes four: join the first ones, then go on with the result */
        at_tensor rest[16];
        AT_ASSERT(n <= 16, "concat of %d tensors", n);
        rest[0] = at_concat(g, parts, 4, axis);
        for (int i = 4; i < n; i++)
            rest[i - 3] = parts[i];
        return at_concat(g, rest, n - 3, axis);
    }
    bool last = axis == at_graph_tensor(g, parts[0].id)->view.rank - 1;
    for (int i = 0; i < n; i++)
        p[i] = last ? parts[i] : at_make_dense(g, parts[i]);
    if (n == 1)
        return p[0];
    at_concat_args a = {
        .x0 = VIEW(p[0]), .x1 = VIEW(p[1]), .x2 = VIEW(p[2]), .x3 = VIEW(p[3]), .axis = axis
    };
    return APPEND(concat, a);
}

at_tensor at_slice(at_graph *g, at_tensor x, int axis, int64_t start, int64_t length)
{
    at_view v = VIEW(x);
    if (axis < v.rank - 1)
        v = VIEW(at_make_dense(g, x));
    at_slice_args a = { .x = v, .axis = axis, .start = start, .length = length };
    return APPEND(slice, a);
}

at_tensor at_permute(at_graph *g, at_tensor x, const int64_t *order)
{
    at_permute_args a = { .x = VIEW(at_make_dense(g, x)) };
    for (int i = 0; i < a.x.rank; i++)
        a.order[i] = order[i];
    return APPEND(permute, a);
}

at_tensor at_embedding(at_graph *g, at_tensor table, at_tensor ids, at_dtype dtype)
{
    at_embedding_args a = { .table = VIEW(table), .ids = VIEW(ids) };
    a.y_dtype = dtype == a.table.dtype || dtype == AT_NONE ? 0 : 1 + cast_choice(dtype);
    return APPEND(embedding, a);
}

/* --- pictures --------------------------------------------------------------------------------- */

at_tensor at_upsample_nearest(at_graph *g, at_tensor x, int64_t height, int64_t width)
{
    at_upsample_nearest_args a = { .x = VIEW(x), .size = { height, width } };
    return APPEND(upsample_nearest, a);
}

at_tensor at_max_pool2x2(at_graph *g, at_tensor x)
{
    at_max_pool2d_args a = { .x = VIEW(x), .kernel = { 2, 2 }, .stride = { 2, 2 }, .ceil = 1 };
    return APPEND(max_pool2d, a);
}

at_tensor at_avg_pool(at_graph *g, at_tensor x, int64_t kernel)
{
    at_avg_pool2d_args a = { .x = VIEW(x),
                             .kernel = { kernel, kernel },
                             .stride = { kernel, kernel } };
    return APPEND(avg_pool2d, a);
}

at_tensor at_resize(at_graph *g, at_tensor x, int64_t height, int64_t width, at_filter filter)
{
    at_resize_args a = { .x = VIEW(x), .size = { height, width }, .filter = (int)filter };
    return APPEND(resize, a);
}

/* --- drawing ---------------------------------------------------------------------------------- */

at_tensor at_timestep_embedding(at_graph *g, at_tensor t, at_sinusoid s)
{
    at_timestep_embedding_args a = { .t = VIEW(t),
                                     .dim = s.dim,
                                     .max_period = s.max_period > 0 ? s.max_period : 10000.0f,
                                     .shift = s.shift,
                                     .flip = s.cos_first,
                                     .to = cast_choice(s.dtype == AT_NONE ? AT_F32 : s.dtype) };
    return APPEND(timestep_embedding, a);
}

/* --- learning --------------------------------------------------------------------------------- */

at_tensor at_mse(at_graph *g, at_tensor x, at_tensor target, at_tensor weight, float delta)
{
    at_mse_args a = {
        .x = VIEW(x), .target = VIEW(target), .weight = VIEW(weight), .delta = delta
    };
    at_graph_append(g, &at_op_mse, &a, 0);
    return at_tensor_of(&a.loss);
}

at_tensor at_cross_entropy(at_graph *g, at_tensor x, at_tensor target, int64_t ignore,
                           float smoothing)
{
    at_cross_entropy_args a = {
        .x = VIEW(x), .target = VIEW(target), .ignore = ignore, .smoothing = smoothing
    };
    at_graph_append(g, &at_op_cross_entropy, &a, 0);
    return at_tensor_of(&a.loss);
}

void at_adamw(at_graph *g, at_tensor w, at_tensor m, at_tensor v, at_tensor gradient,
              at_tensor hyper, at_adam o)
{
    at_adamw_args a = { .w = VIEW(w),
                        .m = VIEW(m),
                        .v = VIEW(v),
                        .g = VIEW(gradient),
                        .hyper = VIEW(hyper),
                        .beta1 = o.beta1,
                        .beta2 = o.beta2,
                        .eps = o.eps,
                        .decay = o.decay };
    at_graph_append(g, &at_op_adamw, &a, 0);
}
