/* ema.cu -- bound by memory: 8 bytes read and 4 written for each weight; the aim is 85 % of the
 * bandwidth. */
#include "kernels/optimizer.cuh"

struct ema_job {
    at_lines e, w;      /* (rows, cols) */
    const float *decay; /* (1) */
    int64_t rows, cols;
};

static __global__ void __launch_bounds__(AT_BLOCK) ema_step(ema_job j)
{
    const float rest = 1.0f - *j.decay;
    const int64_t c = at_step_column();
    for (int64_t r = at_step_row(); c < j.cols && r < j.rows;
         r += (int64_t)gridDim.y * blockDim.y) {
        float e[AT_QUAD], w[AT_QUAD];
        const at_quad<float> e_in = at_quad_get<float>(j.e, r, c, j.cols);
        at_quad_take(w, at_quad_get<float>(j.w, r, c, j.cols));
        at_quad_take(e, e_in);
        AT_FOR_QUAD(i)
        e[i] = fmaf(rest, w[i] - e[i], e[i]);
        at_quad_put<float>(j.e, r, c, j.cols, e);
    }
}

extern "C" bool at_ema_cuda_fits(const void *)
{
    return true; /* e and w are f32 by the op's table */
}

extern "C" at_status at_ema_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_ema_args *>(args);
    const at_view *const views[] = { &a->e, &a->w };
    at_lines lines[AT_COUNT(views)];
    ema_job j = { {}, {}, at_floats_of(&a->decay), 0, 0 };
    at_step_lines(lines, views, (int)AT_COUNT(views), &j.rows, &j.cols);
    j.e = lines[0];
    j.w = lines[1];
    const at_tiles t = at_step_tiles_of(j.rows, j.cols);
    return at_launched(l, AT_LAUNCH(ema_step, t.grid, t.block, 0, at_stream_of(l), j));
}
