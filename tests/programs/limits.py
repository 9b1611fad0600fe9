"""Programs refuse values that would wrap, overflow or are not numbers, more threads than make
sense, and more memory than there is."""
import os
import pathlib
import random
import resource
import string
import tempfile

from lab import override
from process import Checks, is_sanitized, must, program, start

checks = Checks()
folder = tempfile.TemporaryDirectory()
root = pathlib.Path(folder.name)
draw = random.Random(7)
text = root / "text.txt"
text.write_text(string.ascii_letters + string.digits + ".\n" +
                "".join(" ".join(draw.choice("king sword fall stone Rome".split())
                                 for _ in range(7)) + "\n" for _ in range(400)), encoding="utf-8")


def refused(what, codes, arguments, *parts, **options):
    result = start(*arguments, **options)
    checks.check(result.returncode in codes, f"{what}: exit code {result.returncode}")
    for part in ("moe: ",) + parts:
        checks.check(part in result.stderr, f"{what}: '{part}' is in {result.stderr!r}")


def limited(bytes):
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (bytes, bytes))


shakespeare = program("shakespeare")
SMALL = ["--data", text, "--batch", 2, "--no-progress", "--threads", 1]


def train(name, *options):
    return override([shakespeare, "train", "--out", root / name, "--steps", 2, *SMALL], options)


# Numbers that CLI11 alone would read as other numbers.
WRONG = {"--seed": ["-1", "18446744073709551616", "1.5", "0x10", ""],
         "--steps": ["1e12", "1000000000000", "99999999999999999999", "010", "nan"],
         "--dropout": ["nan", "inf", "-nan"], 
         "--lr": ["0x1p-3", "nan", "inf", "1e999", "1e-400", "-1e-320"]}
for flag, values in WRONG.items():
    for value in values:
        refused(f"{flag}={value}", [2], [shakespeare, "train", "--dry-run", f"{flag}={value}"], flag)
OTHERS = {"upcycle": ["--seed=-1", "--noise=nan", "--drop=nan", "--lr1=nan", "--steps1=1e12"],
          "simple_moe": ["--seed=-1", "--dropout=nan", "--clip=nan", "--eps=nan", "--steps=1e12"],
          "dense_vs_moe": ["--seed=-1", "--balance=nan"],
          "ablation_batch_vs_seqlen": ["--seed=-1", "--tokens=nan"],
          "scale_model": ["--budget=nan", "--vocab=1e12", "--mfu=inf"]}
for name, arguments in OTHERS.items():
    for argument in arguments:
        command = [program(name), argument] + (["--budget", 100] if name == "scale_model" and
                                               "budget" not in argument else [])
        refused(f"{name} {argument}", [2], command, argument.partition("=")[0])
# An empty name, as of an unset variable, must not mean the default.
for name, *arguments in (("shakespeare", "train", "--dry-run", "--data"),
                         ("shakespeare", "train", "--dry-run", "--out"),
                         ("shakespeare", "eval", "--checkpoint"), ("upcycle", "--data"),
                         ("simple_moe", "--out"), ("dense_vs_moe", "--vocabulary"),
                         ("ablation_batch_vs_seqlen", "--rates")):
    flag = arguments[-1]
    refused(f"{name} {flag} ''", [2], [program(name), *arguments, ""], flag, "empty")
    refused(f"{name} {flag}=", [2], [program(name), *arguments[:-1], flag + "="], flag)
for word in ("--out", "--data"):
    refused(f"{word} followed by an option", [2],
            [shakespeare, "train", f"{word}=", "--dry-run"], word, "is an option")
for name, *arguments in (("huggingface", ""), ("huggingface", "a", ""),
                         ("train_text", text, 2, "x")):
    result = start(program(name), *arguments, cwd=root)
    checks.check(result.returncode == 2 and "usage: " in result.stderr, f"{name} {arguments}")
# Options that would change nothing are refused.
for name, *arguments in (("upcycle", "--noise", 0.2),
                         ("upcycle", "--drop", 0.2, "--recipe", "noise"),
                         ("upcycle", "--router-std", 0.1, "--router", "zero"),
                         ("simple_moe", "--muon-lr", 0.1, "--optimizer", "adamw"),
                         ("dense_vs_moe", "--nesterov", 0, "--optimizer", "adamw"),
                         ("simple_moe", "--final-rate", 0.5, "--schedule", "constant")):
    refused(f"{name} {arguments}", [1], [program(name), "--dry-run", *arguments], arguments[0])
refused("scale_model", [2], [program("scale_model"), "--budget", 5, "--experts", 0, "--top-k", 2],
        "--top-k", "--experts")
# An output path that cannot be written is reported before the work begins.
(root / "taken").mkdir()
(root / "taken/model.moe").write_text("mine")
result = start(program("train_text"), text, 2, cwd=root / "taken")
checks.check(result.returncode == 1 and "model.moe" in result.stderr and "step" not in result.stdout,
             f"train_text tries its place first: {result.stdout!r} {result.stderr!r}")
(root / "exported/mixtral").mkdir(parents=True)
(root / "exported/mixtral/config.json").write_text("mine")
must(program("huggingface"), cwd=root)
result = start(program("huggingface"), "huggingface_out/dense", "exported", cwd=root)
checks.check(result.returncode == 1 and "mixtral" in result.stderr and "trained" not in result.stdout,
             f"huggingface tries its places first: {result.stdout!r} {result.stderr!r}")
# The two programs of README.md read numbers as they are written, too.
for value in ("abc", "", "-5", "1e1", "3x", "99999999999"):
    for name, command in (("train_text", [program("train_text"), text, value]),
                          ("generate", [program("generate"), root / "none", "A", value])):
        result = start(*command, cwd=root)
        checks.check(result.returncode == 2 and "usage: " in result.stderr,
                     f"{name} {value!r}: {result.returncode} {result.stderr!r}")
checks.check(not (root / "model.moe").exists(), "and nothing is saved")
# A model that is hardly trained writes NUL bytes, too. Its text must still be whole.
said = must(program("train_text"), text, 1, cwd=root).stdout
checks.check(len(said.partition("Once upon a time")[2]) > 150, f"a text of 200 bytes: {said!r}")
largest = must(shakespeare, "train", "--dry-run", "--batch", 1, "--threads", 1,
               f"--seed={2**64 - 1}")
checks.check("peak memory" in largest.stdout, "the largest seed is one")

# Threads.
refused("--threads 100000", [1], train("a", "--threads", 100000), "100000 threads",
        "processors")
environment = dict(os.environ, OMP_NUM_THREADS="100000")
refused("OMP_NUM_THREADS", [1], train("b", "--threads", 0), "100000 threads", "OMP_NUM_THREADS",
        env=environment)
must(*train("c"))
for value in ("1", "3", "2,2"):
    must(*train(f"d{value}", "--threads", 0), env=dict(os.environ, OMP_NUM_THREADS=value))
must(*train("e", "--threads", 0), env=dict(os.environ, OMP_THREAD_LIMIT="1"))

# Memory: the limit of the address space, which a test can set without special rights.
LITTLE = 600_000_000
if is_sanitized(shakespeare):
    checks.skip_rest("a sanitizer needs more address space than the limits that are tested")
refused("train in little memory", [1], train("f", "--preset", "full", "--batch", 64),
        "it needs ", "can be had", "--batch", preexec_fn=limited(LITTLE))
checks.check(not (root / "f").exists(), "nothing was written")
plan = start(shakespeare, "train", "--dry-run", "--preset", "full", "--batch", 64, "--threads", 1,
             preexec_fn=limited(LITTLE))
checks.check(plan.returncode == 0 and "peak memory" in plan.stdout and
             "warning" in plan.stdout and "can be had" in plan.stdout,
             f"a plan says that it does not fit: {plan.stdout!r} {plan.stderr!r}")
refused("evaluate in little memory", [1],
        [shakespeare, "eval", "--checkpoint", root / "c/last", "--data", text, "--batch", 4000,
         "--threads", 1], "it needs ", "--batch", preexec_fn=limited(LITTLE))
refused("grow in little memory", [1],
        [program("upcycle"), "--preset", "small", "--batch", 256, "--threads", 1, "--out",
         root / "g", "--data", text], "it needs ", "--batch", preexec_fn=limited(LITTLE))
refused("the laboratory in little memory", [1],
        [program("simple_moe"), "--preset", "small", "--batch", 4096, "--threads", 1, "--out",
         root / "h", "--data", text], "it needs ", "--batch", preexec_fn=limited(LITTLE))
checks.end()
