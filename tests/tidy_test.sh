#!/usr/bin/env bash
# Proves that tidy sees: a clean tree passes, and each breach planted in a copy of it is named with
# its file, its line and its check. Usage: tests/tidy_test.sh [TIDY]; without it builds one.
set -euo pipefail
shopt -s lastpipe # the end of a pipeline counts its failures in this shell

root=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
newline=$'\n'
tests=0
failures=0

tidy=${1:-}
if [ -z "$tidy" ]; then
    tidy=$scratch/tidy
    "${CC:-cc}" -std=c11 -O1 -I"$root" "$root/tests/tidy.c" "$root/tests/tidy_source.c" -o "$tidy"
fi
tidy=$(realpath "$tidy")

fail()
{
    printf 'FAIL %s\n' "$*"
    [ -z "${TIDY_TEST_BLIND:-}" ] || exit 1 # one is enough to know
    failures=$((failures + 1))
}

# A small tree without any breach.
clean_tree()
{
    mkdir -p "$1"/{kernels/device,engine,models,cli,tests,build/x,.hidden}
    cat >"$1/kernels/base.h" <<'END'
/* base.h -- what the others stand on. TODO: is one header enough? */
#ifndef AT_KERNELS_BASE_H
#define AT_KERNELS_BASE_H

#include <stdint.h>

typedef struct at_pair {
    int a, b;
} at_pair;

struct at_later;
extern const int at_table[2];
int at_pair_sum(const at_pair *pair);

#endif
END
    cat >"$1/kernels/base.c" <<'END'
#include "kernels/base.h"

#include <stdio.h>
#include <stdlib.h>

const int at_table[2] = { 1, 2 };
static const char *const names[] = { "strcpy(", "\"getenv(\"", "it's" }; /* sprintf( */
static int (*const hook)(const at_pair *) = at_pair_sum;

int at_pair_sum(const at_pair *pair)
{
    static const struct {
        int x;
    } rows[] = { { 1 }, { 2 } };
    if (!pair) {
        fprintf(stderr, "%s %d\n", names[0], hook != 0);
        abort();
    }
    char c = '"'; // an apostrophe's comment
    return pair->a + pair->b + rows[0].x + c;
}
END
    cat >"$1/kernels/device/mma.cuh" <<'END'
#ifndef AT_KERNELS_DEVICE_MMA_CUH
#define AT_KERNELS_DEVICE_MMA_CUH

#define AT_LAUNCH(kernel, grid, block, ...) kernel<<<grid, block>>>(__VA_ARGS__)

static __device__ void wait_all(void)
{
    asm volatile("cp.async.wait_all;");
}

#endif
END
    printf '#include "kernels/base.h"\n' >"$1/engine/graph.c"
    printf 'AT_OP(conv2d)\nAT_OP(linear)\n' >"$1/kernels/ops.def"
    cat >"$1/cli/main.c" <<'END'
#include <stdio.h>
#include <stdlib.h>

static int verbosity = 1;

int main(void)
{
    char line[8];
    snprintf(line, sizeof line, "%d", verbosity);
    printf("%s %s\n", getenv("HOME"), line);
    exit(0);
}
END
    printf '#include "cli/main.h"\n#include "engine/graph.h"\n' >"$1/tests/all.c"
    printf 'int bad( ;\t \n' | tee "$1/build/x/bad.c" "$1/.hidden/bad.c" >"$1/notes.txt"
}

# run TREE: leaves tidy's words in $output and its exit status in $status.
run()
{
    status=0
    output=$("$tidy" "$1" 2>&1) || status=$?
    tests=$((tests + 1))
}

# put PATH: puts stdin in place of PATH in the tree and runs tidy; then the tree is clean again.
put()
{
    local file=$scratch/tree/$1 folder=$scratch/tree/${1%/*}
    [ -d "$folder" ] || mkdir -p "$folder"
    cat >"$file"
    run "$scratch/tree"
    if [ -e "$scratch/clean/$1" ]; then
        cp "$scratch/clean/$1" "$file"
    else
        rm "$file"
    fi
}

# plant PATH LINE CHECK: expects that stdin in place of PATH earns this complaint.
plant()
{
    put "$1"
    if [ "$status" -ne 1 ]; then
        fail "$3 in $1: exit status $status, expected 1; got: $output"
    elif [[ $newline$output != *"$newline$1:$2: $3: "* ]]; then
        fail "$3 in $1: no complaint at line $2; got: $output"
    fi
}

# allow PATH: expects that stdin in place of PATH earns no complaint.
allow()
{
    put "$1"
    [ "$status" -eq 0 ] || fail "$1 should be allowed; got: $output"
}

# A function with a body of $2 lines, named $1.
function_of()
{
    printf 'int %s(int x)\n{\n' "$1"
    for ((i = 1; i < $2; i++)); do printf '    x += %d;\n' "$i"; done
    printf '    return x;\n}\n'
}

# repeat COUNT LINE
repeat()
{
    for ((i = 0; i < $1; i++)); do printf '%s\n' "$2"; done
}

# Each argument as a line.
lines()
{
    printf '%s\n' "$@"
}

clean_tree "$scratch/clean"
cp -r "$scratch/clean" "$scratch/tree"
run "$scratch/clean"
[ "$status" -eq 0 ] || fail "the clean tree: exit status $status, got: $output"
grep -q '^tidy: 0 complaints in 7 files$' <<<"$output" || fail "the clean tree: got: $output"

# layers: each layer against the next one, and the ways around.
lower=
for upper in kernels engine models runtime trainer server cli tests; do
    [ -z "$lower" ] || lines 'int x(void);' "#include \"$upper/a.h\"" | plant "$lower/a.c" 2 layers
    [ -z "$lower" ] || lines "#include \"$lower/a.h\"" | allow "$upper/a.c"
    lower=$upper
done
lines '#include <engine/graph.h>' | plant kernels/a.c 1 layers
lines '#  include "engine/graph.h"' | plant kernels/device/a.cu 1 layers
lines '#include "../engine/graph.h"' | plant kernels/a.c 1 layers
lines '#include "benchmarks/a.h"' | plant cli/a.c 1 layers
lines 'int x(void);' | plant helpers/a.c 1 layers
lines '/* #include "engine/graph.h" */' 'int x(void);' | allow kernels/a.c

# homes
lines '#include <omp.h>' | plant engine/a.c 1 homes
lines '#include <oneapi/dnnl/dnnl.h>' | plant kernels/conv2d.c 1 homes
lines '#include <oneapi/dnnl/dnnl.h>' | allow kernels/conv2d_onednn.c
lines '#include <cub/cub.cuh>' | plant kernels/a.cu 1 homes
lines '#include <omp.h>' '#include <oneapi/dnnl/dnnl.h>' | allow benchmarks/a.c

# guard
lines '#ifndef BASE_H' '#define BASE_H' '#endif' | plant kernels/a.h 1 guard
lines '#pragma once' | plant kernels/a.h 1 guard
lines '#ifndef AT_ENGINE_A_H' '#define AT_ENGINE_B_H' '#endif' | plant engine/a.h 1 guard
lines '/* a */' '' '#ifndef AT_ENGINE_A_H' '#define AT_ENGINE_A_H' '#endif' | allow engine/a.h

# lines, endings, lengths
wide=$(printf 'x%.0s' {1..96})
lines 'int x;' "/*$wide*/" | allow cli/a.c
lines 'int x;' "/*${wide}x*/" | plant cli/a.c 2 lines
lines "/*${wide%x}é*/" | allow cli/a.c
printf 'int x(void);\n\tint y(void);\n' | plant engine/a.c 2 lines
printf 'int x(void); \n' | plant engine/a.c 1 lines
printf 'int x(void);\r\n' | plant engine/a.c 1 lines
printf 'int x(void);\nint y(void);' | plant engine/a.c 2 ending
printf 'int x(void);\n\n' | plant engine/a.c 2 ending
printf '' | plant engine/a.c 1 ending
repeat 800 'int x(void);' | allow engine/a.c
repeat 801 'int x(void);' | plant engine/a.c 801 file-length
repeat 801 'AT_OP(x)' | plant kernels/ops.def 801 file-length
function_of f 70 | allow engine/a.c
function_of f 71 | plant engine/a.c 2 function-length
function_of f 71 | plant tests/a.c 2 function-length
function_of f 120 | allow kernels/a.c
function_of f 121 | plant kernels/a.c 2 function-length
function_of f 121 | plant kernels/device/a.cu 2 function-length
function_of f 121 | plant kernels/a.inc 2 function-length
function_of unet_forward 120 | allow models/a.c
function_of unet_forward 121 | plant models/a.c 2 function-length
function_of unet_load 71 | plant models/a.c 2 function-length
{ lines 'extern "C" {' && function_of f 71 && lines '}'; } | plant engine/a.cu 3 function-length
{ lines '#define BRACE {' 'struct s {' '    int x;' '};' && function_of f 71; } |
    plant engine/a.c 6 function-length

# banned
for word in strcpy strcat sprintf vsprintf gets strtok atoi atol atof alloca setjmp longjmp rand \
    srand system; do
    lines 'void f(void)' '{' "    $word(x);" '}' | plant tests/a.c 3 banned
    lines 'void f(void)' '{' "    my_$word(x); ops->$word(y); /* $word(z) */" '}' | allow tests/a.c
done
for call in 'getenv("X")' 'printf("x")' 'fprintf(stderr, "x")' 'fputs("x", stdout)' 'puts("x")' \
    'exit(1)' 'abort()' 'assert(x)' 'perror("x")'; do
    lines 'void f(void)' '{' "    $call;" '}' >"$scratch/call.c"
    for layer in kernels engine models runtime trainer server; do
        plant "$layer/a.c" 3 library <"$scratch/call.c"
    done
    plant kernels/a.cu 3 library <"$scratch/call.c"
    for place in kernels/base.c cli/a.c tests/a.c benchmarks/a.c; do
        allow "$place" <"$scratch/call.c"
    done
done
lines 'void f(const char *s, ...) __attribute__((format(printf, 1, 2)));' | allow engine/a.c

# marks
for mark in TODO FIXME XXX HACK; do
    lines '/* one' " * $mark later */" | plant engine/a.c 2 marks
    lines "// $mark: does it hold for f8?" | allow engine/a.c
done

# conditionals
lines 'void f(void)' '{' '#ifdef AT_CUDA' '    g();' '#endif' '}' | plant engine/a.c 3 conditionals
lines 'void f(void)' '{' '    #if 1' '    g();' '    #endif' '}' | plant engine/a.c 3 conditionals
lines ' #ifndef X' ' #endif' | plant engine/a.c 1 conditionals
lines 'static const int t[] = {' '#ifdef AT_CUDA' '    1,' '#endif' '    2,' '};' | allow engine/a.c

# globals
for variable in 'static int count;' 'static int count = 0;' 'int count;' 'static char room[8];' \
    'static const char *name = "x";' 'static struct at_x *list;' 'static _Thread_local int depth;' \
    'static int (*hook)(int);' 'struct at_x { int y; } x;' 'static struct { int y; } x;'; do
    lines 'int f(void);' "$variable" | plant engine/a.c 2 globals
    lines "$variable" | allow cli/a.c
done
lines 'int f(void)' '{' '    static int calls;' '    return calls++;' '}' | plant runtime/a.c 3 globals
lines 'static int x = 1;' | plant kernels/a.cu 1 globals
for constant in 'static const int x = 1;' 'static const char *const x[] = { "y" };' \
    'static int f(int x);' 'typedef int (*at_fn)(int);' 'struct at_x;' 'extern int x;' \
    'enum { MAX = 1 };' '_Static_assert(1, "x");' 'static const struct { int y; } x[] = { { 1 } };'; do
    lines "$constant" | allow engine/a.c
done

# braces
lines 'int f(int x) {' '    return x;' '}' | plant engine/a.c 1 braces

# threads
lines 'void f(void)' '{' '#pragma omp parallel for' '    g();' '}' | plant kernels/a.c 3 threads
lines '#define P _Pragma("omp parallel")' | plant engine/a.c 1 threads
lines 'void f(void)' '{' '#pragma omp parallel for' '    g();' '}' | allow kernels/parallel.c
lines 'void f(void)' '{' '#pragma omp simd' '    g();' '}' | allow kernels/a.c

# device
lines 'void f(void)' '{' '    k<<<1, 2>>>(x);' '}' | plant kernels/a.cu 3 device
lines 'void f(void)' '{' '    asm volatile("bar.sync 0;");' '}' | plant kernels/a.cu 3 device
lines 'void f(void)' '{' '    extern __shared__ float s[];' '}' | plant kernels/a.cu 3 device

# early
lines '__global__ void f(int *y)' '{' '    *y = 1;' '}' 'void g(void)' '{' \
    '    AT_LAUNCH_EARLY((f), 1, 1, 0, q, y);' '}' | plant kernels/a.cu 7 early
lines '__global__ void f(int *y)' '{' '    at_wait_for_earlier();' '    *y = 1;' '}' 'void g(void)' '{' \
    '    AT_LAUNCH_EARLY((f), 1, 1, 0, q, y);' '}' | allow kernels/a.cu

# structs
lines 'struct job {' '    int a;' '};' >"$scratch/tree/kernels/first.cu"
lines '' 'struct job {' '    int b;' '};' | plant kernels/second.cu 2 structs
lines '' 'struct other_job {' '    int b;' '};' | allow kernels/second.cu
rm "$scratch/tree/kernels/first.cu"

# A tree that cannot be read is no tidy tree.
mkdir "$scratch/empty"
run "$scratch/empty"
[ "$status" -eq 2 ] || fail "an empty tree: exit status $status, expected 2"
run "$scratch/nowhere"
[ "$status" -eq 2 ] || fail "no tree: exit status $status, expected 2"

# This test itself must fail with a tidy that sees nothing.
if [ -z "${TIDY_TEST_BLIND:-}" ]; then
    printf '#!/bin/sh\necho "tidy: 0 complaints in 7 files"\n' >"$scratch/blind"
    chmod +x "$scratch/blind"
    if TIDY_TEST_BLIND=1 "$0" "$scratch/blind" >/dev/null 2>&1; then
        fail "this test passes with a tidy that never complains"
    fi
fi

echo "tidy_test: $failures of $tests failed"
[ "$failures" -eq 0 ]
