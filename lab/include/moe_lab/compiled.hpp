#pragma once
#include <map>
#include <moe/core/error.hpp>
#include <string>
#include <utility>

// The models and settings that are compiled into a program, by name. Each model is compiled in a
// file of its own, which CMake writes from lab/models/model.cpp.in, and registers itself before
// main begins.

namespace lab {

/// All objects of type T that are compiled in: a table that is filled before main begins.
template <class T>
std::map<std::string, T>& compiled() {
  static std::map<std::string, T> all;
  return all;
}

/// Registers an object in that table.
template <class T>
struct Compiled {
  Compiled(const std::string& name, T what) { compiled<T>().emplace(name, std::move(what)); }
};

/// The object that is compiled in under this name, or null.
template <class T>
const T* find_compiled(const std::string& name) {
  const auto found = compiled<T>().find(name);
  return found == compiled<T>().end() ? nullptr : &found->second;
}

/// As find_compiled. Errors: no object has this name.
template <class T>
const T& get_compiled(const std::string& name) {
  if (const T* const found = find_compiled<T>(name)) return *found;
  throw moe::Error("cannot use the model '", name,
                   "': it is not compiled into this program; add it in lab/CMakeLists.txt");
}

}  // namespace lab
