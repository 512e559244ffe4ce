/* device.h -- the device "cuda" on the emulator: engine/device_cuda.c, driver.c for a driver. */
#ifndef AT_TESTS_EMULATOR_DEVICE_H
#define AT_TESTS_EMULATOR_DEVICE_H

#include "engine/device.h"

/* at_device_check() tells of the fault of a launch, too. */
at_status at_device_emulated(at_device **out, at_error *err);

#endif
