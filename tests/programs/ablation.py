"""Large batches against long sequences: equal tokens or updates, common validation, resumption."""
import math
import pathlib
import random
import re
import shutil
import signal
import tempfile

from lab import (check_study, count_rows, model, override, read, refused, run_first, stop_after,
                 try_often, without_times, write_text)
from process import Checks, must, program, rows, start

ablation = program("ablation_batch_vs_seqlen")
checks = Checks()
check = checks.check
folder = tempfile.TemporaryDirectory()
root = pathlib.Path(folder.name)
text = write_text(root / "text.txt")
STRATEGIES = {"large_batch": (16, 64), "long_seq": (2, 256), "balanced": (6, 128)}
RATES = ("0.005", "0.01")
BASE = ["--quick", "--data", text, "--rates", ",".join(RATES), "--tokens", 3000, "--eval-tokens",
        200, "--threads", 1, "--no-progress", "--no-plots"]
TOKENS = 3072  # the smallest number that is a multiple of all strategies' updates


def run(name, *options):
    base = [ablation, "--out", root / name, *BASE]
    if "updates" in options:
        del base[base.index("--tokens"):base.index("--tokens") + 2]
    return override(base, options)


# The plan.
plan = must(ablation, "--quick", "--dry-run", "--out", root / "plan").stdout
total = int(re.search(r"equal tokens: (\d+) for each run", plan).group(1))
found = {name: tuple(map(int, rest)) for name, *rest in re.findall(
    r"^ +(\w+) +(\d+) x (\d+), (\d+) tokens an update, (\d+) updates", plan, re.M)}
check(found.keys() == STRATEGIES.keys(), f"the strategies: {plan}")
for name, (batch, length, tokens, updates) in found.items():
    check((batch, length) == STRATEGIES[name], f"{name}: {batch} x {length}")
    check(tokens == batch * length and updates * tokens == total, f"{name}: equal tokens")
full = must(ablation, "--dry-run", "--out", root / "plan").stdout
shapes = {name: (int(a), int(b)) for name, a, b in re.findall(r"^ +(\w+) +(\d+) x (\d+),", full,
                                                              re.M)}
check(shapes == {"large_batch": (64, 256), "long_seq": (8, 1024), "balanced": (24, 512)},
      f"the document's strategies: {shapes}")
work = {int(a) * int(b) for a, b in re.findall(r"(\d+) tokens an update, (\d+) updates", full)}
check(len(work) == 1, "equal tokens in the document's strategies")
for tokens, expected in ((1, 3072), (3071, 3072), (4607, 3072), (4609, 6144), (30720, 30720)):
    plan = must(*run("plan", "--tokens", tokens, "--dry-run")).stdout
    check(f"equal tokens: {expected} " in plan, f"{tokens} tokens in whole updates of all")
check(not (root / "plan").exists(), "a dry run writes nothing")

# Requests that are refused.
for options, code, part in ((["--rates", "0.1,,1"], 1, "--rates"), (["--rates", "2000"], 1, "2000"),
                            (["--tokens", 0], 2, "tokens"), (["--budget", "time"], 2, "budget"),
                            (["--budget", "updates", "--updates", 0], 2, "updates"),
                            (["--seeds", 0], 2, "seeds"), (["--common-length", 300], 1, "context"),
                            (["--optimizer", "sgd"], 2, "sgd"),
                            (["--data", root / "none"], 1, "none")):
    refused(checks, run("bad", *options), code, part)
    check(not (root / "bad/runs").exists(), f"'{part}' leaves nothing that stands in the way")
# Options that the strategies decide are not ignored: they have an effect, or are refused.
for options in (["--batch", 4], ["--length", 32], ["--steps", 3], ["--muon-lr", 0.5],
                ["--eval-every", 1], ["--eval-length", 32], ["--updates", 5]):
    result = must(*run("plan", "--dry-run")).stdout
    other = start(*run("plan", "--dry-run", *options))
    check(other.returncode != 0 or other.stdout != result, f"{options} is swallowed")
run_first(checks, run("first", "--rates", "0.01"))

# A whole study.
out = must(*run("a")).stdout
results = read(root / "a/results.json")
runs = check_study(checks, root / "a", "ablation")
NAMES = [f"{s}_lr{r}" for r in RATES for s in STRATEGIES]
check(sorted(runs) == sorted(NAMES), f"the runs: {sorted(runs)}")
check(results["budget"] == {"rule": "tokens", "tokens": TOKENS}, f"{results['budget']}")
check(results["seeds"] == [42], "the seed")
configs = {c["name"]: c for c in results["ablation_configs"]}
check(sorted(configs) == sorted(NAMES) and len(results["ablation_configs"]) == 6, "the configs")
documents = {r["config_name"]: r for r in results["results"]}
check(sorted(documents) == sorted(NAMES) and len(results["results"]) == 6, "the results")
for name in NAMES:
    strategy, rate = name.split("_lr")
    batch, length = STRATEGIES[strategy]
    check(configs[name] == {"name": name, "batch_size": batch, "seq_len": length,
                            "lr": float(rate), "effective_batch": batch,
                            "tokens_per_step": batch * length}, f"config {configs[name]}")
    one, document = runs[name], documents[name]
    check(one["tokens"] == TOKENS and one["updates"] == TOKENS // (batch * length),
          f"{name}: equal tokens")
    check((one["group"], one["lr"], one["seed"]) == (strategy, float(rate), 42), f"{name}: run")
    own = read(root / "a/runs" / name / "results.json")
    config = own["config"]
    check(config["eval_length"] == 64 and results["eval_length"] == 64,
          f"{name}: the common validation windows")
    check((config["batch_size"], config["max_seq_len"], config["muon_lr"])
          == (batch, length, float(rate)), f"{name}: its settings")
    metrics = rows(root / "a/runs" / name)
    evals = [r for r in metrics if r["kind"] == "eval"]
    check(document["val_metrics"] == [{k: r[k] for k in ("step", "tokens", "val_loss",
                                                         "val_accuracy")} for r in evals],
          f"{name}: val_metrics")
    check(evals[-1]["tokens"] == TOKENS and all(r["tokens"] == r["step"] * batch * length
                                                for r in evals), f"{name}: the axis of tokens")
    check(document["final_val_loss"] == one["final_val_loss"] == evals[-1]["val_loss"],
          f"{name}: final loss")
    check(document["final_val_acc"] == one["final_val_acc"], f"{name}: final accuracy")
    check(document["total_time"] == one["total_time"]
          and document["avg_tokens_per_sec"] == one["avg_tokens_per_sec"], f"{name}: speed")
    train = [r for r in metrics if r["kind"] == "train"]
    check([(t["step"], t["loss"], t["accuracy"]) for t in document["train_losses"]]
          == [(r["step"], r["loss"], r["accuracy"]) for r in train], f"{name}: train_losses")
    check(all(t["tokens_per_sec"] > 0 for t in document["train_losses"]), f"{name}: its speed")
best = min(runs.values(), key=lambda r: r["final_val_loss"])
summary = results["summary"]
check((summary["best"], summary["best_lr"], summary["best_val_loss"])
      == (best["group"], best["lr"], best["final_val_loss"]), f"the best one: {summary}")
for strategy in STRATEGIES:
    losses = [runs[f"{strategy}_lr{rate}"]["final_val_loss"] for rate in RATES]
    check(re.search(rf"^  {strategy} " + "".join(rf" +{x:.4f} \(one run\)" for x in losses), out,
                    re.M), f"the table's row of {strategy}")

# All strategies are evaluated on the same windows: without training they have the same loss.
must(*run("still", "--rates", "1e-12", "--adamw-lr", 0, "--weight-decay", 0))
still = {r["final_val_loss"] for r in read(root / "still/results.json")["runs"]}
check(max(still) - min(still) < 1e-5, f"the same windows for all: {still}")
must(*run("wide", "--common-length", 32, "--rates", "0.01"))
wide = read(root / "wide/results.json")
check(wide["eval_length"] == 32, "--common-length")
for r in wide["runs"]:
    check(read(root / "wide" / r["folder"] / "results.json")["config"]["eval_length"] == 32,
          f"{r['name']}: --common-length")
    check(r["final_val_loss"] != runs[r["name"]]["final_val_loss"], "other windows, other loss")
    check(model(root / "wide" / r["folder"]) == model(root / "a" / r["folder"]),
          f"{r['name']}: the judge does not change the training")

# Equal updates; several seeds; accumulation.
out = must(*run("updates", "--budget", "updates", "--updates", 3, "--seeds", 2, "--rates",
                "0.01")).stdout
results = read(root / "updates/results.json")
runs = check_study(checks, root / "updates", "ablation")
check(results["budget"] == {"rule": "updates", "updates": 3}, f"{results['budget']}")
check(results["seeds"] == [42, 43], "two seeds")
check(sorted(runs) == sorted(f"{s}_lr0.01{end}" for s in STRATEGIES for end in ("", "_seed43")),
      f"runs of two seeds: {sorted(runs)}")
check(len(results["ablation_configs"]) == 3 and len(results["results"]) == 6,
      "one config for all seeds")
means = {}
for strategy, (batch, length) in STRATEGIES.items():
    pair = [runs[f"{strategy}_lr0.01{end}"] for end in ("", "_seed43")]
    check([r["seed"] for r in pair] == [42, 43], "their seeds")
    check(all((r["updates"], r["tokens"]) == (3, 3 * batch * length) for r in pair),
          f"{strategy}: equal updates")
    check(pair[0]["final_val_loss"] != pair[1]["final_val_loss"], f"{strategy}: seeds differ")
    losses = [r["final_val_loss"] for r in pair]
    means[strategy] = sum(losses) / 2
    check(f"{means[strategy]:8.4f} +-{abs(losses[0] - losses[1]) / 2 ** 0.5:6.4f}" in out,
          f"{strategy}: mean and deviation")
best = min(means, key=means.get)
check(results["summary"]["best"] == best, f"the best mean: {means}")
for other in STRATEGIES.keys() - {best}:
    differences = [runs[f"{best}_lr0.01{end}"]["final_val_loss"]
                   - runs[f"{other}_lr0.01{end}"]["final_val_loss"] for end in ("", "_seed43")]
    middle = sum(differences) / 2
    spread = abs(differences[0] - differences[1]) / math.sqrt(2)
    verdict = "significant" if abs(middle) > 12.706 * spread / math.sqrt(2) else "not significant"
    check(f"{best} (lr 0.01) minus {other} (lr 0.01): {middle:+.4f} +- {spread:.4f} nats, {verdict}"
          in out, f"{best} against {other}")
must(*run("accumulated", "--accumulation", 2, "--rates", "0.01", "--tokens", 6144))
results = read(root / "accumulated/results.json")
check({r["tokens"] for r in results["runs"]} == {6144}, "equal tokens with accumulation")
for config in results["ablation_configs"]:
    batch, length = STRATEGIES[config["name"].split("_lr")[0]]
    check((config["effective_batch"], config["tokens_per_step"])
          == (2 * batch, 2 * batch * length), f"accumulation in {config}")
must(*run("adamw", "--optimizer", "adamw", "--rates", "0.003,0.001"))
adamw = [r["lr"] for r in read(root / "adamw/results.json")["runs"]]
check(adamw == 3 * [0.001] + 3 * [0.003], f"the rates of AdamW, which rise in any order: {adamw}")

# Stopped in the middle and resumed.
whole = without_times(read(root / "a/results.json"))
draw = random.Random(1)


def stop_study(how):
    """Stops a study again and again. Returns how often, and the runs that were done by then."""
    place = root / how.name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    options, done, stopped = [], {}, 0
    for _ in range(4):
        code = stop_after(run(how.name, *options), place, draw.randrange(3, 20), how)
        check(code in (0, 130, -signal.SIGKILL), f"{how.name}: exit code {code}")
        stopped += code != 0
        options = ["--resume"]
        for path in (place / "runs").glob("*/results.json"):
            now = (path.parent / "metrics.jsonl").stat().st_mtime_ns
            check(done.setdefault(path, now) == now,
                  f"{how.name}: {path.parent.name} was not trained again")
    return stopped, done


for how in (signal.SIGINT, signal.SIGKILL):
    stopped, done = try_often(lambda: stop_study(how), lambda result: result[0] > 1)
    check(stopped > 1, f"{how.name}: {stopped} studies were stopped before their end")
    place = root / how.name
    must(*run(how.name, "--resume"))
    check(all((path.parent / "metrics.jsonl").stat().st_mtime_ns == now
              for path, now in done.items()), f"{how.name}: what was done was not trained again")
    check(without_times(read(place / "results.json")) == whole,
          f"{how.name}: the same numbers")
    for name in NAMES:
        check(model(place / "runs" / name) == model(root / "a/runs" / name)
              and rows(place / "runs" / name) == rows(root / "a/runs" / name),
              f"{how.name}: the same run {name}")
    check_study(checks, place, "ablation")
before = count_rows(root / "a")
must(*run("a", "--resume"))
check(without_times(read(root / "a/results.json")) == whole and count_rows(root / "a") == before,
      "a finished study tells the same")

# A rate that is too high loses its runs, not the study. Lost runs are not tried again.
lost = run("lost", "--rates", "1000,0.01", "--adamw-lr", 1000, "--tokens", 12288)
for options in ([], ["--resume"]):
    result = start(*lost, *options)
    out = result.stdout
    check(result.returncode == 1 and "moe: the study is not whole" in result.stderr,
          f"a study that lost runs does not end as if it had not: {result.returncode}")
    diverged = {r["name"]: r for r in read(root / "lost/results.json")["runs"]}
    check(len(diverged) == 6 and any(r["diverged"] for r in diverged.values()), f"{diverged}")
    for name, r in diverged.items():
        check((r["final_val_loss"] is None) == r["diverged"], f"{name}: {r}")
        check((r["final_val_acc"] is None) == r["diverged"], f"{name}: accuracy of a lost run: {r}")
        own = read(root / "lost" / r["folder"] / "results.json")["final_metrics"]
        # The perplexity of a loss above 709 nats overflows, so it may be null, too.
        check(all((own[x] is None) == r["diverged"] for x in ("val_loss", "val_accuracy"))
              and (own["val_perplexity"] is None or not r["diverged"]), f"{name}: {own}")
    check("diverged" in out, "the table shows it")

# A folder holds one study, and each rate is run once.
refused(checks, run("a"), 1, "already holds")
refused(checks, run("a", "--resume", "--tokens", 12000), 1, "cannot resume")
refused(checks, run("a", "--resume", "--rates", "0.005,0.01,0.02"), 1, "cannot resume")
if start(*run("twice", "--rates", "0.01,0.01")).returncode == 0:
    check_study(checks, root / "twice", "ablation")
checks.end()
