"""The steps of scripts/gpu-check, in the order in which they run.

What is right comes before what is fast: the device and its instructions (conformance), every op at small
shapes against the processor (checkop), at the models' shapes against the naive variants (large), then times,
torch's beside them, tuning and the times after it, and what the card's own tools say."""

import hashlib
import json
import os
import queue
import re
import shutil
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import runner
import table
from runner import ALWAYS, DRY, NAMED, Absent, Failed, NoGpu, Step

PROGRAMS = ("atelier", "checkop_cuda", "block_cuda", "device_conformance")
NO_GPU = re.compile(r"no NVIDIA driver|finds no device|no CUDA device|driver version is insufficient")
KNOWN = (runner.STATE, runner.RUNNING, runner.LOGS, runner.DRAFT, "summary.md", "machine.txt", "ops.json",
         "torch.json")
# Folders of torch's wheels that hold libraries which the programs open.
WHEELS = ("cudnn/lib", "cublas/lib", "cu13/lib", "nccl/lib", "cuda_nvrtc/lib")
DRIVER = "/usr/local/nvidia/lib64"  # where some machines keep libcuda.so.1
DRY_ROWS = 12  # of the processor's results that a dry run merges


class Check:
    """The programs, where they run, where the results go."""

    def __init__(self, root, options):
        self.root, self.options, self.dry = root, options, options.dry_run
        self.out = Path(options.out).resolve()
        self.programs = self.find_programs(options.programs)
        self.python = options.python
        self.folder = tempfile.TemporaryDirectory(prefix="gpu-check-")
        self.scratch = Path(self.folder.name)
        self.limit = 0.0
        self.environment = dict(os.environ)
        if self.dry:
            self.environment["CUDA_VISIBLE_DEVICES"] = ""  # the same words on every machine
        self.add_libraries()

    # --- programs -----------------------------------------------------------------------------------

    def find_programs(self, named):
        """Their paths, of a bundle or of a build; with --build those that will be there."""
        built = self.root / "build" / "gpu"
        folders = [Path(named)] if named else [self.root / "prebuilt", built]
        if self.options.build and not named:
            folders = [built]
        for folder in folders:
            paths = {name: folder / name if (folder / name).exists() else folder / "tests" / name
                     for name in PROGRAMS}
            if all(os.access(path, os.X_OK) for path in paths.values()):
                return {name: path.resolve() for name, path in paths.items()}
        if self.options.build:
            return {name: built / ("tests" if name != "atelier" else "") / name for name in PROGRAMS}
        raise runner.Refused(f"{', '.join(PROGRAMS)} are not all in {folders[-1]}: unpack a bundle, "
                             "or give --build or --programs")

    def identity(self):
        """Which programs and sources results belong to; a build of its own is known by its sources."""
        digest = hashlib.sha256()
        files = list(self.programs.values())
        if self.options.build:
            files = [path for layer in ("kernels", "engine", "cli", "tests")
                     for path in (self.root / layer).rglob("*.*") if path.is_file()]
        for path in sorted(files):
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
        return ("dry run of " if self.dry else "") + digest.hexdigest()[:16]

    def add_libraries(self):
        """cuDNN, cuBLASLt and the like from torch's wheels, for programs that look for them by name."""
        words = [self.python, "-c", "import nvidia; print(*nvidia.__path__, sep='\\n')"]
        found = runner.execute(words, 20, self.environment, self.root)
        folders = [Path(line) / part for line in found.output.splitlines() for part in WHEELS]
        folders.append(Path(DRIVER))
        folders = [str(folder) for folder in folders if folder.is_dir()]
        if folders and not self.dry:
            old = self.environment.get("LD_LIBRARY_PATH")
            self.environment["LD_LIBRARY_PATH"] = ":".join(folders + ([old] if old else []))

    # --- running ------------------------------------------------------------------------------------

    def begin(self, step):
        self.limit = runner.deadline(step.seconds)

    def run(self, words, seconds=None, output_path=None, **variables):
        """One program, within its own limit and the step's; what it says goes to the log."""
        left = runner.left_until(self.limit)
        seconds = left if seconds is None else min(seconds, left)
        result = runner.execute(words, seconds, self.environment | variables, self.root, output_path)
        self.log(words, result)
        return result

    def log(self, words, result):
        end = f"past its limit after {result.seconds:.1f} s" if result.timed_out else \
            f"exit status {result.status} after {result.seconds:.1f} s"
        with open(self.out / runner.RUNNING, "a") as file:
            file.write("$ " + " ".join(str(word) for word in words) + "\n")
            file.write(result.output + result.errors + f"({end})\n\n")

    def program(self, name, *words, **limits):
        return self.run([self.programs[name], *words], **limits)

    def must(self, result, what):
        """The result, or Failed with its last words."""
        if result.timed_out:
            raise Failed(f"{what} took more than {result.seconds:.0f} s")
        if result.status != 0:
            raise Failed(f"{what}: {last_line(result)}")
        return result

    def must_lack_gpu(self, result, what):
        """In a dry run: it has started, and says why it does nothing."""
        words = result.output + result.errors
        if result.timed_out or result.status not in (0, 2) or not NO_GPU.search(words):
            raise Failed(f"{what} does not say that there is no GPU: {last_line(result)}")
        return next(line for line in words.splitlines() if NO_GPU.search(line))

    def has_command(self, command, option=None):
        result = self.program("atelier", "help", command, seconds=20)
        return result.status == 0 and (option is None or option in result.output)

    # --- results ------------------------------------------------------------------------------------

    def read_json(self, name):
        try:
            return json.loads((self.out / name).read_text())
        except FileNotFoundError:
            return {}

    def write_json(self, name, document):
        runner.write_whole(self.out / name, json.dumps(document, indent=1) + "\n")

    def keep_run(self, name, document):
        """One `bench ops` of several in ops.json."""
        self.keep("benches", name, document)

    def benches(self):
        return self.read_json("ops.json").get("benches", {})

    def keep(self, kind, name, document):
        ours = self.read_json("ops.json")
        ours.setdefault(kind, {})[name] = document
        self.write_json("ops.json", ours)

    def summarize(self, states):
        torch = self.read_json("torch.json")
        pictures = self.read_json("ops.json").get("pictures", {})
        text = table.summary(states, self.benches(), torch, table.read_goals(SHAPES), pictures)
        runner.write_whole(self.out / "summary.md", text)


SHAPES = Path(__file__).resolve().parent / "shapes.txt"


def last_line(result):
    if result.timed_out:
        return f"it took more than {result.seconds:.0f} s"
    lines = [line for line in (result.output + result.errors).splitlines() if line.strip()]
    if result.status < 0:
        return f"ended by signal {-result.status}" + (f" after: {lines[-1]}" if lines else "")
    return lines[-1].strip() if lines else f"exit status {result.status}"


def ops_of(root):
    return re.findall(r"^AT_OP\((\w+)\)", (root / "kernels" / "ops.def").read_text(), re.M)


# --- the machine and the build ----------------------------------------------------------------------


def about_machine(check):
    """What is here, into machine.txt."""
    versions = ("import torch; print('torch', torch.__version__, 'cuda', torch.version.cuda, 'cudnn', "
                "torch.backends.cudnn.version(), 'nccl', torch.cuda.nccl.version() "
                "if torch.cuda.is_available() else '-')")
    queries = [["uname", "-srm"], ["nproc"], ["nvidia-smi"], ["nvidia-smi", "-q", "-d", "CLOCK,POWER"],
               ["nvcc", "--version"], ["cmake", "--version"], ["ninja", "--version"],
               ["compute-sanitizer", "--version"], ["ncu", "--version"],
               [check.python, "--version"], [check.python, "-c", versions]]
    text = ""
    for words in queries:
        result = check.run(words, seconds=30)
        text += "$ " + " ".join(words) + "\n" + result.output + result.errors + "\n"
    found = check.must(check.program("atelier", "doctor", "--json"), "atelier doctor")
    runner.write_whole(check.out / "machine.txt", text + "$ atelier doctor --json\n" + found.output)
    gpu = json.loads(found.output)["gpu"]
    if not gpu["kernels"]:
        raise Failed("atelier has no kernels for a GPU: it was built without CUDA")
    if check.dry:
        return check.must_lack_gpu(found, "atelier doctor") and gpu["why"]
    if not gpu["cuda_device"]:
        raise NoGpu(f"there is no GPU to check: {gpu['why']} (--dry-run does what needs none)")
    return gpu["why"]


def build(check):
    """The programs, compiled here; in a dry run a file of kernels and two programs that have none, to see
    that it can be done."""
    for tool in ("cmake", "ninja", "nvcc"):
        if not shutil.which(tool) and not Path(f"/usr/local/cuda/bin/{tool}").exists():
            raise Failed(f"there is no {tool} to build with")
    targets = ["gpu_programs"]
    if check.dry:
        targets = ["gpu_part", "tidy", "emulator_conformance"]
    check.must(check.run(["cmake", "--preset", "gpu"], seconds=120), "configuring")
    result = check.must(check.run(["cmake", "--build", "build/gpu", "--target", *targets,
                                   "-j", str(os.cpu_count())]), "building")
    return f"{', '.join(targets)} in {result.seconds:.0f} s on {os.cpu_count()} cores"


# --- right ------------------------------------------------------------------------------------------


def conformance(check):
    result = check.program("device_conformance")
    if check.dry:
        return check.must_lack_gpu(result, "device_conformance")
    if result.output.startswith("SKIP conformance"):
        raise Failed(last_line(result))
    wrong = [line for line in result.output.splitlines() if line.startswith("FAIL")]
    if wrong:
        raise Failed(f"{len(wrong)} cases: " + "; ".join(wrong[:3]))
    return last_line(check.must(result, "device_conformance"))


def emulated(check):
    """The twins of the next steps, where a build has them: the same sources on the processor."""
    done = []
    for words in (["emulator_conformance"], ["emulated_block"], ["checkop_emulated", "unary"]):
        folders = (check.root / "build" / "tests", check.root / "build" / "gpu" / "tests")
        path = next((f / words[0] for f in folders if (f / words[0]).exists()), None)
        if not path:
            continue
        check.must(check.run([path, *words[1:]], seconds=60), words[0])
        done.append(words[0])
    if not done:
        raise Absent("no emulated programs are built")
    return ", ".join(done)


def check_ops(check, runs):
    """checkop_cuda for every run, an op and options, in a process of its own: a fault on the GPU ends one run's
    checks, not all."""
    cores = sorted(os.sched_getaffinity(0))
    workers = max(1, min(4, len(cores) // 4))
    shares = queue.SimpleQueue()  # of the cores, so that one op's threads do not wait for another's
    for i in range(workers):
        shares.put(",".join(str(core) for core in cores[i::workers]))

    def one(words):
        share = shares.get()
        pinned = ["taskset", "-c", share] if shutil.which("taskset") else []
        result = check.run([*pinned, check.programs["checkop_cuda"], *words], seconds=120)
        shares.put(share)
        return words[0], result

    with ThreadPoolExecutor(workers) as pool:
        results = list(pool.map(one, runs))
    wrong = []
    passed = 0
    ops = {op for op, _ in results}
    for op, result in results:
        total = re.search(r"^checkop: (\d+) passed, (\d+) failed", result.output, re.M)
        passed += int(total.group(1)) if total else 0
        if result.status != 0 or result.timed_out or not total:
            lines = [line for line in result.output.splitlines() if line.startswith("FAIL")]
            wrong.append(f"{op}: {lines[0][5:] if lines else last_line(result)}")
    if wrong:
        raise Failed(f"{len(wrong)} of {len(ops)} ops: " + "; ".join(wrong))
    return f"{passed} checks of {len(ops)} ops"


def variants_text(root):
    return "".join(path.read_text() for path in sorted((root / "kernels").glob("*_cudnn.c")))


def small(check):
    """cuDNN compiles many of its engines while a plan is made, a second of a core each: its variants are run once,
    their own bytes are not compared from run to run."""
    if check.dry:
        return check.must_lack_gpu(check.program("checkop_cuda"), "checkop_cuda")
    by_cudnn = {op for op in ops_of(check.root) if f"at_{op}_cudnn" in variants_text(check.root)}
    runs = [[op, "--variant", "cudnn", "--brief"] for op in sorted(by_cudnn)]
    return check_ops(check, runs + [[op, "--variant", "_cuda"] if op in by_cudnn else [op]
                                    for op in ops_of(check.root)])


def block(check):
    """A diffusion block trained and drawn by plans: captured, replayed, in any batch."""
    result = check.program("block_cuda")
    if check.dry:
        return check.must_lack_gpu(result, "block_cuda")
    wrong = [line for line in result.output.splitlines() if line.startswith("FAIL")]
    if wrong:
        raise Failed("; ".join(wrong[:3]))
    return last_line(check.must(result, "block_cuda"))


def large(check):
    """At the models' shapes: every variant against the naive one, or the processor's."""
    if check.dry:
        return check.must_lack_gpu(check.program("checkop_cuda", "--large"), "checkop_cuda --large")
    rows = re.findall(r"^AT_SHAPE\((\w+),", (check.root / "kernels/shapes.def").read_text(), re.M)
    return check_ops(check, [[op, "--large"] for op in ops_of(check.root) if op in rows])


# --- fast -------------------------------------------------------------------------------------------


def bench_ops(check, name, *words, seconds=None):
    """One `atelier bench ops`, kept in ops.json under 'name'."""
    path = check.scratch / "bench.json"
    result = check.program("atelier", "bench", "ops", "--device", "cuda", "--dtype", "bf16", "--json", *words,
                           output_path=path, seconds=seconds)
    return take_results(check, name, result, path)


def read_results(text):
    """The document of `bench ops`; of one that was cut off, the results that are whole. None: there are none."""
    try:
        return json.loads(text)
    except ValueError:
        ends = [found.end() for found in re.finditer("}", text)]
    for end in ends[:-8:-1]:  # a result has no more objects inside
        try:
            return json.loads(text[:end] + "]}")
        except ValueError:
            pass
    return None


def take_results(check, name, result, path):
    document = read_results(path.read_text())
    if not document:
        raise Failed(f"bench printed no results: {last_line(result)}")
    check.keep_run(name, document)
    if result.timed_out or result.status != 0:
        raise Failed(f"{len(document['results'])} shapes are timed, but: {last_line(result)}")
    return f"{len(document['results'])} shapes"


def bench(check):
    if not check.dry:
        return bench_ops(check, "models", "--seconds", "0.3")
    said = check.must_lack_gpu(check.program("atelier", "bench", "ops", "--device", "cuda"), "atelier bench")
    path = check.scratch / "bench.json"
    result = check.program("atelier", "bench", "ops", "--device", "cpu", "--threads", "1", "--quick",
                           "--dtype", "bf16", "--seconds", "0.001", "--json", output_path=path)
    return said + "; on the processor: " + take_results(check, "models", result, path)


def list_shapes(check, rows):
    """A file for --shapes."""
    path = check.scratch / "shapes.txt"
    path.write_text("".join(f"{op} {shape}\n" for op, shape in rows))
    return path


def all_shapes(check):
    """Those that speed is promised for first, then the models' others."""
    rows = list(table.read_goals(SHAPES))
    text = (check.root / "kernels" / "shapes.def").read_text()
    for op, pieces in re.findall(r'^AT_SHAPE\((\w+), "[^"]*",((?:\s*"[^"]*")+)\)', text, re.M):
        row = (op, "".join(re.findall(r'"([^"]*)"', pieces)))
        rows += [row] if row not in rows else []
    return list_shapes(check, rows)


def batched(check):
    """The rows of shapes.txt that are not among the models' own."""
    rows = check.benches().get("models", {}).get("results", [])
    there = {(row["op"], row["shape"]) for row in rows}
    path = list_shapes(check, [row for row in table.read_goals(SHAPES) if row not in there])
    if not check.dry:
        return bench_ops(check, "batched", "--shapes", path, "--seconds", "0.3")
    return check.must_lack_gpu(check.program("atelier", "bench", "ops", "--device", "cuda", "--shapes", path),
                               "atelier bench")


def torch(check):
    """The same rows in torch, into torch.json."""
    runs = check.benches()
    rows = [{key: row[key] for key in ("op", "shape", "dtype")}
            for name in ("models", "batched") for row in runs.get(name, {}).get("results", [])]
    if not rows:
        raise Absent("there are no rows to compare with")
    goals = table.read_goals(SHAPES)  # theirs first, should the time not be enough
    rows.sort(key=lambda row: not goals.get((row["op"], row["shape"])))
    words = ["--device", "cuda"]
    if check.dry:
        rows, words = rows[:DRY_ROWS], ["--device", "cpu", "--no-compile", "--seconds", "0.001"]
    (check.scratch / "rows.json").write_text(json.dumps(rows))
    result = check.run([check.python, Path(__file__).with_name("peer_gpu.py"), *words,
                        "--rows", check.scratch / "rows.json", "--out", check.scratch / "torch.json",
                        "--limit", str(int(max(10, runner.left_until(check.limit) - 15)))])
    if result.status == 3:
        raise Absent(last_line(result))
    try:
        document = json.loads((check.scratch / "torch.json").read_text())
    except FileNotFoundError:
        raise Failed(f"torch has timed nothing: {last_line(result)}") from None
    check.write_json("torch.json", document)
    check.must(result, "torch")
    timed = sum("us" in row for row in document["results"])
    return f"torch {document['torch']}: {timed} of {len(rows)} rows timed"


# --- whole pictures ---------------------------------------------------------------------------------


PLAIN = table.PLAIN  # the first of them with plain launches only
PICTURES = (  # name, words, seconds
    ("batch 1, 30 steps, exact", ("--batch", "1", "--steps", "30", "--mode", "exact"), 50),
    ("batch 1, 30 steps, fast", ("--batch", "1", "--steps", "30", "--mode", "fast"), 35),
    ("batch 8, 20 steps, exact", ("--batch", "8", "--steps", "20", "--mode", "exact"), 35),
    ("batch 8, 20 steps, fast", ("--batch", "8", "--steps", "20", "--mode", "fast"), 35),
    ("batch 8, 20 steps, fast, f8", ("--batch", "8", "--steps", "20", "--mode", "fast", "--dtype", "f8"), 35))


def profile(check, name, words, seconds):
    """One `atelier profile`, kept in ops.json."""
    path = check.scratch / "profile.json"
    result = check.program("atelier", "profile", *words, "--json", output_path=path, seconds=seconds)
    check.must(result, name)
    document = json.loads(path.read_text())
    check.keep("pictures", name, document)
    return f"{name}: {document['seconds']:.3f} s"


def pictures(check, tuned):
    """The UNet, the VAE and the sampler with random weights: plans captured and replayed."""
    if not check.has_command("profile"):
        raise Absent("this atelier has no command profile")
    if check.dry:
        said = check.must_lack_gpu(check.program("atelier", "profile", "sdxl", "--device", "cuda"),
                                   "atelier profile")
        words = ("sdxl-vae", "--device", "cpu", "--size", "8", "--dtype", "f32")
        if tuned:
            return said
        name = "sdxl-vae, 8x8, no GPU"
        profile(check, name + PLAIN, [*words, "--early", "no"], 120)
        return said + "; on the processor: " + profile(check, name, words, 120)
    words = ["sdxl", "--device", "cuda"]
    if not tuned:
        name, more, seconds = PICTURES[0]
        return "; ".join([profile(check, name, [*words, *more], seconds),
                          profile(check, name + PLAIN, [*words, *more, "--early", "no"], seconds)])
    folder = tuning_folder(check)
    if not any(folder.iterdir()):
        raise Absent("nothing has been tuned")
    said, wrong = [], []
    for name, more, seconds in PICTURES:
        try:
            said.append(profile(check, name + ", tuned", [*words, *more, "--tuning", folder], seconds))
        except Failed as why:
            wrong.append(str(why))
    if wrong:
        raise Failed("; ".join(wrong + said))
    return "; ".join(said)


# --- tuning -----------------------------------------------------------------------------------------


def keep_tuning(check, folder):
    """OUT gets the one file of choices, or an archive of several."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    if not files:
        raise Failed("tuning has stored no choices")
    if len(files) == 1:
        shutil.copy(files[0], check.out / files[0].name)
        return files[0].name
    with tarfile.open(check.out / "tuning.tar.xz", "w:xz") as archive:
        for path in files:
            archive.add(path, path.name)
    return f"{len(files)} files in tuning.tar.xz"


def tuning_folder(check):
    """The choices of this run, or of the one that is gone on with."""
    folder = check.scratch / "tuning"
    if folder.exists():
        return folder
    folder.mkdir()
    for path in check.out.iterdir():
        if path.name == "tuning.tar.xz":
            with tarfile.open(path) as archive:
                archive.extractall(folder, filter="data")
        elif path.name not in KNOWN:
            shutil.copy(path, folder / path.name)
    return folder


# What is tuned, by mode: words and seconds. A picture's calls first; of an exact plan they are one for all
# batches.
TUNED = {"exact": ((("sdxl",), 45), (("ops",), 40)),
         "fast": ((("sdxl", "--batch", "8"), 25), (("sdxl",), 10), (("ops",), 20))}


def tune(check, mode):
    if not check.has_command("tune"):
        raise Absent("this atelier has no command tune")
    folder, said, wrong = tuning_folder(check), [], []
    for what, seconds in TUNED[mode]:
        words = ["tune", *what, "--device", "cuda", "--dtype", "bf16", f"--{mode}", "--seconds", str(seconds),
                 "--folder", folder] + (["--shapes", all_shapes(check)] if what == ("ops",) else [])
        result = check.program("atelier", *words)
        if check.dry:
            said.append(check.must_lack_gpu(result, "atelier tune"))
            continue
        try:
            said.append(f"{what[0]}: {last_line(check.must(result, ' '.join(('tune', *what))))}")
        except Failed as why:
            wrong.append(str(why))
    if check.dry:
        return said[0]
    kept = keep_tuning(check, folder)  # it is stored as it is found
    if wrong:
        raise Failed("; ".join([*wrong, kept]))
    return f"{kept}: {'; '.join(said)}"


def bench_tuned(check, mode):
    if not check.has_command("bench", "--tuning"):
        raise Absent("this atelier's bench takes no --tuning")
    folder = tuning_folder(check)
    words = ["--tuning", folder] + (["--exact"] if mode == "exact" else [])
    if check.dry:
        return check.must_lack_gpu(check.program("atelier", "bench", "ops", "--device", "cuda", *words),
                                   "atelier bench")
    if not any(folder.iterdir()):
        raise Absent("nothing has been tuned")
    return bench_ops(check, mode, *words, "--seconds", "0.15", "--shapes", all_shapes(check))


# --- the card's tools -------------------------------------------------------------------------------


def find_tool(name):
    path = shutil.which(name) or next((p for p in (f"/usr/local/cuda/bin/{name}",) if Path(p).exists()), None)
    if not path:
        raise Absent(f"there is no {name} here")
    return path


def sanitizer(check):
    """compute-sanitizer over a few ops' checks: addresses, races, what nobody wrote."""
    path = find_tool("compute-sanitizer")
    if check.dry:
        return last_line(check.must(check.run([path, "--version"], seconds=30), "compute-sanitizer"))
    wrong, done, late = [], [], []
    runs = [("memcheck", op) for op in ("linear", "conv2d", "attention", "group_norm")]
    runs += [("racecheck", "linear"), ("racecheck", "layer_norm"), ("initcheck", "softmax")]
    for tool, op in runs:
        result = check.run([path, "--tool", tool, "--error-exitcode", "9", "--print-limit", "5",
                            check.programs["checkop_cuda"], op, "--brief", "--dtype", "bf16"], seconds=20)
        if "Device not supported" in result.output + result.errors:
            raise Absent("compute-sanitizer does not support this device")
        (late if result.timed_out else done).append(f"{tool} {op}")
        if result.status != 0 and not result.timed_out:
            errors = re.search(r"^=+ ((?!COMPUTE|Target).*)$", result.output, re.M)
            wrong.append(f"{tool} {op}: {errors.group(1) if errors else last_line(result)}")
    if wrong:
        raise Failed("; ".join(wrong))
    return (", ".join(done) or "nothing") + (f"; not to their end: {', '.join(late)}" if late else "")


NCU_METRICS = ("gpu__time_duration.sum", "sm__throughput.avg.pct_of_peak_sustained_elapsed",
               "dram__throughput.avg.pct_of_peak_sustained_elapsed",
               "sm__inst_executed_pipe_tensor.avg.pct_of_peak_sustained_active",
               "sm__warps_active.avg.pct_of_peak_sustained_active")
NCU_ROWS = (("linear", "x=2,1024,1280 w=10240,1280 bias=10240"),
            ("conv2d", "x=2,64,64,640 w=640,640,3,3 bias=640 residual=2,64,64,640 pad=1,1,1,1"),
            ("attention", "q=1,4096,640 k=1,4096,640 v=1,4096,640 heads=10"),
            ("group_norm", "x=2,128,128,320 gamma=320 beta=320 groups=32 eps=1e-5 silu=yes"))


def counters(check):
    """What ncu reads of the kernels that take longest, run once for the values: a benchmark would first measure
    the card's peaks. The clocks stay as they are."""
    path = find_tool("ncu")
    if check.dry:
        return last_line(check.must(check.run([path, "--version"], seconds=30), "ncu"))
    for op, shape in NCU_ROWS:
        result = check.run([path, "--clock-control", "none", "--launch-count", "8", "--kernel-name-base",
                            "demangled", "--metrics", ",".join(NCU_METRICS), check.programs["checkop_cuda"],
                            op, "--large", "--case", shape, "--dtype", "bf16"], seconds=20)
        if "Failed to initialize" in result.output + result.errors or "ERR_NVGPUCTRPERM" in result.output:
            raise Absent(f"ncu cannot read the counters here: {last_line(result)}")
        check.must(result, f"ncu, {op}")
    return f"{len(NCU_ROWS)} ops; the numbers are in {runner.LOGS}"


STEPS = [
    Step("machine", 1, 60, ALWAYS, about_machine, "what is here, and what atelier doctor says"),
    Step("build", 1, 400, NAMED, build, "with --build: the programs, compiled here"),
    Step("conformance", 1, 40, ALWAYS, conformance, "instructions and memory, as the emulator understands them"),
    Step("emulated", 1, 130, DRY, emulated, "only --dry-run: the twins on the processor"),
    Step("checkop", 1, 170, ALWAYS, small, "every variant of every op against the processor, small"),
    Step("block", 1, 40, ALWAYS, block, "a diffusion block trained and drawn: plans, capture, replay"),
    Step("large", 1, 150, ALWAYS, large, "the same at the models' shapes, against the naive variants"),
    Step("bench", 2, 130, ALWAYS, bench, "every op at the models' shapes"),
    Step("batched", 2, 100, ALWAYS, batched, "what speed is promised for: batch 8, large parts"),
    Step("torch", 2, 200, ALWAYS, torch, "torch beside each of them"),
    Step("pictures", 2, 78, ALWAYS, lambda check: pictures(check, False), "a whole picture, untuned, twice"),
    Step("tune-exact", 3, 120, ALWAYS, lambda check: tune(check, "exact"), "choices of exact plans"),
    Step("tune-fast", 3, 80, ALWAYS, lambda check: tune(check, "fast"), "choices of fast plans"),
    Step("exact", 3, 70, ALWAYS, lambda check: bench_tuned(check, "exact"), "every op again, as an exact plan"),
    Step("fast", 3, 70, ALWAYS, lambda check: bench_tuned(check, "fast"), "and as one that is free"),
    Step("tuned", 3, 105, ALWAYS, lambda check: pictures(check, True), "whole pictures, by those choices"),
    Step("sanitizer", 3, 45, ALWAYS, sanitizer, "compute-sanitizer over a few ops"),
    Step("ncu", 3, 40, ALWAYS, counters, "hardware counters of a few kernels"),
]
