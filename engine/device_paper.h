/* device_paper.h -- a device that is only planned for: plans are made for what it can do, so that
 * their bytes are known where it is not, or without taking its memory; nothing is copied or run.
 *
 * Parameters get addresses without memory behind them. What would need memory is refused, or, where
 * it cannot return a failure, told by at_device_check(). */
#ifndef AT_ENGINE_DEVICE_PAPER_H
#define AT_ENGINE_DEVICE_PAPER_H

#include "engine/device.h"
#include "engine/gpus.h"

/* What such a GPU can do, without its libraries: plans get our own kernels. */
AT_API at_caps at_paper_caps(const at_gpu *gpu);
/* A device of that name with these capabilities and so many bytes. Libraries that 'caps' points to
 * must live longer. */
AT_API at_status at_device_open_paper(at_device **out, const char *name, const at_caps *caps,
                                      size_t bytes, at_error *err);

#endif
