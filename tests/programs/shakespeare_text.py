"""Which files can be a text, the messages about it, samples, and numbers that are not known."""
import json
import os
import pathlib
import random
import subprocess
import tempfile
import threading

from process import Checks, must, program, start, tensors, trace

shakespeare = program("shakespeare")
checks = Checks()
folder = tempfile.TemporaryDirectory()
root = pathlib.Path(folder.name)
draw = random.Random(3)
words = "a king may fall upon his sword and never rise again".split()
verse = "".join(" ".join(draw.choice(words) for _ in range(6)) + "\n" for _ in range(150))
text = root / "text.txt"
text.write_text(verse)
QUICK = ["--batch", 2, "--eval-every", 3, "--log-every", 1, "--no-progress"]


def train(name, *options, steps=3):
    return [shakespeare, "train", "--out", root / name, "--steps", steps, *QUICK, *options]


def said(what, code, result, *parts):
    checks.check(result.returncode == code, f"{what}: exit code {result.returncode}, not {code}")
    for part in parts:
        checks.check(part in result.stderr, f"{what}: '{part}' is in {result.stderr!r}")


def through_fifo(data, *arguments, **options):
    """Runs the program on a FIFO into which `data` is written once."""
    fifo = root / "fifo"
    os.mkfifo(fifo)

    def write():
        try:
            fifo.write_bytes(data)
        except BrokenPipeError:  # the program refused the first bytes
            pass

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    result = start(*arguments, "--data", fifo, **options)
    fifo.unlink()
    return result


# Files, FIFOs, process substitutions and standard input give the same bits.
must(*train("file", "--data", text))
whole = trace(root / "file")
said("FIFO", 0, through_fifo(text.read_bytes(), *train("fifo_run")))
checks.check(trace(root / "fifo_run") == whole, "a FIFO gives the bits of the file")
said("standard input", 0, start(*train("stdin", "--data", "-"), input=verse), "standard input")
checks.check(trace(root / "stdin") == whole, "standard input gives the bits of the file")
line = " ".join(f"'{a}'" for a in map(str, train("substitution")))
said("process substitution", 0, start("bash", "-c", f"{line} --data <(cat '{text}')"))
checks.check(trace(root / "substitution") == whole, "so does a process substitution")
must(*train("parts", "--data", text, "--pause-at", 2))
said("resumed from a pipe", 0, through_fifo(text.read_bytes(), shakespeare, "train", "--out",
                                            root / "parts", "--resume", "--log-every", 1,
                                            "--no-progress"))
checks.check(trace(root / "parts") == whole, "a run resumed from a pipe has the same bits")
evaluation = start(shakespeare, "eval", "--checkpoint", root / "file/best", "--data", "-",
                   input=verse)
said("eval from standard input", 0, evaluation)
checks.check("another text" not in evaluation.stderr, "it is the same text")
said("empty pipe", 1, start(*train("b", "--data", "-"), input=""), "standard input", "empty")
said("binary pipe", 1, through_fifo(b"abc\0def" * 100000, *train("b")), "fifo", "NUL")
said("closed input", 1, start("bash", "-c", " ".join(f"'{a}'" for a in map(str, train("b"))) +
                              " --data - <&-"), "standard input")

# Messages about what the user gave.
short = root / "short.txt"
short.write_text(verse[:1000])
said("short text", 1, start(*train("b", "--data", short)), "short.txt", "1000 characters", "1290")
short.write_text(verse[:1290])
said("just long enough", 0, start(*train("enough", "--data", short)))
other = root / "other.txt"
other.write_text(verse + "again and again\n")
EVAL = [shakespeare, "eval", "--checkpoint", root / "file/best"]
said("eval without the text", 1, start(*EVAL), "--data", "text.txt")
said("eval of another text", 0, start(*EVAL, "--data", other), "note: ", "another text")
said("resume with another text", 1, start(shakespeare, "train", "--out", root / "file", "--resume",
                                          "--data", other), "other.txt", "text.txt", "--data")
foreign = root / "foreign.txt"
foreign.write_text(verse * 2 + "QUEEN\n" * 300)
said("eval of foreign characters", 1, start(*EVAL, "--data", foreign), "foreign.txt", "'Q'")
flat = root / "flat.txt"
flat.write_text(verse.replace("\n", " "))
must(*train("flat", "--data", flat))
SAMPLE = [shakespeare, "sample", "--checkpoint", root / "flat/best", "--tokens", 4]
said("sample without --prompt and line breaks", 0, start(*SAMPLE))
said("empty prompt", 2, start(*SAMPLE, "--prompt", ""), "--prompt", "empty")
said("foreign prompt", 1, start(*SAMPLE, "--prompt", "a king?"), "--prompt", "'?'")
said("output that nobody reads", 1, start("bash", "-c", " ".join(f"'{a}'" for a in map(str, SAMPLE))
                                          + " > /dev/full"), "output")

# Unknown numbers are null in files, and a word on the screen.
paused = must(*train("paused", "--data", text, "--pause-at", 1))
summary = json.loads((root / "paused/summary.json").read_text())
for field in ("val_loss", "val_perplexity", "best_val_loss", "best_step", "train_loss"):
    checks.check(summary[field] is None, f"{field} of a run without evaluation is null")
checks.check("not evaluated" in paused.stdout and "0.0000" not in paused.stdout, paused.stdout)
cursor = json.loads((root / "paused/last/manifest.json").read_text())["cursor"]
checks.check(cursor["best_loss"] is None, "null in the checkpoint")
lost = start(*train("lost", "--data", text, "--lr", 1e30, "--optimizer", "adamw",
                    "--warmup", 0, steps=5))
said("a run most of whose updates were skipped", 1, lost, "4 of 5")
checks.check("4 of 5" in json.loads((root / "lost/summary.json").read_text())["failure"],
             "and its summary says so")

# Samples during training are kept and change no bits.
must(*train("samples", "--data", text, "--sample-every", 1))
checks.check(tensors(root / "samples") == tensors(root / "file"), "samples change no bits")
written = (root / "samples/samples.jsonl").read_text()
checks.check([json.loads(row)["step"] for row in written.splitlines()] == [1, 2, 3], "samples")
must(*train("samples_parts", "--data", text, "--sample-every", 1, "--pause-at", 2))
must(shakespeare, "train", "--out", root / "samples_parts", "--resume", "--data", text,
     "--no-progress")
checks.check((root / "samples_parts/samples.jsonl").read_text() == written,
             "a resumed run writes the same samples")

# Any alphabet can be used: a text with more characters than the preset has tokens is read as bytes.
chinese = root / "chinese.txt"
chinese.write_text("".join(chr(draw.randrange(0x4E00, 0x4E00 + 3000)) for _ in range(4000)),
                   encoding="utf-8")
said("Chinese", 0, start(*train("chinese", "--data", chinese, "--sample-every", 3)), "bytes")
best = root / "chinese/best"
said("its evaluation", 0, start(shakespeare, "eval", "--checkpoint", best, "--data", chinese))
result = subprocess.run([shakespeare, "sample", "--checkpoint", str(best), "--prompt", "\u4e00",
                         "--tokens", "5"], capture_output=True, timeout=300)
checks.check(result.returncode == 0 and result.stdout.startswith("\u4e00".encode()), "its sample")
said("it goes on", 0, start(shakespeare, "train", "--out", root / "chinese", "--resume", "--steps",
                            4, "--data", chinese, "--no-progress"))

# The command of the document, with its own names for the options.
plan = must(shakespeare, "train", "--dry-run", *(
    "--dataset tiny_shakespeare --seq_len 256 --batch_size 64 --model_dim 384 --n_head 6 "
    "--n_layer 4 --moe_experts 8 --topk 2 --moe_hidden_mult 2.0 --lr 3e-3 --warmup_steps 2000 "
    "--max_steps 10000 --lb_weight 0.05 --zloss_weight 0.001 --save_dir").split(), root / "dry")
checks.check("preset       document, optimizer adamw" in plan.stdout
             and "total 21419168, active 7235744" in plan.stdout, plan.stdout)
said("another size", 2, start(shakespeare, "train", "--model_dim", 512), "--model_dim", "simple_moe")
said("another size than the preset's", 2, start(shakespeare, "train", "--preset", "demo",
                                                "--n_layer", 6), "--n_layer", "compiled with 4")
must(*train("weights", "--data", text, "--lb_weight", 0.5, "--zloss_weight", 0.25,
            "--entropy_weight", 0.125, "--warmup_steps", 7))
manifest = json.loads((root / "weights/last/manifest.json").read_text())
checks.check([manifest["options"][name] for name in ("balance_weight", "z_weight",
                                                     "entropy_weight")] == [0.5, 0.25, 0.125]
             and manifest["run"]["settings"]["warmup"] == 7, "the weights reach the model")
for flag in ("--balance", "--z-loss", "--entropy", "--warmup", "--sample-every"):
    said(f"negative {flag}", 2, start(shakespeare, "train", flag, -1), flag)
checks.end()
