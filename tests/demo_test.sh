#!/usr/bin/env bash
# Proves that the small model that comes along is a whole one and draws: a sheet, the same twice, and its
# quality told in the file.
# Usage: tests/demo_test.sh ATELIER BUILD
set -euo pipefail

atelier=$(realpath "$1")
build=$(realpath "$2")
root=$(cd "$(dirname "$0")/.." && pwd)
model=$root/models/demo/demo.h5
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail()
{
    printf 'FAIL demo_test: %s\n' "$*"
    exit 1
}

bytes=$(stat -c %s "$model")
[ "$bytes" -lt 15000000 ] || fail "$model has $bytes bytes, expected under 15,000,000"
"$atelier" inspect "$model" >"$scratch/about" || fail "$model cannot be inspected"
grep -q '^text *metrics ' "$scratch/about" || fail "$model does not tell how well it draws"

start=$SECONDS
for i in 1 2; do
    "$root/scripts/demo" "$build" "$scratch/$i.png" >"$scratch/out" || fail "scripts/demo: $(tail -1 "$scratch/out")"
done
grep -q "the sheet is $scratch/2.png" "$scratch/out" || fail "scripts/demo does not say where the sheet is"
cmp -s "$scratch/1.png" "$scratch/2.png" || fail "two sheets differ"
echo "demo_test: two sheets of $(grep -c . "$root/models/demo/sheet.txt") pictures in $((SECONDS - start)) s, model of $bytes bytes"
