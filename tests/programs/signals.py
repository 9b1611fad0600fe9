"""Whatever ends a program from outside: the run saves itself, in an evaluation too."""
import json
import os
import pathlib
import random
import signal
import subprocess
import tempfile
import time

from process import Checks, must, program

shakespeare = program("shakespeare")
checks = Checks()
folder = tempfile.TemporaryDirectory()
root = pathlib.Path(folder.name)
draw = random.Random(5)
words = "a king may fall upon his sword and never rise again".split()
verse = "".join(" ".join(draw.choice(words) for _ in range(6)) + "\n" for _ in range(150))
text = root / "text.txt"
text.write_text(verse)


def begin(name, *options, data=text, steps=100000, eval_every=100000, **how):
    arguments = [shakespeare, "train", "--out", root / name, "--data", data, "--batch", 2,
                 "--log-every", 1, "--steps", steps, "--eval-every", eval_every, *options]
    return subprocess.Popen([str(a) for a in arguments], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, **how)


def rows(name):
    path = root / name / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines(True)
            if line.endswith("\n")] if path.exists() else []


def wait_for_rows(process, name, count=1):
    while len(rows(name)) < count and process.poll() is None:
        time.sleep(0.02)


def cursor(name):
    return json.loads((root / name / "last/manifest.json").read_text())["cursor"]


for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGXCPU,
               signal.SIGUSR1, signal.SIGUSR2):
    name = number.name
    process = begin(name, "--no-progress")
    wait_for_rows(process, name)
    process.send_signal(number)
    out, _ = process.communicate(timeout=300)
    checks.check(process.returncode == 130, f"{name} gives 130, not {process.returncode}")
    checks.check((root / name / "last").is_dir() and cursor(name)["step"] >= 1,
                 f"{name}: the run has saved itself")
    checks.check(b"not evaluated" in out and b"--resume" in out, f"{name}: {out}")
must(shakespeare, "train", "--out", root / "SIGHUP", "--resume", "--data", text, "--no-progress",
     "--steps", cursor("SIGHUP")["step"] + 1)

# A signal during an evaluation that takes minutes.
long = root / "long.txt"
long.write_text(verse * 2000)
process = begin("evaluation", "--no-progress", data=long, eval_every=1)
wait_for_rows(process, "evaluation")  # the row of the step; its evaluation comes next
process.send_signal(signal.SIGTERM)
process.communicate(timeout=300)
checks.check(process.returncode == 130, f"in an evaluation: {process.returncode}")
checks.check([row["kind"] for row in rows("evaluation")] == ["train"]
             and cursor("evaluation")["last_step"] == -1, "the evaluation is given up")

# A program that nohup started outlives its terminal.
process = begin("nohup", "--no-progress",
                preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
wait_for_rows(process, "nohup")
process.send_signal(signal.SIGHUP)
wait_for_rows(process, "nohup", len(rows("nohup")) + 10)
checks.check(process.poll() is None, "an ignored SIGHUP stays ignored")
process.send_signal(signal.SIGTERM)
process.communicate(timeout=300)
checks.check(process.returncode == 130, f"nohup, then SIGTERM: {process.returncode}")

# A terminal that is gone does not end the run.
process = begin("dead", steps=3)
process.stderr.close()
process.stdout.read()
process.wait(timeout=300)
checks.check((root / "dead/best").is_dir() and len(rows("dead")) == 4, "progress to a dead terminal")

# Before there is anything to save, a signal ends the program at once, with a sentence.
fifo = root / "fifo"
os.mkfifo(fifo)
process = begin("waiting", data=fifo)
with open(fifo, "wb"):  # opened when the program reads
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=300)
checks.check(process.returncode == 130 and b"moe: " in errors, f"in a pipe: {errors}")
checks.check(not (root / "waiting").exists(), "no folder was made")
checks.end()
