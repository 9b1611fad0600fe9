"""Checks that headers include only lower levels (docs/design.md) and no header that is too slow.

usage: check_includes.py INCLUDE_DIR | --self-test
"""
import pathlib
import re
import sys
import tempfile

# The first pattern that matches a path under include/moe/ gives its level.
LEVELS = [
    (r"(error|check_option|in_use|config|random|kernel|bfloat16|strict_math)\.hpp", 0),
    (r"(tensor|tokens|sampling)\.hpp|kernels/.*", 1),
    (r"(reflect|backend|layer)\.hpp", 2),
    (r"(parameters|initial_values|eigen)\.hpp|backend/.*", 3),
    (r"layers/.*", 4),
    (r"(block|transformer)\.hpp", 5),
    (r"io/hugging_face(/.*|\.hpp)", 7),
    (r"(optim|data|io|transfer|distributed)/.*|(generate|metrics|flops)\.hpp", 6),
    (r"train/.*", 7),
    (r"moe\.hpp", 8),
]
# Within a level a folder may use its own files, and these (patterns) may use those.
SAME_FOLDER = {"backend", "backend/cpu", "backend/cuda", "layers", "optim", "data", "io",
               "io/hugging_face", "transfer", "distributed", "train"}
SAME_LEVEL = [
    (r"(config|check_option|in_use)\.hpp", r"error\.hpp"),
    (r"(error|kernel)\.hpp", r"strict_math\.hpp"),
    (r"(random|bfloat16)\.hpp", r"kernel\.hpp"),
    (r"layer\.hpp", r"(backend|reflect)\.hpp"),
    (r"transformer\.hpp", r"block\.hpp"),
    (r"(data|transfer)/.*|(generate|metrics)\.hpp", r"io/.*"),  # io/ is the lower half of level 6
    (r"io/hugging_face/.*", r"train/(manifest|config_json)\.hpp"),
]
# What kernels may include: nvcc compiles them.
KERNEL = {"moe/kernel.hpp", "moe/random.hpp", "cmath", "cstddef", "cstdint", "type_traits"}
BANNED = {"iostream", "regex", "ranges", "Eigen/Dense", "boost/pfr.hpp"}
# Third-party headers and the only files that may include them.
ONLY_IN = [(r"boost/pfr.*", r"reflect\.hpp"), (r"xsimd/.*", r"backend/.*"), (r"Eigen/.*", r"backend/.*|eigen\.hpp"),
           (r"omp\.h", r"backend/.*|train/.*")]
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)


def level(path):
    return next((n for pattern, n in LEVELS if re.fullmatch(pattern, path)), None)


def folder(path):
    return path.rpartition("/")[0]


def may_include(path, other):
    """Whether include/moe/`path` may include include/moe/`other`."""
    own, its = level(path), level(other)
    if own == 8:
        return True
    if its is None:
        return False
    if own >= 4 and other.startswith("backend/"):
        return False
    if its < own:
        return True
    same = folder(path) == folder(other) or path == folder(other) + ".hpp" or (
        folder(other).startswith(folder(path) + "/"))
    return its == own and ((folder(other) in SAME_FOLDER and same) or any(
        re.fullmatch(a, path) and re.fullmatch(b, other) for a, b in SAME_LEVEL))


def violations(root):
    """One sentence for every include in root/moe that breaks a rule."""
    found = []
    graph = {}
    for file in sorted((root / "moe").rglob("*.hpp")):
        path = file.relative_to(root / "moe").as_posix()
        includes = INCLUDE.findall(file.read_text(encoding="utf-8"))
        graph[path] = [name[4:] for name in includes if name.startswith("moe/")]
        if level(path) is None:
            found.append(f"{path} has no level: give it one in tests/tools/check_includes.py")
            continue
        for name in includes:
            if path.startswith("kernels/") and name not in KERNEL:
                found.append(f"{path} includes {name}: kernels include only {sorted(KERNEL)}")
            elif name in BANNED:
                found.append(f"{path} includes {name}, which is too slow to compile")
            elif name.startswith("moe/") and not may_include(path, name[4:]):
                found.append(f"{path} (level {level(path)}) may not include {name[4:]} "
                             f"(level {level(name[4:])})")
            for pattern, allowed in ONLY_IN:
                if re.fullmatch(pattern, name) and not re.fullmatch(allowed, path):
                    found.append(f"{path} includes {name}: only {allowed} may")
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
    good = {
        "error.hpp": "<cstdio>", "kernel.hpp": "<cmath>", "config.hpp": "<moe/error.hpp>",
        "random.hpp": "<moe/kernel.hpp>", "tensor.hpp": "<moe/kernel.hpp>",
        "reflect.hpp": "<boost/pfr/core.hpp>", "backend.hpp": "<moe/tensor.hpp>",
        "kernels/add.hpp": "<moe/kernel.hpp>", "backend/cpu.hpp": "<moe/backend/cpu/gemm.hpp>",
        "backend/cpu/gemm.hpp": "<moe/backend/cpu/memory.hpp>",
        "backend/cpu/memory.hpp": "<Eigen/Core>", "layers/router.hpp": "<moe/kernels/add.hpp>",
        "layers/moe_layer.hpp": "<moe/layers/router.hpp>", "block.hpp": "<moe/layers/router.hpp>",
        "transformer.hpp": "<moe/block.hpp>", "io/a.hpp": "<moe/io/b.hpp>",
        "io/b.hpp": "<string>",
        "train/trainer.hpp": "<moe/generate.hpp>", "metrics.hpp": "<moe/io/b.hpp>",
        "generate.hpp": "<moe/transformer.hpp>",
        "moe.hpp": "<moe/backend/cpu.hpp>",
    }
    bad = [
        ("tensor.hpp", "<moe/backend.hpp>"), ("layers/router.hpp", "<moe/backend/cpu.hpp>"),
        ("train/trainer.hpp", "<moe/backend/cpu.hpp>"), ("block.hpp", "<moe/transformer.hpp>"),
        ("kernels/add.hpp", "<moe/tensor.hpp>"), ("kernels/add.hpp", "<vector>"),
        ("io/a.hpp", "<moe/train/trainer.hpp>"), ("io/a.hpp", "<moe/generate.hpp>"),
        ("io/b.hpp", "<moe/io/a.hpp>"), ("io/b.hpp", "<moe/metrics.hpp>"),
        ("backend.hpp", "<boost/pfr/core.hpp>"),
        ("block.hpp", "<iostream>"), ("layers/router.hpp", "<Eigen/Core>"),
        ("surprise.hpp", "<string>"), ("layers/router.hpp", "<moe/moe.hpp>"),
    ]

    def check(extra):
        with tempfile.TemporaryDirectory() as name:
            for path, include in list(good.items()) + extra:
                file = pathlib.Path(name, "moe", path)
                file.parent.mkdir(parents=True, exist_ok=True)
                with file.open("a", encoding="utf-8") as out:
                    out.write(f"#include {include}\n")
            return violations(pathlib.Path(name))

    failed = [f"refused a good tree: {sentence}" for sentence in check([])]
    for path, include in bad:
        sentences = check([(path, include)])
        if not any(path in sentence for sentence in sentences):
            failed.append(f"did not notice that {path} includes {include}")
    return failed


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sentences = self_test() if sys.argv[1] == "--self-test" else violations(
        pathlib.Path(sys.argv[1]))
    print("\n".join(sentences) or "no violation")
    sys.exit(1 if sentences else 0)
