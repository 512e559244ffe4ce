#!/usr/bin/env bash
# gpu_check_test.sh BUILD -- scripts/gpu-check and gpu-bundle without a GPU: a dry run with the programs of
# BUILD, what is done is not done again, a fault is told, nothing outlives its time, results and bundle have
# a limit, and the page that comes out says what was measured.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
build=$(realpath "$1")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
check=$root/scripts/gpu-check
said=$folder/said
tests=0
failures=0

if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "SKIP gpu_check_test: there is no Python 3.11"
    exit 0
fi
fail()
{
    printf 'FAIL %s\n' "$*"
    failures=$((failures + 1))
}
# expect STATUS WORDS COMMAND...: the command ends so, and says so.
expect()
{
    local wanted=$1 words=$2 status=0
    shift 2
    tests=$((tests + 1))
    what="$*"
    "$@" >"$said" 2>&1 </dev/null || status=$?
    [ "$status" -eq "$wanted" ] || fail "$what: exit status $status, expected $wanted: $(tail -3 "$said")"
    grep -qF -e "$words" "$said" || fail "$what: '$words' is not in: $(tail -5 "$said")"
}
says() { grep -qF -e "$2" "$1" || fail "$what: '$2' is not in $1: $(head -20 "$1")"; }
lacks() { ! grep -qF -e "$2" "$1" || fail "$what: '$2' is in $1"; }
is_true() { PYTHONPATH=$root/benchmarks/gpu python3 -B - "$@" || fail "$what: see above"; }

# --- a dry run ---------------------------------------------------------------------------------------
out=$folder/out
steps=machine,conformance,checkop,block,large,bench,batched,torch,pictures,tune-exact,tune-fast,exact,fast,tuned,sanitizer,ncu
dry=("$check" --dry-run --programs "$build" --steps)
expect 0 "all of 16 steps" "${dry[@]}" $steps --out "$out"
says "$said" "conformance  done"
for file in state summary.md machine.txt ops.json logs.xz; do
    [ -s "$out/$file" ] || fail "$what: there is no $file"
done
[ "$(find "$out" -mindepth 1 | wc -l)" -le 8 ] || fail "$what: $(ls "$out")"
says "$out/summary.md" "| checkop | done |"
says "$out/summary.md" "| unary | SDXL, 1024x1024: x=2,128,128,320 kind=silu |"
says "$out/machine.txt" '$ atelier doctor'
xz -dc "$out/logs.xz" >"$folder/logs" || fail "$what: logs.xz is no xz file"
says "$folder/logs" "checkop_cuda --large"
says "$folder/logs" "--size 8 --dtype f32 --early no"
says "$out/summary.md" "| sdxl-vae, 8x8, no GPU, plain launches |"

# Nothing of it is done again, unless it was cut off.
cp "$out/state" "$folder/state"
expect 0 "checkop      is done already" "${dry[@]}" $steps --out "$out" --resume
cmp -s "$out/state" "$folder/state" || fail "$what: a step was run again"
expect 2 "--resume goes on" "${dry[@]}" $steps --out "$out"
printf '{"step": "checkop", "status": "running", "seconds": 0, "note": ""}\n{"st' >>"$out/state"
echo "words of a step that was cut off" >"$out/running.log"
expect 0 "checkop      done" "${dry[@]}" $steps --out "$out" --resume
[ "$(grep -c ' already' "$said")" -eq 15 ] || fail "$what: more was run again: $(cat "$said")"
xz -dc "$out/logs.xz" | grep -q "that was cut off" || fail "$what: the words of the cut step are lost"

# --- wrong requests ----------------------------------------------------------------------------------
expect 2 "there is no step 'nonsense'" "${dry[@]}" nonsense --out "$folder/none"
expect 2 "there is no slice 9" "$check" --slice 9 --list
expect 2 "are not all in" "$check" --programs "$folder" --out "$folder/none"
expect 2 "--again goes with --resume" "$check" --again
expect 2 "seconds are not enough for conformance" "${dry[@]}" conformance --out "$folder/short" --seconds 5
expect 0 "in all: at most" "$check" --list
awk '/^slice [0-9]: at most/ && $5 >= 540 { print; bad = 1 } /^in all/ && $5 >= 1500 { print; bad = 1 } END { exit bad }' "$said" ||
    fail "$what: a slice takes more than nine minutes, or all more than 25"

# --- a step that fails, and one that hangs -----------------------------------------------------------
fake=$folder/programs
mkdir -p "$fake"
cp "$build/atelier" "$fake/atelier"
cp "$build/tests/block_cuda" "$fake/" 2>/dev/null || cp "$build/block_cuda" "$fake/"
cat >"$fake/checkop_cuda" <<'END'
#!/bin/sh
[ ! -e "$HANGS" ] || { echo $$ >"$HANGS.pid"; sleep 300 & wait; }
echo "checkop: there is no NVIDIA driver" >&2
exit 2
END
cat >"$fake/device_conformance" <<'END'
#!/bin/sh
[ ! -e "$GOOD" ] || { echo "SKIP conformance: there is no CUDA device"; exit 0; }
echo "FAIL 3 shuffle (planted)"
exit 1
END
chmod +x "$fake"/*
export GOOD=$folder/good HANGS=$folder/hangs
dry=("$check" --dry-run --programs "$fake" --out "$folder/faulty" --steps)
expect 1 "1 of 2 steps have failed: conformance" "${dry[@]}" conformance,checkop
says "$said" "checkop      done"
grep -A2 '^| step' "$folder/faulty/summary.md" | grep -q 'conformance | \*\*failed\*\*.*planted' ||
    fail "$what: the failure is not on top: $(head -8 "$folder/faulty/summary.md")"
touch "$GOOD"
expect 1 "conformance  is failed already" "${dry[@]}" conformance,checkop --resume
expect 0 "conformance  done" "${dry[@]}" conformance,checkop --resume --again
echo "# another" >>"$fake/device_conformance"
expect 2 "the results of other programs" "${dry[@]}" conformance --resume

touch "$HANGS"
dry=("$check" --dry-run --programs "$fake" --out "$folder/cut" --steps)
"${dry[@]}" checkop >"$said" 2>&1 &
job=$!
what="a call that is ended"
tests=$((tests + 1))
for _ in $(seq 100); do
    [ ! -s "$HANGS.pid" ] || break
    sleep 0.1
done
status=0
kill -TERM "$job"
wait "$job" || status=$?
[ "$status" -eq 2 ] || fail "$what: exit status $status, expected 2: $(cat "$said")"
for _ in $(seq 100); do # who adopts it takes a moment to bury it
    kill -0 "$(cat "$HANGS.pid")" 2>/dev/null || break
    sleep 0.1
done
! kill -0 "$(cat "$HANGS.pid")" 2>/dev/null || fail "$what: its program is still there"
tail -1 "$folder/cut/state" | grep -q '"running"' || fail "$what: its step is not marked: $(cat "$folder/cut/state")"
rm "$HANGS"
expect 0 "checkop      done" "${dry[@]}" checkop --resume

# On a GPU every op is a process of its own: one that is wrong and one that crashes are told, by name.
cat >"$fake/checkop_cuda" <<'END'
#!/bin/sh
case $1 in
ema) echo "FAIL ema_cuda [x=1] planted"; echo "checkop: 3 passed, 1 failed"; exit 1 ;;
lion) kill -SEGV $$ ;;
*) echo "checkop: 2 passed, 0 failed" ;;
esac
END
real=("$check" --programs "$fake" --out "$folder/real" --steps)
expect 1 "2 of $(grep -c '^AT_OP' "$root/kernels/ops.def") ops: lion: ended by signal 11" "${real[@]}" checkop
says "$said" "ema: ema_cuda [x=1] planted"
if ! python3 -c 'import ctypes; ctypes.CDLL("libcuda.so.1")' 2>/dev/null; then
    expect 2 "there is no GPU to check" "${real[@]}" machine,conformance --resume
    ! grep -q conformance "$folder/real/state" || fail "$what: it went on"
fi

what="runner.py"
tests=$((tests + 1))
is_true "$folder" <<'END'
import lzma, os, sys, time
from pathlib import Path
import runner
folder = Path(sys.argv[1])
# A program is ended at its limit, and what it has started with it.
start = time.monotonic()
result = runner.execute(["sh", "-c", "echo words; set -m; sleep 60 & echo $! >pid; wait"], 0.5, dict(os.environ), folder)
assert result.timed_out and result.output == "words\n" and time.monotonic() - start < 20, result
time.sleep(0.1)
state = Path(f"/proc/{(folder / 'pid').read_text().strip()}/stat")
assert not state.exists() or state.read_text().split()[2] in "ZX", "the sleeper is still there"
assert runner.execute(["./no-such-program"], 1, {}, folder).status == 127
# A log that is too long loses its middle.
out = folder / "log"
out.mkdir()
(out / runner.RUNNING).write_bytes(b"first\n" + b"x" * (runner.LOG_BYTES_MAX + 1000) + b"\nlast")
runner.close_log(out)
said = lzma.decompress((out / runner.LOGS).read_bytes())
assert said.startswith(b"first") and said.endswith(b"last") and b"are left out here" in said
assert len(said) < runner.LOG_BYTES_MAX + 200 and runner.check_results(out) is None
# What may not be carried home is told.
os.truncate(out / runner.LOGS, runner.FILE_BYTES_MAX + 1)
assert "bytes, at most" in runner.check_results(out)
os.truncate(out / runner.LOGS, 5)
for i in range(runner.FILES_MAX):
    (out / f"file{i}").write_text("")
assert "9 files, at most 8" in runner.check_results(out)
END
is_true <<'END'
import steps
rows = [{"op": "a", "x": {"y": 1}}, {"op": "b"}]
import json
whole = json.dumps({"peaks": {"z": []}, "results": rows})
assert steps.read_results(whole)["results"] == rows
assert steps.read_results(whole[:-2])["results"] == rows and steps.read_results(whole[:-3])["results"] == rows[:1]
assert steps.read_results(whole[:whole.index("[{") + 1]) is None and steps.read_results("") is None
END
dry=("$check" --dry-run --programs "$fake" --out "$folder/large" --steps)
expect 0 "all of 1" "${dry[@]}" conformance
truncate -s 17M "$folder/large/tuning"
expect 1 "bytes, at most 16777216 are allowed" "${dry[@]}" conformance --resume

# --- the page ----------------------------------------------------------------------------------------
what="table.py"
tests=$((tests + 1))
is_true "$root" <<'END'
import sys
from pathlib import Path
import table
goals = table.read_goals(Path(sys.argv[1]) / "benchmarks/gpu/shapes.txt")
assert len(goals) > 40 and goals[("global_norm", "x=67108864")] == {"share": 0.85}
def result(op, shape, us, gflops, gbps, **more):
    return {"op": op, "where": "", "shape": shape, "dtype": "bf16", "variant": op + "_cuda", "us": us,
            "us_min": us, "gflops": gflops, "gbps": gbps, "share": 0.1} | more
runs = {"models": {"gpu": "Made-up GPU", "peaks": {"bf16_gflops": 500e3, "copy_gbps": 4000}, "results": [
            result("linear", "x=8,8 w=8,8", 10, 600e3, 100), result("fast", "x=1", 5, 1, 3600),
            result("slow", "x=1", 5, 1, 1000), result("other", "x=1", 7, 1, 1)]},
        "fast": {"results": [result("linear", "x=8,8 w=8,8", 8, 750e3, 125, variant="linear_lt")]}}
torch = {"torch": "2", "peaks": {"bf16_flops": 800e12, "copy_bytes": 3e12}, "results": [
    {"op": "linear", "shape": "x=8,8 w=8,8", "dtype": "bf16", "us": 12, "how": "compiled"},
    {"op": "other", "shape": "x=1", "dtype": "bf16", "skip": "not an op of this peer"}]}
goals = {("linear", "x=8,8 w=8,8"): {"share": 0.9, "torch": 1}, ("fast", "x=1"): {"share": 0.85},
         ("slow", "x=1"): {"share": 0.85}, ("other", "x=1"): {"torch": 1}}
states = {"checkop": {"step": "checkop", "status": "done", "seconds": 1, "note": "a|b"}}
part = {"name": "step", "run_ms": 30.0, "nodes_ms": 29.0, "host_us": 12.0}
decode = {"name": "decode", "run_ms": 40.0, "nodes_ms": 39.0, "host_us": 9.0}
picture = {"model": "sdxl", "batch": 1, "dtype": "bf16", "seconds": 0.95, "parts": [part, decode]}
plain = picture | {"early": False, "parts": [part | {"run_ms": 30.5}, decode]}
pictures = {"good": picture | {"early": True}, "good, plain launches": plain, "slow": picture | {"seconds": 1.2, "parts": [part | {"run_ms": 33.0}, decode]}}
lines = table.summary(states, runs, torch, goals, pictures).splitlines()
assert "| good | bf16 | 30.000 ms | 29.000 ms | 1.034 | 12.0 µs | 40.000 ms | 0.950 | 1.053 | reached |" in lines, lines
assert any("| good, plain launches |" in line and "| 1.052 |" in line and "to compare" in line for line in lines), lines
assert "Early launches, good: replay / nodes 1.034 instead of 1.052, 500 µs a step." in lines, lines
assert any("| slow |" in line and "**below: 1.2 s of 1, replay 1.138 of 1.05**" in line for line in lines), lines
rows = [line for line in lines if line.count("|") == 13][2:]
assert [row.split(" ")[1] for row in rows] == ["slow", "linear", "fast", "other"], rows
assert "**below: share 0.25 of 0.85**" in rows[0], rows[0]
assert "| linear_lt | 8 µs fast (untuned 10 µs) | 750 | 125 | 94 % | 12 µs | compiled | 1.50 | reached |" in rows[1], rows[1]
assert "| 90 % | - |  | - | reached |" in rows[2] and "not judged" in rows[3]
assert "bf16 800 TFLOP/s, copying 4.00 TB/s; torch 2." in "\n".join(lines) and "a\\|b" in "\n".join(lines)
assert "2 of 4 rows with goals reach them, 1 are below, 1 could not be judged." in lines
END
echo "conv2d share=1 x=1" >"$folder/bad.txt"
is_true "$folder/bad.txt" <<'END'
import sys
from pathlib import Path
import table
try:
    table.read_goals(Path(sys.argv[1]))
    sys.exit("a row that is none was taken")
except table.BadShapes as why:
    assert "bad.txt:1" in str(why)
END

# --- the bundle --------------------------------------------------------------------------------------
if ! git -C "$root" rev-parse --is-inside-work-tree >/dev/null 2>&1 || ! command -v cc >/dev/null; then
    echo "SKIP the bundle: needs git and cc"
else
    bundle=("$root/scripts/gpu-bundle" --fast --programs "$folder/small")
    mkdir -p "$folder/small/tests" "$folder/cuda"
    echo 'int nonsense(void); int main(void) { return 0; }' >"$folder/main.c"
    echo 'int nonsense(void) { return 1; }' >"$folder/lib.c"
    cc "$folder/main.c" -o "$folder/small/atelier"
    expect 2 "there is no checkop_cuda" "${bundle[@]}" --list
    for name in tests/checkop_cuda tests/block_cuda tests/device_conformance libatelier.so.0; do
        cp "$folder/small/atelier" "$folder/small/$name"
    done
    expect 0 "prebuilt/device_conformance" "${bundle[@]}" --list
    for file in scripts/gpu-check benchmarks/gpu/steps.py kernels/ops.def tests/checkop.c CMakePresets.json; do
        grep -qxF "$file" "$said" || fail "$what: $file is not in the bundle"
    done
    ! grep -q '^build/\|^\.git/' "$said" || fail "$what: it lists what was built"
    cp "$said" "$folder/list"
    expect 0 "MiB of at most 60" "${bundle[@]}" --out "$folder/bundle.tar.xz"
    tar -tJf "$folder/bundle.tar.xz" | grep -v '/$' | sed 's|^atelier-gpu/||' | LC_ALL=C sort >"$folder/inside"
    LC_ALL=C sort "$folder/list" | diff - "$folder/inside" >"$said" || fail "$what: not what was listed: $(head -3 "$said")"
    expect 0 "gpu-bundle:" "${bundle[@]}" --out "$folder/again.tar.xz"
    cmp "$folder/bundle.tar.xz" "$folder/again.tar.xz" || fail "$what: not the same bytes twice"
    expect 1 "MiB, at most 0 are allowed" "${bundle[@]}" --out "$folder/none.tar.xz" --limit 0
    expect 2 "is not a number" "${bundle[@]}" --limit much
    cc -shared -fPIC "$folder/lib.c" -o "$folder/libnonsense.so"
    cc -Wl,--no-as-needed "$folder/main.c" -L"$folder" -lnonsense -o "$folder/small/tests/checkop_cuda"
    expect 1 "needs libnonsense.so, which" "${bundle[@]}" --out "$folder/none.tar.xz"
fi

echo "gpu_check_test: $tests runs, $failures failures"
[ "$failures" -eq 0 ]
