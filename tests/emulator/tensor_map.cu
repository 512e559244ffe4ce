/* tensor_map.cu -- emulated twin of kernels/device/tensor_map.cu, with the driver's own rules. */
#include "kernels/device/tensor_map.h"

#include "tests/emulator/machine.h"

cudaError_t at_tensor_map_encode(at_tensor_map *map, const at_tensor_map_2d *of)
{
    static const uint32_t row_max[] = { 512, 128, 64, 32 };
    static_assert(sizeof(at_emu_tensor_map) <= sizeof *map, "it fits");
    const uint32_t bytes = of->dtype == AT_F8 ? 1 : 2;
    bool fits = (of->dtype == AT_BF16 || of->dtype == AT_F16 || of->dtype == AT_F8) &&
                (uintptr_t)of->data % 16 == 0 && of->pitch % 16 == 0 && of->rows > 0 &&
                of->columns > 0 && of->box_rows > 0 && of->box_rows <= 256 && of->box_columns > 0 &&
                of->box_columns <= 256 && of->box_columns * bytes % 16 == 0 &&
                of->box_columns * bytes <= row_max[of->swizzle];
    if (!fits)
        return cudaErrorInvalidValue;
    at_emu_tensor_map m = {};
    m.magic = AT_EMU_MAP_MAGIC;
    m.base = static_cast<const char *>(of->data);
    m.size[0] = of->columns;
    m.size[1] = of->rows;
    m.pitch = of->pitch;
    m.box[0] = of->box_columns;
    m.box[1] = of->box_rows;
    m.element_bytes = bytes;
    m.swizzle = of->swizzle;
    memset(map, 0, sizeof *map);
    memcpy(map, &m, sizeof m);
    return cudaSuccess;
}
