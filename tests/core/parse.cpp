#include <cstdint>
#include <moe/core/parse.hpp>

#include "catch.hpp"

namespace {

using moe::whole_number;

TEST_CASE("whole_number: reads a text that is a number from beginning to end", "[identity]") {
  CHECK(whole_number("0") == 0);
  CHECK(whole_number("123") == 123);
  CHECK(whole_number("-5") == -5);
  CHECK(whole_number<std::uint64_t>("18446744073709551615") == UINT64_MAX);
}

TEST_CASE("whole_number: any other text is refused", "[error]") {
  for (const char* text : {"", " 1", "1 ", "+1", "3x", "1e1", "0x10", "abc", "1.0", "99999999999"})
    CHECK_FALSE(whole_number(text));
  CHECK_FALSE(whole_number<unsigned>("-1"));
}

}  // namespace
