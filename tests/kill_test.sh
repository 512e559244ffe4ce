#!/usr/bin/env bash
# Proves that an import which is killed at any moment leaves the old file or the new one, whole, and
# nothing beside it. Usage: tests/kill_test.sh ATELIER [KILLS]
set -euo pipefail

atelier=$(realpath "$1")
kills=${2:-25}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
tensors=64
bytes=500000
old=0
new=0
failures=0

# A safetensors file of 64 tensors of random bytes.
make_weights()
{
    local header='{' i
    for ((i = 0; i < tensors; i++)); do
        header+="\"t$i\":{\"dtype\":\"U8\",\"shape\":[$bytes],\"data_offsets\":[$((i * bytes)),$(((i + 1) * bytes))]},"
    done
    header="${header%,}}"
    while ((${#header} % 8)); do header+=' '; done
    local n=${#header} octal=
    for i in 0 8 16 24; do octal+=$(printf '\\%03o' $((n >> i & 255))); done
    # shellcheck disable=SC2059 # the format is made above
    { printf "$octal\\0\\0\\0\\0%s" "$header" && head -c $((tensors * bytes)) /dev/urandom; } >"$1"
}

mkdir "$scratch/store"
for which in old new; do
    make_weights "$scratch/$which.safetensors"
    "$atelier" model import "$scratch/$which.safetensors" "$scratch/$which.atelier" >/dev/null
done
start=$(date +%s%N)
"$atelier" model import "$scratch/new.safetensors" "$scratch/store/model.atelier" >/dev/null
took=$(($(date +%s%N) - start)) # nanoseconds of a whole import

for ((k = 0; k < kills; k++)); do
    cp "$scratch/old.atelier" "$scratch/store/model.atelier"
    "$atelier" model import "$scratch/new.safetensors" "$scratch/store/model.atelier" >/dev/null 2>&1 &
    sleep "$(printf '0.%09d' $((RANDOM * 32768 % (took * 5 / 4) + RANDOM)))"
    kill -9 $! 2>/dev/null || true
    wait $! 2>/dev/null || true
    if cmp -s "$scratch/store/model.atelier" "$scratch/old.atelier"; then
        old=$((old + 1))
    elif cmp -s "$scratch/store/model.atelier" "$scratch/new.atelier"; then
        new=$((new + 1))
    else
        echo "FAIL kill $k: neither the old file nor the new one is there"
        failures=$((failures + 1))
    fi
done
# A kill between the hidden name and the final one leaves the hidden one, until the next import.
"$atelier" model import "$scratch/new.safetensors" "$scratch/store/model.atelier" >/dev/null
left=$(find "$scratch/store" -mindepth 1 | wc -l)
[ "$left" -eq 1 ] || { ls -la "$scratch/store" && failures=$((failures + 1)); }
echo "kill_test: $kills kills: $old left the old file, $new the new one, $failures failures"
[ "$failures" -eq 0 ]
