#include "cli/contact_sheet.h"

#include <stdlib.h>
#include <string.h>

enum { GAP = 8, CHANNELS = 3, BACKGROUND = 0xff };

at_picture at_picture_of(const at_pixels *p)
{
    return (at_picture){ .width = p->width,
                         .height = p->height,
                         .channels = p->channels,
                         .depth = 8,
                         .pixels = (void *)(uintptr_t)p->data };
}

static int64_t columns_of(int n)
{
    int64_t columns = 1;
    while (columns * columns < n)
        columns++;
    return columns;
}

static int64_t side(int64_t cells, int64_t cell)
{
    return cells * (cell + GAP) + GAP;
}

/* A cell's side where the sheet's would be too long. */
static int64_t cell_of(int64_t cells, int64_t whole, double shrink)
{
    const int64_t cell = (int64_t)((double)whole * shrink);
    const int64_t most = (AT_SHEET_SIDE_MAX - GAP) / cells - GAP;
    return cell < 1 ? 1 : cell < most ? cell : most;
}

static void put_cell(at_picture *sheet, const at_picture *cell, int64_t column, int64_t row)
{
    const int64_t left = side(column, cell->width), top = side(row, cell->height);
    const size_t bytes = (size_t)cell->width * CHANNELS;
    for (int64_t y = 0; y < cell->height; y++)
        memcpy((uint8_t *)sheet->pixels + ((top + y) * sheet->width + left) * CHANNELS,
               (const uint8_t *)cell->pixels + (size_t)y * bytes, bytes);
}

static at_status put_all(at_picture *sheet, const at_pixels *pictures, int n, int64_t columns,
                         int64_t width, int64_t height, at_error *err)
{
    for (int i = 0; i < n; i++) {
        at_picture whole = at_picture_of(&pictures[i]), small = { 0 };
        const bool fits = whole.width == width && whole.height == height;
        if (!fits) {
            at_status status = at_picture_resize(&small, &whole, width, height, AT_LANCZOS, err);
            if (status != AT_OK)
                return status;
        }
        put_cell(sheet, fits ? &whole : &small, i % columns, i / columns);
        at_picture_free(&small);
    }
    return AT_OK;
}

at_status at_contact_sheet(at_picture *out, const at_pixels *pictures, int n, at_error *err)
{
    const int64_t columns = columns_of(n), rows = (n + columns - 1) / columns;
    int64_t width = pictures[0].width, height = pictures[0].height;
    const int64_t wide = side(columns, width), high = side(rows, height);
    const int64_t longest = wide > high ? wide : high;
    if (longest > AT_SHEET_SIDE_MAX) {
        const double shrink = (double)AT_SHEET_SIDE_MAX / (double)longest;
        width = cell_of(columns, width, shrink);
        height = cell_of(rows, height, shrink);
    }
    *out = (at_picture){ .width = side(columns, width),
                         .height = side(rows, height),
                         .channels = CHANNELS,
                         .depth = 8 };
    const size_t bytes = (size_t)(out->width * out->height * CHANNELS);
    out->pixels = malloc(bytes);
    if (!out->pixels)
        return at_fail(err, AT_NO_MEMORY, "no memory for a contact sheet of %zu bytes", bytes);
    memset(out->pixels, BACKGROUND, bytes);
    at_status status = put_all(out, pictures, n, columns, width, height, err);
    if (status != AT_OK)
        at_picture_free(out);
    return status;
}
