"""Checks that examples/train_text.cpp compiles in no more processor time than its bound, as a ratio
to a fixed file (yardstick.cpp), so that the speed of the machine does not matter; prints the same
for examples/generate.cpp, which includes infer.hpp only.

usage: check_compile_time.py COMPILER PROJECT_DIR [COMPILER_FLAG...]

Exits with 77 for a compiler whose ratio was never measured. Files are compiled in turn and the
least time of each counts, so other work on the machine disturbs little; what is above the bound
is measured again, up to five times, before the check fails.
"""
import os
import pathlib
import subprocess
import sys

FLAGS = ["-std=c++20", "-O2", "-DNDEBUG"]
# Measured ratios, by compiler and version; the bound is HEADROOM times that.
RATIO = {"g++ 12": 1.70, "clang 14": 1.70}
HEADROOM = 1.2
MOST_ROUNDS = 5


def compiler_version(compiler):
    """The compiler and its version as in RATIO: "g++ 12"."""
    macros = subprocess.run([compiler, "-dM", "-E", "-x", "c++", os.devnull], text=True,
                            check=True, stdout=subprocess.PIPE).stdout
    defined = dict(line.split(" ", 2)[1:] for line in macros.splitlines() if line.count(" ") > 1)
    if "__clang_major__" in defined:
        return "clang " + defined["__clang_major__"]
    return "g++ " + defined["__GNUC__"]


def compile_once(command):
    """Processor seconds and peak memory in GB of a command and of all that it starts."""
    process = subprocess.Popen(command, env={**os.environ, "CCACHE_DISABLE": "1"})
    _, status, use = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"FAILED: {command} gave {process.returncode}")
    return use.ru_utime + use.ru_stime, use.ru_maxrss * 1024e-9


def main(compiler, root, *flags):
    version = compiler_version(compiler)
    bound = HEADROOM * RATIO.get(version, float("inf"))
    examples = root / "examples"
    yardstick, train, infer = (pathlib.Path(__file__).with_name("yardstick.cpp"),
                               examples / "train_text.cpp", examples / "generate.cpp")
    least = {}
    for _ in range(MOST_ROUNDS):
        for source in (yardstick, train, infer):
            seconds, memory = compile_once([compiler, *FLAGS, f"-I{root / 'include'}", *flags, "-c",
                                            str(source), "-o", os.devnull])
            print(f"{source.name}: {seconds:.2f} s, {memory:.2f} GB", flush=True)
            least[source] = min(seconds, least.get(source, seconds))
        ratio, of_infer = (least[source] / least[yardstick] for source in (train, infer))
        if ratio <= bound:
            break
    print(f"{version}: train_text.cpp takes {ratio:.2f} of yardstick.cpp, generate.cpp "
          f"{of_infer:.2f}; the bound is {bound:.2f}")
    if version not in RATIO:
        print(f"SKIPPED: no bound of the compile time is known for {version}")
        return 77
    if ratio > bound:
        print("FAILED: what train.hpp includes, or what train_text.cpp instantiates, has grown; "
              "-ftime-report and -ftime-trace show where")
        return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], pathlib.Path(sys.argv[2]), *sys.argv[3:]))
