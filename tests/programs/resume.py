"""Runs stopped, killed and resumed in fresh processes give the bits of a run that was not."""
import random
import subprocess
import tempfile
import time

from process import Checks, must, program, trace

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

    for stop in range(1, STEPS):
        run(f"stop_{stop}", "--pause-at", stop)
        checks.check(run(f"stop_{stop}", "--resume") == whole,
                     f"stopped after step {stop} and resumed")

    must(tiny_run, f"{folder}/often", STEPS, "--pause-at", 1)
    for stop in range(2, STEPS):
        must(tiny_run, f"{folder}/often", STEPS, "--resume", "--pause-at", stop,
             "--threads", stop % 3 + 1)
    checks.check(run("often", "--resume") == whole, "stopped and resumed after every step")

    # The control: a piece of state that is left out must show.
    for what in ("passes", "updates", "momentum"):
        run(f"forget_{what}", "--pause-at", 6)
        checks.check(run(f"forget_{what}", "--resume", "--forget", what)[1] != whole[1],
                     f"a resumption without {what} is noticed")
    run("forget_nothing", "--pause-at", 6)
    checks.check(run("forget_nothing", "--resume", "--forget", "nothing") == whole,
                 "a resumption that forgets nothing")

    # Killed at any moment, checkpoints being written all the time.
    draw, steps, kills = random.Random(1), 60, 0
    long_run = run("long", steps=steps)
    begin = time.monotonic()
    run("timed", steps=steps)
    duration = time.monotonic() - begin
    arguments = [tiny_run, f"{folder}/killed", str(steps)]
    must(*arguments, "--pause-at", 1)
    for _ in range(200):
        process = subprocess.Popen(arguments + ["--resume"])
        try:
            process.wait(timeout=draw.uniform(0.1, 0.5) * duration)
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    checks.check(run("killed", "--resume", steps=steps) == long_run, f"killed {kills} times")
    checks.check(kills >= 2, "the program was killed in the middle more than once")
checks.end()
