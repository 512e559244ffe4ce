#!/bin/sh
# add_op_test.sh -- what the README says about adding an op is enough: in a copy of the sources a new op
# with a second variant is added by touching what is listed there and nothing else; checkop then knows it,
# proves it, and finds it wrong when it is made wrong.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
fail()
{
    echo "add_op_test: $*" >&2
    exit 1
}

cd "$root"
tar -cf - --exclude=./build --exclude=./.git . | tar -xf - -C "$copy"
cd "$copy"

# 1. one line in kernels/ops.def
echo 'AT_OP(negate)' >>kernels/ops.def

# 2. its args in kernels/ops.h
sed -i 's|^/\* --- elementwise|/* y = -x */\ntypedef struct at_negate_args {\n    at_view y, x; /* (..., C) T */\n} at_negate_args;\n\n&|' kernels/ops.h
grep -q at_negate_args kernels/ops.h || fail "kernels/ops.h has lost its section on elementwise ops"

# 3. kernels/negate.c: tables, shape rule, reference, variants
cat >kernels/negate.c <<'END'
/* negate.c -- y = -x */
#include "kernels/shape.h"
#include "kernels/variants.h"

static const at_operand negate_operands[] = {
    AT_OPERAND(negate, y, AT_OUT, AT_BATCHED | AT_OVERLAY, AT_NONE),
    AT_OPERAND(negate, x, AT_IN, AT_BATCHED, AT_NONE),
};

static at_status negate_shape(void *args, at_error *err)
{
    at_negate_args *a = args;
    AT_TRY(at_expect_float("negate", "x", &a->x, err));
    a->y = at_view_like(&a->x, a->x.dtype);
    return AT_OK;
}

static at_status negate_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_negate_args *a = args;
    (void)p, (void)l;
    for (int64_t r = 0; r < at_rows(&a->x); r++)
        for (int64_t c = 0; c < at_cols(&a->x); c++)
            at_set(&a->y, r, c, -at_get(&a->x, r, c));
    return AT_OK;
}

static bool negate_fits(const void *args)
{
    const at_negate_args *a = args;
    return a->x.dtype == AT_F32;
}

static at_status negate_f32(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_negate_args *a = args;
    (void)p, (void)l;
    for (int64_t r = 0; r < at_rows(&a->x); r++)
        for (int64_t c = 0; c < at_cols(&a->x); c++)
            ((float *)at_row(&a->y, r))[c] = -((const float *)at_row(&a->x, r))[c];
    return AT_OK;
}

static const at_variant negate_variants[] = {
    { "negate_f32", AT_CPU, 0, AT_ROWS_INDEPENDENT, negate_fits, NULL, NULL, NULL, negate_f32 },
    AT_REFERENCE("negate", negate_ref),
};
AT_DEFINE_OP(negate, "y = -x", negate_operands, at_no_attrs, negate_shape, NULL, negate_variants);
END

# 4. its case in tests/cases/
cat >tests/cases/negate.c <<'END'
#include "tests/check.h"

AT_CASES(negate) = {
    { "x=3,5" },
    { "x=2,4,4,33" },
    { NULL },
};
END

cmake -G Ninja -S . -B build -DCMAKE_BUILD_TYPE=Debug -DATELIER_CUDA=OFF >build.log 2>&1 || {
    tail -20 build.log
    fail "configuring failed"
}
ninja -C build checkop >build.log 2>&1 || {
    grep -E 'error|warning' build.log | head -20
    fail "building failed"
}
! grep -q warning build.log || fail "building warned: $(grep warning build.log | head -1)"
build/tests/checkop --list negate | grep -q negate_f32 || fail "checkop does not list the variant"
build/tests/checkop negate || fail "checkop finds the right variant wrong"

sed -i 's/= -((const float/= 1.5f * -((const float/' kernels/negate.c
ninja -C build checkop >/dev/null
if build/tests/checkop negate; then
    fail "checkop does not see that the variant is wrong"
fi
echo "add_op_test: passed"
