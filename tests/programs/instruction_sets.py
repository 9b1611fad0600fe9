"""Translation units that are compiled for two instruction sets and linked into one program, in
either order, give what each gives in a program of its own."""
from process import Checks, must, program

checks = Checks()
losses = {}
for name in ("plain", "native", "plain_native", "native_plain"):
    lines = must(program(f"instruction_sets_{name}")).stdout.splitlines()
    losses[name] = dict(line.split() for line in lines)
alone = {**losses["plain"], **losses["native"]}
checks.check(len(alone) == 2, f"two parts: {alone}")
for name in ("plain_native", "native_plain"):
    checks.check(losses[name] == alone, f"{name}: {losses[name]} in one program, {alone} alone")
checks.end()
