"""Checks that the C++ programs of README.md are the examples, letter for letter.

usage: check_readme.py PROJECT_DIR
"""
import pathlib
import re
import sys


def main(root):
    text = (root / "README.md").read_text(encoding="utf-8")
    programs = {path.name: path.read_text(encoding="utf-8")
                for path in (root / "examples").glob("*.?pp")}
    blocks = [block for block in re.findall(r"```cpp\n(.*?)```", text, re.DOTALL)
              if "int main" in block]
    failed = 0
    for block in blocks:
        name = next((name for name, program in programs.items() if program == block), None)
        print(f"{name or 'FAILED: in no file of examples/'}: {block.splitlines()[0]}")
        failed += name is None
    print(f"{len(blocks)} programs, {failed} failed")
    return 1 if failed or not blocks else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(pathlib.Path(sys.argv[1])))
