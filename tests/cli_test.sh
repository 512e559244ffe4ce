#!/usr/bin/env bash
# Proves what the program says and how it ends: help, wrong options, exit statuses, JSON.
# Usage: tests/cli_test.sh ATELIER [DRIVER], a library that plays the NVIDIA driver
set -euo pipefail

unset GOMP_SPINCOUNT OMP_WAIT_POLICY
atelier=$(realpath "$1")
driver=${2:-}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
out=$scratch/out
err=$scratch/err
tests=0
failures=0

fail()
{
    printf 'FAIL %s\n' "$*"
    failures=$((failures + 1))
}

# expect STATUS WORDS...: runs the program; its output is then in $out and $err.
expect()
{
    local wanted=$1 status=0
    shift
    tests=$((tests + 1))
    what="atelier $*"
    "$atelier" "$@" >"$out" 2>"$err" </dev/null || status=$?
    [ "$status" -eq "$wanted" ] || fail "$what: exit status $status, expected $wanted: $(head -1 "$err")"
}

# What went to a stream has the words / is one sentence / is JSON that has the words.
says() { grep -qF -e "$2" "$scratch/$1" || fail "$what: '$2' is not in: $(head -3 "$scratch/$1")"; }
one_line() { [ "$(wc -l <"$err")" -eq 1 ] || fail "$what: not one sentence: $(cat "$err")"; }
refused()
{
    local words=$1
    shift
    expect 2 "$@"
    says err "$words"
    one_line
    [ ! -s "$out" ] || fail "$what: printed something before it failed: $(head -1 "$out")"
}
is_json()
{
    if ! command -v python3 >/dev/null 2>&1; then
        echo "SKIP reading the JSON of $what: there is no python3"
    elif ! python3 -c "import json, sys; d = json.load(open(sys.argv[1])); assert $1, d" "$out" 2>"$err"; then
        fail "$what: not $1: $(tail -1 "$err")"
    fi
}

# --- the program -------------------------------------------------------------------------------------
for word in help --help -h; do
    expect 0 "$word"
    says out "doctor"
    says out "bench"
done
expect 0 version
says out "atelier "
expect 0 help bench
says out "--shape"
expect 2
says err "usage:"
refused "nonsense" nonsense
refused "nonsense" help nonsense
refused "nonsense" doctor nonsense
refused "--nonsense" doctor --nonsense

# --- doctor ------------------------------------------------------------------------------------------
expect 0 doctor --help
says out "--json"
for n in 0 1025 x 1.5 ""; do refused "--threads" doctor --threads "$n"; done
refused "--threads" doctor --threads
refused "'sse9' is not an instruction set" doctor --isa sse9
for command in bench tune profile; do expect 0 help $command && says out "--early yes|no"; done
refused "early launches: 'maybe' is neither yes nor no" bench ops --device cpu --early maybe
expect 0 doctor
for word in processor cores memory instructions peaks bandwidth libraries gpu precision threads; do
    says out "$word"
done
for word in convolution product attention "group norm"; do says out "$word"; done
expect 0 doctor --json --threads 1 --isa plain
is_json 'd["threads"]["count"] == 1 and d["precision"]["dtype"] == "f32"'
is_json 'all(c["variant"] for c in d["choices"]) and not any(d["cpu"]["instructions"].values())'
is_json 'all(l["detail"] for l in d["libraries"])'
is_json '{"HDF5", "xxHash", "libpng", "libjpeg-turbo"} <= {l["name"] for l in d["libraries"] if l["version"]}'
is_json '{"libwebp", "stb", "lcms2"} < {l["name"] for l in d["libraries"]}'
is_json 'float("%.6g" % d["precision"]["bf16_ratio"]) == d["precision"]["bf16_ratio"]'
is_json '{"cuBLASLt", "cuDNN", "NCCL", "nvrtc"} < {l["name"] for l in d["libraries"]}'
is_json 'd["gpu"]["cuda_device"] == ("name" in d["gpu"]) == (not d["gpu"]["why"].startswith("none: "))'
is_json 'd["gpu"]["cuda_device"] and d["gpu"]["kernels"] or d["gpu"]["why"].endswith("the cpu is used")'
# Without a driver everything runs, and one line says what is missing.
if ! python3 -c 'import ctypes; ctypes.CDLL("libcuda.so.1")' 2>/dev/null; then
    is_json '"there is no NVIDIA driver: libcuda.so.1" in d["gpu"]["why"] and "\n" not in d["gpu"]["why"]'
fi
# A library in a place of torch's is found there, and says what is wrong with it if it is none.
wheel=$scratch/venv/lib/python3.11/site-packages/nvidia/nccl/lib
mkdir -p "$wheel"
ln -s "$(ldd "$atelier" | awk '$1 ~ /^libm\.so/ { print $3 }')" "$wheel/libnccl.so.2"
VIRTUAL_ENV=$scratch/venv expect 0 doctor --threads 1
if ! grep -qE '^ +NCCL +[0-9]' "$out"; then says out "libnccl.so.2 has no ncclGetVersion"; fi
# The same for the python3 that the PATH finds, of an environment that was not activated.
mkdir -p "$scratch/venv/bin"
ln -s "$(command -v true)" "$scratch/venv/bin/python3"
PATH=$scratch/venv/bin:$PATH expect 0 doctor --threads 1
if ! grep -qE '^ +NCCL +[0-9]' "$out"; then says out "libnccl.so.2 has no ncclGetVersion"; fi
# A GPU is told with all that it says of itself, and whether its libraries are used.
if [ -n "$driver" ]; then
    mkdir "$scratch/driver"
    cp "$driver" "$scratch/driver/libcuda.so.1"
    LD_LIBRARY_PATH=$scratch/driver expect 0 doctor --threads 1
    says out "Stub, compute capability 9.0, 132 multiprocessors, "
    says out "50 MiB of L2, driver for CUDA 13.0"
    says out "cuBLASLt is "
    says out "cuDNN is "
    LD_LIBRARY_PATH=$scratch/driver expect 0 doctor --threads 1 --json
    is_json 'd["gpu"]["name"] == "Stub" and d["gpu"]["sm"] == 90 and d["gpu"]["cuda_device"]'
    is_json 'd["gpu"]["cache_bytes"] == 50 << 20 and d["gpu"]["multiprocessors"] == 132'
    is_json 'all(d["gpu"][l]["used"] == (d["gpu"][l]["why"] == "") for l in ("cublaslt", "cudnn"))'
fi

# --- bench -------------------------------------------------------------------------------------------
quick=(--seconds 0.001 --threads 1)
refused "bench ops" bench
refused "bench ops" bench nonsense
refused "one word too many" bench ops ops
refused "there is no op 'nonsense'" bench ops --op nonsense
refused "there is no op 'nonsense'" bench ops --op nonsense --shape "x=1"
refused "'f12'" bench ops --op unary --dtype f12
refused "'i32'" bench ops --op unary --dtype i32
refused "unary has no variant 'nonsense'" bench ops --op unary --variant nonsense
refused "--shape goes with --op" bench ops --shape "x=2,2 kind=silu"
refused "do not go together" bench ops --op unary --shape "x=2,2 kind=silu" --shapes "$0"
refused "no-such-file" bench ops --shapes "$scratch/no-such-file"
refused "there is no op" bench ops --shapes "$0"
printf '# two rows\n\nunary x=3,64 kind=silu\n  layer_norm\tx=5,64 gamma=64 beta=64 eps=1e-5\r\n' >"$scratch/shapes"
expect 0 bench ops --shapes "$scratch/shapes" --json "${quick[@]}"
is_json '[(r["op"], r["shape"]) for r in d["results"]] == [("unary", "x=3,64 kind=silu"), ("layer_norm", "x=5,64 gamma=64 beta=64 eps=1e-5")]'
printf 'unary x=3,64 kind=silu\nunary\0x=2,2\n' >"$scratch/shapes"
refused "is not a text" bench ops --shapes "$scratch/shapes"
expect 0 bench ops --op unary --shape "x=3,64 kind=silu" --exact --json "${quick[@]}"
refused "--seconds" bench ops --op unary --seconds -1
refused "input x is missing" bench ops --op unary --shape "kind=silu"
refused "no input or attribute 'q'" bench ops --op unary --shape "q=2,2"
refused "x: '2,a' is not a list" bench ops --op unary --shape "x=2,a"
refused "kind: 'sillu' is not one of" bench ops --op unary --shape "x=2,2 kind=sillu"
refused "gamma" bench ops --op layer_norm --shape "x=2,64 gamma=65 beta=64"
refused "x alone would take" bench ops --op unary --shape "x=1e12,1e12 kind=silu"
refused "MiB" bench ops --op unary --shape "x=1e6,1e6 kind=silu"
expect 0 bench ops --op unary --shape "x=3,64 kind=silu" "${quick[@]}"
says out "unary"
says out "x=3,64 kind=silu"
refused "there is no device 'abacus'" bench ops --device abacus
refused "--cached goes with a GPU" bench ops --device cpu --cached
if ! python3 -c 'import ctypes; ctypes.CDLL("libcuda.so.1")' 2>/dev/null; then
    # A GPU that is named is never replaced; without a name one line says why the cpu is used.
    "$atelier" doctor --json >"$out"
    kernels=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["gpu"]["kernels"])' <"$out")
    if [ "$kernels" -gt 0 ]; then
        refused "there is no NVIDIA driver" bench ops --device cuda
        expect 0 bench ops --op unary --shape "x=3,64 kind=silu" --seconds 0.001
        says err "on the cpu: there is no NVIDIA driver"
        one_line
    else
        refused "this build has no kernels for device cuda" bench ops --device cuda
    fi
fi
expect 0 bench ops --op unary --shape "x=3,64 kind=silu" --dtype bf16 --json "${quick[@]}"
is_json 'set(d) >= {"cpu", "threads", "peaks", "results"} and d["threads"] == 1'
is_json 'set(d["results"][0]) >= {"op", "where", "shape", "dtype", "variant", "us", "us_min", "gflops", "gbps", "share"}'
is_json 'all(float("%.6g" % v) == v for v in d["results"][0].values() if type(v) is float)'
is_json 'd["results"][0]["dtype"] == "bf16" and 0 < d["results"][0]["us_min"] <= d["results"][0]["us"]'
expect 0 bench ops --op unary --shape "x=3,64 kind=silu" --variant unary_ref --json "${quick[@]}"
is_json 'd["results"][0]["variant"] == "unary_ref"'

# --- plan --------------------------------------------------------------------------------------------
expect 0 plan --help
says out "--budget"
refused "expected MODEL" plan
refused "one word too many" plan sdxl sdxl
refused "there is no model 'nonsense'" plan nonsense
refused "--budget: there is no 'h300': expected h200, h100 or a100" plan sdxl --budget h300
refused "--device: there is no 'abacus': expected cpu, cuda, h200" plan sdxl --device abacus
for size in 1025 0 8x -8 4104 1024x7 8x8x8 1e3 "" x8; do refused "--size: '$size'" plan sdxl --size "$size"; done
for n in 0 65 x; do refused "--batch" plan sdxl --batch "$n"; done
refused "--steps" plan sdxl --steps 0
refused "--top" plan sdxl --top 101
refused "--guidance: 'maybe' is neither yes nor no" plan sdxl --guidance maybe
refused "--mode: 'slow'" plan sdxl --mode slow
for type in i32 f64 nonsense; do refused "--dtype: '$type'" plan sdxl --dtype "$type"; done
refused "the VAE has no products for f8" plan sdxl-vae --dtype f8
refused "NVIDIA A100 80GB has no tensor cores for f8" plan sdxl-unet --device cpu --budget a100 --dtype f8
refused "--measured goes with --budget" plan sdxl --measured "$scratch/none"
refused "$scratch/none" plan sdxl --device cpu --budget h200 --measured "$scratch/none"
echo '{"results": [{"us": "x"}]}' >"$scratch/damaged"
refused "$scratch/damaged: " plan sdxl --device cpu --budget h200 --measured "$scratch/damaged"
expect 0 plan sdxl-vae --device cpu --size 64
says out "Memory on cpu"
expect 1 plan sdxl --device cpu --size 4096 --batch 64 --json
is_json 'd["memory"]["fits"] is False and d["memory"]["bytes"] > d["memory"]["device_bytes"]'
# A picture of 30 steps; what is said of the whole is the sum of what is said of its parts.
expect 0 plan sdxl --budget h200
says out "Budget on NVIDIA H200: what it is expected to take"
says out "This program has measured none of them."
says out "The largest items, and what would shrink them"
says out "30 steps, one picture: at most 1.0 s"
expect 0 plan sdxl --budget h200 --batch 8 --steps 20 --top 3 --json
is_json 'd["rows"] == 16 and d["memory"].get("fits", True) and len(d["budget"]["largest"]) == 3'
is_json 'abs(sum(p["ms"] * p["runs"] for p in d["budget"]["parts"]) - 1e3 * d["budget"]["seconds"]) < 0.1'
is_json 'abs(d["budget"]["pictures_per_second"] * d["budget"]["seconds"] - 8) < 1e-3'
is_json 'all(abs(sum(l["ms"] for l in p[k]) - p["ms"]) < 0.01 for p in d["budget"]["parts"] if "all" in p for k in ("parts", "work", "calls"))'
is_json '{f["origin"] for f in d["budget"]["figures"]} == {"measured", "data sheet", "assumed"}'
is_json 'len(d["budget"]["goals"]) == 5 and all(g["reached"] == (g["expected"] >= g["bound"] if "least" in g["text"] else g["expected"] <= g["bound"]) for g in d["budget"]["goals"])'
is_json 'any(g["text"].startswith("20 steps, 8 pictures at once: ") and abs(g["expected"] / d["budget"]["pictures_per_second"] - 1) < 1e-4 for g in d["budget"]["goals"])'
echo '{"results": [{"op": "attention", "shape": "q=2,1024,1280 k=2,1024,1280 v=2,1024,1280 heads=20", "dtype": "bf16", "us": 20}]}' >"$scratch/measured"
expect 0 plan sdxl-unet --budget h200 --measured "$scratch/measured" --json
is_json 'd["budget"]["measured_calls"] == 60 and "goals" in d["budget"]'
is_json '[l["measured_ms"] for p in d["budget"]["parts"] for l in p.get("work", []) if l["name"] == "attention"] == [1.2]'
expect 0 plan sdxl --budget h200 --steps 10 --measured "$scratch/measured" --json
is_json 'abs(d["budget"]["seconds_measured"] - d["budget"]["seconds"] - 10 * sum(p["all"]["measured_ms"] - p["all"]["measured_expected_ms"] for p in d["budget"]["parts"] if p["name"] == "step") / 1e3) < 1e-5'
if "$atelier" doctor --json | grep -q '"kernels": *0'; then
    refused "this build has no kernels for GPUs, so none for h200" plan sdxl --device h200
    expect 0 plan sdxl --budget h200
    says out "Memory: this build has no kernels for GPUs"
else
    expect 0 plan sdxl --budget h100
    says out "Memory on h100, which is only planned for"
    # What f8 was made of stays in the store, and no plan reads it.
    expect 0 plan sdxl-unet --device h200 --dtype f8
    says out "  unread         3"
    expect 0 plan sdxl-unet --device h200
    grep -q "  unread" "$out" && fail "$what: in bf16 every weight is read"
fi

# --- tune --------------------------------------------------------------------------------------------
choices=$scratch/cache/choices
tuned=(--op linear --shape "x=2,9,64 w=48,64 bias=48" --dtype f32 --threads 1 --seconds-each 0.001)
refused "expected ops|MODEL" tune
refused "there is no model 'nonsense'" tune nonsense
refused "go with ops" tune sdxl-vae --op linear
refused "go with a model" tune ops --size 64
refused "--size" tune sdxl-vae --size 63
refused "there is no op 'nonsense'" tune ops --op nonsense
refused "--shape goes with --op" tune ops --shape "x=2,2 kind=silu"
refused "opposite" tune ops --exact --fast
refused "'i32'" tune ops --op linear --dtype i32
refused "--seconds" tune ops --seconds -1
refused "too long" tune ops "${tuned[@]}" --folder ""
expect 0 tune ops "${tuned[@]}" --folder "$choices" --json
is_json 'd["tried"] == len(d["results"]) == 2 and {r["mode"] for r in d["results"]} == {"exact", "fast"}'
is_json 'all(r["candidates"][r["kept"]]["verdict"] == "kept" for r in d["results"])'
is_json 'all(sum(c["verdict"] == "kept" for c in r["candidates"]) == 1 for r in d["results"])'
is_json 'd["machine"]["device"] and len(d["machine"]["kernels"]) == 64'
expect 0 tune ops "${tuned[@]}" --folder "$choices"
says out "0 tried, 2 known already"
expect 0 tune ops "${tuned[@]}" --folder "$choices" --again --exact
says out "1 tried, 0 known already"
expect 0 tune ops "${tuned[@]}" --folder "$choices" --again --fast --seconds 0.001
says out "1 tried"
expect 0 tune ops --op unary --shape "x=3,64 kind=silu" --threads 1 --isa plain --folder "$scratch/other"
says out "2 with one candidate only"
[ -z "$(ls "$scratch/other")" ] || fail "$what: stored a file of nothing"
model=(sdxl-vae --size 64 --threads 1 --fast --seconds 0.001 --seconds-each 0.001 --folder "$scratch/vae")
expect 0 tune "${model[@]}"
says out "1 tried, 0 known already"
expect 0 tune "${model[@]}" --json
is_json 'd["tried"] == 1 and d["known"] == 1 and d["left"] > 5 and d["results"][0]["where"]'
XDG_CACHE_HOME=$scratch/cache2 expect 0 tune ops "${tuned[@]}" --fast
[ -n "$(find "$scratch/cache2/atelier" -name '*-threads-1-*.tuning')" ] || fail "$what: nothing in the user's cache"
file=$(echo "$choices"/*-threads-1-*.tuning)
# Choices that lie beside the program are known without being tried.
mkdir -p "$scratch/bin" "$scratch/tuning"
ln "$atelier" "$scratch/bin/atelier" 2>/dev/null || cp "$atelier" "$scratch/bin/atelier"
cp "$file" "$scratch/tuning/"
installed=$atelier
atelier=$scratch/bin/atelier
expect 0 tune ops "${tuned[@]}" --folder "$scratch/other"
says out "0 tried, 2 known already"
atelier=$installed
# What bench times is what was stored.
sed -i 's/\(fast linear .*\)\tlinear_[a-z0-9_]*\t[^\t]*\t/\1\tlinear_ref\t0\t/' "$file"
expect 0 bench ops "${tuned[@]:0:6}" "${quick[@]}" --tuning "$choices" --json
is_json 'd["results"][0]["variant"] == "linear_ref"'
expect 0 bench ops "${tuned[@]:0:6}" "${quick[@]}" --tuning "$choices" --exact --json
is_json 'd["results"][0]["variant"] != "linear_ref"'
sed -i 's/^oneDNN\t.*/oneDNN\t0.0.1/' "$file"
expect 0 tune ops "${tuned[@]}" --folder "$choices"
says out "2 tried, 0 known already"
says err "it was tuned with oneDNN '0.0.1'"
sed -i 's/^choices\t2/choices\t3/' "$file"
refused "the file ends too early" tune ops "${tuned[@]}" --folder "$choices"
refused "the file ends too early" bench ops --op unary --tuning "$choices" --threads 1
refused "cannot be made" tune ops "${tuned[@]}" --folder "$file/x"

# --- profile -----------------------------------------------------------------------------------------
refused "there is no model 'nonsense'" profile nonsense
refused "expected MODEL" profile
refused "is not a side" profile sdxl-vae --size 12
refused "there is no device 'abacus'" profile sdxl-vae --device abacus
expect 0 profile sdxl-vae --device cpu --size 8 --dtype f32 --json
is_json '[p["name"] for p in d["parts"]] == ["decode", "encode"] and d["mode"] == "exact"'
is_json 'all(p["nodes"] == sum(v["count"] for v in p["variants"]) and 0 < p["nodes_ms"] for p in d["parts"])'
is_json 'd["early"] is False'
is_json 'abs(d["seconds"] * 1e3 - sum(p["runs"] * p["nodes_ms"] for p in d["parts"])) < 1e-3 * d["seconds"] * 1e3'

# --- model, inspect ----------------------------------------------------------------------------------
golden=$(dirname "$(realpath "$0")")/golden
weights=$golden/files/types.safetensors
store=$scratch/types.atelier
refused "there is no 'nonsense'" model nonsense
refused "expected FROM TO" model import "$weights"
refused "one word too many" model show "$weights" again
refused "no-such-file" model import "$scratch/no-such-file" "$store"
refused "expected a file of weights" model show "$0"
refused "is not JSON" model import "$weights" "$store" --config "$0"
[ ! -e "$store" ] || fail "$what: left a file behind"
printf '{"width": 5}' >"$scratch/config.json"
expect 0 model import "$weights" "$store" --config "$scratch/config.json" --licence "$golden/../../LICENSE"
says out "15 tensors"
expect 0 model verify "$store"
says out "whole"
expect 0 model show "$store"
says out "checkpoint"
says out "config"
expect 0 model show "$store" --text config
says out '{"width": 5}'
refused "no text 'nonsense'" model show "$store" --text nonsense
expect 0 model show "$store" --json
is_json 'len(d["tensors"]) == 15 and d["texts"]["config"] == "{\"width\": 5}"'
expect 0 model export "$store" "$scratch/out.safetensors"
expect 0 model import "$scratch/out.safetensors" "$scratch/again.atelier"
expect 0 model import "$weights" -o "$scratch/option.atelier"
refused "expected FROM TO" model import "$weights" "$store" -o "$store"
refused "neither a diffusers folder nor a single file" model import "$weights" "$scratch/x.atelier" --vae "$weights"
refused "neither a diffusers folder nor a single file" model import "$weights" "$scratch/x.atelier" --variant fp16
refused "'nonsense' is not plain, diffusers or safetensors" model export "$store" -o "$scratch/x" --format nonsense
for format in diffusers safetensors; do
    refused "expected a model file of SDXL" model export "$store" -o "$scratch/x" --format $format
done
[ ! -e "$scratch/x" ] && [ ! -e "$scratch/x.atelier" ] || fail "$what: left something behind"
mkdir "$scratch/pipeline"
printf '{"_class_name": "StableDiffusionPipeline"}' >"$scratch/pipeline/model_index.json"
refused 'found "StableDiffusionPipeline"' model import "$scratch/pipeline" "$scratch/x.atelier"
expect 0 model list "$scratch" --json
is_json 'any(m["name"] == "pipeline" and "error" in m for m in d)'
refused "no-such-folder" model list "$scratch/no-such-folder"
for layout in zip legacy; do
    expect 0 model import "$golden/files/torch_$layout.pth" "$scratch/torch.atelier"
    expect 0 model verify "$scratch/torch.atelier"
done

# A byte of a tensor is changed: verify names the tensor, and nobody uses it.
offset=$(grep -abo 'HDF' "$store" | head -1 | cut -d: -f1)
expect 0 model show "$store" --json
cp "$store" "$scratch/damaged.atelier"
size=$(stat -c %s "$store")
printf '\377' | dd of="$scratch/damaged.atelier" bs=1 seek=$((offset + 1)) conv=notrunc status=none
expect 1 model verify "$scratch/damaged.atelier"
says out "damaged"
head -c $((size / 2)) "$store" >"$scratch/half.atelier"
refused "half.atelier" model show "$scratch/half.atelier"
refused "no-such-folder" model import "$weights" "$scratch/no-such-folder/x.atelier"
if [ -e /dev/full ]; then refused "/dev/full" model import "$weights" /dev/full; fi

# A disk that is full at any point: one sentence, and the old file is still there.
cp "$store" "$scratch/kept.atelier"
for kib in 4 8 16 40 80; do
    tests=$((tests + 1))
    what="model import with $kib KiB of disk"
    status=0
    (trap '' XFSZ && ulimit -f "$kib" && "$atelier" model import "$weights" "$store") >"$out" 2>"$err" || status=$?
    [ "$status" -eq 2 ] || fail "$what: exit status $status, expected 2"
    says err "File too large"
    one_line
    cmp -s "$store" "$scratch/kept.atelier" || fail "$what: the old file has changed"
done

expect 0 inspect "$golden/pictures/png_texts.png"
says out "png"
expect 0 inspect "$golden/pictures/jpeg_turned_6.jpg" --json
is_json 'd["format"] == "jpeg" and d["orientation"] == 6'
expect 0 inspect "$store"
says out "t.bf16"
refused "no-such-file" inspect "$scratch/no-such-file"
refused "picture" inspect "$0"

# --- how threads wait --------------------------------------------------------------------------------
expect 0 doctor --json
is_json '"GOMP_SPINCOUNT=20000" in d["threads"]["waiting"]'
OMP_WAIT_POLICY=passive expect 0 doctor --json
is_json '"OMP_WAIT_POLICY=passive" in d["threads"]["waiting"]'

if [ -e /dev/full ]; then
    tests=$((tests + 1))
    status=0
    "$atelier" version >/dev/full 2>"$err" || status=$?
    [ "$status" -eq 2 ] || fail "atelier version >/dev/full: exit status $status, expected 2"
fi

printf 'cli_test: %d runs, %d failures\n' "$tests" "$failures"
[ "$failures" -eq 0 ]
