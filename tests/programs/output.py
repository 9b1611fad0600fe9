"""Programs say so when what they print cannot be written: a full disk, a closed stdout, no reader."""
import os
import pathlib
import subprocess
import tempfile

from lab import write_text
from process import Checks, program, start

checks = Checks()
check = checks.check
folder = tempfile.TemporaryDirectory()
root = pathlib.Path(folder.name)
text = write_text(root / "text.txt")
RUN = ["--preset", "tiny", "--data", text, "--batch", 2, "--length", 16, "--steps", 2,
       "--threads", 1, "--no-progress", "--no-plots", "--overwrite", "--out", root / "run"]
COMMANDS = {
    "scale_model": [program("scale_model"), "--budget", 5],
    "scale_model --json": [program("scale_model"), "--budget", 5, "--json"],
    "scale_model --help": [program("scale_model"), "--help"],
    "simple_moe": [program("simple_moe"), *RUN],
    "simple_moe --dry-run": [program("simple_moe"), "--preset", "tiny", "--dry-run"],
    "dense_vs_moe --dry-run": [program("dense_vs_moe"), "--preset", "tiny", "--dry-run"],
    "ablation --dry-run": [program("ablation_batch_vs_seqlen"), "--quick", "--dry-run"],
    "upcycle --dry-run": [program("upcycle"), "--dry-run"],
    "custom_layer": [program("custom_layer")]}


def shell(words, redirection):
    quoted = " ".join("'" + str(w) + "'" for w in words)
    return subprocess.run(["sh", "-c", f"{quoted} {redirection}"], stderr=subprocess.PIPE,
                          text=True, timeout=300)


for name, words in COMMANDS.items():
    good = start(*words)
    check(good.returncode == 0, f"{name}: {good.stderr}")
    for redirection in ("> /dev/full", ">&-"):
        if redirection == "> /dev/full" and not os.path.exists("/dev/full"):
            continue
        result = shell(words, redirection)
        check(result.returncode == 1, f"{name} {redirection}: exit code {result.returncode}")
        check("moe: cannot write the output" in result.stderr, f"{name}: {result.stderr}")
# Without a reader the program may end by the signal or with an error, but not with success.
reader, writer = os.pipe()
os.close(reader)
result = subprocess.run([str(w) for w in COMMANDS["scale_model"]], stdout=writer,
                        stderr=subprocess.PIPE, timeout=300)
check(result.returncode != 0, "a pipe without a reader")
# A file that cannot be written.
result = start(program("scale_model"), "--budget", 5, "--emit", root / "no/such/folder/model.hpp")
check(result.returncode == 1 and "no/such/folder" in result.stderr, f"--emit: {result.stderr}")
checks.end()
