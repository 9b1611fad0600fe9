"""Compiles every header and example with clang++, warnings as errors; examples/train_text.cpp to
an object file, as Clang 14 has failed on code that passed its checks.

usage: check_clang.py PROJECT_DIR [COMPILER_FLAG...]     exits with 77 without clang++
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

FLAGS = ["-std=c++20", "-march=native", "-Wall", "-Wextra", "-Wpedantic",
         "-Wconversion", "-Wshadow", "-Wno-unknown-pragmas", "-Werror", '-DMOE_PLOT_SCRIPT=""']


def main(root, *flags):
    clang = shutil.which("clang++")
    if not clang:
        print("SKIPPED: clang++ is not installed")
        return 77
    include = root / "include"
    headers = sorted(include.rglob("*.hpp"))
    # The models of a program differ in a few words; one of them stands for all.
    programs = {}
    for path in sorted((root / "examples").rglob("*.cpp")):
        if path.parent.name != "models" or path.stem == "tiny_moe":
            programs.setdefault((path.parent, re.sub(r"\w+", "word", path.read_text())), path)
    programs = list(programs.values())
    with tempfile.TemporaryDirectory() as folder:
        every_header = pathlib.Path(folder, "every_header.cpp")
        every_header.write_text("".join(f"#include <{header.relative_to(include).as_posix()}>\n"
                                        for header in headers))
        failed = 0
        for source in [every_header] + programs:
            wanted = ["-c", "-O0", "-o", str(pathlib.Path(folder, "train_text.o"))]
            if source.stem != "train_text":
                wanted = ["-fsyntax-only"]
            done = subprocess.run([clang, *FLAGS, *wanted, f"-I{include}", *flags, str(source)])
            print(f"{'ok' if done.returncode == 0 else 'FAILED'}: {source.name}", flush=True)
            failed += done.returncode != 0
    print(f"{len(headers)} headers, {len(programs)} programs, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(pathlib.Path(sys.argv[1]), *sys.argv[2:]))
