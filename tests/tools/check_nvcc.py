"""Compiles every tests/cuda/*.cu with nvcc, no GPU: every kernel of moe/kernels/list.hpp is there.

usage: check_nvcc.py PROJECT_DIR     exits with 77 without nvcc
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

# Warning 554: a table of constant numbers has a conversion to its own type, which is never used.
FLAGS = ["-std=c++20", "-diag-suppress", "554"]


def main(root):
    nvcc = (os.environ.get("CUDACXX") or shutil.which("nvcc")
            or shutil.which("nvcc", path="/usr/local/cuda/bin"))
    if not nvcc:
        print("SKIPPED: nvcc is not installed")
        return 77
    sources = sorted((root / "tests" / "cuda").glob("*.cu"))
    if not sources:
        print("there is no source to compile")
        return 1
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for source in sources:
            command = [nvcc, *FLAGS, "-c", f"-I{root / 'include'}", "-o",
                       str(pathlib.Path(folder, "out.o")), str(source)]
            done = subprocess.run(command)
            print(f"{'ok' if done.returncode == 0 else 'FAILED'}: {source.name}", flush=True)
            failed += done.returncode != 0
    print(f"{len(sources)} files, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(pathlib.Path(sys.argv[1])))
