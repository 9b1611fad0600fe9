"""The budget tool: its plans for all devices, the effect of each option, bad input, and the emitted
header, which is compiled and trained."""
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from process import Checks, must, program, start

scale_model = program("scale_model")
checks = Checks()
folder = tempfile.TemporaryDirectory()
root = pathlib.Path(folder.name)
include = pathlib.Path(__file__).resolve().parents[2] / "include"


def plan(*options):
    return json.loads(must(scale_model, "--json", *options).stdout)["plan"]


# Every budget on every device.
LINES = ("budget", "run", "speed", "model", "parameters", "tokens", "updates", "memory", "loss",
         "closed form", "note: ")
DEVICES = ("a100", "h100", "h200", "b200", "cpu")
for gpu in DEVICES:
    before = None
    for budget in (0.05, 5, 10, 100):
        p = plan("--budget", budget, "--gpu", gpu)
        what = f"{gpu} for ${budget}"
        checks.check(0.98 * budget < p["cost"] <= budget, f"{what}: spends the budget")
        checks.check(p["tokens"] == p["updates"] * p["batch_tokens"], f"{what}: tokens")
        checks.check(p["batch_tokens"] == p["sequences"] * p["accumulation"]
                     * p["config"]["max_seq_len"], f"{what}: an update")
        checks.check(math.isclose(p["flops"], p["tokens"] * p["flops_per_token"]), f"{what}: work")
        checks.check(math.isclose(p["hours"] * 3600 * p["peak_flops"] * p["mfu"], p["flops"]),
                     f"{what}: hours times speed is the work")
        memory = p["memory"]
        parts = sum(memory[k] for k in ("weights", "gradients", "optimizer", "activations"))
        checks.check(math.isclose(parts, memory["total"]), f"{what}: the sum of memory")
        checks.check(memory["fits"] == (memory["total"] <= 0.9 * memory["device"]), f"{what}: fits")
        loss = p["loss"]
        checks.check(loss["low"] < loss["expected"] < loss["high"], f"{what}: order of losses")
        if before:
            checks.check(loss["expected"] < before["loss"]["expected"], f"{what}: more is better")
            checks.check(p["params_active"] >= before["params_active"], f"{what}: no smaller model")
        before = p
    text = must(scale_model, "--budget", 5, "--gpu", gpu).stdout
    for line in LINES:
        checks.check(("\n" + text).count("\n" + line) >= 1, f"{gpu}: the text has {line}")
    checks.check("vocabulary of about 32,000" in text, f"{gpu}: what the law was fitted on")

out = json.loads(must(scale_model, "--budget", 5, "--compare", "--json").stdout)
checks.check(sorted(row["device"] for row in out["compare"]) == sorted(DEVICES), "compares all")
losses = [row["loss"]["expected"] for row in out["compare"]]
checks.check(losses == sorted(losses), "the best device comes first")
table = must(scale_model, "--budget", 5, "--compare").stdout.split("\n\n")[1].splitlines()
checks.check([line.split()[0] for line in table[1:]] == [r["device"] for r in out["compare"]],
             "the table has the same order")

# Options change what they say.
BASE = ("--budget", 5, "--dim", 384)
base = plan(*BASE)
checks.check(base["params_total"] == 79059840 and base["params_active"] == 36592512,
             "dim 384 is the model of exp5")
for options, field, expected in (
        (("--price", 6), "price_per_hour", 6), (("--price", 6), "hours", base["hours"] / 2),
        (("--gpus", 4), "hours", base["hours"] / 4), (("--gpus", 4), "tokens", base["tokens"]),
        (("--mfu", 0.4), "mfu", 0.4), (("--mfu", 0.4), "mfu_source", "given"),
        (("--tokens-per-second", 60000), "tokens_per_second", 60000),
        (("--tokens-per-second", 60000), "mfu", 60000 * 227798784 / 989.5e12),
        (("--peak-tflops", 100), "peak_flops", 1e14), (("--batch-tokens", 49152), "batch_tokens", 49152),
        (("--sequences", 4), "sequences", 4), (("--experts", 4), "params_active", 36592512 - 6 * 4 * 384),
        (("--top-k", 1), "params_active", 36592512 - 6 * 2 * 384 * 1536),
        (("--experts", 0), "params_total", 29496192), (("--vocab", 256), "params_embedding", 256 * 384),
        (("--memory-gb", 3), "sequences", 16)):
    value = plan(*BASE, *options)[field]
    same = value == expected if isinstance(expected, str) else \
        math.isclose(value, expected, rel_tol=0.01 if field in ("hours", "tokens") else 1e-9)
    checks.check(same, f"{options}: {field} is {value}, not {expected}")
checks.check(plan(*BASE, "--context", 256)["config"]["max_seq_len"] == 256, "--context")
for option, part in (("weight", "weights"), ("gradient", "gradients"), ("state", "optimizer"),
                     ("activation", "activations")):
    halved = plan(*BASE, f"--bytes-{option}", 2)["memory"]
    for name in ("weights", "gradients", "optimizer", "activations"):
        ratio = halved[name] / base["memory"][name]
        checks.check(ratio == (0.5 if name == part else 1), f"--bytes-{option} and {name}")
for option, value in (("e", 2), ("a", 500), ("b", 2000), ("alpha", 0.3), ("beta", 0.3)):
    checks.check(plan(*BASE, f"--law-{option}", value)["loss"]["expected"]
                 != base["loss"]["expected"], f"--law-{option}")
tight = plan(*BASE, "--memory-gb", 1.5, "--sequences", 32)["memory"]
checks.check(not tight["fits"] and "--sequences" in tight["advice"], "what does not fit says so")

# The documentation shows what the program prints.
shown = (include.parent / "docs" / "scaling.md").read_text(encoding="utf-8").split("```\n$ ")[1:]
checks.check(len(shown) >= 4, "docs/scaling.md has commands")
for block in shown:
    line, printed = block.split("\n```")[0].split("\n", 1)
    name, *options = line.split()
    checks.check(name == "scale_model" and must(scale_model, *options).stdout == printed + "\n",
                 f"docs/scaling.md: {line}")

# The emitted header.
EMIT = ("--budget", 0.0005, "--gpu", "cpu", "--vocab", 256, "--context", 32, "--experts", 4,
        "--batch-tokens", 256)
path = root / "model.hpp"
emitted = plan(*EMIT, "--emit", path)
text = path.read_text()
checks.check(text.startswith("#pragma once\n") and f"steps = {emitted['updates']}," in text,
             "the header has the plan")
checks.check("scale_model --json --budget 0.0005" in text, "the header has its command")
must(scale_model, "--json", *EMIT, "--emit", path)
checks.check(path.read_text() == text, "the same once more is no change")
path.write_text(text + "// my own numbers\n")
refused = start(scale_model, "--json", *EMIT, "--emit", path)
checks.check(refused.returncode == 1 and "--force" in refused.stderr, "refuses an edited header")
checks.check(path.read_text() == text + "// my own numbers\n", "and leaves it alone")
must(scale_model, *EMIT, "--muon-lr", 0.01, "--adamw-lr", 0.002, "--emit", path, "--force")
checks.check("muon_lr = 0.01, adamw_lr = 0.002;" in path.read_text(), "--force replaces it")
foreign = root / "mine.hpp"
foreign.write_text("#pragma once\nint mine;\n")
refused = start(scale_model, *EMIT, "--emit", foreign)
checks.check(refused.returncode == 1 and "--force" in refused.stderr, "refuses the file of another")
checks.check(foreign.read_text() == "#pragma once\nint mine;\n", "and leaves it alone")
must(scale_model, *EMIT, "--emit", foreign, "--force")
checks.check("namespace emitted" in foreign.read_text(), "--force replaces it")
checks.check(sorted(p.name for p in root.iterdir()) == ["mine.hpp", "model.hpp"], "leaves nothing")

# It compiles and trains.
SOURCE = r"""
#include "model.hpp"

#include <cstdio>
#include <moe/backend/cpu.hpp>
#include <moe/data/windows.hpp>
#include <moe/optim/muon.hpp>
#include <moe/optim/schedule.hpp>
#include <moe/model/transformer.hpp>

int main(int, char** argv) try {
  using Model = moe::Transformer<emitted::model, moe::Cpu<float>>;
  moe::Cpu<float> backend;
  Model model{backend, {.max_tokens = emitted::sequences * emitted::model.context, .seed = 1}};
  moe::Muon optimizer{model, {.lr = emitted::muon_lr, .rest = {.lr = emitted::adamw_lr}}};
  const moe::ByteCorpus corpus{argv[1]};
  for (int step = 0; step < 2; ++step) {
    double loss = 0;
    for (int i = 0; i < emitted::accumulation; ++i) {
      const int draw = step * emitted::accumulation + i;
      loss += model.forward(corpus.sample(emitted::sequences, emitted::model.context, draw))
                  .cross_entropy / emitted::accumulation;
      model.backward(1.0 / emitted::accumulation);
    }
    optimizer.step(moe::cosine(step, emitted::steps));
    std::printf("%.9g\n", loss);
  }
  std::printf("%zu\n", moe::parameter_count<Model>().total);
} catch (const moe::Error& error) {
  return std::fprintf(stderr, "%s\n", error.what()), 1;
}
"""


def compiler():
    """The compiler with its options, or why there is none."""
    names = [os.environ.get("CXX", ""), "g++", "c++", "clang++"]
    found = next((n for n in names if n and shutil.which(n.split()[0])), None)
    if not found:
        return None, "no C++ compiler"
    command = [*found.split(), "-std=c++20", "-O0", f"-I{include}"]
    for place in ("/usr/include/eigen3", "/usr/local/include/eigen3"):
        if pathlib.Path(place).is_dir():
            command += ["-isystem", place]
    probe = root / "probe.cpp"
    probe.write_text("#include <Eigen/Core>\n#include <boost/pfr/core.hpp>\nint main() {}\n")
    for extra in (["-fopenmp"], []):
        done = subprocess.run([*command, *extra, probe, "-o", root / "probe"], capture_output=True)
        if done.returncode == 0:
            return command + extra, ""
    return None, "Eigen and Boost.PFR are not where the compiler looks"


command, reason = compiler()
if command is not None:
    (root / "train.cpp").write_text(SOURCE)
    (root / "text.txt").write_text("the cat sat on the mat and the dog lay by the log. " * 400)
    must(*command, root / "train.cpp", "-o", root / "train")
    lines = must(root / "train", root / "text.txt").stdout.split()
    first, second = (float(x) for x in lines[:2])
    checks.check(abs(first - math.log(256)) < 1, f"an untrained model guesses: {first}")
    checks.check(second < first, f"the second update is better: {second} against {first}")
    checks.check(int(lines[2]) == emitted["params_total"], "as many parameters as planned")

# Bad input.
for options, code, part in (
        ((), 2, "--budget is required"), (("--budget", 0), 2, "--budget 0"),
        (("--budget", "nan"), 2, "--budget"), (("--budget", "much"), 2, "much"),
        (("--budget", 5, "--gpu", "tpu"), 2, "'tpu'"), (("--budget", 5, "--mfu", 1.5), 2, "--mfu 1.5"),
        (("--budget", 5, "--mfu", 0), 2, "--mfu 0"), (("--budget", 5, "--top-k", 9), 2, "--top-k 9"),
        (("--budget", 5, "--mfu", 0.1, "--tokens-per-second", 9), 2, "excludes"),
        (("--budget", 5, "--dim", 100), 2, "--dim 100"), (("--budget", 5, "--price", 0), 2, "--price"),
        (("--budget", 5, "--unknown"), 2, "--unknown"),
        (("--budget", 1e-7), 1, "raise --budget"),
        (("--budget", 5, "--tokens-per-second", 1e12), 1, "times the peak"),
        (("--budget", 5, "--batch-tokens", 1e12), 1, "less than one update"),
        (("--budget", 5, "--emit", root / "none" / "model.hpp"), 1, "none"),
        (("--budget", 5, "--emit", ""), 2, "--emit"), (("--budget", 5, "--force"), 2, "--emit"),
        (("--budget", 5, "--emit", root), 1, "directory")):
    result = start(scale_model, *options)
    lines = result.stderr.splitlines()
    checks.check(result.returncode == code, f"{options}: exit code {result.returncode}")
    checks.check(len(lines) == 1 and lines[0].startswith("moe: ") and part in lines[0],
                 f"{options}: {lines}")
    checks.check(result.stdout == "", f"{options}: prints no plan")
if command is None and not checks.failed:
    print(f"SKIPPED: compiling the emitted header: {reason}")
    sys.exit(77)
checks.end()
