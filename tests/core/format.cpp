#include <moe/core/format.hpp>

#include "catch.hpp"

TEST_CASE("format: as printf, of any length", "[format]") {
  using moe::detail::format;
  CHECK(format("%s", "").empty());
  CHECK(format("%d of %.2f, %s", 3, 0.125, "x") == "3 of 0.12, x");
  const std::string longer(5000, 'a');
  CHECK(format("<%s>", longer.c_str()) == "<" + longer + ">");
}
