"""Programs started without stdin, stdout or stderr keep their files clean; a full disk on stdout is
an error."""
import json
import os
import pathlib
import tempfile

from lab import write_text
from process import Checks, must, program, start, trace

checks = Checks()
folder = tempfile.TemporaryDirectory()
root = pathlib.Path(folder.name)
text = write_text(root / "text.txt")
stories = write_text(root / "stories.txt", 40000, separator="<|endoftext|>")
CLOSED = {"stdin": [0], "stdout": [1], "stderr": [2], "all": [0, 1, 2]}
SHAKESPEARE = ["--data", text, "--batch", 2, "--eval-every", 3, "--log-every", 1]
LAB = ["--data", text, "--threads", 1, "--no-plots"]


def closing(descriptors):
    """A function that closes these descriptors in a new process."""
    def close():
        for descriptor in descriptors:
            os.close(descriptor)
    return close


# Programs that write a folder: the name, and the command without --out.
RUNS = {
    "shakespeare": ["train", "--steps", 6, *SHAKESPEARE],
    "upcycle": ["--data", stories, "--seeds", 1, "--steps1", 4, "--steps2", 3, "--batch", 2, "--eval-every", 2,
                "--sample-tokens", 3, "--no-controls"],
    "simple_moe": ["--preset", "tiny", "--steps", 4, "--batch", 2, "--length", 16, "--eval-every",
                   2, "--log-every", 1, *LAB],
    "dense_vs_moe": ["--preset", "tiny", "--steps", 2, "--batch", 2, "--length", 16,
                     "--eval-every", 2, "--eval-tokens", 100, "--seeds", 1, *LAB],
    "ablation_batch_vs_seqlen": ["--quick", "--rates", "0.01", "--tokens", 3000, "--eval-tokens",
                                 100, *LAB],
}
for name, options in RUNS.items():
    command = [program(name), *options]
    for kind, descriptors in CLOSED.items():
        # The studies train one run after another, each as simple_moe does.
        if name in ("dense_vs_moe", "ablation_batch_vs_seqlen") and kind != "all":
            continue
        out = root / f"{name}_{kind}"
        what = f"{name} without {kind}"
        result = start(*command, "--out", out, preexec_fn=closing(descriptors))
        # It may fail because it cannot print, but its files are whole either way.
        if 1 not in descriptors:
            checks.check(result.returncode == 0, f"{what}: {result.returncode} {result.stderr}")
        files = sorted(out.rglob("metrics.jsonl"))
        checks.check(bool(files), f"{what}: it trained")
        for file in files:
            for line in file.read_bytes().splitlines():
                try:
                    good = "kind" in json.loads(line)
                except ValueError:
                    good = False
                checks.check(good, f"{what}: {file.relative_to(out)} has {line[:60]!r}")
        for file in out.rglob("*.json"):
            try:
                json.loads(file.read_bytes())
            except ValueError:
                checks.check(False, f"{what}: {file.relative_to(out)} is no JSON")
        again = start(*command, "--out", out, "--resume")
        checks.check(again.returncode == 0, f"{what}: goes on: {again.stderr[-200:]}")
    with open("/dev/full", "w") as full:
        result = start(*command, "--out", root / f"{name}_full", stdout=full)
    checks.check(result.returncode not in (0, -11, -6) and "moe: " in result.stderr,
                 f"{name} on a full disk: {result.returncode} {result.stderr[-200:]}")

whole = root / "whole"
must(program("shakespeare"), *RUNS["shakespeare"], "--out", whole)
for kind in CLOSED:
    checks.check(trace(root / f"shakespeare_{kind}") == trace(whole), f"the same run without {kind}")

# Programs that only print, and the two programs of README.md.
model = root / "train_text"
model.mkdir()
must(program("train_text"), text, 1, cwd=model)
READERS = {
    "eval": [program("shakespeare"), "eval", "--checkpoint", whole / "best", "--data", text],
    "sample": [program("shakespeare"), "sample", "--checkpoint", whole / "best", "--prompt", "the",
               "--tokens", 5],
    "scale_model": [program("scale_model"), "--budget", 5],
    "generate": [program("generate"), model / "model.moe", "Once", 5],
    "train_text": [program("train_text"), text, 1],
}
for name, command in READERS.items():
    for kind, descriptors in CLOSED.items():
        before = (whole / "metrics.jsonl").read_bytes()
        result = start(*command, cwd=model, preexec_fn=closing(descriptors))
        checks.check(result.returncode == 0 or 1 in descriptors,
                     f"{name} without {kind}: {result.returncode} {result.stderr}")
        checks.check(result.returncode >= 0, f"{name} without {kind} died: {result.returncode}")
        checks.check((whole / "metrics.jsonl").read_bytes() == before, f"{name}: other files stay")
        checks.check(start(*READERS["generate"]).returncode == 0,
                     f"{name} without {kind}: the model loads")
    with open("/dev/full", "w") as full:
        result = start(*command, cwd=model, stdout=full)
    checks.check(result.returncode > 0 and "moe: " in result.stderr,
                 f"{name} on a full disk: {result.returncode} {result.stderr[-200:]}")
checks.end()
