"""The script ./dev, with tools in place of cmake and programs: its commands and their arguments."""
import os
import pathlib
import shutil
import tempfile

from process import Checks, start

checks = Checks()
folder = tempfile.TemporaryDirectory()
root = pathlib.Path(folder.name)
home = root / "a project"
tools = root / "tools"
tools.mkdir()
programs = home / "build/release/lab"
programs.mkdir(parents=True)
shutil.copy(pathlib.Path(__file__).parents[2] / "dev", home / "dev")
link = root / "link"
link.symlink_to(home / "dev")


def script(path, text):
    path.write_text("#!/bin/sh\n" + text + "\n")
    path.chmod(0o755)


# Each tool appends its folder and its arguments to the file `calls`.
TELL = f'printf "%s|" "$(pwd -P)" "$@" >>{root}/calls; echo >>{root}/calls'
script(tools / "cmake", "exit 0")
for name in ("shakespeare", "upcycle", "simple_moe"):
    script(programs / name, TELL)


def dev(*arguments, place=home, code=0, program=home / "dev", **variables):
    """Runs ./dev and returns the calls of programs, each as its folder and its arguments."""
    calls = root / "calls"
    calls.write_text("")
    result = start("bash", program, *arguments, cwd=place,
                   env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "CXX": "c++",
                        "MOE_SKIP_SETUP": "1", **variables})
    checks.check(result.returncode == code,
                 f"{arguments}: exit code {result.returncode}: {result.stderr}")
    return [line.split("|")[:-1] for line in calls.read_text().splitlines()], result


calls, result = dev("help")
checks.check("usage: ./dev demo" in result.stdout and not calls, "help")
calls, result = dev("bake", code=1)
checks.check("there is no command 'bake'" in result.stderr and not calls, "an unknown command")

# What each command of ./dev adds to the options that it passes to its program.
for command, first in (("demo", ["demo"]), ("upcycle", ["--replace-default"]),
                       ("simple_moe", ["--build"])):
    for options in ([], ["--out", "my run"], ["--out=my run"], ["--resume"], ["--dry-run"],
                    ["--help"]):
        calls, _ = dev(command, *options)
        checks.check([call[1:] for call in calls] == [first + options], f"{command}: {calls}")

# Called from another folder, by a link, or with CDPATH, relative paths are the caller's.
place = root / "another"
place.mkdir()
for command in (["demo", "--out", "x"], ["upcycle", "--out", "x"],
                ["simple_moe", "--model=model.hpp", "--out", "x"]):
    calls, _ = dev(*command, place=place, program=link, CDPATH=str(root), MOE_DATA_DIR="data")
    checks.check(calls and all(call[0] == str(place.resolve()) for call in calls),
                 f"{command}: {calls}")

# On a machine with the bare necessities, ./dev test installs what the tests use before they run,
# and counts and names the tests that are still skipped.
bare = root / "bare"
bare.mkdir()
for name in ("awk bash cat dirname env getconf grep head mkdir mktemp nproc python3 realpath rm "
             "sort tee").split():
    if shutil.which(name):
        (bare / name).symlink_to(shutil.which(name))
for name, text in (("cmake", "echo cmake version 3.30.0"), ("ninja", ""), ("c++", "cat >/dev/null"),
                   ("id", "echo 0"), ("apt-cache", 'echo "$2:"; echo "  Candidate: 99"'),
                   ("apt-get", f'echo "$@" >>{root}/installed'),
                   ("ctest", 'echo "1/3 Test #1: a ...   Passed    1.00 sec"\n'
                    'echo "2/3 Test #2: b ...***Skipped   0.10 sec"\n'
                    'echo "3/3 Test #3: c ...   Passed    1.00 sec"\n'
                    "mkdir -p build/dev/Testing/Temporary\n"
                    "echo 'SKIPPED: no such thing' >build/dev/Testing/Temporary/LastTest.log")):
    script(bare / name, text)
(home / "build/dev").mkdir()
_, result = dev("test", PATH=str(bare), MOE_SKIP_SETUP="")
installed = (root / "installed").read_text() if (root / "installed").exists() else ""
for package in ("clang\n", "clang-format-14\n"):
    checks.check(f" {package}" in installed, f"{package!r} is installed: {installed!r}")
checks.check("2 passed, 0 failed, 1 skipped" in result.stdout, f"counted: {result.stdout}")
checks.check("SKIPPED: no such thing" in result.stdout, "a skip is named")

# ./dev check builds and tests every preset, even after one that fails.
presets = root / "presets"
presets.mkdir()
script(presets / "cmake", TELL + '\n[ "$1" != --preset ] || [ "$2" != tsan ]')
script(presets / "ctest", TELL)
for name in ("asan", "tidy"):
    (home / "build" / name).mkdir()
with_presets = f"{presets}:{tools}:{os.environ['PATH']}"
calls, result = dev("check", code=1, PATH=with_presets)
words = [call[1:3] for call in calls]
checks.check(words == [["--preset", "asan"], ["--build", "build/asan"], ["--preset", "asan"],
                       ["--preset", "tsan"], ["--preset", "tidy"], ["--build", "build/tidy"]],
             f"all presets: {words}")
checks.check("check failed: tsan" in result.stderr, f"what failed: {result.stderr}")
_, result = dev("check", "asan", PATH=with_presets)
checks.check("check passed: asan" in result.stdout, f"one preset: {result.stdout}")
_, result = dev("check", "asn", code=1, PATH=with_presets)
checks.check("not 'asn'" in result.stderr, f"no such preset: {result.stderr}")
checks.end()
