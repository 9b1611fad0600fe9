"""The experiment of growing: its tables and files, resumption, controls, and bad input."""
import json
import math
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile

from lab import override
from process import Checks, count_lines, must, program, start, stop, trace

upcycle = program("upcycle")
checks = Checks()
folder = tempfile.TemporaryDirectory()
root = pathlib.Path(folder.name)
draw = random.Random(3)
words = "once there was a little bird who sang in the old tree near her house".split()
text = root / "stories.txt"
text.write_text("\n<|endoftext|>\n".join(
    ". ".join(" ".join(draw.choice(words) for _ in range(8)) for _ in range(6))
    for _ in range(60)), encoding="utf-8")
SMALL = ["--data", text, "--batch", 2, "--warmup", 1, "--eval-every", 4, "--sample-tokens", 3,
         "--no-progress"]
PHASES = ("dense", "moe", "dense_control", "moe_from_scratch")


def run(name, *options, steps=(5, 4), seeds=1):
    return override([upcycle, "--out", root / name, "--steps1", steps[0], "--steps2", steps[1],
                     "--seeds", seeds, *SMALL], options)


def tensors(name, seed=1):
    return {f: (root / name / f"seed{seed}" / f / "model.safetensors").read_bytes()
            for f in ("dense_model", "moe_model_init", "moe_model_final")}


# The plan: parameter counts of the document, work of the controls.
for preset, arch, counts in (("paper", "simple", (100038016, 371640312, 138878328)),
                             ("paper", "smollm", (119355392, 526429752, 177548856)),
                             ("small", "simple", (16025344,))):
    plan = must(upcycle, "--preset", preset, "--arch", arch, "--dry-run").stdout
    for count in counts:
        checks.check(f" {count} " in plan, f"{preset} {arch}: {count} is in the plan")

checks.check("[init] device: CPU, " in plan and "threads" in plan, "a line tells the device")
settings = pathlib.Path(__file__).parents[2] / "lab/programs/upcycle/presets.hpp"
check_paper = settings.read_text(encoding="utf-8").partition("paper_settings{")[2]
checks.check(".phase1_lr = 3e-4" in check_paper and ".phase2_lr = 1e-4" in check_paper,
             "phase 2 of preset paper has the document's lower rate")

# One whole experiment.
out = must(*run("a", seeds=2)).stdout
checks.check("all             0 (0 ulp" in out, "copies agree to the last bit")
checks.check(out.count("difference 0\n") == 2, "no boundary on the frozen probe")
checks.check(out.count("verification: PASSED") == 2 and "FAILED" not in out, "both seeds PASSED")
checks.check(out.count("phase 2 total drop") == 2, "the total drop of phase 2")
results = json.loads((root / "a/results.json").read_text())
checks.check([s["seed"] for s in results["seeds"]] == [1, 2], "both seeds are in results.json")
for seed in results["seeds"]:
    edge = seed["boundary"]
    checks.check(edge["max_logit_difference"] == 0 and edge["exact"], "results.json: exact")
    checks.check(edge["fixed_loss_dense"] == edge["fixed_loss_grown"], "the fixed loss stays")
    checks.check(edge["fixed_loss_final"] != edge["fixed_loss_grown"], "phase 2 changes it")
    checks.check(edge["verification"] == "passed", "results.json: passed")
    drop = seed["moe"]["val_loss_before"] - seed["moe"]["val_loss"]
    checks.check(math.isclose(edge["phase2_total_drop"], drop), f"total drop {edge}")
    checks.check(f"at the end): {drop:.4f}" in out, "the drop is printed")
    words = seed["specialisation"]
    checks.check(len(words) == 4 and all(len(layer) == 8 for layer in words), "layers and experts")
    for layer in words:
        checks.check(math.isclose(sum(e["load"] for e in layer), 1), "loads of a layer")
        for expert in layer:
            shares = [w["share"] for w in expert["tokens"]]
            checks.check(shares == sorted(shares, reverse=True) and
                         all(0 < x <= 1 for x in shares), f"shares fall: {shares}")
    listed = {w["token"] for layer in words for e in layer for w in e["tokens"]}
    checks.check(any(any(c in w for w in listed) for c in "aeiou"), f"tokens of the text: {listed}")
    checks.check(seed["moe"]["val_loss_before"] == seed["dense"]["val_loss"],
                 "the whole validation split stays")
    checks.check(seed["dense_control"]["val_loss_before"] == seed["dense"]["val_loss"],
                 "the dense control starts where phase 1 ended")
    work = {phase: seed[phase]["flops"] for phase in PHASES}
    checks.check(abs(work["dense_control"] / work["moe"] - 1) < 0.1, "equal work of the control")
    checks.check(abs(work["moe_from_scratch"] / (work["dense"] + work["moe"]) - 1) < 0.1,
                 "equal work in all from scratch")
checks.check(results["seeds"][0]["moe"]["val_loss"] != results["seeds"][1]["moe"]["val_loss"],
             "seeds differ")
history = [json.loads(line) for line in (root / "a/training_history.jsonl").read_text().splitlines()]
checks.check({(r["seed"], r["phase"]) for r in history} == {(s, p) for s in (1, 2) for p in PHASES},
             "training_history.jsonl has all phases of all seeds")
checks.check(len({len(t) for t in tensors("a").values()}) == 2, "two sizes of model were saved")

# Options change what they say.
same = tensors("a")
for options, changed in ((["--recipe", "noise"], "moe_model_init"),
                         (["--router", "zero"], "moe_model_init"),
                         (["--optimizer-state", "copied"], "moe_model_final"),
                         (["--lr2", "3e-4"], "moe_model_final"),
                         (["--balance", "0.5"], "moe_model_final"),
                         (["--lr1", "3e-4"], "dense_model")):
    must(*run("b", "--no-controls", "--overwrite", *options))
    other = tensors("b")
    order = list(same)
    for name in order:
        expected = order.index(name) >= order.index(changed)
        checks.check((other[name] != same[name]) == expected, f"{options} and {name}")
for recipe, exact in (("shared", True), ("permute", False), ("virtual_groups", False),
                      ("drop", False)):
    must(*run("b", "--no-controls", "--overwrite", "--recipe", recipe))
    edge = json.loads((root / "b/results.json").read_text())["seeds"][0]["boundary"]
    checks.check(edge["exact"] == exact and (edge["max_logit_difference"] == 0) == exact, recipe)

# After an experiment is replaced, none of its rows is left in the history, and nothing of a seed
# that the new one does not have.
must(*run("a2", seeds=2))
must(*run("a2", "--no-controls", "--overwrite"))
checks.check(not any((root / "a2/seed2").glob("*/*")), "no checkpoints of another seed")
rows = [json.loads(line) for line in (root / "a2/training_history.jsonl").read_text().splitlines()]
checks.check({r["phase"] for r in rows} == {"dense", "moe"}, "no rows of a replaced experiment")

# --replace-default replaces the default folder, but not a folder that --out names.
place = root / "place"
place.mkdir()
DEFAULT = [upcycle, "--steps1", 3, "--steps2", 2, "--seeds", 1, "--no-controls", *SMALL]
for seed in (5, 6):
    must(*DEFAULT, "--replace-default", "--seed", seed, cwd=place)
checks.check((place / "runs/upcycle-tiny/seed6/dense_model").is_dir(), "the default folder")
for options in ([], ["--out", root / "a2", "--replace-default"]):
    result = start(*DEFAULT, *options, cwd=place)
    checks.check(result.returncode == 1 and "already holds" in result.stderr,
                 f"{options}: {result.returncode} {result.stderr}")

# --log-every gives rows as often as asked; --stories uses only the first stories.
must(*run("rows", "--no-controls", "--log-every", 1))
rows = [json.loads(line) for line in (root / "rows/training_history.jsonl").read_text().splitlines()]
checks.check([r["step"] for r in rows if r["kind"] == "train" and r["phase"] == "dense"]
             == [1, 2, 3, 4, 5], "--log-every 1")
first = root / "first.txt"
first.write_text("<|endoftext|>".join(text.read_text().split("<|endoftext|>")[:40])
                 + "<|endoftext|>", encoding="utf-8")
must(*run("first", "--no-controls", "--stories", 40))
must(*run("second", "--no-controls", "--data", first))
checks.check(tensors("first") == tensors("second"), "--stories 40 is the text cut there")

# An experiment that is stopped, at its very start or in either phase, and resumed gives the same
# bits.
def long(name, *options):
    return run(name, "--no-controls", *options, steps=(40, 30))


must(*long("whole"))
for phase, lines, how in (("dense", 0, signal.SIGINT), ("dense", 4, signal.SIGTERM),
                          ("moe", 2, signal.SIGHUP)):
    shutil.rmtree(root / "c", ignore_errors=True)
    metrics = root / "c/seed1" / phase / "metrics.jsonl"
    code = stop(long("c"), lambda: metrics.exists() and count_lines(metrics) >= lines, how)
    checks.check(code in (0, 130), f"{how.name} in {phase} after {lines} rows: {code}")
    must(*long("c", "--resume"))
    checks.check(tensors("c") == tensors("whole"), f"{phase}, stopped after {lines} rows, resumed")
    checks.check(trace(root / "c/seed1/moe") == trace(root / "whole/seed1/moe"),
                 f"rows after a stop in {phase} after {lines} rows")

# A signal ends an evaluation that would last for hours, and everything stays as before.
huge = root / "huge.txt"
huge.write_text(text.read_text() * 400, encoding="utf-8")
process = subprocess.Popen([str(a) for a in run("h", "--no-controls", "--data", huge, "--seeds", 1)],
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
for line in process.stdout:
    if "phase 1: dense" in line:
        break
process.send_signal(signal.SIGTERM)
process.stdout.close()
code = process.wait(1800)
checks.check(code == 130, f"stopped in the first evaluation: {code}")

# A rate that loses every update is no success, and the losses are not written as numbers.
lost = start(*run("lost", "--no-controls", "--lr1", "1000", steps=(40, 4)))
checks.check(lost.returncode == 1 and "moe: " in lost.stderr, f"lost: {lost.returncode}")

# An experiment that replaces another one, and is stopped in phase 1, takes nothing from the old
# one.
must(*long("e"))
must(*long("f", "--lr2", "1e-3"))


def replaced():
    settings = root / "e/settings.json"
    return ((root / "e/seed1/dense/metrics.jsonl").is_file() and settings.is_file()
            and "0.001" in settings.read_text())


stop(long("e", "--overwrite", "--lr2", "1e-3"), replaced)
must(*long("e", "--resume", "--lr2", "1e-3"))
checks.check(tensors("e") == tensors("f") != tensors("whole"), "nothing of a replaced experiment")
checks.check(trace(root / "e/seed1/moe") == trace(root / "f/seed1/moe"), "nor of its rows")

# Bad input.
for arguments, code, part in ((run("a"), 1, "already holds"),
                              (run("a", "--resume", "--lr2", "1e-2", seeds=2), 1, "other settings"),
                              (run("d", "--recipe", "clone"), 2, "clone"),
                              (run("d", seeds=0), 2, "seeds"),
                              (run("d", "--seed", -1), 2, "seed"),
                              (run("d", "--stories", 1), 1, "longer text"),
                              (run("d", "--dropout", "1.5"), 2, "dropout"),
                              (run("d", "--resume", "--overwrite"), 2, "choose one"),
                              (run("d", "--vocabulary", root / "none"), 1, "none")):
    result = start(*arguments)
    lines = result.stderr.strip().splitlines() or [""]
    checks.check(result.returncode == code, f"{part}: exit code {result.returncode}")
    checks.check(lines[-1].startswith("moe: ") and part in lines[-1], f"{part}: {lines[-1]}")
checks.end()
