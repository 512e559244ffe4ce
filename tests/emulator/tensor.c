/* tensor.c -- mma, ldmatrix and wgmma: products that a warp or a warpgroup does together.
 *
 * Fragment layouts are those of the PTX manual. Sums are in f32, in the order of k; the hardware's
 * order and rounding differ, so results are compared with a tolerance or made of small integers.
 * Sums of e4m3 are as short as Hopper's. */
#include <stdlib.h>

#include "tests/emulator/machine.h"
#include "tests/emulator/numbers.h"

static inline float value_of(uint32_t bits, at_emu_element element)
{
    uint16_t low = (uint16_t)bits;
    if (element == AT_EMU_E4M3)
        return at_emu_e4m3_value((uint8_t)bits);
    return element == AT_EMU_BF16 ? at_emu_bf16_value(low) : at_emu_f16_value(low);
}

static void need_whole_warp(uint32_t mask)
{
    if (mask != ~0u)
        at_emu_fail(at_emu_now.fibre->place,
                    "%s needs a whole warp, the block's last one has %08x,", at_emu_now.fibre->what,
                    mask);
}

/* --- mma.sync.m16n8k16 ------------------------------------------------------------------------ */

enum { M = 16, N = 8, K = 16 };

/* Lane l holds rows g and g + 8, columns t and t + 1 (and those 8 further in k). Inlined, so that
 * the element's type is known where the elements are read. */
static inline __attribute__((always_inline)) void multiply_warp(void **data, uint32_t mask,
                                                                at_emu_element e)
{
    float a[M][K], b[K][N], c[M][N];
    need_whole_warp(mask);
    for (int l = 0; l < AT_EMU_LANES; l++) {
        const at_emu_mma *m = data[l];
        int g = l / 4;
        for (int h = 0; h < 2; h++) {
            int t = l % 4 * 2 + h, shift = 16 * h;
            a[g][t] = value_of(m->a[0] >> shift, e);
            a[g + 8][t] = value_of(m->a[1] >> shift, e);
            a[g][t + 8] = value_of(m->a[2] >> shift, e);
            a[g + 8][t + 8] = value_of(m->a[3] >> shift, e);
            b[t][g] = value_of(m->b[0] >> shift, e);
            b[t + 8][g] = value_of(m->b[1] >> shift, e);
            c[g][t] = m->c[h];
            c[g + 8][t] = m->c[2 + h];
        }
    }
    for (int i = 0; i < M; i++)
        for (int k = 0; k < K; k++)
            for (int j = 0; j < N; j++)
                c[i][j] += a[i][k] * b[k][j];
    for (int l = 0; l < AT_EMU_LANES; l++) {
        const at_emu_mma *m = data[l];
        for (int h = 0; h < 2; h++) {
            m->d[h] = c[l / 4][l % 4 * 2 + h];
            m->d[2 + h] = c[l / 4 + 8][l % 4 * 2 + h];
        }
    }
}

static void act_mma_bf16(void **data, uint32_t mask, void *context)
{
    (void)context;
    multiply_warp(data, mask, AT_EMU_BF16);
}

static void act_mma_f16(void **data, uint32_t mask, void *context)
{
    (void)context;
    multiply_warp(data, mask, AT_EMU_F16);
}

void at_emu_mma_m16n8k16(const at_emu_mma *m, at_emu_element element, at_emu_place place)
{
    at_emu_mma own = *m;
    if (element == AT_EMU_BF16)
        at_emu_warp(~0u, &own, act_mma_bf16, NULL, "mma.m16n8k16 (bf16)", place);
    else
        at_emu_warp(~0u, &own, act_mma_f16, NULL, "mma.m16n8k16 (f16)", place);
}

/* --- ldmatrix --------------------------------------------------------------------------------- */

typedef struct rows {
    uint32_t *r;
    const void *row;
    int matrices;
    bool transposed;
} rows;

static void act_ldmatrix(void **data, uint32_t mask, void *context)
{
    (void)context;
    const rows *first = data[0];
    const uint16_t *row[AT_EMU_LANES];
    at_emu_fibre *me = at_emu_now.fibre;
    need_whole_warp(mask);
    for (int i = 0; i < 8 * first->matrices; i++) {
        const void *p = ((const rows *)data[i])->row;
        if ((uintptr_t)p % 16)
            at_emu_fail(me->place, "ldmatrix: the row of lane %d at %p is not aligned to 16,", i,
                        p);
        if (!at_emu_shared_holds(p, 16))
            at_emu_fail(me->place,
                        "ldmatrix: the row of lane %d at %p lies outside of the block's"
                        " shared arrays,",
                        i, p);
        at_emu_now.fibre = me - me->lane + i;
        at_emu_watch_range(p, 16, AT_EMU_READ, me->place);
        at_emu_now.fibre = me;
        row[i] = p;
    }
    for (int l = 0; l < AT_EMU_LANES; l++)
        for (int j = 0; j < first->matrices; j++) {
            const uint16_t *const *m = row + 8 * j;
            int g = l / 4, q = l % 4 * 2;
            uint32_t low = first->transposed ? m[q][g] : m[g][q];
            uint32_t high = first->transposed ? m[q + 1][g] : m[g][q + 1];
            ((const rows *)data[l])->r[j] = low | high << 16;
        }
}

void at_emu_ldmatrix(uint32_t *r, const void *row, int matrices, at_emu_turn turn,
                     at_emu_place place)
{
    rows own = { r, row, matrices, turn == AT_EMU_TRANSPOSED };
    at_emu_warp(~0u, &own, act_ldmatrix, NULL, own.transposed ? "ldmatrix.trans" : "ldmatrix",
                place);
}

/* --- wgmma ------------------------------------------------------------------------------------ */

enum { OPS_MAX = 64, WG_N_MAX = 256, WG_M = 64, ACC_MAX = 128 * WG_N_MAX / 2 };
enum { WG_K_BYTES = 32, WG_K_MAX = WG_K_BYTES };

typedef struct wg_op {
    at_emu_wgmma w;
    float *d[AT_EMU_GROUP_THREADS];
    float *acc; /* (128 threads, n / 2): the true values while the registers are poisoned */
    int group;
    at_emu_place place;
} wg_op;

typedef struct warpgroup {
    wg_op ops[OPS_MAX];
    int n, committed;
    bool fenced;
} warpgroup;

static warpgroup warpgroups[AT_EMU_THREADS_MAX / AT_EMU_GROUP_THREADS];

static warpgroup *own_group(void)
{
    return &warpgroups[at_emu_now.fibre->id / AT_EMU_GROUP_THREADS];
}

/* Modes as descriptors have them: 1 is 128 bytes, 2 is 64, 3 is 32; 16-byte pieces move by rows. */
uint32_t at_emu_swizzle(uint32_t address, uint32_t mode)
{
    static const uint32_t bits[4] = { 0, 0x70, 0x30, 0x10 };
    return address ^ (address >> 3 & bits[mode & 3]);
}

static uint32_t bytes_of(at_emu_element element)
{
    return element == AT_EMU_E4M3 ? 1 : 2;
}

/* Byte offset of element (i, k) of a tile that is 32 bytes deep; i counts along m or n. Transposed
 * are elements of 2 bytes only. */
static uint32_t offset_in_tile(uint64_t d, bool transposed, uint32_t i, uint32_t k, uint32_t bytes)
{
    uint32_t leading = (uint32_t)(d >> 16 & 0x3FFF) << 4, stride = (uint32_t)(d >> 32 & 0x3FFF)
                                                                   << 4;
    uint32_t mode = (uint32_t)(d >> 62);
    uint32_t row = mode == 0 ? 16 : 256u >> mode; /* bytes of a swizzled row: 128, 64, 32 */
    if (!transposed)
        return i % 8 * row + i / 8 * stride +
               (mode == 0 ? k * bytes / row * leading + k * bytes % row : k * bytes);
    if (mode == 0)
        return i % 8 * 2 + i / 8 * stride + k % 8 * 16 + k / 8 * leading;
    return i % (row / 2) * 2 + i / (row / 2) * leading + k % 8 * row + k / 8 * stride;
}

static void load_tile(float *out, uint32_t rows_n, uint64_t d, bool transposed, const wg_op *op)
{
    uint32_t start = (uint32_t)(d & 0x3FFF) << 4, mode = (uint32_t)(d >> 62);
    uint32_t bytes = bytes_of(op->w.element);
    if (d >> 49 & 7)
        at_emu_fail(op->place, "wgmma: base offsets of descriptors are not emulated,");
    for (uint32_t k = 0; k < WG_K_BYTES / bytes; k++)
        for (uint32_t i = 0; i < rows_n; i++) {
            uint32_t at = at_emu_swizzle(start + offset_in_tile(d, transposed, i, k, bytes), mode);
            const void *p = at_emu_shared_pointer(at, bytes, op->place);
            uint16_t bits = 0;
            at_emu_watch_range(p, bytes, AT_EMU_READ, op->place);
            memcpy(&bits, p, bytes);
            out[k * rows_n + i] = value_of(bits, op->w.element);
        }
}

/* Row and column of register r of thread t in the (64, n) result. */
static int row_of(int t, int r)
{
    return t / 32 * 16 + t % 32 / 4 + (r & 2 ? 8 : 0);
}

static int column_of(int t, int r)
{
    return r / 4 * 8 + t % 4 * 2 + (r & 1);
}

/* c (64, n) += a b, a (k, 64), b (k, n). */
static void add_products(float *c, const float *a, const float *b, int n, int depth)
{
    for (int i = 0; i < WG_M; i++)
        for (int k = 0; k < depth; k++)
            for (int j = 0; j < n; j++)
                c[i * n + j] += a[k * WG_M + i] * b[k * n + j];
}

/* The same as Hopper does it in e4m3: the products of an instruction and what they are added to are
 * aligned to the largest of them and cut towards zero 13 bits behind its first, and so is their
 * sum. The chip takes a product's exponent to be the sum of its operands', which keeps up to a bit
 * more than is kept here. A sum that fits into 14 bits is exact. */
static float short_sum(float c, const float *products, int depth)
{
    enum { BITS = 13, MANTISSA = 23 };
    float top = fmaxf(fabsf(c), 0x1p-30f), sum; /* no product is smaller than 2^-18 */
    for (int k = 0; k < depth; k++)
        top = fmaxf(top, fabsf(products[k]));
    const uint32_t exponent = at_emu_bits_of(top) >> MANTISSA;
    const float unit = at_emu_float_of((exponent - BITS) << MANTISSA), units = 1 / unit;
    sum = truncf(c * units);
    for (int k = 0; k < depth; k++)
        sum += truncf(products[k] * units);
    return at_emu_float_of(at_emu_bits_of(sum * unit) & ~0u << (MANTISSA - BITS));
}

static void add_products_e4m3(float *c, const float *a, const float *b, int n, int depth)
{
    float products[WG_K_MAX];
    for (int i = 0; i < WG_M; i++)
        for (int j = 0; j < n; j++) {
            for (int k = 0; k < depth; k++)
                products[k] = a[k * WG_M + i] * b[k * n + j];
            c[i * n + j] = short_sum(c[i * n + j], products, depth);
        }
}

static void multiply(const wg_op *op)
{
    static float a[WG_K_MAX * WG_M], b[WG_K_MAX * WG_N_MAX], c[WG_M * WG_N_MAX];
    const int depth = (int)(WG_K_BYTES / bytes_of(op->w.element));
    int n = op->w.n, registers = n / 2;
    load_tile(a, WG_M, op->w.a, op->w.a_transposed, op);
    load_tile(b, (uint32_t)n, op->w.b, op->w.b_transposed, op);
    for (int t = 0; t < AT_EMU_GROUP_THREADS; t++)
        for (int r = 0; r < registers; r++)
            c[row_of(t, r) * n + column_of(t, r)] =
                op->w.accumulate ? op->acc[t * registers + r] : 0.0f;
    if (op->w.element == AT_EMU_E4M3)
        add_products_e4m3(c, a, b, n, depth);
    else
        add_products(c, a, b, n, depth);
    for (int t = 0; t < AT_EMU_GROUP_THREADS; t++)
        for (int r = 0; r < registers; r++)
            op->acc[t * registers + r] = c[row_of(t, r) * n + column_of(t, r)];
}

static void take_accumulators(wg_op *op, const warpgroup *g)
{
    for (int i = 0; i < g->n; i++)
        if (g->ops[i].d[0] == op->d[0])
            op->acc = g->ops[i].acc;
    if (op->acc)
        return;
    int registers = op->w.n / 2;
    op->acc = malloc(ACC_MAX * sizeof *op->acc);
    if (!op->acc)
        at_emu_fail(op->place, "wgmma: no memory for accumulators,");
    for (int t = 0; t < AT_EMU_GROUP_THREADS; t++)
        for (int r = 0; r < registers; r++) {
            op->acc[t * registers + r] = op->d[t][r];
            op->d[t][r] = NAN; /* until the wait */
        }
}

static void act_issue(void **data, uint32_t threads, void *context)
{
    (void)context;
    warpgroup *g = own_group();
    const at_emu_wgmma *first = data[0];
    at_emu_place place = at_emu_now.fibre->place;
    wg_op op = { .w = *first, .group = g->committed, .place = place };
    if (!g->fenced)
        at_emu_fail(place, "wgmma without wgmma.fence since its registers were last touched,");
    if (g->n == OPS_MAX)
        at_emu_fail(place, "more than %d wgmma without a wait,", OPS_MAX);
    for (uint32_t t = 0; t < threads; t++) {
        const at_emu_wgmma *w = data[t];
        if (w->a != first->a || w->b != first->b || w->accumulate != first->accumulate)
            at_emu_fail(place, "wgmma: descriptors of threads 0 and %u of the group differ,", t);
        op.d[t] = w->d;
    }
    take_accumulators(&op, g);
    if (at_emu_now.settings.async == AT_EMU_EAGER)
        multiply(&op);
    g->ops[g->n++] = op;
}

void at_emu_wgmma_issue(const at_emu_wgmma *w, at_emu_place place)
{
    at_emu_wgmma own = *w;
    at_emu_group(&own, act_issue, NULL, "wgmma", place);
}

static void act_fence(void **data, uint32_t threads, void *context)
{
    (void)data, (void)threads, (void)context;
    own_group()->fenced = true;
}

void at_emu_wgmma_fence(at_emu_place place)
{
    at_emu_group(NULL, act_fence, NULL, "wgmma.fence", place);
}

static void act_commit(void **data, uint32_t threads, void *context)
{
    (void)data, (void)threads, (void)context;
    own_group()->committed++;
}

void at_emu_wgmma_commit(at_emu_place place)
{
    at_emu_group(NULL, act_commit, NULL, "wgmma.commit_group", place);
}

static bool used_after(const warpgroup *g, int from, const float *acc)
{
    for (int i = from; i < g->n; i++)
        if (g->ops[i].acc == acc)
            return true;
    return false;
}

static void act_wait(void **data, uint32_t threads, void *context)
{
    (void)data, (void)threads;
    warpgroup *g = own_group();
    int until = g->committed - *(const int *)context, done = 0;
    for (; done < g->n && g->ops[done].group < until; done++)
        if (at_emu_now.settings.async == AT_EMU_LAZY)
            multiply(&g->ops[done]);
    for (int i = 0; i < done; i++) {
        wg_op *op = &g->ops[i];
        size_t registers = (size_t)op->w.n / 2;
        if (used_after(g, i + 1, op->acc))
            continue;
        for (size_t t = 0; t < AT_EMU_GROUP_THREADS; t++)
            memcpy(op->d[t], op->acc + t * registers, registers * sizeof(float));
        free(op->acc);
    }
    memmove(g->ops, g->ops + done, (size_t)(g->n - done) * sizeof *g->ops);
    g->n -= done;
    g->fenced = false;
}

void at_emu_wgmma_wait(int groups_left, at_emu_place place)
{
    at_emu_group(NULL, act_wait, &groups_left, "wgmma.wait_group", place);
}

/* At the end of a block nothing may be in flight. */
void at_emu_wgmma_exit(void)
{
    for (size_t i = 0; i < sizeof warpgroups / sizeof *warpgroups; i++)
        if (warpgroups[i].n > 0)
            at_emu_note("the block ends with %d wgmma that nobody waited for, the first at %s:%d",
                        warpgroups[i].n, warpgroups[i].ops[0].place.file,
                        warpgroups[i].ops[0].place.line);
}

void at_emu_wgmma_reset(void)
{
    for (size_t i = 0; i < sizeof warpgroups / sizeof *warpgroups; i++) {
        warpgroup *g = &warpgroups[i];
        for (int k = 0; k < g->n; k++)
            if (!used_after(g, k + 1, g->ops[k].acc))
                free(g->ops[k].acc);
        g->n = g->committed = 0;
        g->fenced = false;
    }
}
