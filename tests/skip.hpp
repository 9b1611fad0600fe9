#pragma once
#include <cstdio>
#include <string>

namespace moe::test {

/// Whether a comparison did not happen: tests/main.cpp then ends with 77, which ctest counts as
/// skipped. Cases that need shared files have the tag [shared], by which they are ctest tests apart
/// from those of the same file that are always compared.
inline bool skipped = false;

inline void skip(const std::string& reason) {
  std::printf("SKIPPED: %s\n", reason.c_str());
  skipped = true;
}

}  // namespace moe::test
