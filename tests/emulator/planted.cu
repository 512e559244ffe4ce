/* planted.cu -- y = a * x in one kernel that is right, or wrong in one way. It reads and writes
 * every element once; its speed does not matter. */
#include "tests/emulator/planted.h"

#include "kernels/elements.cuh"

enum { BLOCK = 64 };
#define NAME(wrong, says) WRONG_##wrong,
enum wrong { PLANTED_ALL(NAME) };
#undef NAME

struct planted_job {
    at_lines y, x; /* (rows, cols) f32 */
    int64_t rows, cols;
    float a;
    wrong how;
};

/* A block a row; each thread writes what another has read. */
__global__ void planted(planted_job j)
{
    AT_SHARED(float[BLOCK], row);
    const int64_t r = blockIdx.x, c = threadIdx.x, from = j.cols - 1 - c;
    const int64_t x_pitch = j.how == WRONG_pitch ? j.cols : j.x.pitch;
    const float *x = static_cast<float *>(j.x.data) + r * x_pitch;
    float *y = at_line<float>(j.y, r);
    if (j.how == WRONG_overlay)
        y[0] = 0;
    if (j.how == WRONG_align && r == 0)
        row[c] = at_load<float4>(x + 1).x;
    row[c] = c < j.cols ? x[c] : 0;
    if (j.how != WRONG_barrier)
        __syncthreads();
    if (from >= 0 && !(j.how == WRONG_tail && c == 0))
        y[from] = row[from] * j.a * (j.how == WRONG_batch && gridDim.x > 5 ? 1 + 1e-6f : 1);
    if (j.how == WRONG_bounds && r == j.rows - 1 && c == 0)
        y[j.cols] = 1;
    if (j.how == WRONG_input && r == 0 && c == 0)
        at_line<float>(j.x, 0)[0] = 0;
}

static at_status launch(const void *args, const at_launch *l, wrong how)
{
    const auto *a = static_cast<const at_unary_args *>(args);
    const planted_job j = {
        at_lines_of(&a->y), at_lines_of(&a->x), at_rows(&a->x), at_cols(&a->x), a->a, how
    };
    return at_launched(l, AT_LAUNCH(planted, (unsigned)j.rows, BLOCK, 0, at_stream_of(l), j));
}

#define RUN(wrong, says)                                                        \
    extern "C" at_status planted_##wrong(const void *args, const at_prepared *, \
                                         const at_launch *l)                    \
    {                                                                           \
        return launch(args, l, WRONG_##wrong);                                  \
    }
PLANTED_ALL(RUN)
