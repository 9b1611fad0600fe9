#include <moe/data/windows.hpp>
#include <numeric>
#include <set>

#include "catch.hpp"
#include "io/scratch.hpp"

using moe::Batch;
using moe::DisjointWindows;
using moe::RandomWindows;
using moe::test::has;
using moe::test::is_sentence;
using moe::test::message_of;

namespace {

/// Tokens first, first + 1, ...: each tells its position.
std::vector<std::int32_t> positions(int first, int count) {
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(count));
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

std::span<const std::int32_t> first_of(const std::vector<std::int32_t>& tokens, int count) {
  return std::span<const std::int32_t>(tokens).first(static_cast<std::size_t>(count));
}

std::vector<std::int32_t> tokens_of(const Batch& batch) {
  return {batch.tokens, batch.tokens + std::ptrdiff_t(batch.sequences) * batch.length};
}

}  // namespace

TEST_CASE("random_below: every number below the bound is equally likely", "[edge]") {
  int count[7] = {};
  for (std::uint32_t i = 0; i < 70000; ++i) ++count[moe::random_below(7, 3, 5, i)];
  double chi_square = 0;
  for (const int n : count) chi_square += (n - 10000.0) * (n - 10000.0) / 10000.0;
  CHECK(chi_square < 22.5);  // 6 degrees of freedom: exceeded by chance once in 1000
  for (std::uint32_t i = 0; i < 100; ++i) CHECK(moe::random_below(1, 3, 5, i) == 0);
}

TEST_CASE("random_below: bounds above 32 bits use all bits, and rejection leaves no bias",
          "[edge]") {
  // Of 2^64 numbers a bound of 3 * 2^62 must reject one in four; without that, multiply-high would
  // give the multiples of 3 twice as often as other numbers.
  const std::uint64_t bound = std::uint64_t(3) << 62;
  int by_remainder[3] = {}, upper_half = 0;
  for (std::uint32_t i = 0; i < 30000; ++i) {
    const std::uint64_t value = moe::random_below(bound, 1, 2, i);
    REQUIRE(value < bound);
    ++by_remainder[value % 3];
    upper_half += value >= bound / 2;
  }
  for (const int n : by_remainder) CHECK(std::abs(n - 10000) < 400);
  CHECK(std::abs(upper_half - 15000) < 400);
}

TEST_CASE("RandomWindows: targets are the next tokens, and a batch depends on seed and step only",
          "[identity]") {
  const auto text = positions(1000, 500);
  RandomWindows windows(text, 4, 16, 42), again(text, 4, 16, 42), other(text, 4, 16, 43);
  std::set<std::vector<std::int32_t>> seen;
  for (int step = 0; step < 50; ++step) {
    const Batch batch = windows.sample(step);
    REQUIRE(batch.sequences == 4);
    REQUIRE(batch.length == 16);
    for (int i = 0; i < 4 * 16; ++i) {
      CHECK(batch.targets[i] == batch.tokens[i] + 1);
      if (i % 16 > 0) CHECK(batch.tokens[i] == batch.tokens[i - 1] + 1);
    }
    seen.insert(tokens_of(batch));
  }
  CHECK(seen.size() == 50);
  // Resume at step 37 without the 37 steps before: the same bits.
  CHECK(tokens_of(again.sample(37)) == tokens_of(windows.sample(37)));
  CHECK(tokens_of(other.sample(37)) != tokens_of(windows.sample(37)));
}

TEST_CASE("RandomWindows: the sequences of two ranks are those of one larger batch", "[identity]") {
  const auto text = positions(0, 300);
  RandomWindows all(text, 4, 8, 1), half(text, 2, 8, 1);
  for (int step = 0; step < 10; ++step) {
    auto both = tokens_of(half.sample(step, 0));
    const auto second = tokens_of(half.sample(step, 2));
    both.insert(both.end(), second.begin(), second.end());
    CHECK(both == tokens_of(all.sample(step)));
  }
}

TEST_CASE("RandomWindows: every start is drawn, the first and the last too", "[edge]") {
  const auto text = positions(0, 12);
  RandomWindows windows(text, 8, 4, 9);
  std::set<std::size_t> starts;
  for (int step = 0; step < 100; ++step) {
    for (int s = 0; s < 8; ++s) starts.insert(windows.start(step, s));
  }
  CHECK(starts == std::set<std::size_t>{0, 1, 2, 3, 4, 5, 6, 7});
  RandomWindows only(first_of(text, 5), 2, 4, 9);
  CHECK(only.start(7, 1) == 0);
}

TEST_CASE("split before windows: no validation token is in any training batch", "[identity]") {
  const int n = 2000, cut = 1800;
  const auto text = positions(0, n);
  RandomWindows train(first_of(text, cut), 8, 32, 5);
  std::int32_t largest = 0;
  for (int step = 0; step < 5000; ++step) {
    const Batch batch = train.sample(step);
    for (int i = 0; i < 8 * 32; ++i) {
      largest = std::max({largest, batch.tokens[i], batch.targets[i]});
    }
  }
  CHECK(largest == cut - 1);  // the last training token is used, and nothing behind it
  const std::span<const std::int32_t> whole(text);
  const DisjointWindows validation(whole.subspan(cut), 8, 32);
  for (int i = 0; i < validation.batches(); ++i) {
    for (const std::int32_t token : tokens_of(validation.batch(i))) CHECK(token >= cut);
  }
}

TEST_CASE("DisjointWindows: every token but the first is a target exactly once", "[identity]") {
  for (const int n : {5, 6, 8, 9, 12, 13, 16, 17, 33, 100, 101, 129}) {
    for (const int sequences : {1, 2, 3, 8}) {
      const auto text = positions(0, n);
      const DisjointWindows windows(text, sequences, 4);
      CHECK(windows.targets() == static_cast<std::size_t>(n - 1));
      std::vector<int> count(static_cast<std::size_t>(n));
      for (int i = 0; i < windows.batches(); ++i) {
        const Batch batch = windows.batch(i);
        CHECK(batch.sequences >= 1);
        CHECK(batch.sequences <= sequences);
        CHECK((batch.length == 4 || (i + 1 == windows.batches() && batch.length < 4)));
        for (int j = 0; j < batch.sequences * batch.length; ++j) {
          CHECK(batch.targets[j] == batch.tokens[j] + 1);
          ++count[static_cast<std::size_t>(batch.targets[j])];
        }
      }
      CHECK(count[0] == 0);
      for (std::size_t i = 1; i < count.size(); ++i) CHECK(count[i] == 1);
    }
  }
}

TEST_CASE("windows: sizes below 1 and a short text are errors with the numbers", "[error]") {
  const auto text = positions(0, 16);
  for (const auto& sizes : {std::pair{0, 4}, {4, 0}, {-1, 4}, {4, -4}}) {
    const int sequences = sizes.first, length = sizes.second;
    for (const std::string& message :
         {message_of([&] { RandomWindows(text, sequences, length, 1); }),
          message_of([&] { DisjointWindows(text, sequences, length); })}) {
      CHECK(is_sentence(message));
      CHECK(has(message, std::to_string(sequences) + " sequences of " + std::to_string(length)));
    }
  }
  for (const std::string& message : {message_of([&] { RandomWindows(text, 2, 16, 1); }),
                                     message_of([&] { DisjointWindows(text, 2, 16); })}) {
    CHECK(is_sentence(message));
    CHECK(has(message, "windows of 16 tokens from a text of 16"));
  }
  CHECK(message_of([&] { RandomWindows(text, 2, 15, 1); }).empty());
  CHECK(message_of([&] { RandomWindows({}, 2, 15, 1); }) != "");
}

TEST_CASE("ByteCorpus: any bytes are tokens", "[io]") {
  const moe::test::ScratchFolder folder;
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<char>(i));
  moe::write_file(folder / "a", bytes);
  const moe::ByteCorpus corpus(folder / "a");
  CHECK(corpus.tokens().size() == 256);
  const Batch batch = corpus.sample(3, 10, 5);
  REQUIRE(batch.sequences == 3);
  REQUIRE(batch.length == 10);
  for (int i = 0; i < 30; ++i) CHECK(batch.targets[i] == batch.tokens[i] + 1);
  const auto first = tokens_of(batch);
  CHECK(tokens_of(corpus.sample(3, 20, 5)).size() == 60);
  CHECK(tokens_of(corpus.sample(3, 10, 6)) != first);
  CHECK(tokens_of(corpus.sample(3, 10, 5)) == first);
  CHECK(tokens_of(moe::ByteCorpus(folder / "a", 1).sample(3, 10, 5)) != first);
  CHECK(has(message_of([&] { corpus.sample(1, 256, 0); }), "'" + (folder / "a") + "' of 256"));
  moe::write_file(folder / "a", "");
  CHECK(has(message_of([&] { moe::ByteCorpus(folder / "a"); }), "it is empty"));
  CHECK(has(message_of([&] { moe::ByteCorpus(folder / "b"); }), "No such file"));
}
