"""What the steps of scripts/gpu-check have found, as a page to read.

Rows of ours and of torch are brought together by op, shape and type. A share is of the larger of the peaks
that we and torch have measured on the same card, so that neither is praised for measuring badly."""

import time
from collections import namedtuple

Goals = dict  # name: least; of (op, shape)
Row = namedtuple("Row", "op shape dtype where us variant gflops gbps best_us best_run torch how")
RUNS = {"models": "untuned", "batched": "untuned"}  # the others are exact and fast
RESULTS = {"failed": "**failed**", "running": "**cut off**"}


class BadShapes(Exception):
    """A row of shapes.txt that is none."""


def read_goals(path):
    """{(op, shape): {name: least}} in the order of the file."""
    goals = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split(None, 2)
        try:
            op, wanted, shape = words
            pairs = [goal.split(":") for goal in wanted.split(",")] if wanted != "-" else []
            least = {name: float(value) for name, value in pairs}
            if set(least) - {"share", "torch", "tflops", "gbps"}:
                raise ValueError
        except ValueError:
            raise BadShapes(f"{path.name}:{number}: a row is: op, goals, shape") from None
        goals[(op, shape)] = least
    return goals


# --- rows -------------------------------------------------------------------------------------------


def collect(runs, torch):
    """One Row for every (op, shape, dtype), the untuned time first."""
    rows = {}
    for name, run in runs.items():
        for result in run["results"]:
            key = (result["op"], result["shape"], result["dtype"])
            rows.setdefault(key, {})[RUNS.get(name, name)] = result
    peers = {(r["op"], r["shape"], r["dtype"]): r for r in torch.get("results", [])}
    return [join(key, results, peers.get(key, {})) for key, results in rows.items()]


def join(key, results, peer):
    best_run = min(results, key=lambda name: results[name]["us"])
    best = results[best_run]
    first = results.get("untuned", best)
    how = peer.get("how") or peer.get("skip", "")
    return Row(*key, first.get("where", ""), first["us"], best["variant"], best["gflops"], best["gbps"],
               best["us"], best_run, peer.get("us"), how)


def peaks(runs, torch):
    """The best that anything reached: arithmetic by type and copying, per second."""
    found = {"f32": 0.0, "bf16": 0.0, "f16": 0.0, "f8": 0.0, "copy": 0.0}
    for run in runs.values():
        ours = run.get("peaks", {})
        for name in ("f32", "bf16", "f8"):
            found[name] = max(found[name], ours.get(f"{name}_gflops", 0) * 1e9)
        sizes = ours.get("by_bytes", [])[-1:]  # the last is beyond any cache
        found["copy"] = max(found["copy"], *(size.get("copy_gbps", 0) * 1e9 for size in [ours, *sizes]))
    measured = torch.get("peaks", {})
    found["bf16"] = max(found["bf16"], measured.get("bf16_flops", 0))
    found["f8"] = max(found["f8"], measured.get("f8_flops", 0))
    found["copy"] = max(found["copy"], measured.get("copy_bytes", 0))
    found["f16"] = found["bf16"]
    return found


def type_of(row):
    return "f8" if ":f8" in row.shape else row.dtype


def share(row, peak):
    """Of the time that the card's peaks need; None where they are unknown."""
    arithmetic, copying = peak.get(type_of(row), 0), peak["copy"]
    if not arithmetic or not copying:
        return None
    return max(row.gflops * 1e9 / arithmetic, row.gbps * 1e9 / copying)


def judge(row, least, peak):
    """(goals that are missed, goals that could not be judged)"""
    reached = {"share": share(row, peak), "tflops": row.gflops / 1e3, "gbps": row.gbps,
               "torch": row.torch / row.best_us if row.torch else None}
    missed = [f"{name} {reached[name]:.3g} of {value:g}" for name, value in least.items()
              if reached[name] is not None and reached[name] < value]
    return missed, [name for name in least if reached[name] is None]


# --- the page ---------------------------------------------------------------------------------------


def time_text(us):
    return f"{us / 1e3:.3g} ms" if us >= 1e3 else f"{us:.3g} µs"


def cell(text):
    return str(text).replace("|", "\\|").replace("\n", " ")


def steps_table(states):
    lines = ["| step | result | seconds | what came out |", "|---|---|---|---|"]
    order = {"failed": 0, "running": 1}
    for line in sorted(states.values(), key=lambda line: order.get(line["status"], 2)):
        result = RESULTS.get(line["status"], line["status"])
        lines.append(f"| {line['step']} | {result} | {line['seconds']:g} | {cell(line['note'])} |")
    return lines


def ops_table(rows, goals, peak):
    lines = ["| op | shape | type | variant | time | TFLOP/s | GB/s | share | torch | by | torch / ours | goals |",
             "|---|---|---|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        part = share(row, peak)
        least = goals.get((row.op, row.shape), {})
        missed, unknown = judge(row, least, peak)
        verdict = "**below: " + ", ".join(missed) + "**" if missed else \
            "not judged" if unknown else "reached" if least else ""
        was = f" {row.best_run} (untuned {time_text(row.us)})" if row.best_run != "untuned" else ""
        cells = [row.op, f"{row.where}: {row.shape}" if row.where else row.shape, row.dtype, row.variant,
                 time_text(row.best_us) + was, f"{row.gflops / 1e3:.3g}", f"{row.gbps:.4g}",
                 "-" if part is None else f"{100 * part:.0f} %",
                 time_text(row.torch) if row.torch else "-", row.how,
                 f"{row.torch / row.best_us:.2f}" if row.torch else "-", verdict]
        lines.append("| " + " | ".join(cell(text) for text in cells) + " |")
    return lines


def counts(rows, goals, peak):
    judged = [judge(row, goals[(row.op, row.shape)], peak) for row in rows if goals.get((row.op, row.shape))]
    reached = sum(not missed and not unknown for missed, unknown in judged)
    below = sum(bool(missed) for missed, _ in judged)
    return f"{reached} of {len(judged)} rows with goals reach them, {below} are below, " \
           f"{len(judged) - reached - below} could not be judged."


def launch_text(runs):
    """What a node of a captured plan costs, and the host's part."""
    for run in runs.values():
        if run.get("peaks", {}).get("launch_us"):
            ours = run["peaks"]
            early = f" ({ours['early_launch_us']:.2f} early)" if "early_launch_us" in ours else ""
            return f", {ours['launch_us']:.2f} µs a launch{early}, {ours['enqueue_us']:.1f} µs of the host a replay"
    return ""


def peaks_line(peak, runs, torch):
    parts = [f"{name} {peak[name] / 1e12:.0f} TFLOP/s" for name in ("f32", "bf16", "f8") if peak[name] >= 1e12]
    parts += [f"copying {peak['copy'] / 1e12:.2f} TB/s"] if peak["copy"] >= 1e12 else []
    version = f"; torch {torch['torch']}" if torch.get("torch") else ""
    return "Measured peaks: " + (", ".join(parts) if parts else "none of a GPU") + launch_text(runs) + version + "."


PLAIN = ", plain launches"  # ends the name of a run that is there to be compared with the one without

# Of atelier profile: what a captured plan may add, and what pictures may take; by batch.
REPLAY_MOST = {1: 1.05, 8: 1.01}
HOST_US_MOST = 20
SECONDS_MOST = {(1, "bf16"): 1.0, (8, "bf16"): 8 / 2.0, (8, "f8"): 8 / 2.37}


def judge_picture(run, step):
    """What is missed of a run, in words."""
    batch, missed = run["batch"], []
    most = SECONDS_MOST.get((batch, run["dtype"]))
    if run["model"] == "sdxl" and most and run["seconds"] > most:
        missed.append(f"{run['seconds']:.3g} s of {most:.3g}")
    if step["run_ms"] and step["run_ms"] > REPLAY_MOST.get(batch, 2) * step["nodes_ms"]:
        missed.append(f"replay {step['run_ms'] / step['nodes_ms']:.3f} of {REPLAY_MOST[batch]}")
    if step["host_us"] > HOST_US_MOST:
        missed.append(f"host {step['host_us']:.1f} us of {HOST_US_MOST}")
    return missed


def pictures_table(pictures):
    """The text encoders are not among the parts."""
    lines = ["| pictures | type | step | its nodes | replay / nodes | host | decode | seconds | a second | goals |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    for name, run in pictures.items():
        parts = {part["name"]: part for part in run["parts"]}
        step, decode = parts.get("step", run["parts"][0]), parts.get("decode", run["parts"][-1])
        missed = [] if name.endswith(PLAIN) else judge_picture(run, step)
        cells = [name, run["dtype"], f"{step['run_ms']:.3f} ms", f"{step['nodes_ms']:.3f} ms",
                 f"{step['run_ms'] / step['nodes_ms']:.3f}", f"{step['host_us']:.1f} µs",
                 f"{decode['run_ms'] or decode['nodes_ms']:.3f} ms", f"{run['seconds']:.3f}",
                 f"{run['batch'] / run['seconds']:.3f}",
                 "**below: " + ", ".join(missed) + "**" if missed else "to compare" if name.endswith(PLAIN) else
                 "reached" if step["run_ms"] else ""]
        lines.append("| " + " | ".join(cell(text) for text in cells) + " |")
    return lines


def early_lines(pictures):
    """What launches before the one before has ended bring, where a run was made with and without."""
    lines = []
    for name, plain in pictures.items():
        early = pictures.get(name.removesuffix(PLAIN))
        if not name.endswith(PLAIN) or not early or not early.get("early"):
            continue
        steps = [next((part for part in run["parts"] if part["name"] == "step"), run["parts"][0])
                 for run in (early, plain)]
        ratios = " instead of ".join(f"{step['run_ms'] / step['nodes_ms']:.3f}" for step in steps)
        saved = (steps[1]["run_ms"] - steps[0]["run_ms"]) * 1e3
        lines += [f"Early launches, {name.removesuffix(PLAIN)}: replay / nodes {ratios}, {saved:.0f} µs a step."]
    return lines + [""] if lines else []


def summary(states, runs, torch, goals, pictures):
    peak, rows = peaks(runs, torch), collect(runs, torch)
    name = next((run.get("gpu") or run.get("cpu") for run in runs.values()), "no results yet")
    lines = [f"# GPU check: {name}", "", time.strftime("%Y-%m-%d %H:%M") + ".", "", *steps_table(states), ""]
    if pictures:
        lines += ["Whole pictures of 1024x1024 with guidance, without the text encoders:", "",
                  *pictures_table(pictures), "", *early_lines(pictures)]
    if rows:
        lines += [peaks_line(peak, runs, torch), counts(rows, goals, peak),
                  "Times are medians; torch / ours above 1: we are faster. Failed goals first.", ""]
        rows.sort(key=lambda row: not judge(row, goals.get((row.op, row.shape), {}), peak)[0])
        lines += ops_table(rows, goals, peak)
    return "\n".join(lines) + "\n"
