/* channels.c -- how samples are cut for the passes over channels, and where their numbers lie. */
#include "kernels/channels.h"

enum {
    /* What a slab may take of a core's own cache (1 MiB on Zen 5, 2 on the Xeons). */
    SLAB_BYTES_MAX = 768 << 10,
    SLABS_WANTED = 8, /* so that a few threads have equal shares of one sample */
    PARTS_MAX = 64,
    PART_ROWS_MIN = 64,
    TURN_BYTES = 4 << 20, /* what the caches still have when it is read again */
    LINE_CHANNELS = 16,   /* slabs are whole cache lines, */
    RUN_BYTES_MIN = 224,  /* or such long pieces of rows that two broken lines do not matter */
};

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* The least multiple of 'group' that is a multiple of LINE_CHANNELS. */
static int64_t whole_lines(int64_t group)
{
    int64_t step = group;
    while (step % LINE_CHANNELS)
        step += group;
    return step;
}

at_channels_cut at_channels_cut_of(const at_view *all, int64_t group, at_channels_way way)
{
    int64_t batch = all->size[0], rows = at_rows(all) / batch, cols = at_cols(all);
    at_channels_cut cut = { batch, rows, cols, cols, rows, batch, whole_lines(group) };
    /* Backward reads two pictures twice. */
    int64_t column =
        rows * (int64_t)at_dtype_bytes(all->dtype) * (way == AT_CHANNELS_BACKWARD ? 2 : 1);
    int64_t step = whole_lines(group), widest = SLAB_BYTES_MAX / column;
    bool sample_fits = way == AT_CHANNELS_FORWARD && widest >= cols;
    if (widest < step && group * (int64_t)at_dtype_bytes(all->dtype) >= RUN_BYTES_MIN)
        step = group;
    if (widest >= step && (way == AT_CHANNELS_BACKWARD || sample_fits)) {
        int64_t wanted = ceil_div(cols, SLABS_WANTED * step) * step;
        cut.slab = wanted < widest ? wanted : widest / step * step;
        cut.slab = cut.slab < cols ? cut.slab : cols;
        return cut;
    }
    int64_t part = ceil_div(ceil_div(rows, PARTS_MAX), PART_ROWS_MIN) * PART_ROWS_MIN;
    cut.part = part < rows ? part : rows;
    if (way == AT_CHANNELS_WRITE)
        return cut;
    int64_t turn = TURN_BYTES / (column * cols);
    cut.turn = turn < 1 ? 1 : turn < batch ? turn : batch;
    return cut;
}

int64_t at_channels_stride(const at_channels_cut *cut)
{
    return ceil_div(cut->cols, LINE_CHANNELS) * LINE_CHANNELS + LINE_CHANNELS;
}

int64_t at_channels_parts(const at_channels_cut *cut)
{
    return ceil_div(cut->rows, cut->part);
}

int64_t at_channels_slabs(const at_channels_cut *cut)
{
    return ceil_div(cut->cols, cut->slab);
}

int64_t at_channels_finishes(const at_channels_cut *cut)
{
    return ceil_div(cut->cols, cut->finish);
}

/* Scratch holds the turn's sums, its coefficients, its largest values and the running totals. */
typedef struct places {
    int64_t sums, coefficients; /* of one sample: how many arrays of 'stride' numbers */
    size_t at_coefficients, at_totals, at_tops, end;
} places;

static places places_of(const at_channels_cut *cut, at_channels_way way)
{
    static const int sums[] = { AT_FORWARD_SUMS, 0, AT_BACKWARD_SUMS };
    static const int coefficients[] = { AT_FORWARD_COEFFICIENTS, AT_FORWARD_COEFFICIENTS,
                                        AT_BACKWARD_COEFFICIENTS };
    int64_t stride = at_channels_stride(cut), parts = at_channels_parts(cut);
    places p = { parts * sums[way], coefficients[way], 0, 0, 0, 0 };
    p.at_coefficients = sizeof(double) * (size_t)(cut->turn * p.sums * stride);
    p.at_totals = p.at_coefficients + sizeof(float) * (size_t)(cut->turn * p.coefficients * stride);
    p.at_tops = p.at_totals + sizeof(double) * (size_t)(2 * stride);
    p.end = p.at_tops + sizeof(float) * (size_t)(cut->turn * parts * at_channels_slabs(cut));
    return p;
}

size_t at_channels_scratch(const at_channels_cut *cut, at_channels_way way)
{
    return places_of(cut, way).end;
}

at_channels_numbers at_channels_numbers_of(const at_channels_cut *cut, at_channels_way way,
                                           void *scratch, int64_t i, int64_t part)
{
    places p = places_of(cut, way);
    int64_t stride = at_channels_stride(cut), sums = p.sums / at_channels_parts(cut);
    double *sum = (double *)scratch + (i * p.sums + part * sums) * stride;
    float *coefficient = (float *)(void *)((char *)scratch + p.at_coefficients);
    coefficient += i * p.coefficients * stride;
    at_channels_numbers n = { { 0 }, { 0 } };
    for (int64_t k = 0; k < sums; k++)
        n.sum[k] = sum + k * stride;
    for (int64_t k = 0; k < p.coefficients; k++)
        n.coefficient[k] = coefficient + k * stride;
    return n;
}

float *at_channels_tops(const at_channels_cut *cut, at_channels_way way, void *scratch)
{
    return (float *)(void *)((char *)scratch + places_of(cut, way).at_tops);
}

double *at_channels_totals(const at_channels_cut *cut, at_channels_way way, void *scratch)
{
    return (double *)(void *)((char *)scratch + places_of(cut, way).at_totals);
}
