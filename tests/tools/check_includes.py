"""Checks that a header includes only its own folder and those above it in the table of
docs/design.md, and no header that is slow to compile; that none has more than 300 lines; and that
neither the library nor examples/ include the laboratory.

usage: check_includes.py PROJECT_DIR | --self-test
"""
import pathlib
import re
import sys
import tempfile

# What kernels may include besides each other, as nvcc compiles them.
KERNEL = {"moe/core/activation.hpp", "moe/core/lane.hpp", "moe/core/random.hpp", "cmath",
          "cstddef", "cstdint", "type_traits"}
BANNED = {"iostream", "regex", "ranges", "Eigen/Dense", "boost/pfr.hpp"}
MOST_LINES = 300
# What of backend/ models are written against.
INTERFACE = ("moe/backend/backend.hpp", "moe/backend/then.hpp")
# Third-party headers and the only files that may include them.
ONLY_IN = [(r"boost/pfr.*", r"tree/.*"), (r"xsimd/.*", r"backend/.*"),
           (r"Eigen/.*", r"backend/.*|model/eigen\.hpp"), (r"omp\.h", r"backend/.*")]
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)


def folders(root):
    """The folders of include/moe/ in the order of the table in docs/design.md."""
    text = (root / "docs/design.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `(\w+)/` \|", text, re.MULTILINE)


def violations(root):
    """One sentence for every include of PROJECT_DIR/include/moe that breaks a rule."""
    order, found, graph = folders(root), [], {}
    place = {name: number for number, name in enumerate(order)}
    include = root / "include/moe"
    for file in sorted(include.rglob("*.hpp")):
        path = file.relative_to(include).as_posix()
        own, _, _ = path.rpartition("/")
        own = own.partition("/")[0]
        text = file.read_text(encoding="utf-8")
        if text.count("\n") > MOST_LINES:
            found.append(f"{path} has {text.count(chr(10))} lines: divide what has more than "
                         f"{MOST_LINES}")
        includes = INCLUDE.findall(text)
        graph[path] = [name[4:] for name in includes if name.startswith("moe/")]
        if own and own not in place:
            found.append(f"{path}: the table in docs/design.md has no folder `{own}/`")
            continue
        for name in includes:
            if own == "kernels" and name not in KERNEL and not name.startswith("moe/kernels/"):
                found.append(f"{path} includes {name}: kernels include only kernels and "
                             f"{sorted(KERNEL)}")
            elif name.startswith("moe_lab/"):
                found.append(f"{path} includes {name}: the laboratory stands on the library")
            elif name in BANNED:
                found.append(f"{path} includes {name}, which is too slow to compile")
            elif own and name.startswith("moe/"):
                its, inside, _ = name[4:].partition("/")
                if not inside:
                    found.append(f"{path} includes {name}: only users include the umbrellas")
                elif place.get(its, len(order)) > place[own]:
                    found.append(f"{path} may not include {name}: `{its}/` stands below `{own}/` "
                                 "in the table of docs/design.md")
                elif its == "backend" != own and name not in INTERFACE:
                    found.append(f"{path} may not include {name}: models are written against "
                                 f"{' and '.join(INTERFACE)}, whatever the backend is")
            for pattern, allowed in ONLY_IN:
                if re.fullmatch(pattern, name) and not re.fullmatch(allowed, path):
                    found.append(f"{path} includes {name}: only {allowed} may")
    for file in sorted((root / "examples").rglob("*.[ch]pp")):
        found += [f"examples/{file.name} includes {name}: a lesson needs the library alone"
                  for name in INCLUDE.findall(file.read_text(encoding="utf-8")) if "lab/" in name]
    return found + cycles(graph)


def cycles(graph):
    """Headers that include themselves through others."""
    found, done = [], set()

    def visit(path, stack):
        if path in stack:
            found.append("include cycle: " + " -> ".join(stack[stack.index(path):] + [path]))
        elif path not in done:
            done.add(path)
            for other in graph.get(path, []):
                visit(other, stack + [path])

    for path in graph:
        visit(path, [])
    return found


def self_test():
    """Every rule is broken once in a planted tree; each must be found, and nothing else."""
    table = "\n".join(f"| `{name}/` | what |" for name in
                      ("core", "kernels", "tree", "backend", "layers", "io", "train"))
    good = {
        "core/error.hpp": "<cstdio>", "core/lane.hpp": "<cmath>",
        "core/random.hpp": "<moe/core/lane.hpp>", "core/config.hpp": "<moe/core/error.hpp>",
        "tree/walk.hpp": "<boost/pfr/core.hpp>", "backend/backend.hpp": "<moe/core/config.hpp>",
        "kernels/chunk.hpp": "<moe/core/lane.hpp>", "kernels/adamw.hpp": "<moe/kernels/chunk.hpp>",
        "backend/cpu.hpp": "<moe/backend/cpu/gemm/gemm.hpp>",
        "backend/cpu/gemm/gemm.hpp": "<Eigen/Core>",
        "layers/router.hpp": "<moe/backend/backend.hpp>", "layers/linear.hpp": "<moe/backend/then.hpp>",
        "io/a.hpp": "<moe/io/b.hpp>",
        "io/b.hpp": "<string>", "train/trainer.hpp": "<moe/layers/router.hpp>",
        "moe.hpp": "<moe/backend/cpu.hpp>", "../../examples/lesson.cpp": "<moe/moe.hpp>",
    }
    bad = [
        ("core/error.hpp", "<moe/backend/backend.hpp>"),
        ("layers/router.hpp", "<moe/backend/cpu.hpp>"), ("core/config.hpp", "<moe/tree/walk.hpp>"),
        ("kernels/chunk.hpp", "<moe/core/config.hpp>"), ("kernels/chunk.hpp", "<vector>"),
        ("io/a.hpp", "<moe/train/trainer.hpp>"), ("io/b.hpp", "<moe/io/a.hpp>"),
        ("backend/backend.hpp", "<boost/pfr/core.hpp>"), ("io/a.hpp", "<iostream>"),
        ("layers/router.hpp", "<Eigen/Core>"), ("surprise/a.hpp", "<string>"),
        ("layers/router.hpp", "<moe/moe.hpp>"), ("io/b.hpp", "<moe/surprise/a.hpp>"),
        ("io/b.hpp", "<moe_lab/cli.hpp>"), ("../../examples/lesson.cpp", "<moe_lab/cli.hpp>"),
        ("io/b.hpp", "<string>" + 300 * "\n"),
    ]

    def check(extra):
        with tempfile.TemporaryDirectory() as name:
            root = pathlib.Path(name)
            (root / "docs").mkdir()
            (root / "docs/design.md").write_text(table, encoding="utf-8")
            for path, include in list(good.items()) + extra:
                file = root / "include/moe" / path
                file.parent.mkdir(parents=True, exist_ok=True)
                with file.open("a", encoding="utf-8") as out:
                    out.write(f"#include {include}\n")
            return violations(root)

    failed = [f"refused a good tree: {sentence}" for sentence in check([])]
    for path, include in bad:
        sentences = check([(path, include)])
        if not any(path.removeprefix("../../") in sentence for sentence in sentences):
            failed.append(f"did not notice that {path} includes {include}")
    return failed


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sentences = self_test() if sys.argv[1] == "--self-test" else violations(
        pathlib.Path(sys.argv[1]))
    print("\n".join(sentences) or "no violation")
    sys.exit(1 if sentences else 0)
