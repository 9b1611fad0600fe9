#include <moe/data/shuffled_windows.hpp>
#include <set>

#include "catch.hpp"
#include "io/scratch.hpp"

using moe::Batch;
using moe::ShuffledWindows;
using moe::TokenFile;
using moe::test::has;
using moe::test::is_sentence;
using moe::test::message_of;

namespace {

using Tokens = std::vector<std::int32_t>;

Tokens counted(int count) {
  Tokens tokens;
  for (int i = 0; i < count; ++i) tokens.push_back(i);
  return tokens;
}

}  // namespace

TEST_CASE("shuffled: a permutation for every count, seed and epoch", "[identity]") {
  for (const std::uint64_t count : {1u, 2u, 3u, 5u, 16u, 17u, 63u, 64u, 65u, 1000u, 4097u})
    for (const std::uint64_t seed : {0u, 7u})
      for (const std::uint64_t epoch : {0u, 1u, 123456u}) {
        std::vector<bool> seen(count);
        for (std::uint64_t i = 0; i < count; ++i) {
          const std::uint64_t to = moe::shuffled(i, count, seed, epoch);
          REQUIRE(to < count);
          REQUIRE(!seen[to]);
          seen[to] = true;
        }
      }
  const std::uint64_t large = std::uint64_t{1} << 62;
  CHECK(moe::shuffled(large - 1, large, 1, 2) < large);
}

TEST_CASE("shuffled: every place is equally likely, and epochs differ", "[edge]") {
  constexpr std::uint64_t count = 10, epochs = 20000;
  std::vector<std::vector<int>> hits(count, std::vector<int>(count));
  for (std::uint64_t epoch = 0; epoch < epochs; ++epoch)
    for (std::uint64_t i = 0; i < count; ++i) ++hits[i][moe::shuffled(i, count, 3, epoch)];
  // Each is binomial with mean 2000 and deviation 42.
  for (const auto& row : hits)
    for (const int hit : row) CHECK(std::abs(hit - 2000) < 250);
  int same = 0;
  for (std::uint64_t i = 0; i < 1000; ++i)
    same += moe::shuffled(i, 1000, 3, 0) == moe::shuffled(i, 1000, 3, 1);
  CHECK(same < 15);
}

TEST_CASE("ShuffledWindows: every window once an epoch, targets are the next tokens",
          "[identity]") {
  const Tokens tokens = counted(101 * 8 + 5);  // 101 windows of 8, four tokens are left over
  ShuffledWindows windows(tokens, 4, 8, 42);
  REQUIRE(windows.windows() == 101);
  for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
    std::set<std::int32_t> starts;
    for (std::uint64_t i = 0; i < 101; ++i) {
      const Batch batch = windows.at(epoch * 101 + i);
      REQUIRE(batch.sequences == 4);
      REQUIRE(batch.length == 8);
      for (int t = 0; t < 32; ++t) REQUIRE(batch.targets[t] == batch.tokens[t] + 1);
      for (int t = 1; t < 8; ++t) REQUIRE(batch.tokens[t] == batch.tokens[t - 1] + 1);
      REQUIRE(batch.tokens[0] % 8 == 0);
      starts.insert(batch.tokens[0]);
    }
    CHECK(starts.size() == 101);
    CHECK(*starts.rbegin() == 100 * 8);
  }
}

TEST_CASE("ShuffledWindows: a batch depends on seed and position alone", "[determinism]") {
  const Tokens tokens = counted(5000);
  const auto starts = [&](std::uint64_t seed, std::int64_t from, std::int64_t to) {
    ShuffledWindows windows(tokens, 3, 16, seed);
    Tokens out;
    for (std::int64_t step = from; step < to; ++step) {
      const Batch batch = windows.sample(step);
      for (int s = 0; s < 3; ++s) out.push_back(batch.tokens[s * 16]);
    }
    return out;
  };
  const Tokens whole = starts(1, 0, 300), resumed = starts(1, 120, 300);
  CHECK(Tokens(whole.begin() + 360, whole.end()) == resumed);
  CHECK(starts(2, 0, 300) != whole);
}

TEST_CASE("ShuffledWindows: the batches of one step follow each other and do not overlap",
          "[identity]") {
  const Tokens tokens = counted(24 * 4 + 1);
  ShuffledWindows large(tokens, 6, 4, 9), small(tokens, 2, 4, 9, 6);
  for (std::int64_t step = 0; step < 9; ++step) {
    const Batch all = large.sample(step);
    const Tokens expected(all.tokens, all.tokens + 24);
    Tokens parts;
    for (const int first : {0, 2, 4}) {
      const Batch part = small.sample(step, first);
      parts.insert(parts.end(), part.tokens, part.tokens + 8);
    }
    CHECK(parts == expected);
  }
}

TEST_CASE("ShuffledWindows: tokens in files give the batches of tokens in memory", "[io]") {
  const moe::test::ScratchFolder folder;
  const Tokens tokens = counted(1000);
  moe::write_token_file(folder / "1.bin", std::span(tokens).first(333));
  moe::write_token_file(folder / "2.bin", std::span(tokens).subspan(333));
  const TokenFile file(moe::token_shards(folder.path()), {.vocab = 1000});
  ShuffledWindows from_file(file, 5, 13, 4), from_memory(tokens, 5, 13, 4);
  CHECK(from_file.windows() == from_memory.windows());
  for (std::int64_t step = 0; step < 50; ++step) {
    const Batch a = from_file.sample(step), b = from_memory.sample(step);
    CHECK(std::equal(a.tokens, a.tokens + 65, b.tokens));
    CHECK(std::equal(a.targets, a.targets + 65, b.targets));
  }
}

TEST_CASE("ShuffledWindows: sizes that make no sense are refused", "[error]") {
  const Tokens tokens = counted(9);
  CHECK(ShuffledWindows(tokens, 1, 8, 0).windows() == 1);
  CHECK(has(message_of([&] { ShuffledWindows(tokens, 1, 9, 0); }), "from a text of 9"));
  CHECK(has(message_of([&] { ShuffledWindows(tokens, 0, 4, 0); }), "0 sequences"));
  CHECK(has(message_of([&] { ShuffledWindows(TokenFile(Tokens{}), 1, 4, 0); }), "text of 0"));
  const std::string message = message_of([&] { ShuffledWindows(tokens, 4, 2, 0, 3); });
  CHECK(is_sentence(message));
  CHECK(has(message, "would overlap"));
}
