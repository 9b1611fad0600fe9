#pragma once
#include <moe/core/enum_names.hpp>
#include <string>
#include <vector>

namespace lab {

using Names = std::vector<std::string>;

/// The names of an enumeration, for the check of an option.
template <class E>
Names names_of() {
  return {moe::enum_names<E>.begin(), moe::enum_names<E>.end()};
}

}  // namespace lab
