"""The program of the README: its files, its stops and resumptions, and its answers to bad input."""
import hashlib
import json
import pathlib
import random
import resource
import signal
import string
import tempfile

from process import Checks, must, program, rows, start, stop, trace

shakespeare = program("shakespeare")
checks = Checks()

folder = tempfile.TemporaryDirectory()
root = pathlib.Path(folder.name)
draw = random.Random(7)
words = "the king and his sword shall fall tonight upon a stone of Rome".split()
text = root / "text.txt"
# The text has 65 different characters, as many as the presets are compiled for, and then lines of
# words.
text.write_text(string.ascii_letters + string.digits + ".\n" +
                "".join(" ".join(draw.choice(words) for _ in range(7)) + "\n"
                        for _ in range(300)), encoding="utf-8")
SMALL = ["--data", text, "--batch", 2, "--eval-every", 3, "--log-every", 1, "--no-progress"]


def train(name, *options, steps=6):
    return [shakespeare, "train", "--out", root / name, "--steps", steps, *SMALL, *options]


def files():
    """Every file and folder with its size and the time of its last change."""
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(root.rglob("*"))}


def refused(what, code, arguments, part="", changes=False, **options):
    """Bad input: the exit code, one sentence, no half-written file, nothing changed."""
    before = files()
    result = start(*arguments, **options)
    lines = result.stderr.strip().splitlines() or [""]
    sentence = lines[-1]
    checks.check(result.returncode == code, f"{what}: exit code {result.returncode}: {sentence}")
    checks.check(sentence.startswith("moe: ") and (code == 1 or len(lines) == 1),
                 f"{what}: one sentence, not {result.stderr!r}")
    checks.check(part in sentence, f"{what}: '{part}' is in '{sentence}'")
    checks.check(not any(".tmp" in name for name in files()), f"{what}: no half-written file")
    checks.check(changes or files() == before, f"{what}: no file changed")


# A run and its files.
result = must(*train("a"))
summary = json.loads((root / "a/summary.json").read_text())
for field in ("preset data params_total params_active params_embedding steps tokens seconds "
              "tokens_per_second flops_per_token train_loss val_loss val_perplexity best_val_loss "
              "best_step device seed").split():
    checks.check(field in summary, f"summary.json has {field}")
checks.check(summary["steps"] == 6 and summary["tokens"] == 6 * 2 * 128, "steps and tokens")
checks.check(sorted(p.name for p in (root / "a").iterdir())
             == ["best", "last", "metrics.jsonl", "summary.json"], "files of a run")
checks.check([row["kind"] for row in rows(root / "a")]
             == ["train"] * 3 + ["eval"] + ["train"] * 3 + ["eval"], "rows of metrics.jsonl")
whole = trace(root / "a")

# Threads, stops, Ctrl-C.
for threads in (1, 2, 4):
    must(*train(f"threads_{threads}", "--threads", threads))
    checks.check(trace(root / f"threads_{threads}") == whole, f"same bits for {threads} threads")
for optimizer in ("muon", "adamw"):
    options = ["--optimizer", optimizer, "--dropout", 0.1]
    must(*train(f"whole_{optimizer}", *options))
    must(*train(f"parts_{optimizer}", *options, "--pause-at", 2))
    must(shakespeare, "train", "--out", root / f"parts_{optimizer}", "--resume", "--log-every", 1,
         "--data", text, "--no-progress")
    checks.check(trace(root / f"parts_{optimizer}") == trace(root / f"whole_{optimizer}"),
                 f"{optimizer} with dropout, paused and resumed with its saved settings")
ENDLESS = 1_000_000
code = stop(train("interrupted", steps=ENDLESS), (root / "interrupted/last").exists)
checks.check(code == 130, f"Ctrl-C saves and gives 130, not {code}")
cursor = json.loads((root / "interrupted/last/manifest.json").read_text())["cursor"]
checks.check(0 < cursor["step"] < ENDLESS, "Ctrl-C stopped the run in the middle")
must(*train("early", "--early-stop", 1, "--lr", 30, steps=300))
checks.check(json.loads((root / "early/summary.json").read_text())["steps"] < 300, "early stop")

# The other commands.
plan = must(shakespeare, "train", "--dry-run", "--out", root / "dry").stdout
checks.check(all(word in plan for word in ("total", "active", "peak memory", "MFLOP", "tokens/s")),
             "--dry-run prints the plan")
checks.check(not (root / "dry").exists(), "--dry-run makes no folder")
evaluation = must(shakespeare, "eval", "--checkpoint", root / "a/best", "--data", text).stdout
checks.check(f"{summary['best_val_loss']:.4f} nats" in evaluation, "eval finds the best loss again")
SAMPLE = [shakespeare, "sample", "--checkpoint", root / "a/best"]
one = must(*SAMPLE, "--prompt", "the king", "--tokens", 20, "--seed", 3).stdout
checks.check(one.startswith("the king") and len(one) == 8 + 20 + 1, "sample writes its tokens")
checks.check(must(*SAMPLE, "--prompt", "the king", "--tokens", 20, "--seed", 3).stdout == one,
             "the same seed gives the same text")
for help_of in ([], ["train"], ["eval"], ["sample"]):
    checks.check(start(shakespeare, *help_of, "--help").returncode == 0, f"help {help_of}")

# The demo trains and writes. It replaces its default folder; a folder that --out names only if it
# is told to.
place = root / "place"
place.mkdir()
verse = root / "verse.txt"
verse.write_text(text.read_text().replace("9", ":"))  # the demo's prompt is "ROMEO:"
OWN = [verse if word is text else word for word in SMALL]


def demo(*options, steps=6):
    return must(shakespeare, "demo", "--steps", steps, *OWN, *options, cwd=place).stdout


checks.check("\nROMEO:" in demo(), "the demo writes")
checks.check((place / "runs/demo/best").is_dir(), "in its own folder")
checks.check("\nROMEO:" in demo("--pause-at", 2), "a paused demo writes with the last model")
checks.check(not (place / "runs/demo/best").exists() and len(rows(place / "runs/demo")) == 2,
             "and has replaced the one before")
said = must(shakespeare, "demo", "--resume", "--data", verse, "--no-progress", cwd=place).stdout
checks.check("\nstep 6:" in "\n" + said and "\nROMEO:" in said, f"a resumed demo: {said}")
before = files()
for ask in ("--dry-run", "--help"):
    checks.check("ROMEO" not in demo(ask) and files() == before, f"demo {ask} only tells")
demo("--out", "named")
refused("a demo in a named folder", 1, [shakespeare, "demo", "--out", "named", *OWN],
        "already holds", cwd=place)
demo("--out", "named", "--overwrite", steps=3)
checks.check(len(rows(place / "named")) == 4, "--overwrite replaces it")

# Bad command lines.
for what, options, part in [
        ("no command", [], ""), ("unknown command", ["bake"], ""),
        ("unknown option", ["train", "--wings", 2], "wings"),
        ("unknown preset", ["train", "--preset", "huge"], "'huge'"),
        ("unknown optimizer", ["train", "--optimizer", "sgd"], "'sgd'"),
        ("steps 0", ["train", "--steps", 0], "--steps 0"),
        ("batch 0", ["train", "--batch", 0], "--batch 0"),
        ("batch of letters", ["train", "--batch", "many"], "many"),
        ("huge batch", ["train", "--batch", 2000000000], "--batch"),
        ("eval-every 0", ["train", "--eval-every", 0], "--eval-every 0"),
        ("negative rate", ["train", "--lr", -1], "--lr"),
        ("dropout 1", ["train", "--dropout", 1], "--dropout"),
        ("negative threads", ["train", "--threads", -1], "--threads"),
        ("resume what?", ["train", "--resume"], "--out"),
        ("resume and overwrite", ["train", "--out", root / "a", "--resume", "--overwrite"], ""),
        ("another preset", ["train", "--out", root / "a", "--resume", "--preset", "full"], "full"),
        ("tokens 0", SAMPLE[1:] + ["--tokens", 0], "--tokens 0"),
        ("top-p 2", SAMPLE[1:] + ["--top-p", 2], "--top-p"),
        ("negative top-k", SAMPLE[1:] + ["--top-k", -1], "--top-k"),
        ("negative temperature", SAMPLE[1:] + ["--temperature", -1], "--temperature"),
        ("sample what?", ["sample"], "--checkpoint")]:
    refused(what, 2, [shakespeare, *options], part)

# Bad text.
for what, content, part in [
        ("empty", b"", "empty"), ("with NUL", b"abc\0def" * 500, "NUL"),
        ("not UTF-8", b"caf\xe9 " * 500, "UTF-8"), ("too short", b"To be, or not to be", "windows")]:
    bad = root / "bad.txt"
    bad.write_bytes(content)
    refused(f"text {what}", 1, [shakespeare, "train", "--out", root / "b", "--data", bad], part)
# If the text has more characters than the preset has tokens, tokens are bytes, or the text is
# refused if no such model is compiled.
bad.write_bytes("".join(chr(0x100 + i) for i in range(66)).encode() * 50)
refused("66 characters", 1, [shakespeare, "train", "--out", root / "b", "--data", bad,
                             "--preset", "nanogpt"], "66")
refused("missing text", 1, [shakespeare, "train", "--data", root / "none.txt"], "none.txt")
refused("folder as text", 1, [shakespeare, "train", "--data", root], str(root))

# Bad folders.
refused("run in the way", 1, train("a"), "already holds")
refused("file in the way", 1, train("text.txt/run"), "text.txt")
refused("unwritable folder", 1, train("../../proc/nothing/run"), "/proc/")
refused("resume nothing", 1, train("nothing", "--resume"), "nothing")
(root / "c.txt").write_text(text.read_text() + "more\n")
refused("another text", 1, [shakespeare, "train", "--out", root / "a", "--resume", "--data",
                            root / "c.txt"], "same --data")

# Bad prompts.
refused("foreign character", 1, [*SAMPLE, "--prompt", "the k\u00efng"], "'\u00ef'")
refused("no prompt", 2, [*SAMPLE, "--prompt", ""], "empty")
refused("long prompt", 1, [*SAMPLE, "--prompt", "a" * 129], "129")
checks.check(start(*SAMPLE, "--prompt", "a" * 128, "--tokens", 3).returncode == 0,
             "a prompt of the whole context")

# Bad checkpoints.
refused("no checkpoint", 1, [shakespeare, "sample", "--checkpoint", root / "none"], "none")
for name in ("manifest.json", "model.safetensors"):
    path = root / "a/best" / name
    good = path.read_bytes()
    for what, bad in (("altered", good[:-1000] + bytes([good[-1000] ^ 1]) + good[-999:]),
                      ("truncated", good[:-1]), ("empty", b"")):
        path.write_bytes(bad)
        refused(f"{what} {name}", 1, SAMPLE, str(root / "a/best"))
    path.write_bytes(good)
path = root / "a/best/manifest.json"
good = path.read_text()
other = good.replace('"dim": 192', '"dim": 128', 1)
blank = other.replace(json.loads(good)["sha256"], "")
path.write_text(blank.replace('"sha256": ""',
                              f'"sha256": "{hashlib.sha256(blank.encode()).hexdigest()}"'))
dim = json.loads(good)["model"]["dim"]
if dim == 192:
    refused("checkpoint of another model", 1, SAMPLE, "has dim 128 where this program")
path.write_text(good)
checks.check(start(*SAMPLE, "--tokens", 3).returncode == 0, "the good checkpoint is good again")


# A full disk, as a limit on the size of files: the run fails, what was saved before stays.
def small_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))


must(*train("full_disk", "--pause-at", 2))
saved = trace(root / "full_disk")[1]
refused("full disk", 1, [shakespeare, "train", "--out", root / "full_disk", "--resume", "--data",
                         text, "--no-progress"], "File too large", changes=True,
        preexec_fn=small_files)
checks.check(trace(root / "full_disk")[1] == saved, "the checkpoint before the full disk is intact")
must(shakespeare, "train", "--out", root / "full_disk", "--resume", "--data", text,
     "--log-every", 1, "--no-progress")
checks.check(trace(root / "full_disk") == whole, "and the run can go on from it with the same bits")
checks.end()
