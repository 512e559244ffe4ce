#!/usr/bin/env bash
# Proves what atelier generate says, writes and refuses, with small models of SDXL's kind: the same bytes twice, again
# by a recipe, alone and in a batch; every bad input one sentence, exit status 2 and nothing left behind.
# Usage: tests/generate_test.sh ATELIER SMALL_SDXL
set -euo pipefail

unset GOMP_SPINCOUNT OMP_WAIT_POLICY
atelier=$(realpath "$1")
small=$(realpath "$2")
golden=$(cd "$(dirname "$0")/golden" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
out=$scratch/out
err=$scratch/err
tests=0
failures=0

export XDG_DATA_HOME=$scratch/data XDG_CACHE_HOME=$scratch/cache
mkdir -p "$scratch/work/models" "$scratch/data/atelier/loras"
cd "$scratch/work"

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
draws() { expect 0 generate "$@"; }
says() { grep -qF -e "$2" "$scratch/$1" || fail "$what: '$2' is not in: $(head -3 "$scratch/$1")"; }
same() { cmp -s "$1" "$2" || fail "$what: $1 and $2 differ"; }
differ() { ! cmp -s "$1" "$2" || fail "$what: $1 and $2 are the same"; }
# refused WORDS OPTIONS...: one sentence with the words, and no new file.
refused()
{
    local words=$1 before
    shift
    before=$(find . | sort)
    expect 2 generate "$@"
    says err "$words"
    [ "$(wc -l <"$err")" -eq 1 ] || fail "$what: not one sentence: $(cat "$err")"
    [ ! -s "$out" ] || fail "$what: printed something before it failed: $(head -1 "$out")"
    [ "$(find . | sort)" = "$before" ] || fail "$what: left something behind: $(find . | sort | diff - <(echo "$before"))"
}
is_json()
{
    if ! command -v python3 >/dev/null 2>&1; then
        echo "SKIP reading the JSON of $what: there is no python3"
    elif ! python3 -c "import json, sys; d = json.load(open(sys.argv[1])); assert $1, d" "$out" 2>"$err"; then
        fail "$what: not $1: $(tail -1 "$err")"
    fi
}

pipelines=$golden/pipelines
for name in small odd refiner; do "$small" "$pipelines/models/$name" "models/$name.h5"; done
few=(--prompt "a photo of a cat" --steps 2 --size 24x40)
usual=(--model small "${few[@]}" --seed 5)

# --- what it says ------------------------------------------------------------------------------------
expect 0 help generate
for word in --prompt-syntax --negative-crop --lora "Examples:" "dpmpp_2m_karras" "130"; do says out "$word"; done
expect 0 model list
says out "./models/small.h5"
expect 0 model list --json
is_json "[m['name'] for m in d] == ['odd', 'refiner', 'small'] and d[2]['tensor_bytes'] > 0"

expect 0 plan small --device cpu
says out "small, 40x40, 1 at once"
expect 0 plan models/odd.h5 --size 104x72 --device cpu --json
is_json "(d['model'], d['width'], d['height']) == ('models/odd.h5', 104, 72)"
expect 2 plan large
says err "there is no model 'large'"
expect 2 plan small --size 6
says err "divisible by 4"

# --- the same bytes ----------------------------------------------------------------------------------
draws "${usual[@]}" -o one.png
says out "one.png: 24 x 40, seed 5"
[ "$(grep -vc "note: " "$err")" -eq 0 ] || fail "$what: noise in a pipe: $(cat "$err")"
draws "${usual[@]}" -o two.png
same one.png two.png
draws --model ./models/small.h5 "${few[@]}" --seed 6 -o six.png
differ one.png six.png
draws "${usual[@]}" -n 3 -o all.png --save-latents all.safetensors --preview look.png --json
is_json "[f['seed'] for f in d['files']] == [5, 6, 7] and d['sheet'] == 'all-sheet.png' and d['evaluations'] == 2"
is_json "d['seconds']['total'] > 0 and d['memory_bytes_most'] > 1 << 20 and d['recipe']['steps'] == 2"
same one.png all-1.png
same six.png all-2.png
expect 0 inspect all-sheet.png --json
is_json "(d['width'], d['height']) == (2 * 24 + 3 * 8, 2 * 40 + 3 * 8)"
expect 0 inspect look.png
expect 0 model show all.safetensors --tensors
says out "3x4x10x6"
draws --model small "${few[@]}" --seed 6,5 -o pair.png
same six.png pair-1.png
same one.png pair-2.png
draws "${usual[@]}" --save-latents only.safetensors
says out "only.safetensors: latents"
[ ! -e atelier-5.png ] || fail "$what: a picture that nobody asked for"
draws "${usual[@]}"
same one.png atelier-5.png
printf 'a photo of a cat\n' >prompt.txt
draws --model small --steps 2 --size 24x40 --seed 5 --prompt @prompt.txt -o three.png
same one.png three.png
"$atelier" generate --model small --steps 2 --size 24x40 --seed 5 --prompt - -o four.png <prompt.txt >"$out" 2>"$err" ||
    fail "a prompt from stdin: $(cat "$err")"
same one.png four.png

# --- recipes -----------------------------------------------------------------------------------------
draws --like one.png -o again.png
same one.png again.png
draws --like all-3.png -o again.png
same all-3.png again.png
draws --like one.png --seed 6 -o again.png
same six.png again.png
draws --like one.png --size 40x24 --steps 1 -n 2 -o more.png
says out "more-2.png: 40 x 24, seed 6"
draws "${usual[@]}" -o one.jpg
draws --like one.jpg -o again.jpg
same one.jpg again.jpg
expect 0 inspect one.png
says out "prompt                   a photo of a cat"
says out "atelier generate --like repeats it"
expect 0 inspect one.png --json
is_json "d['recipe']['model']['name'] == 'small.h5' and d['recipe']['seed'] == 5"
is_json "d['parameters']['settings']['Seed'] == '5' and d['parameters']['prompt'] == 'a photo of a cat'"

# Everything that a request can say, one after the other, comes back from its recipe.
photo=$pipelines/photo.png
mask=$pipelines/mask.png
repeated()
{
    local like=(--like again.png -o repeated.png) name
    for name in "${brought[@]}"; do like+=("$name"); done
    draws --model small "${few[@]}" --seed 3 "$@" -o again.png
    draws "${like[@]}"
    same again.png repeated.png
}
brought=()
repeated --negative "grey (old)" --prompt-2 "a ship" --negative-2 "" --guidance 3 --guidance-rescale 0.5 --clip-skip 1
repeated --sampler dpmpp_2m_sde --sigmas karras --spacing trailing --prediction v_prediction --zero-snr yes
repeated --original-size 64x48 --target-size 40x24 --crop 3,1 --rng atelier --tile-vae
repeated --prompt-syntax a1111 --prompt "a (photo:1.3) of [a cat] BREAK at night" --rng a1111 --end-at 0.6
brought=(--image "$photo")
repeated --image "$photo" --strength 0.7
brought=(--image "$photo" --mask "$mask")
repeated --image "$photo" --mask "$mask" --mask-blur 2 --only-masked 8 --paste-original
repeated --image "$photo" --mask "$mask" --sampler heun
brought=()
repeated --model odd --refiner refiner --steps 5 --refine-from 0.6

# Adapters, by name from the user's folder and out of prompts.
for name in attention convolution; do cp "$pipelines/$name.safetensors" "$XDG_DATA_HOME/atelier/loras"; done
brought=()
styled=("${usual[@]}" --model odd --prompt-syntax a1111)
repeated --model odd --lora attention:0.7 --lora "$pipelines/convolution.safetensors"
repeated --model odd --prompt-syntax comfy --prompt "a photo <lora:attention:0.7> of a cat" --negative ""
draws "${styled[@]}" --prompt "a <lora:attention:0.7>cat" --save-latents named.safetensors
draws "${styled[@]}" --prompt "a cat" --lora attention:0.7 --save-latents given.safetensors
same named.safetensors given.safetensors
draws "${styled[@]}" --prompt "a cat" --save-latents without.safetensors
differ named.safetensors without.safetensors
draws --lora-folder "$pipelines" "${styled[@]}" --prompt "a <lora:attention:0.7>cat" --save-latents named.safetensors
same named.safetensors given.safetensors

# --- bad input ---------------------------------------------------------------------------------------
bad=("${usual[@]}" -o bad.png)
refused "--prompt is missing" --model small -o bad.png
refused "--model is missing" --prompt x -o bad.png
refused "no model 'large'; in ./models and $XDG_DATA_HOME/atelier/models there is odd, refiner, small" --model large --prompt x
refused "expected at most 65536 bytes, found 102400" "${bad[@]}" --prompt "$(head -c 102400 /dev/zero | tr '\0' a)"
head -c 102400 /dev/zero | tr '\0' a >long.txt
refused "expected at most 65536 bytes" "${bad[@]}" --prompt @long.txt
refused "a JPEG holds 65000 bytes of recipe" "${usual[@]}" -o bad.jpg --prompt "$(head -c 65000 long.txt)"
refused "'/nowhere/x' cannot be read" "${bad[@]}" --negative @/nowhere/x
refused "UTF-8" "${bad[@]}" --prompt $'\xff'
for size in 0 0x0 100000 7x 8x8x8 -8x8 8X8 ""; do refused "--size: expected WxH, each from 1 to 65535" "${bad[@]}" --size "$size"; done
refused "7" "${bad[@]}" --size 7
for n in 0 1001 1.5 x; do refused "--steps: '$n' is not a whole number from 1 to 1000" "${bad[@]}" --steps $n; done
for x in nan inf -1 x; do refused "--guidance: '$x' is not a number from 0 to 1000" "${bad[@]}" --guidance "$x"; done
refused "the nearest is euler_a" "${bad[@]}" --sampler euler_b
refused "sigmas" "${bad[@]}" --sigmas round
refused "spacing" "${bad[@]}" --spacing wide
refused "prediction" "${bad[@]}" --prediction none
refused "rng" "${bad[@]}" --rng dice
refused "syntax" "${bad[@]}" --prompt-syntax latin
refused "--zero-snr: expected yes or no" "${bad[@]}" --zero-snr maybe
refused "--crop: expected LEFT,TOP" "${bad[@]}" --crop 1x1
refused "--seed: expected whole numbers" "${bad[@]}" --seed -1
refused "--seed: expected whole numbers" "${bad[@]}" --seed 18446744073709551616
refused "--seed: expected one or as many as pictures, found 2" "${bad[@]}" --seed 1,2 -n 3
refused "-n: '0' is not" "${bad[@]}" -n 0
refused "-n: '65' is not" "${bad[@]}" -n 65
refused "device" "${bad[@]}" --device abacus
refused "precision" "${bad[@]}" --precision f7
refused "mode" "${bad[@]}" --mode sloppy

refused "/nowhere/bad.png" "${usual[@]}" -o /nowhere/bad.png
refused "'bad.gif' ends neither in .png nor in .jpg" "${usual[@]}" -o bad.gif
mkdir folder.png
refused "folder.png" "${usual[@]}" -o folder.png
refused "/nowhere/look.png" "${bad[@]}" --preview /nowhere/look.png
refused "/nowhere/l" "${bad[@]}" --save-latents /nowhere/l

refused "there is no file and no LoRA 'style'" "${bad[@]}" --lora style:0.5
refused "it is for another model" "${bad[@]}" --lora "$golden/lora/kohya.lora:1"
cp "$golden/lora/kohya.lora" "$XDG_DATA_HOME/atelier/loras/style.safetensors"
refused "loras/style.safetensors" "${bad[@]}" --lora style:0.5
refused "missing" "${bad[@]}" --prompt-syntax a1111 --prompt "<lora:missing:1>"
refused "--lora: expected a finite weight" "${bad[@]}" --lora style:nan

refused "--mask without a picture" "${bad[@]}" --mask "$mask"
refused "they have to be of one size" "${bad[@]}" --image "$photo" --mask one.png
refused "no picture that this build reads" "${bad[@]}" --image models/small.h5
refused "/nowhere/photo" "${bad[@]}" --image /nowhere/photo
refused "--strength: '2' is not a number from 0 to 1" "${bad[@]}" --image "$photo" --strength 2
refused "only_masked" "${bad[@]}" --image "$photo" --only-masked 8

# safetensors TENSOR: zeros of 1x4x2x2 by that name
safetensors()
{
    local header="{\"$1\":{\"dtype\":\"F32\",\"shape\":[1,4,2,2],\"data_offsets\":[0,64]}}"
    printf "\\x$(printf %02x ${#header})\\0\\0\\0\\0\\0\\0\\0%s" "$header"
    head -c 64 /dev/zero
}
safetensors noise >noise.safetensors
refused "1x4x2x2" "${bad[@]}" --noise noise.safetensors
safetensors other >noise.safetensors
refused "no tensor noise" "${bad[@]}" --noise noise.safetensors
refused "one.png" "${bad[@]}" --noise one.png

for bytes in 0 100 100000; do
    head -c $bytes models/small.h5 >cut.h5
    refused "cut.h5" "${bad[@]}" --model cut.h5
done
cp models/small.h5 cut.h5
printf 'damaged' | dd of=cut.h5 bs=1 seek=$(($(stat -c %s cut.h5) / 2)) conv=notrunc 2>/dev/null
refused "cut.h5" "${bad[@]}" --model cut.h5
cp -r "$pipelines/models/small" without
rm -r without/vae
"$small" without without.h5
refused "without.h5' has no vae" "${bad[@]}" --model without.h5
refused "refiner" "${bad[@]}" --model refiner
refused "no model 'finer'" "${bad[@]}" --refiner finer
refused "the refiner's VAE makes 48 x 80 pixels, expected 24 x 40" "${bad[@]}" --refiner refiner --steps 5

cp "$pipelines/convolution.safetensors" "$XDG_DATA_HOME/atelier/loras/attention.safetensors"
draws "${styled[@]}" --lora "$pipelines/attention.safetensors" -o styled.png
refused "is not the LoRA of the picture" --like styled.png -o bad.png
refused "the picture has no recipe" --like "$photo" -o bad.png
cp models/refiner.h5 small.h5
refused "is not the model of the picture" --like one.png -o bad.png
rm small.h5
mv models/small.h5 models/renamed.h5
refused "no model 'small.h5'" --like one.png -o bad.png
draws --like one.png --model renamed -o again.png
mv models/renamed.h5 models/small.h5
draws "${usual[@]}" --image "$photo" --strength 1 -o over.png
refused "--image brings that" --like over.png -o bad.png
draws --like over.png --image one.png -o again.png
says err "one.png is not the picture that the recipe was made with"

# --- Ctrl-C ------------------------------------------------------------------------------------------
before=$(find . | sort)
"$atelier" generate --model small --prompt x --steps 1000 --size 256 --seed 1 -o stopped.png --preview stopping.png >"$out" 2>"$err" &
tests=$((tests + 1))
what="atelier generate with SIGINT"
for _ in $(seq 600); do
    [ ! -e stopping.png ] || break
    sleep 0.1
done
kill -INT $!
status=0
wait $! || status=$?
[ $status -eq 130 ] || fail "$what: exit status $status, expected 130: $(cat "$err")"
[ ! -s "$err" ] || [ "$(grep -vc "note: " "$err")" -eq 0 ] || fail "$what: $(cat "$err")"
rm -f stopping.png
[ "$(find . | sort)" = "$before" ] || fail "$what: left something behind"

echo "generate_test: $tests runs, $failures failures"
[ $failures -eq 0 ]
