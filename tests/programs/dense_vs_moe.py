"""A dense model and its mixtures: the rules, the statistics, no validation token trained on."""
import json
import math
import pathlib
import random
import re
import shutil
import tempfile

from lab import (change_byte, check_study, model, override, read, refused, run_first, stop_after,
                 try_often, without_times, write_text)
from process import Checks, must, program, rows

dense_vs_moe = program("dense_vs_moe")
checks = Checks()
check = checks.check
folder = tempfile.TemporaryDirectory()
root = pathlib.Path(folder.name)
text = write_text(root / "text.txt")
BASE = ["--preset", "tiny", "--data", text, "--batch", 2, "--length", 16, "--steps", 6,
        "--eval-every", 3, "--eval-tokens", 300, "--log-every", 1, "--threads", 1, "--seeds", 1,
        "--no-progress", "--no-plots"]
EQUAL_UPDATES = ("dense", "moe", "moe_iso_active")
GROUPS = (*EQUAL_UPDATES, "dense_equal_flops", "dense_equal_time")
T95 = {1: 12.706, 2: 4.303, 3: 3.182}


def run(name, *options):
    return override([dense_vs_moe, "--out", root / name, *BASE], options)


def mean(values):
    return sum(values) / len(values)


def deviation(values):
    if len(values) < 2:
        return None  # undefined for one value
    return math.sqrt(sum((x - mean(values)) ** 2 for x in values) / (len(values) - 1))


def near(a, b, tolerance=1e-9):
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=tolerance, abs_tol=1e-12)


# The plan: the document's counts, and the updates at equal work.
plan = must(dense_vs_moe, "--preset", "paper", "--dry-run", "--out", root / "plan").stdout
for count in (29496192, 54278016, 33044352):
    check(f"{count} " in plan, f"{count} parameters in the plan")
flops = {name: float(value) for name, value in re.findall(r"^(\w+) .*; ([\d.]+) MFLOP", plan, re.M)}
steps = re.search(r"equal FLOPs: (\d+) updates for 750", plan)
check(steps and abs(int(steps.group(1)) - 750 * flops["moe"] / flops["dense"]) <= 0.51,
      f"updates of the dense model at equal work: {plan}")
check(not (root / "plan").exists(), "a dry run writes nothing")

# Requests that are refused.
for options, code, part in ((["--moe-layers", "alternate"], 1, "use --moe-layers all"),
                            (["--moe-layers", "odd"], 2, "odd"), (["--preset", "big"], 2, "big"),
                            (["--rates", "0.1,a"], 1, "--rates"), (["--rates", "0"], 1, "--rates"),
                            (["--seeds", 0], 2, "seeds"), (["--optimizer", "sgd"], 2, "sgd"),
                            (["--length", 1000], 1, "context"),
                            (["--resume", "--overwrite"], 2, "choose one"),
                            (["--data", root / "none"], 1, "none")):
    refused(checks, run("bad", *options), code, part)
    check(not (root / "bad/runs").exists(), f"'{part}' leaves nothing that stands in the way")
run_first(checks, run("first", "--steps", 2))

# Three seeds.
out = must(*run("a", "--seeds", 3)).stdout
results = read(root / "a/results.json")
runs = check_study(checks, root / "a", "dense_vs_moe")
check(results["seeds"] == [42, 43, 44], "the seeds")
check(results["budget"]["updates"] == 6 and results["budget"]["tokens"] == 192, "the budget")
group = {g: sorted((r for r in runs.values() if r["group"] == g), key=lambda r: r["seed"])
         for g in GROUPS}
check(sum(map(len, group.values())) == len(runs), "no other groups")
for g in GROUPS:
    check([r["seed"] for r in group[g]] == [42, 43, 44], f"{g}: one run for each seed")
    check(len({r["final_val_loss"] for r in group[g]}) == 3, f"{g}: seeds differ")
    check({r["lr"] for r in group[g]} == {0.02}, f"{g}: the preset's rate")
for i, seed in enumerate((42, 43, 44)):
    one = {g: group[g][i] for g in GROUPS}
    for g in EQUAL_UPDATES:
        check((one[g]["updates"], one[g]["tokens"]) == (6, 192), f"{g} {seed}: equal updates")
    dense, mixture, by_flops, by_time = (one[g] for g in ("dense", "moe", "dense_equal_flops",
                                                          "dense_equal_time"))
    check(mixture["flops"] > dense["flops"], "a mixture is more work")
    check(abs(by_flops["flops"] - mixture["flops"]) <= dense["flops"] / 6,
          f"{seed}: equal FLOPs within one update")
    check(by_flops["updates"] > 6, f"{seed}: the dense model may train longer")
    wanted = math.floor(mixture["total_time"] / dense["total_time"] * 6 + 0.5)
    check(by_time["updates"] == max(1, wanted), f"{seed}: updates in equal time")
    check(near(one["moe_iso_active"]["flops"] / dense["flops"], 1, 0.01), "iso-active: equal work")
    first = {g: rows(root / "a" / one[g]["folder"])[0] for g in GROUPS}
    for g in GROUPS:
        check(first[g]["tokens"] == 32, f"{g}: tokens of the first update")
    # Initial values and first batch of the dense model do not depend on the rule.
    check(first["dense_equal_flops"]["loss"] == first["dense"]["loss"]
          == first["dense_equal_time"]["loss"], f"{seed}: the same start")
    check(first["dense"]["expert_load"] == [] and len(first["moe"]["expert_load"]) == 2,
          "per-layer fields of a dense model are empty")
dense, mixture, iso = (group[g][0] for g in EQUAL_UPDATES)
check(dense["params_total"] == dense["params_active"], "a dense model is all active")
check(iso["params_active"] == dense["params_total"] + 2 * 4 * 64,
      "iso-active: the dense model's parameters and the routers")
check(mixture["params_total"] > iso["params_total"] > dense["params_total"], "totals")

# The rules, from the runs.
check([(rule["rule"], [row["group"] for row in rule["rows"]]) for rule in results["rules"]]
      == [("equal updates", ["dense", "moe"]),
          ("equal training FLOPs", ["dense_equal_flops", "moe"]),
          ("equal wall time", ["dense_equal_time", "moe"]),
          ("equal active parameters", ["dense", "moe_iso_active"])], "the rules")


def check_rules(results, group, printed):
    for rule in results["rules"]:
        losses = {}
        for row in rule["rows"]:
            own = group[row["group"]]
            losses[row["group"]] = [r["final_val_loss"] for r in own]
            for field, value in (
                    ("val_loss_mean", mean(losses[row["group"]])),
                    ("val_loss_deviation", deviation(losses[row["group"]])),
                    ("val_accuracy_mean", mean([r["final_val_acc"] for r in own])),
                    ("val_perplexity", math.exp(mean(losses[row["group"]]))),
                    ("flops_mean", mean([r["flops"] for r in own])),
                    ("seconds_mean", mean([r["total_time"] for r in own])),
                    ("params_total", own[0]["params_total"]),
                    ("params_active", own[0]["params_active"])):
                check(near(row[field], value), f"{rule['rule']}, {row['group']}: {field}")
        first, other = [row["group"] for row in rule["rows"]]
        found = rule["comparisons"]
        check([(c["group"], c["minus"]) for c in found] == [(other, first)], "what is compared")
        differences = [a - b for a, b in zip(losses[other], losses[first])]
        n = len(differences)
        check(near(found[0]["difference_mean"], mean(differences)), f"{rule['rule']}: difference")
        check(near(found[0]["difference_deviation"], deviation(differences), 1e-6),
              f"{rule['rule']}: its deviation")
        significant = n > 1 and abs(mean(differences)) > (T95[n - 1] * deviation(differences)
                                                          / math.sqrt(n))
        check(found[0]["significant"] == significant, f"{rule['rule']}: significance")
        word = ("one seed says nothing" if n == 1 else
                "significant (paired" if significant else "not significant (paired")
        spread = f" +- {deviation(differences):.4f}" if len(differences) > 1 else ""
        pattern = (re.escape(f"{other} minus {first}: {mean(differences):+.4f}{spread} nats")
                   + r" \([-+.\d]+ %\), " + re.escape(word))
        check(re.search(pattern, printed), f"the printed difference: {pattern}")


check_rules(results, group, out)

# One seed is never significant. A study that is replaced leaves no runs behind.
out = must(*run("a", "--overwrite")).stdout
runs = check_study(checks, root / "a", "dense_vs_moe")
check(sorted(runs) == sorted(f"{g}_seed42" for g in GROUPS), "one seed")
check_rules(read(root / "a/results.json"), {r["group"]: [r] for r in runs.values()}, out)
check(runs["moe_seed42"]["final_val_loss"] == group["moe"][0]["final_val_loss"],
      "the same run with one seed and with three")

# Each model has its own best rate.
for optimizer, rates in (("muon", (0.0001, 0.02, 0.05)), ("adamw", (0.003, 0.0001))):
    out = must(*run(optimizer, "--optimizer", optimizer, "--rates",
                    ",".join(map(str, rates)))).stdout
    results = read(root / optimizer / "results.json")
    runs = check_study(checks, root / optimizer, "dense_vs_moe")
    best = {}
    for g in EQUAL_UPDATES:
        tried = {r["lr"]: r["final_val_loss"] for r in runs.values() if r["group"] == f"rates_{g}"}
        check(sorted(tried) == sorted(rates), f"{optimizer}, {g}: the rates tried: {tried}")
        best[g] = min(tried, key=tried.get)
        check(results["best_rates"][g] == best[g], f"{optimizer}, {g}: the best rate")
        check(f"{g}: best learning rate {best[g]:g}" in out, f"{optimizer}, {g}: is printed")
        check(runs[f"{g}_seed42"]["lr"] == best[g], f"{optimizer}, {g}: is used")
        check(runs[f"{g}_seed42"]["final_val_loss"] == tried[best[g]], f"{g}: the same run")
    for g in ("dense_equal_flops", "dense_equal_time"):
        check(runs[f"{g}_seed42"]["lr"] == best["dense"], f"{optimizer}, {g}: the dense rate")
    config = read(root / optimizer / "runs/moe_seed42/results.json")["config"]
    check(config["optimizer"] == optimizer, f"trained with {optimizer}")

# A study that is stopped and resumed gives the same numbers, except those that depend on the clock.
STUDY = ["--seeds", 2, "--steps", 14, "--length", 32]


def steady(value):
    """The results without the runs and rows of equal time, which depend on the clock."""
    value = without_times(value)
    value["runs"] = [r for r in value["runs"] if r["group"] != "dense_equal_time"]
    value["rules"] = [r for r in value["rules"] if r["rule"] != "equal wall time"]
    return value


must(*run("whole", *STUDY))
draw = random.Random(1)


def stop_study():
    """Stops a study again and again. Returns how often, and the runs that were done by then."""
    shutil.rmtree(root / "cut", ignore_errors=True)
    (root / "cut").mkdir()
    options, done, stopped = [], {}, 0
    for _ in range(4):
        code = stop_after(run("cut", *STUDY, *options), root / "cut", draw.randrange(3, 45))
        check(code in (0, 130), f"exit code {code}")
        stopped += code == 130
        options = ["--resume"]
        for path in (root / "cut/runs").glob("*/results.json"):
            metrics = path.parent / "metrics.jsonl"
            now = metrics.stat().st_mtime_ns
            check(done.setdefault(path, now) == now, f"{path.parent.name} was not trained again")
    return stopped, done


stopped, done = try_often(stop_study, lambda result: result[0] > 1)
check(stopped > 1, f"{stopped} studies were stopped before their end")
must(*run("cut", *STUDY, "--resume"))
check(all((path.parent / "metrics.jsonl").stat().st_mtime_ns == now for path, now in done.items()),
      "what was done was not trained again")
check(steady(read(root / "cut/results.json")) == steady(read(root / "whole/results.json")),
      "stopped and resumed: results.json")
runs = check_study(checks, root / "cut", "dense_vs_moe")
for name, one in runs.items():
    if one["group"] != "dense_equal_time":
        check(model(root / "cut/runs" / name) == model(root / "whole/runs" / name),
              f"stopped and resumed: bytes of {name}")
        continue
    dense, mixture = (runs[f"{g}_seed{one['seed']}"] for g in ("dense", "moe"))
    wanted = math.floor(mixture["total_time"] / dense["total_time"] * 14 + 0.5)
    check(one["updates"] == max(1, wanted), f"{name}: equal time after a stop")
again = (root / "cut/results.json").read_bytes()
must(*run("cut", *STUDY, "--resume"))
check(without_times(read(root / "cut/results.json")) == without_times(json.loads(
    again)), "a finished study tells the same")


# No validation token is trained on. The text is so short that random windows reach nearly every
# place of it, and shuffled windows reach all in one epoch.
def trained(name, data, windows):
    must(*run(name, "--overwrite", "--data", data, "--windows", windows, "--steps", 10, "--batch",
              64, "--length", 4, "--eval-tokens", 0, "--eval-every", 10))
    names = [f"{g}_seed42" for g in GROUPS[:4]]
    results = {r["name"]: r for r in read(root / name / "results.json")["runs"]}
    return ([model(root / name / "runs" / n) for n in names],
            [results[n]["final_val_loss"] for n in names])


for kind, separator in (("text", ""), ("documents", "<|endoftext|>")):
    source = write_text(root / f"{kind}.txt", 400, separator=separator)
    size = source.stat().st_size
    content = source.read_text()
    cut = size * 9 // 10
    letters = [i for i, c in enumerate(re.sub(r"<\|endoftext\|>", "." * 13, content))
               if c.isalpha()]
    if separator:
        cut = content.rindex(separator, 0, cut) + len(separator)
        check(cut + 10 < size * 9 // 10, "a document lies over nine tenths")
    other = change_byte(source, root / f"{kind}_validation.txt", [i for i in letters if i >= cut])
    for windows in ("random", "shuffled"):
        models, losses = trained("leak", source, windows)
        changed = trained("leak2", other, windows)
        for i, g in enumerate(GROUPS[:4]):
            check(changed[0][i] == models[i],
                  f"{kind}, {windows} windows: {g} was trained on validation text")
            check(changed[1][i] != losses[i], f"{kind}: {g} is validated on other text")
    # The control: a change of any byte that is trained on shows.
    for at in (20, cut - 10):
        at = min(letters, key=lambda i: abs(i - at))
        changed = trained("leak2", change_byte(source, root / "control.txt", at), "shuffled")
        check(all(a != b for a, b in zip(changed[0], models)),
              f"{kind}: byte {at} of {cut} is trained on")

# A folder holds one study.
refused(checks, run("whole", *STUDY), 1, "already holds")
refused(checks, run("whole", *STUDY, "--resume", "--muon-lr", 0.01), 1, "cannot resume")
refused(checks, run("whole", *STUDY, "--resume", "--rates", "0.01"), 1, "cannot resume")
checks.end()
