"""The plots of result folders: files, labels, the numbers that are drawn, and bad input."""
import json
import math
import os
import pathlib
import random
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

from process import Checks, must, start

sys.dont_write_bytecode = True
plots = pathlib.Path(__file__).resolve().parents[2] / "lab" / "programs" / "plots"
sys.path.insert(0, str(plots))
import runs  # noqa: E402  (these need no matplotlib)
import summaries  # noqa: E402
import upcycle  # noqa: E402


def python_with_matplotlib():
    for path in (os.environ.get("MOE_PYTHON"), sys.executable, "/usr/bin/python3"):
        if path and shutil.which(path) and subprocess.run(
                [path, "-c", "import matplotlib"], capture_output=True).returncode == 0:
            return path
    print("SKIPPED: no Python with matplotlib was found; install python3-matplotlib or set "
          "MOE_PYTHON")
    sys.exit(77)


python = python_with_matplotlib()
checks = Checks()
temporary = tempfile.TemporaryDirectory()
root = pathlib.Path(temporary.name)
os.environ["MPLCONFIGDIR"] = str(root / "matplotlib")
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
STRATEGIES = {"large_batch": (64, 256, 2), "long_seq": (8, 1024, 8), "balanced": (24, 512, 4)}


def plot(*arguments, **options):
    return start(python, plots / "plot.py", *arguments, **options)


def final_loss(floor, updates):
    return floor + (8.0 - floor) * math.exp(-4.0) * 400 / updates


def make_run(folder, seed=1, floor=3.0, updates=400, layers=6, experts=8, per_update=2048,
             speed=20000.0, lr=0.01, name="simple", results=True):
    """A run whose final validation loss is final_loss(floor, updates)."""
    draw = random.Random(seed)
    folder.mkdir(parents=True)
    lines, train_rows, evals = [], [], []
    favourite = [[draw.gauss(0, 1) for _ in range(experts)] for _ in range(layers)]
    for step in range(10, updates + 1, 10):
        tokens, seconds = step * per_update, step * per_update / speed
        true = floor + (8.0 - floor) * math.exp(-4.0 * step / updates) * 400 / updates
        loss = true - 0.1 + draw.gauss(0, 0.05)
        load, entropy = [], []
        for layer in favourite:
            weights = [math.exp(f * math.exp(-3 * step / updates) + draw.gauss(0, 0.1))
                       for f in layer]
            load.append([w / sum(weights) for w in weights])
            entropy.append(-sum(s * math.log(s) for s in load[-1]))
        rate = lr * min(1, step / 40) * (0.55 + 0.45 * math.cos(math.pi * step / updates))
        row = {"kind": "train", "step": step, "tokens": tokens, "loss": loss,
               "accuracy": math.exp(-loss / 2), "balance": 1.02 if layers else 0.0, "z": 4.0,
               "entropy": 2.0 if layers else 0.0, "total": loss + 0.01, "lr": rate,
               "grad_norm": 1 + draw.random(), "skipped": 0,
               "tokens_per_second": speed * (1 + 0.2 * math.exp(-step / 50)), "seconds": seconds,
               "expert_load": load, "effective_experts": [math.exp(e) for e in entropy],
               "max_violation": [max(s) * experts - 1 for s in load], "router_entropy": entropy,
               "dead_experts": [0] * layers, "cpu_percent": 195.0, "memory_mb": 800.0}
        lines.append(row)
        train_rows.append({"step": step, "loss": loss, "aux_loss": 1.02,
                           "accuracy": row["accuracy"], "perplexity": math.exp(loss),
                           "tokens_per_sec": speed})
        if step % 50 == 0 or step == updates:
            evals.append({"kind": "eval", "step": step, "tokens": tokens, "train_loss": true - 0.1,
                          "val_loss": true, "val_accuracy": math.exp(-true / 2),
                          "val_perplexity": math.exp(true), "best": True, "seconds": seconds})
            lines.append(evals[-1])
    (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in lines), "utf-8")
    info = {"name": name, "data": "/some/where/tinyshakespeare.txt", "seed": seed,
            "budget": {"rule": "updates", "updates": updates, "tokens": updates * per_update,
                       "flops": 1e12},
            "train_losses": train_rows,
            "eval_metrics": {"steps": [e["step"] for e in evals],
                             "tokens": [e["tokens"] for e in evals],
                             "losses": [e["val_loss"] for e in evals],
                             "accuracies": [e["val_accuracy"] for e in evals],
                             "perplexities": [e["val_perplexity"] for e in evals]}}
    if results:
        (folder / "results.json").write_text(json.dumps(info), "utf-8")
    return {"name": folder.name, "folder": f"runs/{folder.name}", "lr": lr, "seed": seed,
            "updates": updates, "tokens": updates * per_update,
            "flops": updates * per_update * (2e7 if layers else 1.5e7),
            "final_val_loss": evals[-1]["val_loss"], "final_val_acc": evals[-1]["val_accuracy"],
            "avg_tokens_per_sec": speed, "total_time": updates * per_update / speed}


def make_study(name, kind, entries, **more):
    (root / name / "results.json").write_text(json.dumps(
        {"study": kind, "name": name, "data": "tinyshakespeare.txt",
         "seeds": sorted({e["seed"] for e in entries}),
         "budget": {"rule": "tokens", "tokens": 819200}, "runs": entries, **more}), "utf-8")
    return root / name


def make_ablation(name="ablation"):
    entries, configs, results = [], [], []
    for s, (strategy, (batch, length, _)) in enumerate(STRATEGIES.items()):
        for r, lr in enumerate((0.005, 0.01, 0.02)):
            run = f"{strategy}_lr{lr:g}"
            updates = (200, 800, 400)[s]
            entry = make_run(root / name / "runs" / run, 1 + 3 * s + r, 3 + 0.2 * s - 0.1 * r,
                             updates, per_update=819200 // updates, lr=lr,
                             speed=(23000, 17000, 21000)[s] + 300 * r)
            entries.append(entry)
            configs.append({"name": run, "batch_size": batch, "seq_len": length, "lr": lr,
                            "effective_batch": batch, "tokens_per_step": batch * length})
            results.append({"config_name": run, "final_val_loss": entry["final_val_loss"],
                            "final_val_acc": entry["final_val_acc"],
                            "avg_tokens_per_sec": entry["avg_tokens_per_sec"], "total_time": 1.0,
                            "train_losses": [{"step": 1, "loss": 5.0, "accuracy": 0.1,
                                              "tokens_per_sec": 1.0}],
                            "val_metrics": [{"step": 10, "tokens": 1000, "val_loss": 4.5,
                                             "val_accuracy": 0.2}]})
    return make_study(name, "ablation", entries, ablation_configs=configs, results=results)


def make_dense_vs_moe():
    groups = {"dense": (3.4, 400, 0, 26000.0), "moe": (3.1, 400, 6, 19000.0),
              "dense_equal_flops": (3.3, 530, 0, 26000.0),
              "dense_equal_time": (3.28, 550, 0, 26000.0), "moe_iso_active": (3.2, 400, 6, 22000.0)}
    entries = []
    for group, (floor, updates, layers, speed) in groups.items():
        for seed in (1, 2, 3):
            folder = root / "dense_vs_moe" / "runs" / f"{group}_seed{seed}"
            if group == "dense_equal_time":
                updates += 10
            entries.append({**make_run(folder, seed, floor + 0.04 * seed, updates, layers,
                                       speed=speed * (1 + 0.01 * seed)), "group": group})
    folder = root / "dense_vs_moe" / "runs" / "rates_moe_lr0.5"
    entries.append({**make_run(folder, 1, 6.0), "group": "rates_moe"})
    return make_study("dense_vs_moe", "dense_vs_moe", entries)


def make_optimizers():
    entries = []
    for group, rates, best in (("muon", (0.002, 0.005, 0.01, 0.02, 0.05), 0.02),
                               ("adamw", (0.0003, 0.001, 0.003, 0.01, 0.03), 0.003)):
        for lr in rates:
            for seed in (1, 2, 3) if lr == best else (1,):
                folder = root / "optimizers" / "runs" / f"{group}_lr{lr:g}_seed{seed}"
                floor = (2.9 if group == "muon" else 3.1) + 0.1 * math.log(lr / best) ** 2
                entries.append({**make_run(folder, seed, floor + 0.02 * seed, lr=lr),
                                "group": group})
    # A run that is both a point of the grid and a seed is listed twice, as the programs do.
    return make_study("optimizers", "optimizers", entries + entries[:1])


def written(result, *names):
    """Checks that exactly these files were written, and that they are whole."""
    checks.check(result.returncode == 0 and not result.stderr, f"{names}: {result.stderr}")
    paths = [pathlib.Path(line) for line in result.stdout.splitlines()]
    checks.check(sorted(p.name for p in paths) == sorted(f"{n}.{e}" for n in names
                                                         for e in ("png", "svg")),
                 f"files are {[p.name for p in paths]}")
    for path in paths:
        content = path.read_bytes()
        if path.suffix == ".svg":
            xml.etree.ElementTree.fromstring(content)
            continue
        width, height = struct.unpack(">II", content[16:24])
        checks.check(content[:8] == b"\x89PNG\r\n\x1a\n" and content[12:16] == b"IHDR"
                     and content[-8:-4] == b"IEND", f"{path.name} is a PNG")
        checks.check(width == 1200 and 450 <= height <= 1500, f"{path.name}: {width} x {height}")
        body = sorted(p.name for p in path.parent.iterdir())
        checks.check(not any(name.endswith(".part") for name in body), f"no parts in {body}")
    return {path.name: path for path in paths}


def texts(path):
    tree = xml.etree.ElementTree.parse(path)
    return ["".join(e.itertext()).strip() for e in tree.iter("{http://www.w3.org/2000/svg}text")]


def says(path, *parts):
    drawn = texts(path)
    for part in parts:
        checks.check(any(part in text for text in drawn), f"{path.name} says {part!r}: {drawn}")


# One run of an MoE model.
single = root / "single"
make_run(single)
files = written(plot(single), "training_curves", "expert_load", "router_entropy")
checks.check(all(p.parent == single / "plots" for p in files.values()), "files go to plots/")
says(files["training_curves.svg"], "Training of simple",
     "tinyshakespeare.txt; seed 1; 400 updates; 819,200 tokens", "loss (nats)", "accuracy",
     "perplexity", "tokens/s", "learning rate", "balance loss", "updates", "tokens", "validation",
     "training, logged updates")
says(files["expert_load.svg"], "layer 0", "layer 5", "updates", "share × experts (1 = fair share)")
says(files["router_entropy.svg"], "entropy (nats)", "Effective experts", "layer 5",
     "even (8 experts)")
first = {name: path.read_bytes() for name, path in files.items()}
checks.check(first == {name: path.read_bytes() for name, path in written(
    plot(single, "--out", root / "again"), "training_curves", "expert_load",
    "router_entropy").items()}, "the same results give the same bytes")
run = runs.read_run(single)
checks.check(runs.column(run.evals, "val_loss")[-1] == final_loss(3.0, 400), "the last loss")
checks.check([r["step"] for r in run.train] == list(range(10, 401, 10)), "every update is there")
edges, layers = summaries.expert_load(run)
checks.check(edges == list(range(0, 401, 10)), "edges of the heat map")
checks.check(layers[5][7][3] == run.train[3]["expert_load"][5][7] * 8, "share × experts")
checks.check(all(abs(sum(e[c] for e in layer) - 8) < 1e-9 for layer in layers for c in range(40)),
             "shares × experts add up to the experts")
edges, layers = summaries.expert_load(run, most=15)
checks.check(edges == [0] + list(range(30, 400, 30)) + [400], "edges of averaged columns")
checks.check(math.isclose(layers[1][2][0], statistics.fmean(
    row["expert_load"][1][2] * 8 for row in run.train[:3])), "columns are averages")
checks.check(written(plot(single, "--format", "svg,png", "--out", root / "both"), "training_curves",
                     "expert_load", "router_entropy") != {}, "--format with both")
only = plot(single, "--format", "svg", "--out", root / "one").stdout.split()
checks.check(len(only) == 3 and all(p.endswith(".svg") for p in only), "--format svg alone")

# A dense run, an interrupted run, a run without metrics.jsonl, losses that are not finite.
make_run(root / "dense", layers=0, name="dense $5$ & <b>")
files = written(plot(root / "dense"), "training_curves")
says(files["training_curves.svg"], "norm", "dense $5$ & <b>")
make_run(root / "cut", results=False)
metrics = root / "cut/metrics.jsonl"
whole = metrics.read_bytes()
metrics.write_bytes(whole[:len(whole) // 2])
files = written(plot(root / "cut"), "training_curves", "expert_load", "router_entropy")
says(files["training_curves.svg"], "Training of cut")
cut = runs.read_run(root / "cut")
checks.check(0 < len(cut.train) < 40, f"{len(cut.train)} rows of the interrupted run")
metrics.write_bytes(whole.splitlines(keepends=True)[0])
written(plot(root / "cut"), "training_curves", "expert_load", "router_entropy")
metrics.write_text('{"kind":"train","step":1,"loss":null,"lr":0.1}\n'
                   '{"kind":"train","step":2,"loss":NaN,"lr":0.1,"expert_load":[[null,0.5]]}\n'
                   '{"kind":"other"}\n\n{"kind":"eval","step":2,"val_loss":900.0}\n')
written(plot(root / "cut"), "training_curves", "expert_load")
(root / "old").mkdir()
shutil.copy(single / "results.json", root / "old/results.json")
written(plot(root / "old"), "training_curves")
old = runs.read_run(root / "old")
checks.check(runs.column(old.evals, "val_loss") == runs.column(run.evals, "val_loss"),
             "results.json has the same losses")

# The ablation.
ablation = make_ablation()
duos = ["duo_lr0.005", "duo_lr0.01", "duo_lr0.02"]
files = written(plot(ablation), "ablation_comparison", *duos)
says(files["ablation_comparison.svg"], "tinyshakespeare.txt; seeds 1, 2, 3", "equal tokens",
     "819,200 tokens", "large batch", "long sequence", "balanced", "Final validation loss",
     "tokens/s", "0.005", "0.02", "learning rate (log scale)")
says(files["duo_lr0.01.svg"], "Strategies at learning rate 0.01", "accuracy (hatched)", "23,300",
     "Throughput", "tokens", "%")
for colour in ("#ff6b6b", "#4ecdc4", "#45b7d1"):
    checks.check(colour in files["duo_lr0.02.svg"].read_text("utf-8").lower(), f"{colour} is used")
study = runs.read_study(ablation)
named = summaries.groups(study.entries)
checks.check(list(named) == list(STRATEGIES), f"strategies are {list(named)}")
mean, sd = summaries.mean_and_sd([e.loss for e in named["large_batch"]])
checks.check(math.isclose(mean, statistics.fmean(final_loss(3 - 0.1 * r, 200) for r in range(3))),
             f"mean {mean}")
checks.check(math.isclose(sd, statistics.stdev(final_loss(3 - 0.1 * r, 200) for r in range(3))),
             f"standard deviation {sd}")
checks.check([e.lr for e in named["balanced"]] == [0.005, 0.01, 0.02], "rates of the ablation")
result = plot(ablation, "--runs", "--format", "svg", "--out", root / "all")
checks.check(len(result.stdout.split()) == 4 + 3 * 9, "--runs has three plots of each of the runs")
checks.check((root / "all/long_seq_lr0.02/expert_load.svg").is_file(), "--runs names its folders")
shutil.rmtree(ablation / "runs")
info = json.loads((ablation / "results.json").read_text())
del info["runs"], info["study"], info["seeds"], info["budget"]
(ablation / "results.json").write_text(json.dumps(info))
written(plot(ablation), "ablation_comparison", *duos)
entry = runs.read_study(ablation).entries[0]
checks.check(summaries.caption(runs.read_study(ablation).info) ==
             "tinyshakespeare.txt; 10 updates a run; 1,000 tokens a run", "derived caption")
checks.check(summaries.curve(entry, "tokens", entry.run.evals, "val_loss") == ([10], [1000], [4.5]),
             "the curves of results.json")

# Dense against MoE.
dense_vs_moe = make_dense_vs_moe()
files = written(plot(dense_vs_moe), "dense_vs_moe")
says(files["dense_vs_moe.svg"], "Equal updates", "Equal training FLOPs", "Equal time of training",
     "seconds of training", "validation loss (nats)", "MoE", "dense", "dense, equal FLOPs",
     "dense, equal time", "MoE, equal active", "seeds 1, 2, 3", "mean ± standard deviation")
named = summaries.groups(runs.read_study(dense_vs_moe).entries)
curves = [summaries.curve(e, "flops", e.run.evals, "val_loss") for e in named["moe"]]
xs, means, low, high = summaries.band(curves)
checks.check(math.isclose(xs[-1], named["moe"][0].flops) and math.isclose(xs[0], xs[-1] / 8),
             "work grows with the updates")
losses = [final_loss(3.1 + 0.04 * seed, 400) for seed in (1, 2, 3)]
checks.check((low[-1], high[-1]) == (losses[0], losses[2]), "the band is lowest and highest")
checks.check(math.isclose(means[-1], statistics.fmean(losses)), "the line is the mean")
curves = [summaries.curve(e, "seconds", e.run.evals, "val_loss") for e in named["dense"]]
seconds = summaries.band(curves)[0]
checks.check(math.isclose(seconds[-1], statistics.fmean(
    819200 / (26000 * (1 + 0.01 * s)) for s in (1, 2, 3))), "mean of the seconds")
curves = [summaries.curve(e, "seconds", e.run.evals, "val_loss") for e in named["dense_equal_time"]]
xs, means, _, _ = summaries.band(curves)
checks.check(len(xs) == 12 and math.isclose(xs[-1], statistics.fmean(c[1][-1] for c in curves)) and
             math.isclose(means[-1], statistics.fmean(e.loss for e in named["dense_equal_time"])),
             "runs that end at different steps have their ends in the mean")
checks.check("rates" not in "".join(texts(files["dense_vs_moe.svg"])), "no runs of a search")
checks.check(summaries.band([([1, 2], [1, 2], [4.0, 2.0]), ([2, 3], [4, 6], [4.0, 1.0])]) ==
             ([3], [3.0], [2.0], [4.0]), "a band covers what all have")
checks.check(summaries.band([]) == ([], [], [], []), "a band of nothing")

# Optimizers.
optimizers = make_optimizers()
files = written(plot(optimizers), "optimizers")
says(files["optimizers.svg"], "Muon, best rate 0.02 (3 seeds)", "AdamW, best rate 0.003 (3 seeds)",
     "learning rate (log scale)", "updates", "validation loss (nats)")
named = summaries.groups(runs.read_study(optimizers).entries)
checks.check([summaries.best_rate(named[n]) for n in ("muon", "adamw")] == [0.02, 0.003],
             "the best rates")
rows = summaries.by_rate(named["muon"])
checks.check([r[0] for r in rows] == [0.002, 0.005, 0.01, 0.02, 0.05], "rates rise")
checks.check(math.isclose(rows[3][1], final_loss(2.94, 400)) and rows[3][2] > 0 and rows[0][2] == 0,
             "mean and standard deviation at the best rate")
checks.check(len(named["muon"]) == 7, "a run that is listed twice counts once")
lucky = runs.read_study(optimizers).entries[0]
lucky.loss = 1.0
checks.check(summaries.best_rate([lucky] + named["muon"][1:]) == 0.02,
             "the best rate is one with all seeds")
checks.check(math.isnan(summaries.best_rate([])), "no best rate without runs")

# Upcycling: both phases on one axis with the boundary, and which tokens go where.
def make_upcycle(name="upcycle"):
    (root / name).mkdir()
    lines = []
    for seed in (1, 2):
        for phase, steps in (("dense", 100), ("moe", 50), ("dense_control", 60),
                             ("moe_from_scratch", 120)):
            for step in range(10, steps + 1, 10):
                lines.append({"seed": seed, "phase": phase, "kind": "train", "step": step,
                              "loss": 4 - step / 100 if step > 10 else None})
            for step in (steps // 2, steps):
                lines.append({"seed": seed, "phase": phase, "kind": "eval", "step": step,
                              "val_loss": 4 - step / 100, "train_loss": None})
    (root / name / "training_history.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    words = [[{"load": 0.5, "tokens": [{"token": f" word{e}{layer}", "share": 0.9, "count": 40},
                                       {"token": "$x$", "share": 0.5, "count": 20}]}
              for e in range(2)] for layer in range(3)]
    (root / name / "results.json").write_text(json.dumps(
        {"study": "upcycle", "seeds": [{"seed": 1, "specialisation": words}]}), "utf-8")
    return root / name


grown = make_upcycle()
files = written(plot(grown), "history", "specialisation")
says(files["history.svg"], "boundary, 100 updates", "phase 1: dense", "phase 2: grown mixture",
     "control: dense goes on", "loss (nats)", "updates", "seeds 1, 2")
says(files["specialisation.svg"], "layer 0", "layer 2", "expert", " word01", "$x$")
history = upcycle.read_upcycle(grown)
checks.check(history.curve(1, "moe", "eval", "val_loss") == ([125, 150], [3.75, 3.5]),
             "phase 2 goes on where phase 1 ended")
checks.check(history.curve(2, "moe_from_scratch", "eval", "val_loss")[0] == [60, 120],
             "a mixture from scratch begins at 0")
checks.check(history.curve(1, "dense", "train", "loss")[0] == list(range(20, 101, 10)),
             "a loss that is null is left out")
(grown / "results.json").unlink()
written(plot(grown), "history")

# The names of the plots cannot be printed.
for redirection in ("> /dev/full", ">&-"):
    result = subprocess.run(["sh", "-c", f"'{python}' '{plots / 'plot.py'}' '{single}' "
                             f"{redirection}"], stderr=subprocess.PIPE, text=True)
    checks.check(result.returncode == 1 and result.stderr.startswith("moe: cannot write") and
                 result.stderr.count("\n") == 1, f"{redirection}: {result.stderr}")

# Captions.
for info, text in (({}, ""), ({"seed": 0, "data": "a/b/"}, "b; seed 0"),
                   ({"data": {"name": "x"}, "seeds": [1, 2], "budget": "10 minutes"},
                    "x; seeds 1, 2; 10 minutes"),
                   ({"data": "text: /a/b.txt (from MOE_DATA_DIR)\n50 tokens"}, "b.txt"),
                   ({"data": "text: generated verse, because a/b was not found"},
                    "generated verse"), ({"seeds": [], "budget": "", "data": ""}, ""),
                   ({"study": "s", "budget": {"rule": "time", "flops": 2.5e12}},
                    "equal time; 2.5e+12 FLOPs")):
    checks.check(summaries.caption(info) == text, f"{info}: {summaries.caption(info)}")

# Bad input.
def study_with(**change):
    folder = root / f"bad{len(list(root.iterdir()))}"
    folder.mkdir()
    run = {"name": "a", "group": "muon", "lr": 0.1, "final_val_loss": 1.0, **change.pop("run", {})}
    (folder / "results.json").write_text(
        json.dumps({"study": "optimizers", "runs": [run], **change}), "utf-8")
    return folder


def run_with(text, name="metrics.jsonl"):
    folder = root / f"bad{len(list(root.iterdir()))}"
    folder.mkdir()
    (folder / name).write_bytes(text)
    return folder


good = b'{"kind":"train","step":1,"loss":2.0}\n'
(root / "file").write_text("")
(root / "other/single").mkdir(parents=True)
shutil.copy(single / "metrics.jsonl", root / "other/single/metrics.jsonl")
for arguments, code, part in (
        ([root / "none"], 1, "no such folder"), ([root / "file"], 1, "no such folder"),
        ([root / "matplotlib"], 1, "results.json"),
        ([run_with(b"")], 1, "are no rows"),
        ([run_with(good + b"{broken\n" + good)], 1, "line 2"),
        ([run_with(good + b"{broken\n")], 1, "line 2"),
        ([run_with(b"\xff\xfe\n" + good)], 1, "line 1"),
        ([run_with(b"[" * 100000 + b"\n")], 1, "line 1"),
        ([run_with(b"3\n" + good)], 1, "not a JSON object"),
        ([run_with(b'{"kind":"train","loss":2.0}\n')], 1, "no step"),
        ([run_with(b'{"kind":"train","step":[]}\n')], 1, "no step"),
        ([run_with(good + b'{"kind":"train","step":1,"expert_load":[1]}\n')], 1, "line 2"),
        ([run_with(good + b'{"kind":"train","step":2,"expert_load":[["a"]]}\n')], 1,
         "not a number"),
        ([run_with(b'{"kind":"train","step":1,"router_entropy":[1.0]}\n'
                   b'{"kind":"train","step":2,"router_entropy":[1.0,2.0]}\n')], 1, "shape changes"),
        ([run_with(b"{", "results.json")], 1, "results.json"),
        ([run_with(b'{"train_losses":[3]}', "results.json")], 1, "train_losses"),
        ([study_with(study="unknown")], 1, "'unknown'"),
        ([study_with(runs=[])], 1, "none of its runs"), ([study_with(runs=3)], 1, "runs"),
        ([study_with(run={"final_val_loss": "low"})], 1, "final_val_loss"),
        ([study_with(run={"folder": "../single"})], 1, "outside"),
        ([single, "--out", root / "file"], 1, "cannot write"),
        ([single, root / "other/single", "--out", root / "same"], 1, "one after the other"),
        ([single, "--format", "pdf"], 2, "pdf"), ([], 2, "DIR")):
    result = plot(*arguments)
    lines = result.stderr.strip().splitlines() or [""]
    checks.check(result.returncode == code and not result.stdout,
                 f"{part}: exit code {result.returncode}, {result.stdout}")
    checks.check(part in lines[-1] and (code == 2 or (len(lines) == 1 and
                                                      lines[0].startswith("moe: "))),
                 f"{part}: {result.stderr}")
must(python, plots / "plot.py", study_with())

# Without matplotlib.
(root / "without").mkdir()
(root / "without/matplotlib.py").write_text("raise ImportError('not here')")
result = plot(single, env={**os.environ, "PYTHONPATH": str(root / "without")})
checks.check(result.returncode == 3 and result.stderr.startswith("moe: ") and
             "needs matplotlib" in result.stderr and result.stderr.count("\n") == 1, result.stderr)
checks.end()
