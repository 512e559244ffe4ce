#!/usr/bin/env bash
# Proves that what is installed is enough: a prefix, the example compiled against it alone, and a picture that it draws.
# Usage: tests/install_test.sh BUILD SMALL_SDXL [CC]
set -euo pipefail

build=$(realpath "$1")
small=$(realpath "$2")
cc=${3:-cc}
source=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
prefix=$scratch/prefix

fail()
{
    printf 'FAIL install_test: %s\n' "$*"
    exit 1
}

cmake --install "$build" --prefix "$prefix" >"$scratch/log" 2>&1 || fail "$(tail -3 "$scratch/log")"
header=$(find "$prefix" -name atelier.h)
library=$(find "$prefix" -name libatelier.so)
[ -f "$header" ] && [ -e "$library" ] || fail "the header or the library is not there"

# From a folder that has nothing of the sources, by what atelier.pc says where pkg-config is there.
cd "$scratch"
flags="-I$(dirname "$header") -L$(dirname "$library") -latelier"
if command -v pkg-config >/dev/null 2>&1; then
    flags=$(PKG_CONFIG_PATH=$(dirname "$library")/pkgconfig pkg-config --cflags --libs atelier)
fi
cp "$(find "$prefix" -name draw.c)" draw.c
# shellcheck disable=SC2086 # several words
$cc -std=c11 -Wall -Wextra -Werror draw.c -o draw $flags -Wl,-rpath,"$(dirname "$library")" ||
    fail "the example does not compile with: $flags"

"$small" "$source/tests/golden/pipelines/models/small" small.h5
./draw small.h5 "a photo of a cat" one.png 2 >out 2>err || fail "the example: $(tail -1 err)"
grep -q "step 2 of 2" err || fail "the example showed no steps: $(cat err)"
grep -q '^made so: {"atelier":1,' out || fail "the example told no recipe: $(cat out)"

# The program that was installed draws the same, byte for byte.
"$prefix/bin/atelier" generate --like one.png --model small.h5 -o two.png >out 2>err || fail "generate: $(tail -1 err)"
cmp -s one.png two.png || fail "the program and the library draw different pictures"
if ./draw nothing.h5 x three.png >out 2>err; then
    fail "a model that is not there was no failure"
fi
[ ! -e three.png ] || fail "a picture without a model"
echo "install_test: the example was compiled against $(find "$prefix" -type f | wc -l) installed files and drew a picture"
