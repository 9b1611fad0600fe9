#pragma once

namespace moe {

/// The only place where the version is written: CMakeLists.txt and conanfile.py read this line, and
/// a test compares the packages that cannot. Every checkpoint holds it.
inline constexpr const char* library_version = "0.1.0";

}  // namespace moe
