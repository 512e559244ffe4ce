/* libfuzzer.c -- one target for libFuzzer: built by clang with AT_FUZZ_TARGET naming it. */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    at_error err = { AT_OK, "" };
    const at_fuzz_target *target = at_fuzz_named(AT_FUZZ_TARGET);
    at_status status = target->run(data, bytes, &err);
    AT_ASSERT((status == AT_OK) == (err.text[0] == '\0'), "status %d and the sentence '%s'",
              (int)status, err.text);
    return 0;
}
