"""Functions that the tests of the laboratory's programs share. Run as a test it checks them."""
import json
import math
import pathlib
import random
import signal
import sys
import tempfile

from process import Checks, count_lines, is_sanitized, must, start, stop

WORDS = "once there was a little bird who sang in the old tree near her house all day".split()
TIMES = {"tokens_per_sec", "avg_tokens_per_sec", "tokens_per_sec_history", "total_time",
         "total_time_seconds", "total_time_minutes", "seconds", "seconds_mean", "command"}


def write_text(path, size=20000, seed=3, separator=""):
    """Random sentences, or documents of them that end with the separator."""
    draw = random.Random(seed)
    text = ""
    while len(text) < size:
        text += " ".join(draw.choice(WORDS) for _ in range(draw.randrange(20, 40)))
        text += "\n" + separator
    pathlib.Path(path).write_text(text, encoding="utf-8")
    return path


def change_byte(source, path, at):
    """A copy of the text with another letter at that byte, or at every byte from a list."""
    text = bytearray(pathlib.Path(source).read_bytes())
    for i in at if isinstance(at, list) else [at]:
        text[i] = ord("q") if text[i] != ord("q") else ord("z")
    pathlib.Path(path).write_bytes(text)
    return path


def override(words, options):
    """The command line `words` with `options` added, which replace options of the same name."""
    words, given = list(words), [o for o in options if str(o).startswith("--")]
    for flag in given:
        if flag in words:
            at = words.index(flag)
            alone = at + 1 == len(words) or str(words[at + 1]).startswith("--")
            del words[at:at + (1 if alone else 2)]
    return [*words, *options]


def read(path):
    return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))


def model(folder):
    return pathlib.Path(folder, "last", "model.safetensors").read_bytes()


def without_times(value):
    """JSON without what depends on the clock or on how a run was started."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if k not in TIMES}
    return [without_times(v) for v in value] if isinstance(value, list) else value


def count_rows(folder):
    """Rows of metrics of a run, or of all runs of a study."""
    runs = pathlib.Path(folder, "runs")
    files = [pathlib.Path(folder, "metrics.jsonl")]
    if runs.is_dir():
        files += [run / "metrics.jsonl" for run in runs.iterdir()]
    return sum(map(count_lines, files))


def stop_after(command, folder, count, how=signal.SIGINT):
    """Starts a program, sends it a signal once it has written `count` more rows, and returns its
    exit code. The program must keep the rows that are already there."""
    goal = count_rows(folder) + count
    return stop(command, lambda: count_rows(folder) >= goal, how)


def try_often(scenario, enough, times=20):
    """Repeats a scenario until enough of its runs were stopped: on a busy machine a program may
    end before the signal that should have stopped it."""
    for _ in range(times):
        result = scenario()
        if enough(result):
            break
    return result


def run_first(checks, command):
    """Runs a program once. Under sanitizers a test of hundreds of runs ends here, as skipped
    unless something has failed."""
    must(*command)
    if is_sanitized(command[0]):
        checks.skip_rest(f"hundreds of runs of {pathlib.Path(command[0]).name} under sanitizers")


def refused(checks, command, code, part):
    """Checks that the program refuses with this exit code and one sentence that contains `part`."""
    result = start(*command)
    lines = result.stderr.strip().splitlines()
    checks.check(result.returncode == code, f"{part}: exit code {result.returncode}")
    checks.check(len(lines) == 1 and lines[0].startswith("moe: ") and part in lines[0],
                 f"one sentence with '{part}': {result.stderr.strip()}")


def check_study(checks, folder, kind):
    """Checks what every study must hold. Returns its runs by name."""
    results = read(pathlib.Path(folder, "results.json"))
    for field in ("study", "command", "data", "seeds", "budget", "runs"):
        checks.check(field in results, f"{kind}: results.json has {field}")
    checks.check(results["study"] == kind, f"{kind}: the kind of study")
    names = [run["name"] for run in results["runs"]]
    checks.check(len(set(names)) == len(names), f"{kind}: each run is listed once: {names}")
    for run in results["runs"]:
        name = run["name"]
        checks.check(run["folder"] == f"runs/{name}", f"{name}: its folder")
        own = read(pathlib.Path(folder, run["folder"], "results.json"))
        for here, there in (("final_val_loss", own["final_metrics"]["val_loss"]),
                            ("final_val_acc", own["final_metrics"]["val_accuracy"]),
                            ("updates", own["budget"]["updates"]),
                            ("tokens", own["budget"]["tokens"]),
                            ("flops", own["budget"]["flops"]),
                            ("seed", own["seed"]),
                            ("total_time", own["performance_metrics"]["total_time_seconds"]),
                            ("params_total", own["params_total"]),
                            ("params_active", own["params_active"])):
            checks.check(run[here] == there, f"{name}: {here} {run[here]}, in its folder {there}")
        checks.check(math.isclose(run["avg_tokens_per_sec"] * run["total_time"], run["tokens"],
                                  rel_tol=1e-9), f"{name}: tokens a second")
    on_disk = {path.name for path in pathlib.Path(folder, "runs").iterdir()}
    checks.check(on_disk == set(names), f"{kind}: runs on the disk and in results.json")
    return {run["name"]: run for run in results["runs"]}


if __name__ == "__main__":
    checks = Checks()
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        text = write_text(root / "text").read_text()
        checks.check(20000 <= len(text) < 21000, "size of the text")
        checks.check(write_text(root / "b").read_text() == text, "the same text again")
        checks.check(write_text(root / "b", seed=4).read_text() != text, "another seed")
        checks.check("|\n" not in write_text(root / "b", separator="|").read_text()
                     and (root / "b").read_text().count("|") > 10, "documents")
        changed = change_byte(root / "text", root / "b", 7).read_text()
        checks.check([i for i, c in enumerate(text) if changed[i] != c] == [7], "one byte")
        checks.check(override(["x", "--a", 1, "--b", "--c", 2], ["--b", "--c", 3, "--d"])
                     == ["x", "--a", 1, "--b", "--c", 3, "--d"], "options replace others")
        checks.check(without_times([{"a": 1, "seconds": 2, "b": {"command": "x", "c": 3}}])
                     == [{"a": 1, "b": {"c": 3}}], "times are dropped")
        writer = ("import sys, time\nfor i in range(3):\n"
                  " open(sys.argv[1], 'a').write('{}\\n')\ntime.sleep(3600)")
        for rows in (3, 6):
            code = stop_after([sys.executable, "-c", writer, root / "metrics.jsonl"], root, 3,
                              signal.SIGTERM)
            checks.check(code == -signal.SIGTERM, f"a program is stopped: {code}")
            checks.check(count_rows(root) == rows, f"after {rows} rows")
        checks.check(stop_after([sys.executable, "-c", "exit(3)"], root, 3) == 3,
                     "one that ends by itself")
    checks.end()
