"""Checks that the version in include/moe/core/version.hpp is that of CMake and of the packages.

usage: check_version.py PROJECT_DIR VERSION_OF_CMAKE
"""
import json
import pathlib
import re
import sys


def main(root, cmake):
    header = (root / "include/moe/core/version.hpp").read_text(encoding="utf-8")
    version = re.search(r'library_version = "([0-9]+\.[0-9]+\.[0-9]+)"', header)[1]
    found = {"CMakeLists.txt": cmake}
    for path in sorted(root.glob("packaging/vcpkg/ports/*/vcpkg.json")):
        found[path.relative_to(root).as_posix()] = json.loads(path.read_text())["version"]
    wrong = {place: other for place, other in found.items() if other != version}
    print(f"version.hpp: {version}, others: {wrong or 'the same'}")
    return 1 if wrong or len(found) < 2 else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(pathlib.Path(sys.argv[1]), sys.argv[2]))
