#include <moe/core/error.hpp>

#include "catch.hpp"

namespace {
struct Special : moe::Error {
  using Error::Error;
};
}  // namespace

TEST_CASE("Error: begins with the name of the library once, also inside another one", "[error]") {
  const moe::Error error("cannot read 'a': no such file; check the path");
  CHECK(std::string(error.what()) == "moe: cannot read 'a': no such file; check the path");
  CHECK(error.sentence() == "cannot read 'a': no such file; check the path");
  CHECK(moe::Error(error.sentence()).what() == std::string(error.what()));
  CHECK(std::string(Special("stopped").what()) == "moe: stopped");
  CHECK(moe::Error("").sentence().empty());
}
