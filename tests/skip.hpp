#pragma once
#include <cstdio>
#include <string>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MOE_SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MOE_SANITIZED true
#endif
#endif
#ifndef MOE_SANITIZED
#define MOE_SANITIZED false
#endif

namespace moe::test {

/// Whether this program is built with the address or the thread sanitizer. They reserve terabytes
/// of address space and replace malloc, so that limits of memory cannot be tested with them.
inline constexpr bool sanitized = MOE_SANITIZED;

/// Whether a case was skipped: tests/main.cpp then ends with 77, which ctest counts as skipped.
/// Cases that need shared files have the tag [shared], by which they are ctest tests of their own,
/// apart from the other cases of the file.
inline bool skipped = false;

inline void skip(const std::string& reason) {
  std::printf("SKIPPED: %s\n", reason.c_str());
  skipped = true;
}

}  // namespace moe::test
