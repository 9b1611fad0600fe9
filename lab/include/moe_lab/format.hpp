#pragma once
#include <moe/core/format.hpp>

namespace lab {

using moe::detail::format;

}  // namespace lab
