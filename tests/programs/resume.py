"""Runs stopped, killed and resumed in fresh processes give the bits of a run that was not."""
import pathlib
import random
import shutil
import signal
import tempfile
import time

from process import Checks, count_lines, must, program, stop, trace

tiny_run = program("tiny_run")
checks = Checks()
STEPS = 12

with tempfile.TemporaryDirectory() as folder:
    def run(name, *options, steps=STEPS):
        must(tiny_run, f"{folder}/{name}", steps, *options)
        return trace(f"{folder}/{name}")

    whole = run("whole")
    checks.check(len(whole[0]) == STEPS + 3, "12 rows of training and 3 of evaluation")

    for threads in (2, 4):
        checks.check(run(f"threads_{threads}", "--threads", threads) == whole,
                     f"{threads} threads give the bits of one")

    for step in range(1, STEPS):
        run(f"stop_{step}", "--pause-at", step)
        checks.check(run(f"stop_{step}", "--resume") == whole,
                     f"stopped after step {step} and resumed")

    must(tiny_run, f"{folder}/often", STEPS, "--pause-at", 1)
    for step in range(2, STEPS):
        must(tiny_run, f"{folder}/often", STEPS, "--resume", "--pause-at", step,
             "--threads", step % 3 + 1)
    checks.check(run("often", "--resume") == whole, "stopped and resumed after every step")

    # The control: leaving out a piece of the state must change the result.
    for what in ("passes", "updates", "momentum"):
        run(f"forget_{what}", "--pause-at", 6)
        checks.check(run(f"forget_{what}", "--resume", "--forget", what)[1] != whole[1],
                     f"a resumption without {what} is noticed")
    run("forget_nothing", "--pause-at", 6)
    checks.check(run("forget_nothing", "--resume", "--forget", "nothing") == whole,
                 "a resumption that forgets nothing")

    # Runs are killed at any moment while they write checkpoints all the time. On a busy machine a
    # run may end before it is killed, so runs are started until enough of them were killed.
    draw, steps, kills, code = random.Random(1), 60, 0, 0
    long_run = run("long", steps=steps)
    killed = pathlib.Path(folder, "killed")
    for _ in range(100):
        if code == 0:
            shutil.rmtree(killed, ignore_errors=True)
            must(tiny_run, killed, steps, "--pause-at", 1)
        rows_there = count_lines(killed / "metrics.jsonl") + draw.randrange(1, 8)
        moment = draw.uniform(0, 0.02)

        def begun():
            if count_lines(killed / "metrics.jsonl") < rows_there:
                return False
            time.sleep(moment)
            return True

        code = stop([tiny_run, killed, steps, "--resume"], begun, signal.SIGKILL)
        checks.check(code in (0, -signal.SIGKILL), f"exit code {code} of a killed run")
        kills += code != 0
        if code == 0:
            checks.check(trace(killed) == long_run, "a run that was killed before and then ended")
        if kills == 10:
            break
    checks.check(run("killed", "--resume", steps=steps) == long_run, f"killed {kills} times")
    checks.check(kills >= 2, f"only {kills} of 100 runs were killed before their end")
checks.end()
