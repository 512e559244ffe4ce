/* planted.h -- CUDA variants of unary that are wrong on purpose: constant, what the harness must
 * say. The kernels are in planted.cu, planted_main.c runs them. */
#ifndef AT_TESTS_EMULATOR_PLANTED_H
#define AT_TESTS_EMULATOR_PLANTED_H

#define PLANTED_ALL(F)                 \
    F(right, "")                       \
    F(tail, "expected")                \
    F(bounds, "wrote outside y")       \
    F(pitch, "pitched")                \
    F(barrier, "expected")             \
    F(batch, "alone and in the batch") \
    F(overlay, "overlays")             \
    F(input, "changed its input x")    \
    F(align, "tests/emulator/planted.cu")

#endif
