"""The program of the simple mixture: every knob, its files, resumption, the two optimizers."""
import json
import math
import os
import pathlib
import random
import re
import shlex
import shutil
import signal
import struct
import sys
import tempfile

from lab import (check_study, count_rows, model, override, read, refused, run_first, stop_after,
                 try_often, without_times, write_text)
from process import Checks, must, program, rows, start, stop, tensors, trace

simple_moe = program("simple_moe")
checks = Checks()
check = checks.check
folder = tempfile.TemporaryDirectory()
root = pathlib.Path(folder.name)
text = write_text(root / "text.txt")
SIZES = ["--preset", "tiny", "--data", text, "--batch", 2, "--length", 16, "--threads", 1]
QUIET = ["--no-progress", "--no-plots"]
SHORT = [*SIZES, *QUIET, "--steps", 6, "--eval-every", 3, "--log-every", 2]


def run(name, *options, base=SHORT):
    return override([simple_moe, "--out", root / name, *base], options)


def fresh(*options):
    """Runs with these options in a folder that is replaced, and returns the folder."""
    must(*run("fresh", "--overwrite", *options))
    return root / "fresh"


# The plan has the parameter counts of the documents, and nothing is written to the disk.
plan = must(simple_moe, "--preset", "paper", "--dry-run", "--out", root / "plan").stdout
check("79059840 parameters" in plan and "36592512 active" in plan, "counts of the paper's model")
check(not (root / "plan").exists(), "a dry run writes nothing")

# Requests that are refused.
empty = root / "empty.txt"
empty.write_text("")
few = root / "few.txt"
few.write_text("one two three four")
RATES = ["--muon-rates", "0.01", "--adamw-rates"]
for options, code, part in (
        (["--preset", "large"], 2, "large"), (["--preset", "custom"], 1, "custom"),
        ([*RATES, "0.01,x"], 1, "x"), ([*RATES, "0.01,,"], 1, "--adamw-rates"),
        ([*RATES, "-1"], 1, "-1"), ([*RATES, "nan"], 1, "nan"),
        (["--muon-rates", "0.01"], 1, "--adamw-rates"),
        (["--adamw-rates", "0.01"], 1, "--muon-rates"), (["--steps", 0], 2, "steps"),
        (["--length", 100000], 1, "context"), (["--eval-length", 257], 1, "context"),
        (["--batch", 65536, "--length", 65536], 1, "268435456"),
        (["--dropout", 1.5], 2, "dropout"), (["--seeds", 0], 2, "seeds"),
        (["--batch", 0], 2, "batch"), (["--seed", "x"], 2, "seed"),
        (["--data", empty], 1, "empty"), (["--data", root / "none.txt"], 1, "none.txt"),
        (["--data", few], 1, "longer text"), (["--out", empty], 1, "empty.txt"),
        (["--resume", "--overwrite"], 2, "choose one"), (["--optimizer", "sgd"], 2, "sgd"),
        (["--schedule", "linear"], 2, "linear"), (["--windows", "all"], 2, "all"),
        (["--muon-scale", "big"], 2, "big"), (["--orthogonalisation", "qr"], 2, "qr"),
        (["--heads", 3], 1, "--heads"), (["--heads", 64], 1, "--heads"),
        (["--top-k", 5], 1, "--top-k"), (["--dim", 0], 2, "dim"),
        (["--threads", -1], 2, "threads"), (["--surprise"], 2, "surprise")):
    refused(checks, run("bad", *options), code, part)
    check(not (root / "bad/settings.json").exists() and not (root / "bad/runs").exists(),
          f"'{part}' leaves nothing that stands in the way")
    shutil.rmtree(root / "bad", ignore_errors=True)

# The same command twice, other threads, another seed.
run_first(checks, run("first"))
base = trace(root / "first")
check(trace(fresh()) == base, "the same command gives the same bytes and rows")
for threads in (0, 2, 3):
    check(trace(fresh("--threads", threads)) == base, f"the same bytes with {threads} threads")
other = trace(fresh("--seed", 43))
check(other[0] != base[0] and other[1] != base[1], "another seed gives another run")

# Every option changes what it should: the parameters, or only the rows.
AFTER = {"--eval-every": 2, "--eval-length": 8, "--eval-tokens": 200, "--log-every": 1}
CHANGED = {
    "--precision": "bf16", "--steps": 7, "--batch": 3, "--length": 20, "--accumulation": 2,
    "--optimizer": "adamw", "--schedule": "warmup_stable_decay", "--windows": "shuffled",
    "--warmup": 3,
    "--final-rate": 0.9, "--muon-lr": 0.01, "--muon-momentum": 0.5, "--muon-decay": 0.5,
    "--nesterov": 0, "--muon-scale": "moonlight", "--orthogonalisation": "polar_express5",
    "--adamw-lr": 0.01, "--beta1": 0.5, "--beta2": 0.9, "--eps": 1e-3, "--weight-decay": 1,
    "--clip": 0.01, "--dropout": 0.3, "--balance": 0.5, "--z-loss": 0.1, "--router-noise": 1,
    "--init-std": 0.05}
settings = pathlib.Path(__file__).parents[2] / "lab/include/moe_lab/settings.hpp"
knobs = re.findall(r'\bf\("(--[a-z0-9-]+)"', settings.read_text(encoding="utf-8"))
check(sorted(knobs) == sorted([*CHANGED, *AFTER]),
      f"each knob has a value here: {set(knobs) ^ {*CHANGED, *AFTER}}")
help_text = must(simple_moe, "--help").stdout
for knob in knobs:
    check(knob + " " in help_text, f"--help tells {knob}")
for knob, value in CHANGED.items():
    check(not isinstance(value, str) or re.search(rf"\b{value}\b", help_text),
          f"--help tells {knob} {value}")
    result = trace(fresh(knob, value))
    check(result[1][0] != base[1][0], f"{knob} {value} changes the trained parameters")
    check(result[0] != base[0], f"{knob} {value} changes the rows")
for knob, value in AFTER.items():
    result = trace(fresh(knob, value))
    check(result[1][0] == base[1][0], f"{knob} {value} does not change the parameters")
    check(result[0] != base[0], f"{knob} {value} changes the rows")
schedules = [trace(fresh("--steps", 20, "--schedule", kind))[0]
             for kind in ("cosine", "warmup_stable_decay", "constant")]
check(all(schedules.count(one) == 1 for one in schedules), "three schedules differ")
# With AdamW, its options change the run, and Muon's are refused.
adamw = trace(fresh("--optimizer", "adamw"))
for knob in ("--adamw-lr", "--beta1", "--beta2", "--eps", "--weight-decay"):
    check(trace(fresh("--optimizer", "adamw", knob, CHANGED[knob]))[1] != adamw[1],
          f"{knob} changes AdamW alone")
for knob in CHANGED:
    if knob.startswith("--muon") or knob in ("--nesterov", "--orthogonalisation"):
        result = start(*run("refused", "--optimizer", "adamw", knob, CHANGED[knob]))
        check(result.returncode == 1 and knob in result.stderr, f"{knob} is not AdamW's")

# For another structure a header to build is written. Giving the sizes of a compiled structure
# changes nothing.
TINY = {"vocab": 257, "dim": 64, "layers": 2, "heads": 4, "hidden": 256, "context": 256,
        "experts": 4, "top_k": 2}
same = [word for name, value in TINY.items() for word in ("--" + name.replace("_", "-"), value)]
check(trace(fresh(*same)) == base, "the structure of the preset itself")
for name, value in (("vocab", 300), ("dim", 96), ("layers", 3), ("heads", 2), ("hidden", 100),
                    ("context", 128), ("experts", 6), ("top_k", 1)):
    flag = "--" + name.replace("_", "-")
    refused(checks, run("built", flag, value), 3, "model.hpp")
    header = (root / "built/model.hpp").read_text()
    wanted = {**TINY, name: value}
    if name == "dim":
        wanted["hidden"] = 4 * value
    found = {"top_k": 2}  # the default, which the header does not repeat
    found |= {k: int(v) for k, v in re.findall(r"\.(\w+) = (\d+)", header) if k in TINY}
    check(found == wanted, f"{flag} {value}: {header}")
    check("int steps = 6;" in header and "double muon_lr = 0.02;" in header, "numbers of the run")
    check(not (root / "built/settings.json").exists(), f"{flag}: nothing was trained")

for value, fields in (("alternate", ".every = 2, .offset = 1"), ("last-half", ".last_half = true"),
                      ("last_half", ".last_half = true")):
    refused(checks, run("built", "--moe-layers", value), 3, "model.hpp")
    header = (root / "built/model.hpp").read_text()
    check(fields in header, f"--moe-layers {value}: {header}")
check(trace(fresh("--moe-layers", "all")) == base, "--moe-layers all is the preset's")
refused(checks, run("built", "--layers", 1, "--moe-layers", "alternate"), 1, "no layer")

# --model needs the header of a model.
for options, code, part in (([root / "none.hpp"], 1, "none.hpp"), ([], 2, "--model"),
                            ([text, "--preset", "tiny"], 2, "--preset")):
    refused(checks, [simple_moe, "--model", *options], code, part)

# The command that the program prints for "the same again" gives the same when it is pasted.
for option in ("--overwrite", "--resume"):
    said = must(*run("fresh", option)).stdout
    command = shlex.split(said.partition("the same again: ")[2].splitlines()[0])
    check("--overwrite" in command and "--resume" not in command, f"the same again: {command}")
    before = model(root / "fresh")
    must(*command)
    check(model(root / "fresh") == before, "the same again")

# The precision is in results.json. Both optimizers are compared in the same one.
for precision in ("float", "bf16"):
    results = read(fresh("--precision", precision) / "results.json")
    check(results["machine"]["backend"] == f"cpu, {precision}", f"{precision} in results.json")
    check(results["config"]["precision"] == precision, f"{precision} in the configuration")
half = model(root / "fresh")
must(*run("halves", "--muon-rates", 0.02, "--adamw-rates", 0.003, "--precision", "bf16"))
check(model(root / "halves/runs/muon_lr0.02_seed42") == half, "a study in bf16")
check(read(root / "halves/runs/adamw_lr0.003_seed42/settings.json")["settings"]["precision"]
      == "bf16", "is in bf16 for both")

# The first stories of a text; a tokenizer.json of one's own.
stories = write_text(root / "stories.txt", 8000, separator="<|endoftext|>")
whole_text = stories.read_text()
cut = root / "cut.txt"
cut.write_text("".join(whole_text.split("<|endoftext|>", 20)[i] + "<|endoftext|>"
                       for i in range(20)))
check(trace(fresh("--data", stories, "--stories", 20)) == trace(fresh("--data", cut)),
      "--stories 20 is the text cut after 20 documents")
must(*run("stories", "--data", stories, "--stories", 100000, "--overwrite"))
check("all that there are" in read(root / "stories/results.json")["data"], "fewer stories")


def tokenizer(folder, size):
    """A tokenizer.json of `size` tokens: the bytes, pairs of bytes, and the end of a text last."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {b: chr(b) for b in printable}
    for i, b in enumerate(b for b in range(256) if b not in letters):
        letters[b] = chr(256 + i)
    order = [letters[b] for b in [*printable, *(b for b in range(256) if b not in printable)]]
    pairs = [(a, b) for a in order for b in order][:size - 257]
    vocabulary = {token: i for i, token in enumerate([*order, *(a + b for a, b in pairs)])}
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": size - 1, "content": "<|endoftext|>", "single_word": False,
                          "lstrip": False, "rstrip": False, "normalized": False,
                          "special": True}],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                          "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
                    "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "vocab": vocabulary,
                  "merges": [f"{a} {b}" for a, b in pairs]}}), encoding="utf-8")
    return folder


large = tokenizer(root / "large", 49152)
plan = must(simple_moe, "--preset", "paper", "--dry-run", "--tokenizer", large).stdout
check("tokenizer: 49152 tokens of the model's 49152" in plan, f"SmolLM's size of vocabulary: {plan}")
refused(checks, [simple_moe, "--preset", "tiny", "--dry-run", "--tokenizer", large], 1, "49152")
must(*run("own", "--tokenizer", tokenizer(root / "little", 257)))
check("from " + str(root / "little") in read(root / "own/results.json")["data"], "own tokenizer")

# A run whose rate is so high that every update is lost must not succeed.
for options in (["--muon-lr", 1000, "--adamw-lr", 1000, "--steps", 40],):
    result = start(*run("lost", "--overwrite", *options))
    check(result.returncode == 1 and "moe: " in result.stderr, f"a lost run: {result.returncode}")
    final = read(root / "lost/results.json")["final_metrics"]
    check(final == {"val_loss": None, "val_accuracy": None, "val_perplexity": None},
          f"a lost run knows no losses: {final}")

# Progress, milestones, health.
LONG = override(SIZES, ["--batch", 4, "--length", 32, "--steps", 40, "--eval-every", 10,
                        "--eval-tokens", 500, "--log-every", 1])
result = must(*run("whole", "--no-plots", base=LONG))
lines = result.stderr.splitlines()
found = re.findall(r"^milestone (\d+) %: (\d+) updates, .* ([\d.]+) tokens/s, loss [\d.]+, ",
                   result.stderr, re.M)
check([(p, s) for p, s, _ in found]
      == [("10", "4"), ("25", "10"), ("50", "20"), ("75", "30"), ("100", "40")],
      f"the milestones: {found}")
check(all(float(speed) > 0 for _, _, speed in found), "milestones tell the speed")
steps = [line for line in lines if line.startswith("step ") and "/40 " in line]
check(any(" 40/40 " in line for line in steps), "a line for the last step")
check(all("tokens/s" in line and "loss" in line and " left" in line for line in steps),
      "progress tells speed, loss and time left")
check(all(re.search(r"(healthy|uneven|\d+ dead|COLLAPSED in \d of 2 layers) \(\d\.\d of 4 experts",
                    line) for line in steps), f"progress tells the experts' health: {steps[-1:]}")
check(sum("validation" in line and "perplexity" in line for line in lines) == 4,
      "a line for each evaluation")
quiet = must(*run("quiet", *QUIET, base=LONG))
check(quiet.stderr == "", "--no-progress prints nothing on stderr")
whole = trace(root / "whole")
check(trace(root / "quiet") == whole, "progress changes nothing")

# The rows of metrics.jsonl.
raw = [json.loads(line) for line in (root / "whole/metrics.jsonl").read_text().splitlines()]
train = [row for row in raw if row["kind"] == "train"]
evals = [row for row in raw if row["kind"] == "eval"]
check(len(train) + len(evals) == len(raw), "two kinds of rows")
check([row["step"] for row in train] == list(range(1, 41)), "a row for each step")
check([row["step"] for row in evals] == [10, 20, 30, 40], "a row for each evaluation")
PER_LAYER = ("expert_load", "effective_experts", "max_violation", "router_entropy",
             "dead_experts")
for row in train:
    missing = {"step", "tokens", "loss", "accuracy", "balance", "z", "entropy", "total", "lr",
               "grad_norm", "skipped", "tokens_per_second", "seconds", "cpu_percent", "memory_mb",
               *PER_LAYER} - row.keys()
    check(not missing, f"fields of a training row: {missing}")
    if missing:
        break
    check(row["tokens"] == row["step"] * 128, "tokens of the updates")
    check(all(len(row[name]) == 2 for name in PER_LAYER), "per-layer fields of two layers")
    check(all(len(load) == 4 and abs(sum(load) - 1) < 1e-6 and min(load) >= 0
              for load in row["expert_load"]), "the shares of four experts are 1 in all")
    check(all(0 < h <= math.log(4) + 1e-6 for h in row["router_entropy"]),
          f"entropy of the routers: {row['router_entropy']}")
    check(abs(sum(row["router_entropy"]) / 2 - row["entropy"]) < 1e-6, "their mean")
    check(0 <= row["accuracy"] <= 1 and row["loss"] > 0 and row["skipped"] == 0, "shares, losses")
    check(abs(row["loss"] + 0.02 * row["balance"] - row["total"]) < 1e-5,
          "the total is loss and balance with the preset's weight")
    for load, used, violation, dead in zip(*(row[name] for name in (
            "expert_load", "effective_experts", "max_violation", "dead_experts"))):
        check(abs(used - math.exp(-sum(p * math.log(p) for p in load if p > 0))) < 1e-4,
              f"effective experts {used} of {load}")
        check(abs(violation - (4 * max(load) - 1)) < 1e-6, "the largest violation")
        check(0 <= dead <= 4, "dead experts")
check(all(a["seconds"] <= b["seconds"] for a, b in zip(train, train[1:])), "seconds grow")
lowest = math.inf
for i, row in enumerate(evals):
    check(row.keys() >= {"step", "tokens", "train_loss", "val_loss", "val_accuracy",
                         "val_perplexity", "best", "seconds"}, "fields of an evaluation")
    check(math.isclose(row["val_perplexity"], math.exp(row["val_loss"])), "perplexity")
    check(row["best"] == (row["val_loss"] < lowest), "best")
    lowest = min(lowest, row["val_loss"])
    own = [r["loss"] for r in train[10 * i:10 * i + 10]]
    check(abs(row["train_loss"] - sum(own) / 10) < 1e-6, "training loss between evaluations")

# results.json.
results = read(root / "whole/results.json")
for field in ("name", "program", "command", "machine", "data", "seed", "budget", "config",
              "params_total", "params_active", "final_metrics", "train_losses", "eval_metrics",
              "performance_metrics"):
    check(field in results, f"results.json has {field}")
check(shlex.split(results["command"]) == [str(a) for a in run("whole", "--no-plots", base=LONG)],
      "the command can be typed again")
check(str(text) in results["data"], "results.json names the text")
check(results["machine"]["threads"] >= 1 and "cpu" in results["machine"]["backend"], "machine")
check(results["seed"] == 42, "seed")
budget = results["budget"]
check((budget["updates"], budget["tokens"]) == (40, 5120) and budget["flops"] > 0, "budget")
config = results["config"]
for field, value in (("d_model", 64), ("n_layers", 2), ("n_heads", 4), ("d_ff", 256),
                     ("num_experts", 4), ("expert_top_k", 2), ("max_steps", 40),
                     ("batch_size", 4), ("max_seq_len", 32), ("muon_lr", 0.02),
                     ("adamw_lr", 3e-3), ("eval_every", 10), ("seed", 42)):
    check(config[field] == value, f"config.{field}: {config[field]}")
total = 257 * 64 + 2 * (4 * 64 * 64 + 2 * 64 + 4 * 64 + 4 * 2 * 64 * 256) + 64
check(results["params_total"] == total, "params_total by hand")
check(results["params_active"] == total - 2 * 2 * 2 * 64 * 256, "params_active by hand")
final = results["final_metrics"]
check((final["val_loss"], final["val_accuracy"]) == (evals[-1]["val_loss"],
                                                     evals[-1]["val_accuracy"]), "final metrics")
check(math.isclose(final["val_perplexity"], math.exp(final["val_loss"])), "final perplexity")
check([(t["step"], t["loss"], t["aux_loss"], t["accuracy"], t["tokens_per_sec"])
       for t in results["train_losses"]]
      == [(r["step"], r["loss"], r["balance"], r["accuracy"], r["tokens_per_second"])
          for r in train], "train_losses are the rows")
check(all(math.isclose(t["perplexity"], math.exp(t["loss"])) for t in results["train_losses"]),
      "perplexity in train_losses")
for ours, theirs in (("steps", "step"), ("tokens", "tokens"), ("losses", "val_loss"),
                     ("accuracies", "val_accuracy"), ("perplexities", "val_perplexity"),
                     ("tokens_per_sec", "tokens_per_second")):
    check(results["eval_metrics"][ours] == [r[theirs] for r in evals], f"eval_metrics.{ours}")
speed = results["performance_metrics"]
check(speed["total_tokens_processed"] == 5120, "tokens in all")
check(speed["total_time_seconds"] == train[-1]["seconds"], "seconds in all")
check(math.isclose(speed["total_time_minutes"] * 60, speed["total_time_seconds"]), "minutes")
check(math.isclose(speed["avg_tokens_per_sec"] * speed["total_time_seconds"], 5120), "speed")
check(speed["tokens_per_sec_history"] == [{"step": r["step"], "tokens_per_sec":
                                           r["tokens_per_second"]} for r in train], "history")
check(0 < speed["peak_memory_mb"] < 1000, "memory")
for name in ("best", "last"):
    check((root / "whole" / name / "model.safetensors").stat().st_size > 4 * total,
          f"the checkpoint {name}")


# TensorBoard.
def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def fields(data):
    """Numbers and values of a protobuf message."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        size = {1: 8, 5: 4}.get(key & 7) or varint()
        yield key >> 3, data[at:at + size]
        at += size


def events(path):
    """[(step, tag, scalar or None for other values)] of an event file. An event with the tag ""
    says that of earlier files only the points before its step count."""
    data, at, out = path.read_bytes(), 0, []
    while at < len(data):
        length, crc = struct.unpack_from("<QI", data, at)
        payload = data[at + 12:at + 12 + length]
        check(crc == crc32c(data[at:at + 8]), "checksum of a length")
        check(struct.unpack_from("<I", data, at + 12 + length)[0] == crc32c(payload),
              "checksum of a record")
        at += 16 + length
        event = dict(fields(payload))
        if 7 in event:
            out.append((event.get(2, 0), "", None))
        for _, value in fields(event.get(5, b"")):
            value = dict(fields(value))
            scalar = struct.unpack("<f", value[2])[0] if 2 in value else None
            out.append((event.get(2, 0), value[1].decode(), scalar))
    return out


def board(folder):
    """The points that TensorBoard shows of a run. The file of a resumed run replaces the points
    from its first step on."""
    points = []
    for path in sorted(folder.glob("events.out.tfevents.*"), key=lambda f: f.stat().st_mtime_ns):
        for step, tag, value in events(path):
            if tag:
                points.append((step, tag, value))
            else:
                points = [point for point in points if point[0] < step]
    return points


check(len(list((root / "whole").glob("events.out.tfevents.*"))) == 1, "one event file")
points = board(root / "whole")
for tag, kind, field in (("loss/train", train, "loss"), ("loss/val", evals, "val_loss"),
                         ("opt/lr", train, "lr"), ("perplexity/val", evals, "val_perplexity")):
    curve = [(step, value) for step, name, value in points if name == tag]
    check([step for step, _ in curve] == [r["step"] for r in kind], f"steps of {tag}")
    check(all(abs(value - r[field]) <= 1e-6 * abs(r[field])
              for (_, value), r in zip(curve, kind)), f"values of {tag}")
for layer in range(2):
    check([step for step, name, value in points
           if name == f"router/load/layer{layer}" and value is None] == list(range(1, 41)),
          f"histograms of the experts' load in layer {layer}")

# A run that is stopped at random moments and resumed equals one that was never stopped.
draw = random.Random(1)


def stop_run(how):
    """Stops a run again and again. Returns how often."""
    shutil.rmtree(root / "cut", ignore_errors=True)
    options, stopped = [], 0
    for _ in range(3):
        code = stop_after(run("cut", *options, *QUIET, base=LONG), root / "cut",
                          draw.randrange(2, 16), how)
        options = ["--resume"]
        check(code in (0, 130, -signal.SIGKILL), f"exit code {code} after {how.name}")
        stopped += code != 0
        if code >= 0:
            check((code == 0) == (root / "cut/results.json").exists(),
                  f"results.json after exit code {code}")
    return stopped


for how in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
    stopped = try_often(lambda: stop_run(how), lambda stopped: stopped > 0)
    check(stopped > 0, f"{how.name}: no run was stopped before its end")
    must(*run("cut", "--resume", *QUIET, base=LONG))
    check(trace(root / "cut") == whole, f"{how.name}, resumed: bytes and rows")
    check((root / "cut/best/model.safetensors").read_bytes()
          == (root / "whole/best/model.safetensors").read_bytes(), f"{how.name}: the best one")
    check(without_times(read(root / "cut/results.json")) == without_times(results),
          f"{how.name}: results.json")
    check([p for p in board(root / "cut") if not p[1].startswith("perf/")]
          == [p for p in points if not p[1].startswith("perf/")], f"{how.name}: TensorBoard")

# Resuming a finished run prints its result again, without training.
before = (root / "whole/metrics.jsonl").stat().st_mtime_ns
again = must(*run("whole", "--resume", "--no-plots", base=LONG)).stdout
pattern = r"^validation [\d.]+ nats .*"
check(re.search(pattern, again, re.M).group() == re.search(pattern, result.stdout, re.M).group(),
      "a finished run tells the same")
check(f"{final['val_loss']:.4f} nats" in again, "and it is the loss of results.json")
check((root / "whole/metrics.jsonl").stat().st_mtime_ns == before, "nothing was trained")

# Folders that hold something.
refused(checks, run("whole", *QUIET, base=LONG), 1, "already holds")
for change in (["--muon-lr", 0.5], ["--eval-every", 5], ["--seed", 7], ["--steps", 41],
               ["--data", write_text(root / "other.txt", seed=9)]):
    refused(checks, run("whole", "--resume", *QUIET, *change, base=LONG), 1, "cannot resume")
check(trace(root / "whole") == whole, "a refused run changes nothing")
must(*run("whole", "--overwrite", "--steps", 6, *QUIET, base=LONG))
check(trace(root / "whole") != whole and rows(root / "whole")[-1]["step"] == 6,
      "--overwrite replaces the rows")
check(read(root / "whole/results.json")["budget"]["updates"] == 6, "and the results")
check(read(root / "whole/last/manifest.json") != read(root / "cut/last/manifest.json"),
      "and the checkpoints")
must(*run("new", "--resume"))
check(trace(root / "new") == base, "--resume without anything to go on from starts")

# The longest sequence.
LONGEST = ["--length", 256, "--batch", 1, "--steps", 1]
check(start(*run("edge", *LONGEST)).returncode == 0, "a sequence as long as the context")

# The two optimizers, each at its best rate.
GRIDS = ["--muon-rates", "0.02,0.01", "--adamw-rates", "0.001,0.003", "--seeds", 2]
out = must(*run("study", *GRIDS, *QUIET)).stdout
study = read(root / "study/results.json")
runs = check_study(checks, root / "study", "optimizers")
check(study.get("seeds") == [42, 43], "seeds of the study")
check(len(runs) == 6, f"four rates with one seed, the best two with another: {sorted(runs)}")
check(out.count("== ") == 6, f"nothing is trained twice: {out.count('== ')} runs were started")
check(len({(r["updates"], r["tokens"]) for r in runs.values()}) == 1, "equal updates for all")
best = {}
for group, rates in (("muon", (0.01, 0.02)), ("adamw", (0.001, 0.003))):
    own = {r["lr"]: r["final_val_loss"] for r in runs.values()
           if r["group"] == group and r["seed"] == 42}
    check(sorted(own) == list(rates), f"the rates of {group}")
    best[group] = min(own, key=own.get)
    summary = study["summary"][group]
    check(summary["rate"] == best[group], f"the best rate of {group}: {own}")
    losses = [r["final_val_loss"] for r in sorted(runs.values(), key=lambda r: r["seed"])
              if r["group"] == group and r["lr"] == best[group]]
    check(len(losses) == 2 and losses[0] != losses[1], f"{group}: two seeds")
    check(math.isclose(summary["loss_mean"], sum(losses) / 2), f"{group}: mean")
    check(math.isclose(summary["loss_deviation"], abs(losses[0] - losses[1]) / 2 ** 0.5),
          f"{group}: deviation")
    check(all(f"lr {rate:g}: {own[rate]:.4f}" in out for rate in rates), f"table of {group}")
    best[group] = losses
differences = [a - b for a, b in zip(best["muon"], best["adamw"])]
check(math.isclose(study["summary"]["difference_mean"], sum(differences) / 2), "muon minus adamw")
spread = abs(differences[0] - differences[1]) / 2 ** 0.5
check(study["summary"]["significant"]
      == (abs(sum(differences) / 2) > 12.706 * spread / 2 ** 0.5), "significance")
check(f"muon minus adamw: {sum(differences) / 2:+.4f}" in out, "the difference is printed")
alone = fresh("--muon-lr", 0.01)
check(model(alone) == model(root / "study/runs/muon_lr0.01_seed42"), "a run of the study, alone")
check(model(fresh("--optimizer", "adamw", "--adamw-lr", 0.003))
      == model(root / "study/runs/adamw_lr0.003_seed42"), "and one of AdamW")
before = count_rows(root / "study")
must(*run("study", *GRIDS, *QUIET, "--resume"))
check(without_times(read(root / "study/results.json")) == without_times(study),
      "a finished study tells the same")
check(count_rows(root / "study") == before, "and trains nothing")
refused(checks, run("study", *GRIDS, *QUIET), 1, "already holds")
refused(checks, run("study", *GRIDS[:-1], 3, *QUIET, "--resume"), 1, "cannot resume")

# A study that replaces another one, and is stopped, resumes as if the old one had not existed.
NEW = [*GRIDS, *QUIET, "--steps", 8, "--log-every", 1]
code = stop(run("study", *NEW, "--overwrite"),
            lambda: not (root / "study/results.json").exists() and count_rows(root / "study") > 0)
check(code in (0, 130), f"exit code {code} of a study that replaces another")
if code != 0:
    code = start(*run("study", *NEW, "--resume")).returncode
check(code == 0, "a replaced study is resumed")
if code == 0:
    runs = check_study(checks, root / "study", "optimizers")
    check({r["updates"] for r in runs.values()} == {8}, "with the new number of updates")

# A run whose rows somebody removes while it trains still has a result, but without history.
LONG = run("bare", "--overwrite", "--steps", 200, "--log-every", 1, "--eval-every", 200)
rows_of_bare = root / "bare/metrics.jsonl"


def remove_rows():
    if count_rows(root / "bare") == 0:
        return False
    rows_of_bare.unlink()
    return True


def bare_run():
    code = stop(LONG, remove_rows, signal.SIGCONT)
    check(code == 0, f"exit code {code} of a run without rows")
    bare = read(root / "bare/results.json")
    if bare["train_losses"]:  # the run ended before the rows were removed
        return False
    check(math.isfinite(bare["final_metrics"]["val_loss"]), "its loss is known")
    check(bare["final_metrics"]["val_accuracy"] is None, "its accuracy is not")
    return True


check(any(bare_run() for _ in range(20)), "a run lost its rows while it trained")

# Plots are drawn by a Python that has matplotlib; without one the command is printed.
fake = root / "python"
fake.write_text(f"#!{sys.executable}\nimport sys\n"
                f"if sys.argv[1] != '-c': open({str(root / 'drawn')!r}, 'w').write("
                "'|'.join(sys.argv[1:])); sys.exit(FAILS)\n")
script = fake.read_text()
for fails in (0, 1):
    fake.write_text(script.replace("FAILS", str(fails)))
    fake.chmod(0o755)
    result = start(*run("plots", "--overwrite", base=[o for o in SHORT if o != "--no-plots"]),
                   env={**os.environ, "MOE_PYTHON": str(fake)})
    check(result.returncode == 0, "plots do not decide about success")
    asked = start(*run("plots", "--overwrite", "--plots",
                       base=[o for o in SHORT if o != "--no-plots"]),
                  env={**os.environ, "MOE_PYTHON": str(fake)})
    check(asked.returncode == fails, f"plots that were asked for do: {asked.returncode}")
    arguments = (root / "drawn").read_text().split("|")
    check(arguments[0].endswith("plots/plot.py") and arguments[1] == str(root / "plots"),
          f"what is drawn: {arguments}")
    check((f"plots/plot.py {root / 'plots'}" in result.stdout) == bool(fails),
          f"the command is printed when drawing fails: {fails}")
checks.end()
