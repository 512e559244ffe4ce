"""Steps one after another, each with a time limit, with a state on disk: what scripts/gpu-check runs on.

A step is a function of the check (steps.Check). It returns a sentence on what came out, or raises Failed
(something is wrong), Absent (it cannot be done here, which is no fault) or NoGpu (nothing after it makes
sense). All that it says goes to OUT/running.log, and from there, when it has ended, to OUT/logs.xz."""

import json
import lzma
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import namedtuple
from pathlib import Path

SECONDS_OF_A_CALL = 530.0  # a call that is cut off after ten minutes still ends by itself
SECONDS_OF_A_SLICE_MAX = 540.0
SECONDS_IN_ALL_MAX = 1500.0
FILES_MAX = 8
FILE_BYTES_MAX = 16 << 20
LOG_BYTES_MAX = 4 << 20  # of one step; the middle of a longer one is left out
OUTPUT_BYTES_MAX = 1 << 20  # what is handed to the step, of either stream's end

STATE, RUNNING, LOGS, DRAFT = "state", "running.log", "logs.xz", "draft"


class Refused(Exception):
    """What is wrong with the request or the machine, in one sentence."""


class Failed(Exception):
    """A step has found something wrong."""


class Absent(Exception):
    """A step cannot be done here; no fault of what is tested."""


class NoGpu(Failed):
    """There is no GPU to go on with."""


# slice: 1 to 3; seconds: the limit; kind: when it runs: ALWAYS, NAMED by its option,
# or only in a DRY run.
Step = namedtuple("Step", "name slice seconds kind run text")
ALWAYS, NAMED, DRY = "always", "named", "dry"
Result = namedtuple("Result", "status output errors seconds timed_out")


# --- which steps ------------------------------------------------------------------------------------


def choose(steps, options):
    names = options.steps.split(",") if options.steps else None
    known = [step.name for step in steps]
    for name in names or []:
        if name not in known:
            raise Refused(f"there is no step '{name}': {', '.join(known)}")
    slices = {step.slice for step in steps}
    if options.slice is not None and options.slice not in slices:
        raise Refused(f"there is no slice {options.slice}: {min(slices)} to {max(slices)}")
    chosen = [step for step in steps
              if (names is None or step.name in names)
              and (options.slice is None or step.slice == options.slice)
              and (step.kind != DRY or options.dry_run)
              and (step.kind != NAMED or options.build)]
    if not chosen:
        raise Refused("no steps are left")
    return chosen


def print_steps(steps):
    for step in steps:
        print(f"slice {step.slice}  {step.name:12} {step.seconds:4.0f} s  {step.text}")
    total = 0.0
    for number in sorted({step.slice for step in steps}):
        seconds = sum(s.seconds for s in steps if s.slice == number and s.kind == ALWAYS)
        total += seconds
        print(f"slice {number}: at most {seconds:.0f} s")
    print(f"in all: at most {total:.0f} s")


# --- the state --------------------------------------------------------------------------------------


class State:
    """OUT/state: a line of JSON for everything that happened, the first says of which programs."""

    def __init__(self, out, identity, resume):
        self.path = out / STATE
        self.steps = {}
        if self.path.exists() and not resume:
            raise Refused(f"{out} holds results already: --resume goes on, another --out begins anew")
        if not self.path.exists():
            self.add({"identity": identity})
            return
        lines = self.read()
        if not lines or lines[0].get("identity") != identity:
            raise Refused(f"{out} holds the results of other programs: give another --out")
        for line in lines[1:]:
            self.steps[line["step"]] = line

    def read(self):
        lines = []
        for line in self.path.read_text().splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:  # the last one, when the power went
                pass
        return lines

    def add(self, line):
        with open(self.path, "a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def note(self, step, status, seconds=0.0, note=""):
        line = {"step": step.name, "status": status, "seconds": round(seconds, 1), "note": note,
                "when": time.strftime("%Y-%m-%d %H:%M:%S")}
        self.steps[step.name] = line
        self.add(line)

    def is_over(self, step, again):
        status = self.steps.get(step.name, {}).get("status")
        return status in ("done", "absent") or (status == "failed" and not again)


# --- logs and results -------------------------------------------------------------------------------


def close_log(out):
    """What the step said becomes a part of OUT/logs.xz, whose parts are each a whole xz stream."""
    path = out / RUNNING
    if not path.exists():
        return
    said = path.read_bytes()
    if len(said) > LOG_BYTES_MAX:
        half = LOG_BYTES_MAX // 2
        gap = f"\n... {len(said) - 2 * half} bytes are left out here ...\n".encode()
        said = said[:half] + gap + said[-half:]
    if said:
        with open(out / LOGS, "ab") as file:
            file.write(lzma.compress(said, preset=6))
    path.unlink()


def check_results(out):
    """A sentence if OUT is more than may be carried home."""
    files = sorted(path for path in out.iterdir())
    if len(files) > FILES_MAX:
        return f"{out} has {len(files)} files, at most {FILES_MAX} are allowed"
    for path in files:
        if not path.is_file():
            return f"{path} is not a file"
        if path.stat().st_size > FILE_BYTES_MAX:
            return f"{path} has {path.stat().st_size} bytes, at most {FILE_BYTES_MAX} are allowed"
    return None


def write_whole(path, text):
    """The file appears whole or not at all."""
    draft = path.with_name(DRAFT)
    draft.write_text(text)
    os.replace(draft, path)


# --- programs ---------------------------------------------------------------------------------------


def tail_of(file):
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - OUTPUT_BYTES_MAX))
    return file.read().decode(errors="replace")


def members_of(session):
    """The processes of a session. A process group would not do: ninja gives each compiler its own."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(path.parent.name))
    return found


def end_session(process):
    """The program and all that it has started, again and again until nothing is left to start more."""
    for _ in range(20):
        members = members_of(process.pid)
        for pid in members:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if not members:
            break
        time.sleep(0.02)
    process.wait()


def deadline(seconds):
    return time.monotonic() + seconds


def left_until(moment):
    return max(0.0, moment - time.monotonic())


def execute(words, seconds, environment, folder, output_path=None):
    """Runs a program to its end or its limit. Its whole standard output goes to 'output_path', if
    there is one."""
    start = time.monotonic()
    timed_out = False
    with tempfile.TemporaryFile() as errors, (
            open(output_path, "w+b") if output_path else tempfile.TemporaryFile()) as output:
        try:
            process = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL,
                                       stdout=output, stderr=errors, env=environment, cwd=folder,
                                       start_new_session=True)
        except OSError as error:
            return Result(127, "", f"{words[0]}: {error.strerror}", 0.0, False)
        try:
            process.wait(timeout=max(seconds, 0.1))
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            end_session(process)
        return Result(process.returncode, tail_of(output), tail_of(errors),
                      time.monotonic() - start, timed_out)


# --- running ----------------------------------------------------------------------------------------


def run_step(step, check, state):
    """Returns 'done', 'failed' or 'absent'."""
    state.note(step, "running")
    print(f"{step.name:12} ...", end="", flush=True)
    start = time.monotonic()
    check.begin(step)
    try:
        status, note = "done", step.run(check) or ""
    except NoGpu:
        raise
    except Absent as why:
        status, note = "absent", str(why)
    except Failed as why:
        status, note = "failed", str(why)
    except Refused as why:
        status, note = "failed", str(why)
    except Exception as error:  # a fault of a step must not take the others along
        status, note = "failed", f"the step itself broke: {type(error).__name__}: {error}"
    seconds = time.monotonic() - start
    close_log(check.out)
    state.note(step, status, seconds, note)
    print(f"\r{step.name:12} {status:7} {seconds:6.1f} s  {note}", flush=True)
    return status


def interrupt(number, frame):
    """Whoever ends this program ends what it has started, too."""
    raise KeyboardInterrupt


def run_all(chosen, check, options):
    """The exit status of the program."""
    start = time.monotonic()
    check.out.mkdir(parents=True, exist_ok=True)
    state = State(check.out, check.identity(), options.resume)
    close_log(check.out)  # of a step that was cut off
    (check.out / DRAFT).unlink(missing_ok=True)
    signal.signal(signal.SIGTERM, interrupt)
    left = []
    for step in chosen:
        if state.is_over(step, options.again):
            print(f"{step.name:12} is {state.steps[step.name]['status']} already", flush=True)
            continue
        if time.monotonic() - start + step.seconds > options.seconds:
            left.append(step.name)
            continue
        try:
            run_step(step, check, state)
        except NoGpu as why:
            close_log(check.out)
            state.note(step, "failed", note=str(why))
            print(f"\ngpu-check: {why}", file=sys.stderr)
            return 2
        finally:
            check.summarize(state.steps)
    return conclude(chosen, left, check, state, options)


def conclude(chosen, left, check, state, options):
    failed = [step.name for step in chosen
              if state.steps.get(step.name, {}).get("status") == "failed"]
    wrong = check_results(check.out)
    if wrong:
        print(f"gpu-check: {wrong}", file=sys.stderr)
    if failed:
        print(f"gpu-check: {len(failed)} of {len(chosen)} steps have failed: {', '.join(failed)}; "
              f"see {check.out}/summary.md", file=sys.stderr)
    if left:
        print(f"gpu-check: {options.seconds:g} seconds are not enough for {', '.join(left)}: "
              "--resume goes on with them", file=sys.stderr)
    if failed or wrong:
        return 1
    if not left:
        print(f"gpu-check: all of {len(chosen)} steps; see {check.out}/summary.md")
    return 2 if left else 0
