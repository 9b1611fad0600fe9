"""What the tests that start programs share. As a test of its own it checks these functions."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

# More threads than cores must not wait in loops that keep each other from working.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("MOE_NO_DOWNLOAD", "1")
TIMES = {"seconds", "tokens_per_second", "cpu_percent", "memory_mb", "gpu_percent",
         "gpu_memory_mb", "gpu_temperature_c"}


def program(name):
    """The path of a program of the tests or examples; ends the test as skipped without it."""
    for variable in ("MOE_PROGRAM_DIR", "MOE_EXAMPLE_DIR"):
        path = pathlib.Path(os.environ.get(variable, "."), name)
        if path.is_file():
            return str(path)
    print(f"SKIPPED: the program {name} was not built")
    sys.exit(77)


def start(*arguments, **options):
    return subprocess.run([str(a) for a in arguments], capture_output=True, text=True,
                          timeout=300, **options)


def must(*arguments, **options):
    result = start(*arguments, **options)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, arguments))} gave {result.returncode}:\n{result.stderr}")
    return result


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

    def end(self):
        print(f"{self.passed} checks passed, {len(self.failed)} failed")
        sys.exit(1 if self.failed else 0)


if __name__ == "__main__":
    checks = Checks()
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "metrics.jsonl").write_text('{"step":1,"seconds":2}\n', "utf-8")
        checks.check(rows(folder) == [{"step": 1}], "rows drops the fields of time")
    checks.check(start("false").returncode == 1, "start gives the exit code")
    checks.end()
