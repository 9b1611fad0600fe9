"""--precision of every program that trains: what it changes, what a resumed run keeps, who reads
whose checkpoints."""
import glob
import json
import pathlib
import re
import tempfile

from lab import refused, write_text
from process import Checks, count_lines, must, program, start, stop

checks = Checks()
check = checks.check
folder = tempfile.TemporaryDirectory()
root = pathlib.Path(folder.name)
text = write_text(root / "text.txt")
text.write_text("ROMEO:\n" + text.read_text())  # the demo begins with it
COMMON = ["--data", text, "--threads", 1, "--no-progress"]
LAB = [*COMMON, "--no-plots", "--eval-tokens", 300, "--log-every", 1]
SHAKESPEARE = [program("shakespeare"), "train", *COMMON, "--steps", 4, "--batch", 1,
               "--eval-every", 2, "--log-every", 1]
COMMANDS = {
    "simple_moe": [program("simple_moe"), *LAB, "--preset", "tiny", "--batch", 2, "--length", 16,
                   "--steps", 6, "--eval-every", 3],
    "dense_vs_moe": [program("dense_vs_moe"), *LAB, "--preset", "tiny", "--batch", 2, "--length",
                     16, "--steps", 3, "--eval-every", 3, "--seeds", 1],
    "ablation": [program("ablation_batch_vs_seqlen"), *LAB, "--quick", "--rates", "0.01",
                 "--tokens", 3072],
    "upcycle": [program("upcycle"), *COMMON, "--steps1", 3, "--steps2", 2, "--seeds", 1, "--batch",
                2, "--warmup", 1, "--eval-every", 2, "--sample-tokens", 3, "--log-every", 1],
    "shakespeare": SHAKESPEARE}
NOTE = (r"note: --precision auto takes (float|bf16): products of this model run at \d+ GFLOP/s in "
        r"float and at \d+ in bf16\n")


def models(place):
    """The bytes of all models, except those whose number of updates depends on the clock."""
    return {str(f.relative_to(place)): f.read_bytes() for f in place.rglob("model.safetensors")
            if "dense_equal_time" not in str(f)}


def named(place):
    """The precisions that the settings and checkpoints name."""
    files = [*place.rglob("settings.json"), *place.rglob("study.json"),
             *place.rglob("last/manifest.json")]
    found = [re.findall(r'"precision": *"(\w+)"', f.read_text(encoding="utf-8")) for f in files]
    return {word for words in found for word in words}


def has_rows(place):
    # Of glob, not of pathlib: folders come and go while it looks.
    return any(count_lines(f) > 0 for f in glob.glob(f"{place}/**/metrics.jsonl", recursive=True))


for name, command in COMMANDS.items():
    def run(where, *options):
        return [*command, "--out", root / name / where, *options]

    def trained(where, *options):
        """Trains with these options; returns the models."""
        must(*run(where, *options))
        return models(root / name / where)

    wide, half = trained("float"), trained("bf16", "--precision", "bf16")
    check(trained("again", "--precision", "float") == wide, f"{name}: float is the default")
    check(trained("again", "--precision", "bf16", "--overwrite") == half,
          f"{name}: bf16 gives the same bytes again")
    check(wide.keys() == half.keys() and wide, f"{name}: the same models: {[*wide]}")
    check(all(half[model] != wide[model] for model in wide), f"{name}: bf16 changes every model")
    check(named(root / name / "float") == {"float"}, f"{name}: {named(root / name / 'float')}")
    check(named(root / name / "bf16") == {"bf16"}, f"{name}: {named(root / name / 'bf16')}")

    result = must(*run("auto", "--precision", "auto"))
    notes = re.findall(NOTE, result.stderr)
    check(len(notes) == 1, f"{name}: auto tells what it chose: {result.stderr}")
    chosen = (notes or ["float"])[0]
    check(models(root / name / "auto") == {"float": wide, "bf16": half}[chosen],
          f"{name}: and computes in it")
    check(named(root / name / "auto") == {chosen}, f"{name}: {named(root / name / 'auto')}")
    again = re.search("the same again: .* --precision (.*?) ", result.stdout)
    check(name in ("upcycle", "shakespeare") or again.group(1) == chosen,
          f"{name}: the command that repeats it names what was chosen")

    # A run keeps the precision that it was begun with, whatever would be measured now.
    for precision, expected in (("float", wide), ("bf16", half)):
        place = root / name / f"stopped_{precision}"
        code = stop(run(place.name, "--precision", precision), lambda: has_rows(place))
        check(code in (0, 130), f"{name}: exit code {code} of a run that is stopped")
        result = must(*run(place.name, "--precision", "auto", "--resume"))
        check(f"auto takes {precision}, with which" in result.stderr and "GFLOP" not in
              result.stderr, f"{name}: nothing is measured: {result.stderr}")
        check(models(place) == expected, f"{name}: auto goes on in {precision}")
        other = "float" if precision == "bf16" else "bf16"
        refused(checks, run(place.name, "--precision", other, "--resume"), 1,
                f"it was begun with {precision}")
        check(models(place) == expected, f"{name}: what is refused changes nothing")
    refused(checks, run("bad", "--precision", "half"), 2, "half")
    check("--precision" in must(*command[:1 + (name == "shakespeare")], "--help").stdout,
          f"{name}: --help tells it")

    # Settings of older versions, which computed in float, do not name it.
    settings = [*(root / name / "float").rglob("settings.json"),
                *(root / name / "float").rglob("study.json")]
    for file in settings:
        file.write_text(re.sub(r' *"precision": "float",\n', "", file.read_text()))
    if settings:
        refused(checks, run("float", "--precision", "bf16", "--resume"), 1, "begun with float")
        check(trained("float", "--resume") == wide, f"{name}: an older run goes on in float")

# A resumed run of shakespeare takes all of its settings from its checkpoint.
place = root / "shakespeare/paused"
must(*SHAKESPEARE, "--out", place, "--precision", "bf16", "--pause-at", 2)
must(SHAKESPEARE[0], "train", "--out", place, "--resume", *COMMON)
check(models(place) == models(root / "shakespeare/bf16"), "shakespeare: --resume alone")


# Checkpoints of either precision are read in either.
def loss(checkpoint, *options):
    said = must(SHAKESPEARE[0], "eval", "--checkpoint", checkpoint, "--data", text, *options)
    return float(re.search(r"validation ([\d.]+) nats", said.stdout).group(1))


for precision, other in (("float", "bf16"), ("bf16", "float")):
    place = root / "shakespeare" / precision
    known = json.loads((place / "summary.json").read_text())["best_val_loss"]
    own, foreign = (loss(place / "best", "--precision", p) for p in (precision, other))
    check(abs(own - known) < 5.1e-5, f"{precision} evaluates its own: {own}, {known}")
    check(abs(foreign - own) < 0.02, f"{other} evaluates one of {precision}: {foreign}, {own}")
    check(loss(place / "best") == {"float": own, "bf16": foreign}[precision], "eval takes float")
    check(loss(place / "best", "--precision", "auto") in (own, foreign), "or what is faster")
    for options in ([], ["--precision", "bf16"], ["--precision", "auto"]):
        said = must(SHAKESPEARE[0], "sample", "--checkpoint", place / "best", "--prompt", "bird",
                    "--tokens", 5, *options)
        check(said.stdout.startswith("bird") and len(said.stdout) == 4 + 5 + 1,
              f"sample {options}: {said.stdout}")
        check(bool(re.search(NOTE, said.stderr)) == ("auto" in options), f"{said.stderr}")
for command in ("eval", "sample"):
    refused(checks, [SHAKESPEARE[0], command, "--checkpoint", place / "best", "--precision",
                     "half"], 2, "half")

# The demo writes in the precision that it was trained in.
said = must(SHAKESPEARE[0], "demo", *SHAKESPEARE[2:], "--out", root / "demo", "--precision", "bf16")
sample = must(SHAKESPEARE[0], "sample", "--checkpoint", root / "demo/best", "--prompt", "ROMEO:",
              "--tokens", 400, "--temperature", 0.7, "--precision", "bf16")
check(said.stdout.endswith("\n" + sample.stdout), f"the demo in bf16: {said.stdout}")

# Without --precision it takes what is faster, and the time that bf16 saves for more steps.
for options, steps in (([], {"float": 1100, "bf16": 1800}), (["--precision", "float"], 1100),
                       (["--precision", "bf16"], 1100), (["--steps", 7], 7)):
    plan = must(SHAKESPEARE[0], "demo", "--dry-run", "--data", text, *options)
    taken = re.search(NOTE, plan.stderr)
    check(bool(taken) != ("--precision" in options), f"demo {options}: {plan.stderr}")
    steps = steps[taken[1]] if isinstance(steps, dict) else steps
    check(f" for {steps} steps " in plan.stdout, f"demo {options}: {plan.stdout}")

# A model that is not compiled in bf16 is named, with what to do; auto makes do with float.
if b"nanogpt bf16" not in pathlib.Path(SHAKESPEARE[0]).read_bytes():
    plan = [SHAKESPEARE[0], "train", "--preset", "nanogpt", "--dry-run", "--precision"]
    for part in ("'nanogpt'", "MOE_LAB_BF16", "--precision float"):
        refused(checks, [*plan, "bf16"], 1, part)
    result = must(*plan, "auto")
    check("auto takes float: model 'nanogpt'" in result.stderr, f"{result.stderr}")
checks.end()
