"""Checks that include/moe/kernels/list.hpp names every kernel of its folder, in code.

usage: check_kernel_list.py PROJECT_DIR | --self-test
"""
import pathlib
import re
import sys
import tempfile

# A kernel is called with a group and a row, or adds a row to the sums of a column. Those of activations are made for each
# of kernel::Activations.
STRUCT = re.compile(r"^struct (\w+) \{\n(.*?)^\};", re.MULTILINE | re.DOTALL)
KERNEL = re.compile(r"^  MOE_KERNEL void (?:operator\(\)|add)\(", re.MULTILINE)


def listed(root):
    """The words of the list, without comments and includes."""
    text = (root / "include/moe/kernels/list.hpp").read_text(encoding="utf-8")
    return set(re.findall(r"\w+", re.sub(r"//.*|#include.*", "", text)))


def kernels(root):
    """(header, kernel) for every kernel of the folder."""
    for file in sorted((root / "include/moe/kernels").glob("*.hpp")):
        for name, body in STRUCT.findall(file.read_text(encoding="utf-8")):
            if KERNEL.search(body):
                yield file.name, name


def missing(root):
    """One sentence for every kernel that the list does not name."""
    words = listed(root)
    return [f"{file}: {name} is not in moe/kernels/list.hpp"
            for file, name in kernels(root) if name not in words]


def self_test():
    """A row kernel and a column kernel, each left out of the list once."""
    headers = {
        "a.hpp": "template <class T>\nstruct Row {\n  T x;\n"
                 "  MOE_KERNEL void operator()(const auto& group, int r) const {}\n};\n"
                 "struct NoKernel {\n  int x;\n};\n",
        "b.hpp": "struct Column {\n  template <class V>\n"
                 "  MOE_KERNEL void add(V* sum, Lane<V> i, int r) const {}\n};\n",
    }
    names, failed = ["Row", "Column"], []
    for out in [None] + names:
        with tempfile.TemporaryDirectory() as name:
            root = pathlib.Path(name)
            folder = root / "include/moe/kernels"
            folder.mkdir(parents=True)
            for file, text in headers.items():
                (folder / file).write_text(text, encoding="utf-8")
            text = ", ".join(kernel for kernel in names if kernel != out)
            (folder / "list.hpp").write_text(f"// {out}\nusing All = List<{text}>;\n",
                                             encoding="utf-8")
            found = [sentence.split()[1] for sentence in missing(root)]
            if found != ([out] if out else []):
                failed.append(f"without {out} in the list it found {found}")
    return failed


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if sys.argv[1] == "--self-test":
        sentences = self_test()
    else:
        project = pathlib.Path(sys.argv[1])
        sentences = missing(project)
        print(f"{len(list(kernels(project)))} kernels")
    print("\n".join(sentences) or "none is missing")
    sys.exit(1 if sentences else 0)
