/* cuda_stubbed.h -- the device "cuda" on the driver that cuda_stub.c plays, for tests of cmocka. */
#ifndef AT_TESTS_CUDA_STUBBED_H
#define AT_TESTS_CUDA_STUBBED_H

#include "engine/device.h"
#include "tests/cuda_stub.h"

/* What the driver says of itself and has seen. */
cuda_stub *cuda_stub_seen(void);
at_cu_result cuda_stub_launch_on(at_cu_stream stream, int value);

/* Before a test: a good driver of one device. After it: fails if something was not freed. */
int cuda_stub_set_up(void **state);
int cuda_stub_nothing_is_left(void **state);

/* The device's interface with that driver; a test may change it before it opens one. */
at_device_api cuda_stub_api(void);
at_device *cuda_stub_open(const at_device_api *api);

#endif
