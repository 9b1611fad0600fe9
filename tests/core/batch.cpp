#include <moe/core/batch.hpp>

#include "catch.hpp"
#include "io/scratch.hpp"

namespace {

using namespace moe;

const std::int32_t text[] = {3, 1, 4, 1, 5, 9, 2};

TEST_CASE("Batch::next_token: each target is the token that follows", "[identity]") {
  const Batch one = Batch::next_token(text);
  CHECK(one.sequences == 1);
  CHECK(one.length == 6);
  for (int i = 0; i < 6; ++i) CHECK(one.tokens[i] == text[i]);
  for (int i = 0; i < 6; ++i) CHECK(one.targets[i] == text[i + 1]);
  const Batch three = Batch::next_token(text, 3);
  CHECK(three.sequences == 3);
  CHECK(three.length == 2);
  CHECK(three.targets[5] == 2);
}

TEST_CASE("Batch::next_token: tokens that are no batch are refused with their number", "[error]") {
  const std::span<const std::int32_t> all = text;
  const auto message = [&](std::size_t tokens, int sequences) {
    return test::message_of([&] { Batch::next_token(all.first(tokens), sequences); });
  };
  CHECK(message(0, 1).find("of 0 tokens") != std::string::npos);
  CHECK(message(1, 1).find("of 1 tokens") != std::string::npos);
  CHECK(message(7, 4).find("make 4 sequences of 7 tokens") != std::string::npos);
  CHECK(message(7, 0).find("make 0 sequences") != std::string::npos);
  CHECK(message(7, -1).find("make -1 sequences") != std::string::npos);
  CHECK(message(7, 6).empty());
}

}  // namespace
