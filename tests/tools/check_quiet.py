"""Checks that the library starts nothing: <moe/moe.hpp> brings in no header of processes and
signals, and no header of include/moe starts a process or a thread of its own.

usage: check_quiet.py PROJECT_DIR COMPILER [COMPILER_FLAG...] | --self-test COMPILER
"""
import pathlib
import re
import subprocess
import sys
import tempfile

HEADERS = ("/spawn.h", "/signal.h", "/poll.h", "/sys/wait.h", "/sys/resource.h")
CALLS = re.compile(r"\b(?:system|popen|v?fork|posix_spawnp?|exec[lv]p?e?)\s*\("
                   r"|\bstd::j?thread\b|\bstd::async\b|\benviron\b|#\s*include\s*<thread>")
COMMENT = re.compile(r"//.*")


def calls(include):
    """One sentence for every line of a header that starts something."""
    found = []
    for file in sorted((include / "moe").rglob("*.hpp")):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if word := CALLS.search(COMMENT.sub("", line)):
                found.append(f"{file.relative_to(include)}:{number}: {word[0]}")
    return found


def headers(include, compiler, *flags):
    """The headers of processes among all that the umbrella brings in."""
    command = [compiler, "-std=c++20", *flags, f"-I{include}", "-M", "-x", "c++", "-"]
    rule = subprocess.run(command, input="#include <moe/moe.hpp>\n", text=True, check=True,
                          stdout=subprocess.PIPE).stdout
    names = rule.replace("\\\n", " ").split()
    assert any(name.endswith("moe/moe.hpp") for name in names), rule
    return [f"moe/moe.hpp brings in {name}" for name in names if name.endswith(HEADERS)]


def self_test(compiler):
    """Each rule is broken once in a planted tree and must be found."""
    failed = []
    for line, good in (("// as std::thread and fork() do", True), ("int forks();", True),
                       ("#include <unistd.h>", True), ("int i = system(\"ls\");", False),
                       ("auto f = [] { return ::fork(); };", False), ("#include <thread>", False),
                       ("#include <sys/wait.h>", False), ("#include <signal.h>", False)):
        with tempfile.TemporaryDirectory() as name:
            include = pathlib.Path(name)
            (include / "moe").mkdir()
            (include / "moe/moe.hpp").write_text(line + "\n", encoding="utf-8")
            if bool(calls(include) + headers(include, compiler)) == good:
                failed.append(f"did not judge rightly: {line}")
    return failed


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    if sys.argv[1] == "--self-test":
        sentences = self_test(sys.argv[2])
    else:
        root = pathlib.Path(sys.argv[1]) / "include"
        sentences = calls(root) + headers(root, *sys.argv[2:])
    print("\n".join(sentences) or "the library starts nothing")
    sys.exit(1 if sentences else 0)
