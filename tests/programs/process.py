"""Functions that tests that start programs share. Run as a test it checks them."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

# If there are more threads than cores, waiting threads must not spin for long and take time from
# others.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("MOE_NO_DOWNLOAD", "1")
# Seconds after which a program counts as hanging. Long, because no test may depend on the speed of
# the machine.
PATIENCE = 1800
TIMES = {"seconds", "tokens_per_second", "cpu_percent", "memory_mb", "gpu_percent",
         "gpu_memory_mb", "gpu_temperature_c"}


def program(name):
    """The path of a program of the tests, the examples or the laboratory. If it was not built, ends
    the test as skipped."""
    for variable in ("MOE_PROGRAM_DIR", "MOE_EXAMPLE_DIR", "MOE_LAB_DIR"):
        path = pathlib.Path(os.environ.get(variable, "."), name)
        if path.is_file():
            return str(path)
    print(f"SKIPPED: the program {name} was not built")
    sys.exit(77)


def start(*arguments, **options):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # A small model of bytes may write text that is not UTF-8.
    return subprocess.run([str(a) for a in arguments], text=True, errors="replace",
                          timeout=PATIENCE, **{**pipes, **options})


def must(*arguments, **options):
    result = start(*arguments, **options)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, arguments))} gave {result.returncode}:\n{result.stderr}")
    return result


def wait_until(so, process=None):
    """Waits until so() holds, or until the process, if one is given, has ended."""
    end = time.monotonic() + PATIENCE
    while not so() and (process is None or process.poll() is None):
        if time.monotonic() > end:
            sys.exit(f"FAILED: nothing happened within {PATIENCE} s")
        time.sleep(0.002)


def stop(command, so, how=signal.SIGINT):
    """Starts a program, sends it a signal once so() holds, and returns its exit code. On a busy
    machine the program may end before the signal, so the code may be that of a whole run."""
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    wait_until(so, process)
    process.send_signal(how)  # does nothing to a process that poll() saw ending
    return process.wait(PATIENCE)


def count_lines(path):
    """The number of lines of a file that another process may be writing or replacing."""
    try:
        return pathlib.Path(path).read_bytes().count(b"\n")
    except (FileNotFoundError, NotADirectoryError):
        return 0


def is_sanitized(path):
    """Whether a program was built with the address or the thread sanitizer, which make it slow."""
    code = pathlib.Path(path).read_bytes()
    return b"__asan_init" in code or b"__tsan_init" in code


def rows(folder):
    """The rows of a run's metrics without the fields of time."""
    text = pathlib.Path(folder, "metrics.jsonl").read_text(encoding="utf-8")
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES}
            for line in text.splitlines()]


def tensors(folder):
    """The bytes of the tensor files of a run's last checkpoint."""
    return [pathlib.Path(folder, "last", name).read_bytes()
            for name in ("model.safetensors", "optimizer.safetensors")]


def trace(folder):
    return rows(folder), tensors(folder)


class Checks:
    """Counts what holds and lists what does not."""

    def __init__(self):
        self.passed, self.failed = 0, []

    def check(self, good, what):
        if good:
            self.passed += 1
        else:
            self.failed.append(what)
            print("FAILED:", what, flush=True)

    def skip_rest(self, reason):
        """Ends the test as skipped, or as failed if a check has failed before."""
        print("SKIPPED:", reason)
        sys.exit(1 if self.failed else 77)

    def end(self):
        print(f"{self.passed} checks passed, {len(self.failed)} failed")
        sys.exit(1 if self.failed else 0)


if __name__ == "__main__":
    checks = Checks()
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "metrics.jsonl").write_text('{"step":1,"seconds":2}\n', "utf-8")
        checks.check(rows(folder) == [{"step": 1}], "rows drops the fields of time")
        lines = pathlib.Path(folder, "lines")
        checks.check(count_lines(lines) == 0 and count_lines(lines / "below") == 0, "no file")
        writer = ("import sys, time\nfor i in range(3):\n"
                  " open(sys.argv[1], 'a').write('{}\\n')\ntime.sleep(3600)")
        code = stop([sys.executable, "-c", writer, lines], lambda: count_lines(lines) == 3,
                    signal.SIGTERM)
        checks.check(code == -signal.SIGTERM, f"a program is stopped: {code}")
        checks.check(count_lines(lines) == 3, "when it has come so far")
        checks.check(stop([sys.executable, "-c", "exit(3)"], lambda: False) == 3,
                     "one that ends by itself")
        for text, slow in ((b"x__asan_init", True), (b"__tsan_init", True), (b"plain", False)):
            lines.write_bytes(text)
            checks.check(is_sanitized(lines) == slow, f"{text} is slow: {slow}")
    checks.check(start("false").returncode == 1, "start gives the exit code")
    checks.end()
