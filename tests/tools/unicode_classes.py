"""Writes include/moe/data/bpe/unicode_classes.hpp from the Unicode character database.

The folder holds UnicodeData.txt and PropList.txt, as Debian's package unicode-data installs them.

usage: unicode_classes.py FOLDER > include/moe/data/bpe/unicode_classes.hpp
"""
import pathlib
import re
import sys

HEAD = """#pragma once
// Written by tests/tools/unicode_classes.py from Unicode {version}. Edit the script, not this.
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>

namespace moe {{

/// The classes that a pre-tokenizer distinguishes: \\p{{L}}, \\p{{N}}, White_Space, anything else.
enum class CharClass : std::uint8_t {{ other, letter, number, space }};

namespace detail {{

// First and last code point of every range, in order.
// clang-format off
"""
TAIL = """// clang-format on

/// `stretch`: (first code point << 2 | class) of every run of code points of one class, in order.
/// `block`: for every 128 code points, the stretch that contains the first of them.
struct UnicodeClasses {
  std::array<std::uint32_t, std::size(unicode_letters) + std::size(unicode_numbers) +
                                std::size(unicode_spaces) + 1>
      stretch{};
  std::size_t stretches = 0;
  std::array<std::uint16_t, (0x110000 >> 7)> block{};

  constexpr UnicodeClasses() {
    std::size_t letter = 0, number = 0, space = 0;
    std::uint32_t at = 0;
    const auto begin_of = [](const auto& ranges, std::size_t i) {
      return i < std::size(ranges) ? ranges[i] : std::uint32_t{0x110000};
    };
    while (at < 0x110000) {
      const std::uint32_t l = begin_of(unicode_letters, letter),
                          n = begin_of(unicode_numbers, number),
                          s = begin_of(unicode_spaces, space);
      const std::uint32_t next = l < n ? (l < s ? l : s) : (n < s ? n : s);
      if (at < next) {
        add(at, CharClass::other);
        at = next;
      } else if (next == l) {
        add(at, CharClass::letter);
        at = unicode_letters[letter + 1] + 1;
        letter += 2;
      } else if (next == n) {
        add(at, CharClass::number);
        at = unicode_numbers[number + 1] + 1;
        number += 2;
      } else {
        add(at, CharClass::space);
        at = unicode_spaces[space + 1] + 1;
        space += 2;
      }
    }
    std::size_t i = 0;
    for (std::uint32_t b = 0; b < block.size(); ++b) {
      while (i + 1 < stretches && stretch[i + 1] >> 2 <= b << 7) ++i;
      block[b] = static_cast<std::uint16_t>(i);
    }
  }
  constexpr void add(std::uint32_t first, CharClass value) {
    stretch[stretches++] = first << 2 | static_cast<std::uint32_t>(value);
  }
};

inline constexpr UnicodeClasses unicode_classes;

}  // namespace detail

/// The class of a code point from 0 to 0x10FFFF, in constant time.
///
///     moe::char_class(0x2167) == moe::CharClass::number;  // the Roman numeral eight
///
/// Source: Unicode {version}, UnicodeData.txt, PropList.txt.  Test: tests/data/pre_tokenizer.cpp.
constexpr CharClass char_class(std::int32_t point) {
  const auto code = static_cast<std::uint32_t>(point);
  const detail::UnicodeClasses& table = detail::unicode_classes;
  std::size_t i = table.block[code >> 7];
  while (i + 1 < table.stretches && table.stretch[i + 1] >> 2 <= code) ++i;
  return static_cast<CharClass>(table.stretch[i] & 3);
}

}  // namespace moe
"""


def ranges(points):
    """Sorted code points as [first, last, first, last, ...]."""
    out = []
    for point in sorted(points):
        if out and out[-1] == point - 1:
            out[-1] = point
        else:
            out += [point, point]
    return out


def general_categories(folder):
    """Category of every assigned code point."""
    category, first = {}, None
    for line in (folder / "UnicodeData.txt").read_text(encoding="utf-8").splitlines():
        code, name, value = line.split(";")[:3]
        code = int(code, 16)
        if name.endswith(", First>"):
            first = code
        for point in range(first if name.endswith(", Last>") else code, code + 1):
            category[point] = value
    return category


def white_space(text):
    found = set()
    for first, last in re.findall(r"^(\w+)(?:\.\.(\w+))?\s*; White_Space\b", text, re.MULTILINE):
        found |= set(range(int(first, 16), int(last or first, 16) + 1))
    return found


def array(name, values):
    words = [f"0x{value:X}," for value in values]
    lines, line = [], " "
    for word in words:
        if len(line) + 1 + len(word) > 100:
            lines.append(line)
            line = " "
        line += " " + word
    body = "\n".join(lines + [line])
    return f"inline constexpr std::uint32_t {name}[] = {{\n{body}\n}};\n"


def main(folder):
    properties = (folder / "PropList.txt").read_text(encoding="utf-8")
    version = re.search(r"PropList-([\d.]+)\.txt", properties)[1]
    category = general_categories(folder)
    of = {kind: ranges(p for p, c in category.items() if c[0] == kind) for kind in "LN"}
    print(HEAD.format(version=version), end="")
    print(array("unicode_letters", of["L"]), end="")
    print(array("unicode_numbers", of["N"]), end="")
    print(array("unicode_spaces", ranges(white_space(properties))), end="")
    print(TAIL.replace("{version}", version), end="")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
