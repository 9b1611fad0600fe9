"""Different programs on one folder: none removes what another one made unless it is told to, none
disturbs one that is running, and files of others in a folder do not prevent a resume."""
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import tempfile

from lab import override
from process import Checks, count_lines, is_sanitized, must, program, start, wait_until

checks = Checks()
folder = tempfile.TemporaryDirectory()
root = pathlib.Path(folder.name)
text = root / "text.txt"
text.write_text("to be or not to be that is the question\n" * 400, encoding="utf-8")
shakespeare, simple_moe = program("shakespeare"), program("simple_moe")
upcycle, dense_vs_moe = program("upcycle"), program("dense_vs_moe")


def train(out, *options):
    return override([shakespeare, "train", "--out", out, "--data", text, "--steps", 4, "--batch", 1,
                     "--eval-every", 2, "--log-every", 1, "--no-progress", "--threads", 1], options)


LAB = ["--preset", "tiny", "--data", text, "--batch", 1, "--length", 16, "--steps", 4,
       "--eval-every", 2, "--log-every", 1, "--threads", 1, "--no-progress", "--no-plots"]
GROW = ["--data", text, "--steps1", 2, "--steps2", 2, "--batch", 1, "--eval-every", 2, "--seeds", 1,
        "--threads", 1, "--no-controls", "--no-progress"]
SINGLE = [simple_moe, *LAB]
STUDY = [dense_vs_moe, *LAB, "--seeds", 1]
GROWN = [upcycle, *GROW]


def files(place):
    return {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}


def refuses(what, command, place, **options):
    before = files(place)
    result = start(*command, **options)
    checks.check(result.returncode == 1 and "moe: " in result.stderr,
                 f"{what}: {result.returncode} {result.stderr[-300:]}")
    checks.check(files(place) == before, f"{what}: nothing has changed")


# A run of one program in the folder of another program's run.
for name, command, inside in (("simple_moe", SINGLE, "."),
                              ("dense_vs_moe", STUDY, "runs/moe_seed42"),
                              ("upcycle", GROWN, "seed1/dense")):
    place = root / f"over_{name}"
    must(*train(place / inside))
    refuses(f"{name} on a run of shakespeare", [*command, "--out", place], place)
best = root / "kept"
must(*train(best))
for gone in ("last/model.safetensors", "last/optimizer.safetensors", "last/manifest.json",
             "metrics.jsonl", "summary.json"):
    (best / gone).unlink()
(best / "last").rmdir()
refuses("shakespeare on a best model that was kept", train(best, "--seed", 9), best)

# The user's own files with the names of results.
for name, command, file in (("study.json", [*STUDY, "--resume"], "study.json"),
                            ("results.json", [*STUDY, "--resume"], "results.json"),
                            ("grown results", GROWN, "results.json"),
                            ("grown history", GROWN, "training_history.jsonl")):
    place = root / f"mine_{name.replace(' ', '_')}"
    place.mkdir()
    (place / file).write_text('{"mine": 1}\n')
    refuses(f"{name} of the user's", [*command, "--out", place], place)

# A resume goes on, or says why not. It never begins anew in a folder that holds something.
place = root / "parts"
must(*SINGLE, "--out", place)
settings = (place / "settings.json").read_bytes()
(place / "settings.json").unlink()
(place / "results.json").unlink()
refuses("a resume without settings", [*SINGLE, "--out", place, "--resume"], place)
(place / "settings.json").write_bytes(settings)
for gone in (place / "last").iterdir():
    gone.unlink()
(place / "last").rmdir()
rows_before = (place / "metrics.jsonl").read_bytes()
result = start(*SINGLE, "--out", place, "--resume")
checks.check(result.returncode == 1 and "best" in result.stderr,
             f"a resume without last: {result.returncode} {result.stderr[-300:]}")
checks.check((place / "best/manifest.json").is_file() and
             (place / "metrics.jsonl").read_bytes() == rows_before, "a resume without last: all stays")

# Options are checked before an old experiment is removed.
for name, command in (("parts", SINGLE), ("whole_study", STUDY), ("whole_grown", GROWN)):
    place = root / name
    if name != "parts":
        must(*command, "--out", place)
    if is_sanitized(SINGLE[0]):
        print("SKIPPED: a sanitizer needs more address space than the limit that is set")
        continue
    huge = ["--batch", 60000, *(["--length", 64] if command is not GROWN else [])]
    refuses(f"{name} replaced by what does not fit",
            [*override(command, huge), "--out", place, "--overwrite"], place,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 * 10**9, 4 * 10**9)))
refuses("too few tokens to evaluate on",
        [*override(SINGLE, ["--eval-tokens", 1]), "--out", root / "parts", "--overwrite"],
        root / "parts")

# A resume does not replace results whose runs or settings are gone.
for name, command, gone in (("whole_study", [*override(STUDY, ["--steps", 3])], ["runs"]),
                            ("whole_study", STUDY, ["runs", "study.json"]),
                            ("whole_grown", GROWN, ["seed1", "settings.json"]),
                            ("single_results", SINGLE, ["best", "last", "settings.json"])):
    place = root / f"kept_{name}_{len(gone)}"
    if name == "single_results":
        must(*SINGLE, "--out", root / name)
    shutil.copytree(root / name, place)
    for part in gone:
        shutil.rmtree(place / part) if (place / part).is_dir() else (place / part).unlink()
    refuses(f"results of {name} without {gone}", [*command, "--out", place, "--resume"], place)

# Event files of other programs stay where they are.
place = root / "tensorboard"
must(*SINGLE, "--out", place)
foreign = place / "events.out.tfevents.1700000000.mybox.999.0"
foreign.write_bytes(b"\x18" + bytes(11) + b"\x09" + bytes(8) + b"\x1a\x0dbrain.Event:2" + bytes(4))
ours = {path.name for path in place.glob("events*")} - {foreign.name}
must(*SINGLE, "--out", place, "--overwrite")
checks.check(foreign.is_file(), "an event file of another program stays")
checks.check(not ours & {path.name for path in place.glob("events*")}, "ours are replaced")

# If there is nothing to resume, the program says so.
result = must(*SINGLE, "--out", root / "typo", "--resume")
checks.check("nothing to resume" in result.stderr, f"nothing to resume: {result.stderr[-200:]}")

# No program overwrites a run that is still going on.
place = root / "live"
live = subprocess.Popen([str(word) for word in train(place, "--steps", 10 ** 6)],
                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
wait_until(lambda: count_lines(place / "metrics.jsonl") > 3 and (place / "best").is_dir(), live)
for what, command in (("shakespeare anew", train(place)),
                      ("shakespeare", train(place, "--overwrite")),
                      ("shakespeare --resume", train(place, "--resume")),
                      ("simple_moe", [*SINGLE, "--out", place, "--overwrite"])):
    result = start(*command)
    checks.check(result.returncode == 1 and f"process {live.pid}" in result.stderr,
                 f"{what} beside a run: {result.returncode} {result.stderr[-300:]}")
live.send_signal(signal.SIGTERM)
checks.check(live.wait(1800) == 130, "the run was not disturbed")
checks.check((place / "metrics.jsonl").is_file() and (place / "best").is_dir(), "and has its files")

# Files of notebooks and file managers do not prevent a resume.
for name, command, inside, more in (("single", SINGLE, ".", ""),
                                    ("study", STUDY, "runs/moe_seed42", "runs/.DS_Store"),
                                    ("grown", GROWN, "seed1/dense", "")):
    place = root / name
    must(*command, "--out", place)
    (place / inside / "last/.ipynb_checkpoints").mkdir()
    (place / inside / "best/README.md").write_text("mine")
    if more:
        (place / more).write_bytes(b"x")
    metrics = place / inside / "metrics.jsonl"
    metrics.write_text("garbage\n" + metrics.read_text())
    result = start(*command, "--out", place, "--resume")
    checks.check(result.returncode == 0, f"{name} goes on: {result.stderr[-300:]}")
    checks.check((place / inside / "best/README.md").read_text() == "mine", f"{name}: it is kept")

# Unknown values are written neither as numbers nor as nan.
place = root / "unknown"
must(*SINGLE, "--out", place)
(place / "results.json").unlink()
(place / "metrics.jsonl").unlink()
(place / "metrics.jsonl").mkdir()
said = must(*SINGLE, "--out", place, "--resume").stdout
checks.check("accuracy not known" in said and "nan" not in said.partition("validation ")[2],
             f"an accuracy that is not known: {said[-300:]}")

# Replacing a study removes only the runs that the study made: neither what lies behind a link nor a
# run that was put beside them.
for name in ("whole", "other"):
    must(*STUDY, "--out", root / f"replaced_{name}")
kept = root / "kept_run"
must(*SINGLE, "--out", kept)
runs = root / "replaced_whole/runs"
(runs / "compare_with").symlink_to(kept)
shutil.copytree(kept, runs / "my_best_run")
before = {place: files(place) for place in (kept, runs / "my_best_run")}
must(*STUDY, "--out", root / "replaced_whole", "--overwrite")
for place, content in before.items():
    checks.check(content and files(place) == content, f"{place.name} is kept")
linked = root / "linked"
linked.mkdir()
(linked / "runs").symlink_to(root / "replaced_other/runs")
refuses("the runs of another study, by a link", [*SINGLE, "--out", linked, "--overwrite"],
        root / "replaced_other")

# A run cannot be put over another program's experiment or inside a checkpoint.
for place in (kept, root / "replaced_other", root / "whole_grown"):
    refuses(f"shakespeare in {place.name}", train(place, "--overwrite"), place)
outer = root / "outer"
outer.mkdir()
(outer / "settings.json").write_text('{"mine": 1}')
must(*train(outer))
checks.check((outer / "settings.json").read_text() == '{"mine": 1}', "settings of the user's")
for inside in ("last", "last/inner"):
    refuses(f"a run in {inside}", train(root / "outer" / inside, "--overwrite"), root / "outer")

# If one file cannot be removed, none is.
locked = root / "locked"
must(*train(locked))
tool = shutil.copy(shakespeare, root / "tool")
root.chmod(0o755)
if os.geteuid() == 0:  # permissions do not stop root
    nobody = 65534
    for path in (locked, *locked.iterdir()):
        os.chown(path, nobody, nobody)
    os.chown(locked / "best", 0, 0)
    options = {"preexec_fn": lambda: os.setuid(nobody)}
else:
    options = {}
(locked / "best").chmod(0o555)
refuses("a folder that cannot be changed", [tool, *train(locked, "--overwrite")[1:]], locked,
        **options)
(locked / "best").chmod(0o755)
checks.end()
