"""Checks that clang-format would change nothing.

Only version 14 (Debian 12) decides: others lay out the same code differently.

usage: check_format.py PROJECT_DIR     exits with 77 without clang-format 14
"""
import pathlib
import re
import shutil
import subprocess
import sys

FOLDERS = ["include", "examples", "lab", "tests", "benchmarks"]
ENDINGS = {".hpp", ".cpp", ".cuh", ".cu"}


def main(root):
    tool = shutil.which("clang-format-14") or shutil.which("clang-format")
    text = ""
    if tool:
        text = subprocess.run([tool, "--version"], capture_output=True, text=True).stdout
    version = re.search(r"version (\d+)", text)
    if not version or version[1] != "14":
        print("SKIPPED: clang-format 14 is not installed")
        return 77
    files = sorted(file for folder in FOLDERS for file in (root / folder).rglob("*")
                   if file.suffix in ENDINGS)
    print(f"{len(files)} files, {text.strip()}", flush=True)
    return subprocess.run([tool, "--dry-run", "-Werror", *map(str, files)]).returncode


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(pathlib.Path(sys.argv[1])))
