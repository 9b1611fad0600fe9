"""Compiles every header, example and program of the laboratory with clang++, warnings as errors;
the examples train_text and huggingface to object files, as Clang 14 has crashed on code that passed
its checks.

usage: check_clang.py PROJECT_DIR [SOURCE.cpp | COMPILER_FLAG]...     exits with 77 without clang++
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile

FLAGS = ["-std=c++20", "-march=native", "-Wall", "-Wextra", "-Wpedantic",
         "-Wconversion", "-Wshadow", "-Wno-unknown-pragmas", "-Werror",
         *(f'-D{name}=""' for name in ("MOE_PLOT_SCRIPT", "MOE_CMAKE", "MOE_BUILD_DIR",
                                       "MOE_CUSTOM_PROGRAM"))]


def main(root, *arguments):
    flags = [word for word in arguments if not word.endswith(".cpp")]
    clang = shutil.which("clang++")
    if not clang:
        print("SKIPPED: clang++ is not installed")
        return 77
    folders = [root / "include", root / "lab/include", root / "lab/programs"]
    headers = [(header, folder) for folder in folders for header in sorted(folder.rglob("*.hpp"))]
    programs = [*sorted((root / "examples").glob("*.cpp")),
                *sorted((root / "lab/programs").rglob("*.cpp")),
                *(pathlib.Path(word) for word in arguments if word.endswith(".cpp"))]
    flags += [f"-I{folder}" for folder in folders]
    with tempfile.TemporaryDirectory() as temporary:
        every_header = pathlib.Path(temporary, "every_header.cpp")
        every_header.write_text("".join(f"#include <{header.relative_to(folder).as_posix()}>\n"
                                        for header, folder in headers))
        failed = 0
        for source in [every_header] + programs:
            wanted = ["-fsyntax-only"]
            if source.stem in ("train_text", "huggingface"):
                wanted = ["-c", "-O0", "-o", str(pathlib.Path(temporary, "object.o"))]
            done = subprocess.run([clang, *FLAGS, *wanted, *flags, str(source)])
            print(f"{'ok' if done.returncode == 0 else 'FAILED'}: {source.name}", flush=True)
            failed += done.returncode != 0
    print(f"{len(headers)} headers, {len(programs)} programs, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(pathlib.Path(sys.argv[1]), *sys.argv[2:]))
