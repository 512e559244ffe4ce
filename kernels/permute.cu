/* permute.cu -- bound by memory: every element is read once and written once; the aim is 80 % of
 * the bandwidth.
 *
 * Where the innermost axis stays, rows are copied. Elsewhere a block moves a box through shared
 * memory: it is read along x's innermost axis and written along y's. A box is square where both are
 * long, narrow where one is short (the three channels of a picture), and where both are, it holds
 * many matrices. */
#include "kernels/permute.h"

#include "kernels/moves.cuh"

enum { INNER = AT_RANK_MAX - 1 }; /* y's innermost axis */

/* --- rows ------------------------------------------------------------------------------------- */

struct permute_rows_job {
    char *to;
    int64_t step; /* bytes of a row */
    at_walk walk;
    const char *x;
    int64_t size[2], stride[3]; /* rows (., size 0, size 1) of y are this many bytes apart in x */
};

__device__ __forceinline__ const char *at_move_from(const permute_rows_job &j, int64_t r,
                                                    int64_t byte)
{
    const int64_t above = r / j.size[1], outer = above / j.size[0];
    return j.x + outer * j.stride[0] + (above - outer * j.size[0]) * j.stride[1] +
           (r - above * j.size[1]) * j.stride[2] + byte;
}

static cudaError_t move_rows(const at_permute_walk *w, at_queue stream)
{
    const int64_t bytes = (int64_t)w->bytes;
    permute_rows_job j = {};
    j.to = w->y;
    j.x = w->x;
    j.step = j.walk.units = w->size[INNER] * bytes;
    j.walk.rows = w->size[0] * w->size[1] * w->size[2];
    j.size[0] = w->size[1];
    j.size[1] = w->size[2];
    uint64_t bits = (uint64_t)(uintptr_t)w->y | (uint64_t)(uintptr_t)w->x | (uint64_t)j.step;
    for (int i = 0; i < INNER; i++) {
        j.stride[i] = w->stride[i] * bytes;
        bits |= (uint64_t)j.stride[i];
    }
    return AT_BY_UNIT(at_unit_of(bits), at_move_launch, j, stream);
}

/* --- boxes ------------------------------------------------------------------------------------ */

enum { ROOM_BYTES = 8704 }; /* 64 x 64 of two bytes and 32 x 64 of four, with their padding */

/* An axis as a box sees it. */
struct permute_axis {
    int64_t size, x, y;     /* elements, and how many of x and of y lie from one to the next */
    int64_t boxes;          /* along this axis */
    unsigned extent, magic; /* of a box; for dividing by it */
};

/* Axis d is x's innermost, m is y's; many matrices (m, d) may lie along b; o is what is left. */
struct permute_box_job {
    void *y;
    const void *x;
    permute_axis d, m, b, o;
    unsigned pitch; /* of a row of d in shared memory, elements */
};

/* Elements of a word of shared memory, or one. */
__host__ __device__ constexpr int64_t word_of(int64_t bytes)
{
    return bytes < 4 ? 4 / bytes : 1;
}

/* The elements of a row of a box, padded to an odd number of words: so neighbours along m are in
 * banks of their own. */
__host__ __device__ constexpr int64_t pitch_of(int64_t extent, int64_t bytes)
{
    return ((extent + word_of(bytes) - 1) / word_of(bytes) | 1) * word_of(bytes);
}

/* The sides of a square box: rows of 64 elements are read, and written where they are short. */
__host__ __device__ constexpr int side_d_of(int64_t bytes)
{
    return bytes < 8 ? 64 : 32;
}

__host__ __device__ constexpr int side_m_of(int64_t bytes)
{
    return bytes < 4 ? 64 : 32;
}

/* t / n for t * n < 2^32, with magic = 2^32 / n rounded up, or 0 for n = 1. */
__device__ __forceinline__ unsigned divided(unsigned t, unsigned magic)
{
    return magic ? __umulhi(t, magic) : t;
}

/* What a thread's cell t of a box is: (b, m, d) with 'fast' being d or m, the one that runs. */
struct permute_cell {
    unsigned b, slow, fast;
};

__device__ __forceinline__ permute_cell cell_of(unsigned t, const permute_axis &fast,
                                                const permute_axis &slow, const permute_axis &b)
{
    const unsigned row = divided(t, fast.magic);
    const unsigned matrix = b.extent > 1 ? divided(row, slow.magic) : 0;
    return { matrix, row - matrix * slow.extent, t - row * fast.extent };
}

/* Where the block's box begins along an axis; what is left of the block's number. */
__device__ __forceinline__ int64_t box_first(const permute_axis &a, int64_t *number)
{
    const int64_t above = *number / a.boxes, first = (*number - above * a.boxes) * a.extent;
    *number = above;
    return first;
}

/* How much of the box is inside. */
__device__ __forceinline__ unsigned box_left(const permute_axis &a, int64_t first)
{
    return (unsigned)min(a.size - first, (int64_t)a.extent);
}

/* I holds offsets within a box. */
template <class T, class I>
__global__ void __launch_bounds__(AT_BLOCK) permute_boxes(permute_box_job j)
{
    AT_SHARED(T[ROOM_BYTES / sizeof(T)], room);
    at_wait_for_earlier();
    int64_t number = blockIdx.x;
    const int64_t d0 = box_first(j.d, &number), m0 = box_first(j.m, &number);
    const int64_t b0 = box_first(j.b, &number);
    const unsigned d_left = box_left(j.d, d0), m_left = box_left(j.m, m0);
    const unsigned b_left = box_left(j.b, b0), cells = j.d.extent * j.m.extent * j.b.extent;
    const T *x = static_cast<const T *>(j.x) + number * j.o.x + b0 * j.b.x + m0 * j.m.x + d0;
    T *y = static_cast<T *>(j.y) + number * j.o.y + b0 * j.b.y + d0 * j.d.y + m0;
    const I b_x = (I)j.b.x, m_x = (I)j.m.x, b_y = (I)j.b.y, d_y = (I)j.d.y;
    for (unsigned t0 = threadIdx.x; t0 < cells; t0 += AT_MOVES * AT_BLOCK) {
        T v[AT_MOVES];
#pragma unroll
        for (int i = 0; i < AT_MOVES; i++) {
            const permute_cell c = cell_of(t0 + i * AT_BLOCK, j.d, j.m, j.b);
            v[i] = {};
            if (t0 + i * AT_BLOCK < cells && c.fast < d_left && c.slow < m_left && c.b < b_left)
                v[i] = x[(I)c.b * b_x + (I)c.slow * m_x + (I)c.fast];
        }
#pragma unroll
        for (int i = 0; i < AT_MOVES; i++) {
            const permute_cell c = cell_of(t0 + i * AT_BLOCK, j.d, j.m, j.b);
            if (t0 + i * AT_BLOCK < cells)
                room[(c.b * j.m.extent + c.slow) * j.pitch + c.fast] = v[i];
        }
    }
    __syncthreads();
#pragma unroll 4
    for (unsigned t = threadIdx.x; t < cells; t += AT_BLOCK) {
        const permute_cell c = cell_of(t, j.m, j.d, j.b);
        if (c.fast < m_left && c.slow < d_left && c.b < b_left)
            y[(I)c.b * b_y + (I)c.slow * d_y + (I)c.fast] =
                room[(c.b * j.m.extent + c.fast) * j.pitch + c.slow];
    }
}

/* Square boxes, all of whose numbers the compiler knows: SIDE_D x SIDE_M, a warp along d. */
template <class T>
__global__ void __launch_bounds__(AT_BLOCK) permute_squares(permute_box_job j)
{
    at_wait_for_earlier();
    constexpr int SIDE_D = side_d_of(sizeof(T)), SIDE_M = side_m_of(sizeof(T));
    constexpr int DOWN = AT_BLOCK / AT_WARP, PITCH = pitch_of(SIDE_D, sizeof(T));
    AT_SHARED(T[SIDE_M][PITCH], room);
    int64_t number = blockIdx.x;
    const int64_t d0 = box_first(j.d, &number), m0 = box_first(j.m, &number);
    const int64_t b0 = box_first(j.b, &number);
    const int d_left = (int)box_left(j.d, d0), m_left = (int)box_left(j.m, m0);
    const int lane = threadIdx.x % AT_WARP, row = threadIdx.x / AT_WARP;
    const int64_t first_x = number * j.o.x + b0 * j.b.x + (m0 + row) * j.m.x + d0 + lane;
    const int64_t first_y = number * j.o.y + b0 * j.b.y + (d0 + row) * j.d.y + m0 + lane;
    const T *x = static_cast<const T *>(j.x) + first_x;
    T *y = static_cast<T *>(j.y) + first_y;
    T v[SIDE_M / DOWN][SIDE_D / AT_WARP];
#pragma unroll
    for (int i = 0; i < SIDE_M / DOWN; i++, x += DOWN * j.m.x)
#pragma unroll
        for (int k = 0; k < SIDE_D / AT_WARP; k++) {
            v[i][k] = {};
            if (row + i * DOWN < m_left && lane + k * AT_WARP < d_left)
                v[i][k] = x[k * AT_WARP];
        }
#pragma unroll
    for (int i = 0; i < SIDE_M / DOWN; i++)
#pragma unroll
        for (int k = 0; k < SIDE_D / AT_WARP; k++)
            room[row + i * DOWN][lane + k * AT_WARP] = v[i][k];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < SIDE_D / DOWN; i++, y += DOWN * j.d.y)
#pragma unroll
        for (int k = 0; k < SIDE_M / AT_WARP; k++)
            if (row + i * DOWN < d_left && lane + k * AT_WARP < m_left)
                y[k * AT_WARP] = room[lane + k * AT_WARP][row + i * DOWN];
}

static void set_extent(permute_axis *a, int64_t extent)
{
    a->extent = (unsigned)extent;
    a->magic = extent > 1 ? (unsigned)((((uint64_t)1 << 32) + a->extent - 1) / a->extent) : 0;
    a->boxes = (a->size + extent - 1) / extent;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The shape of a box, from the sizes and the bytes of an element: square, or as large as there is
 * room where an axis is shorter than a side, and over several matrices where both are. */
static void choose_box(permute_box_job *j, int64_t bytes)
{
    const int64_t room = ROOM_BYTES / bytes;
    const int64_t side_d = side_d_of(bytes), side_m = side_m_of(bytes);
    int64_t d = smaller(j->d.size, side_d), m = smaller(j->m.size, side_m), b = 1;
    const bool square = d == side_d && m == side_m;
    if (d < side_d)
        m = smaller(j->m.size, room / pitch_of(d, bytes) / AT_WARP * AT_WARP);
    else if (m < side_m)
        d = smaller(j->d.size, (room / m - word_of(bytes)) / AT_WARP * AT_WARP);
    if (!square && d == j->d.size && m == j->m.size)
        b = smaller(j->b.size, room / (m * pitch_of(d, bytes)));
    set_extent(&j->d, d);
    set_extent(&j->m, m);
    set_extent(&j->b, b);
    set_extent(&j->o, 1);
    j->pitch = (unsigned)pitch_of(d, bytes);
}

template <class T>
static cudaError_t launch_boxes(const permute_box_job &j, at_queue stream)
{
    const int64_t blocks = j.d.boxes * j.m.boxes * j.b.boxes * j.o.size;
    const int64_t reach_x = j.b.extent * j.b.x + j.m.extent * j.m.x + j.d.extent;
    const int64_t reach_y = j.b.extent * j.b.y + j.d.extent * j.d.y + j.m.extent;
    const dim3 grid((unsigned)blocks);
    if (j.d.extent == side_d_of(sizeof(T)) && j.m.extent == side_m_of(sizeof(T)) && j.b.extent == 1)
        return AT_LAUNCH_EARLY(permute_squares<T>, grid, AT_BLOCK, 0, stream, j);
    if (reach_x <= INT32_MAX && reach_y <= INT32_MAX)
        return AT_LAUNCH_EARLY((permute_boxes<T, int32_t>), grid, AT_BLOCK, 0, stream, j);
    return AT_LAUNCH_EARLY((permute_boxes<T, int64_t>), grid, AT_BLOCK, 0, stream, j);
}

static cudaError_t move_boxes(const at_permute_walk *w, at_queue stream)
{
    permute_axis axes[AT_RANK_MAX];
    int64_t apart = 1;
    int d = 0, rest[2], n = 0;
    for (int i = INNER; i >= 0; i--) {
        axes[i] = { w->size[i], w->stride[i], apart, 0, 0, 0 };
        apart *= w->size[i];
        if (w->stride[i] == 1)
            d = i;
    }
    for (int i = INNER - 1; i >= 0; i--)
        if (i != d)
            rest[n++] = i;
    permute_box_job j = { w->y, w->x, axes[d], axes[INNER], axes[rest[0]], axes[rest[1]], 0 };
    if (j.b.size == 1) { /* whichever there is */
        j.b = axes[rest[1]];
        j.o = axes[rest[0]];
    }
    choose_box(&j, (int64_t)w->bytes);
    switch (w->bytes) {
    case 1: return launch_boxes<uint8_t>(j, stream);
    case 2: return launch_boxes<uint16_t>(j, stream);
    case 4: return launch_boxes<uint32_t>(j, stream);
    default: return launch_boxes<uint2>(j, stream);
    }
}

extern "C" bool at_permute_cuda_fits(const void *)
{
    return true;
}

extern "C" at_status at_permute_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const at_permute_walk w = at_permute_walk_of(static_cast<const at_permute_args *>(args));
    return at_launched(l, w.stride[INNER] == 1 ? move_rows(&w, at_queue_of(l))
                                               : move_boxes(&w, at_queue_of(l)));
}
