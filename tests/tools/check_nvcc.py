"""Compiles every header under include/moe/kernels/ and every tests/cuda/*.cu with nvcc, no GPU.

usage: check_nvcc.py PROJECT_DIR     exits with 77 without nvcc
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile


def main(root):
    nvcc = (os.environ.get("CUDACXX") or shutil.which("nvcc")
            or shutil.which("nvcc", path="/usr/local/cuda/bin"))
    if not nvcc:
        print("SKIPPED: nvcc is not installed")
        return 77
    include = root / "include"
    kernels = sorted((include / "moe" / "kernels").glob("*.hpp"))
    if not kernels:
        print("there is no kernel header to compile")
        return 1
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        every_kernel = pathlib.Path(folder, "every_kernel.cu")
        every_kernel.write_text("".join(f"#include <{header.relative_to(include).as_posix()}>\n"
                                        for header in kernels))
        for source in [every_kernel, *sorted((root / "tests" / "cuda").glob("*.cu"))]:
            command = [nvcc, "-std=c++20", "-c", f"-I{include}", "-o",
                       str(pathlib.Path(folder, "out.o")), str(source)]
            done = subprocess.run(command)
            print(f"{'ok' if done.returncode == 0 else 'FAILED'}: {source.name}", flush=True)
            failed += done.returncode != 0
    print(f"{len(kernels)} kernel headers, {failed} files failed")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(pathlib.Path(sys.argv[1])))
