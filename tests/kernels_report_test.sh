#!/usr/bin/env bash
# kernels_report_test.sh NVCC -- a kernel made to spill fails the report, a changed one is told, and the
# numbers are what the kernels are written to have.
set -euo pipefail

nvcc=$1
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
fail()
{
    echo "kernels_report_test: $*" >&2
    exit 1
}

# A kernel that keeps 64 numbers alive, compiled for so many blocks of a multiprocessor that they fit or not.
cat >"$folder/greedy.cu" <<'END'
__global__ void __launch_bounds__(256, BLOCKS) greedy(float *x)
{
    __shared__ float room[320];
    float v[64];
#pragma unroll
    for (int i = 0; i < 64; i++)
        v[i] = x[threadIdx.x + 256 * i];
    room[threadIdx.x] = v[0];
    __syncthreads();
#pragma unroll
    for (int k = 0; k < 64; k++) {
        float sum = room[k];
#pragma unroll
        for (int i = 0; i < 64; i++)
            sum += v[i] * v[(i * 7 + k) % 64];
        x[threadIdx.x + 256 * k] = sum;
    }
}
END
compile()
{
    "$root/cmake/nvcc-object" "$folder/kernels_greedy.cu.o" "$folder/greedy.cu" "$nvcc" -O2 \
        -gencode=arch=compute_80,code=sm_80 "$@"
}
report()
{
    "$root/scripts/kernels-report" "$folder" "$@" 2>&1
}

echo "nvcc of the test" >"$folder/compiler.txt"
compile -DBLOCKS=1
report >"$folder/good.md"
grep -q '| greedy.cu | greedy | sm_80 | 256 | [0-9]* | [0-9]*% | 1280 | 0 | 0 |' "$folder/good.md" ||
    fail "the row of a kernel: $(grep greedy "$folder/good.md")"
said=$(report "$folder/good.md") || fail "a table that is true is not taken: $said"
grep -q '1 rows, no spills' <<<"$said" || fail "what was looked at is not told: $said"

compile -DBLOCKS=8
if said=$(report "$folder/good.md"); then
    fail "a kernel that spills is taken"
fi
grep -q 'greedy.cu greedy for sm_80: [1-9][0-9]* bytes' <<<"$said" || fail "it is not named: $said"

sed -i 's/320/384/' "$folder/greedy.cu"
compile -DBLOCKS=1
if said=$(report "$folder/good.md"); then
    fail "a table of other kernels is taken"
fi
grep -q '+| greedy.cu .*| 1536 |' <<<"$said" || fail "the difference is not told: $said"

echo "another nvcc" >"$folder/compiler.txt"
said=$(report "$folder/good.md") || fail "another compiler's table is compared: $said"
grep -q "another compiler's" <<<"$said" || fail "that it is another compiler's is not told: $said"

rm "$folder"/*.kernels
if report >/dev/null; then
    fail "a folder without kernels is taken"
fi
