"""Checks that every file and folder of the project exists that its documents name, and the comments
of its sources.

usage: check_paths.py PROJECT_DIR | --self-test

Checked are words such as tests/layers/norm.cpp or docs/ below one of the folders ROOTS, headers
of include/moe named from there (layers/norm.hpp), programs as build/release/examples/generate, and
links of documents. Words in capitals stand for any name, as * does: tests/FOLDER/*.cpp. CHANGELOG.md
is history, and exempt.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

ROOTS = ("include", "examples", "lab", "tests", "benchmarks", "docs", "cmake", "packaging")
# Not checked: history, and this file, which names missing paths on purpose.
SKIPPED = {"CHANGELOG.md", pathlib.Path(__file__).name}
# The folders from which paths may be named, besides the folder of the file that names them.
FROM = ("", "include", "include/moe", "lab/include", "lab/include/moe_lab", "lab", "tests")
SOURCES = {".hpp": "//", ".cpp": "//", ".cu": "//", ".cuh": "//", ".py": "#", ".cmake": "#",
           ".txt": "#"}
# A path does not begin in the middle of a longer path or of a web address.
START, PART = r"(?<![\w./$}<>-])", r"[\w.*{},-]"
PATH = re.compile(START + rf"(?:{'|'.join(ROOTS)})/(?:{PART}+/?)*")
# A built program, and the places where its source may be.
BUILT = re.compile(r"build/\w+/(examples|lab|benchmarks)/(?:bench_)?(\w+)")
BUILT_FROM = ("{}/{}.cpp", "{}/{}/main.cpp", "{}/programs/{}/main.cpp")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def comments(path):
    """The text of a source's comments; of a document all of it."""
    text = path.read_text(encoding="utf-8")
    mark = SOURCES.get(path.suffix)
    if not mark:
        return text
    found = re.findall(rf"{mark}+ ?(.*)", text)
    if path.suffix == ".py":
        found += re.findall(r'"""(.*?)"""', text, re.DOTALL)
    return "\n".join(found)


def named(text, folders):
    """The paths that a text names."""
    header = re.compile(START + rf"(?:{'|'.join(folders)})/(?:{PART}+/)*{PART}+\.[hc]pp\b")
    for match in [*PATH.finditer(text), *header.finditer(text)]:
        yield match[0].rstrip(".,-")


def exists(root, own, path):
    """Whether a path is there, seen from one of FROM or from the folder `own`."""
    # {a,b}: each must exist.
    choice = re.search(r"\{([^{}]*)\}", path)
    if choice:
        return all(exists(root, own, path[:choice.start()] + word + path[choice.end():])
                   for word in choice[1].split(","))
    pattern = re.sub(r"(?<![\w.])[A-Z][A-Z_]*(?![\w])|\*+", "*", path).strip("/")
    for place in [root / name for name in FROM] + [own]:
        if place.is_dir() and any(place.glob(pattern)):
            return True
    return False


def files(root):
    """Documents and sources, without what git ignores."""
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-co", "--exclude-standard", "-z"],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    paths = ([root / name for name in listed.stdout.split("\0") if name] if listed.returncode == 0
             else root.rglob("*"))
    for path in sorted(paths):
        inside = path.relative_to(root)
        if not path.is_file() or inside.name in SKIPPED or inside.parts[0] == "build":
            continue
        if path.suffix == ".md" or inside.parts[0] in ROOTS and path.suffix in SOURCES:
            yield path


def missing(root):
    """One line for every path that is named and not there."""
    folders = [path.name for path in sorted((root / "include/moe").iterdir()) if path.is_dir()]
    found = []
    for path in files(root):
        text = comments(path)
        wanted = set(named(text, folders))
        absent = {name for name in wanted if not exists(root, path.parent, name)}
        if path.suffix == ".md":
            absent |= {link for link in LINK.findall(text) if not (path.parent / link).exists()}
        absent |= {match[0] for match in BUILT.finditer(text)
                   if not any((root / place.format(*match.groups())).exists()
                              for place in BUILT_FROM)}
        found += [f"{path.relative_to(root)} names {name}, which is not there"
                  for name in sorted(absent)]
    return found


def self_test():
    """A tree in which all that is named exists, and each kind of name that does not, planted."""
    good = {"README.md": "[a](docs/a.md#top), `layers/norm.hpp`, examples/{one,two}.cpp; "
                         "build/release/examples/one and https://x.org/docs/none are not ours.",
            "CHANGELOG.md": "docs/none.md", "docs/a.md": "[up](../README.md), tests/FOLDER/*.cpp, "
                                                         "`include/moe/layers/NAME.hpp`.",
            "include/moe/layers/norm.hpp": "// Test: tests/layers/norm.cpp.\n",
            "tests/layers/norm.cpp": 'auto x = "docs/none.md";\n',
            "tests/tools/check.py": '"""Reads docs/a.md."""\n', "lab/CMakeLists.txt": "# docs/\n",
            "examples/one.cpp": "", "examples/two.cpp": ""}
    planted = [("README.md", "`docs/none.md`"), ("README.md", "[b](docs/none.md)"),
               ("README.md", "build/release/examples/three"),
               ("README.md", "examples/{one,three}.cpp"), ("docs/a.md", "`layers/none.hpp`"),
               ("docs/a.md", "tests/none/*.cpp"), ("lab/CMakeLists.txt", "# lab/programs/none"),
               ("include/moe/layers/norm.hpp", "int x;  // as in layers/none.hpp"),
               ("include/moe/layers/norm.hpp", "/// Test: tests/layers/none.cpp."),
               ("tests/tools/check.py", "# see examples/three.cpp")]
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in good.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        for name, text in [(None, None), *planted]:
            if name:
                (root / name).write_text(good[name] + "\n" + text, encoding="utf-8")
            found = missing(root)
            if len(found) != bool(name) or name and not found[0].startswith(name):
                print(f"FAILED: {text!r} in {name}: {found}")
                failed += 1
            if name:
                (root / name).write_text(good[name], encoding="utf-8")
    print(f"{len(planted)} planted, {failed} failed")
    return 1 if failed else 0


def main(root):
    found = missing(root)
    print("\n".join(found) or "all that is named is there")
    return 1 if found else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(self_test() if sys.argv[1] == "--self-test" else main(pathlib.Path(sys.argv[1])))
