#include "kernels/peak.h"
#include "kernels/tile.h"

double at_peak_tiles_bf16(int64_t rounds, float numbers[2])
{
    /* Four products in flight: one takes 16 cycles of the unit and 52 until its sum can be used. */
    enum { PRODUCTS = 4, SIDE = AT_TILE_ROWS, PAIRS = AT_TILE_ROW_BYTES / 4 };
    uint16_t bits[2][SIDE * 2 * PAIRS];
    float sums[SIDE][PAIRS];
    at_tiles t = { 0 };
    for (int i = 0; i < SIDE * 2 * PAIRS; i++) {
        bits[0][i] = at_bf16_from_f32(numbers[0]);
        bits[1][i] = at_bf16_from_f32(numbers[1]);
    }
    at_tile_configure();
    AT_TILE_ZERO(&t, 0);
    AT_TILE_ZERO(&t, 1);
    AT_TILE_ZERO(&t, 2);
    AT_TILE_ZERO(&t, 3);
    AT_TILE_LOAD(&t, 4, bits[0], AT_TILE_ROW_BYTES);
    AT_TILE_LOAD(&t, 5, bits[0], AT_TILE_ROW_BYTES);
    AT_TILE_LOAD(&t, 6, bits[1], AT_TILE_ROW_BYTES);
    AT_TILE_LOAD(&t, 7, bits[1], AT_TILE_ROW_BYTES);
    for (int64_t r = 0; r < rounds; r++) {
        AT_TILE_MULTIPLY(&t, 0, 4, 6);
        AT_TILE_MULTIPLY(&t, 1, 4, 7);
        AT_TILE_MULTIPLY(&t, 2, 5, 6);
        AT_TILE_MULTIPLY(&t, 3, 5, 7);
    }
    AT_TILE_STORE(&t, 0, sums, AT_TILE_ROW_BYTES);
    at_tile_release();
    numbers[0] = sums[0][0];
    return 2.0 * PRODUCTS * SIDE * PAIRS * 2 * PAIRS * (double)rounds;
}
