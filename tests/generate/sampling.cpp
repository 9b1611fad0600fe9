#include <array>
#include <limits>
#include <map>
#include <moe/generate/sampling.hpp>

#include "catch.hpp"
#include "messages.hpp"

namespace {

using namespace moe;
using test::message_of;

// exp of these is 8, 4, 4, 2, 1, 1 up to a factor; the shares are 0.4, 0.2, 0.2, 0.1, 0.05, 0.05.
const double unit = std::log(2.0);
const std::array<double, 6> logits{unit * 3, unit * 2, unit * 2, unit * 1, 0, 0};
const std::array<double, 6> shares{0.4, 0.2, 0.2, 0.1, 0.05, 0.05};

std::span<const double> view(const auto& numbers) {
  return {numbers.data(), numbers.size()};
}

std::vector<int> tokens_of(const SampleOptions& options, std::span<const double> from = logits) {
  std::vector<int> tokens;
  for (const Candidate& c : candidates(from, options)) tokens.push_back(c.token);
  return tokens;
}
using Tokens = std::vector<int>;

/// The largest |frequency - probability| over its standard deviation.
double worst_deviation(const SampleOptions& options, const std::map<int, double>& expected) {
  constexpr int draws = 40000;
  std::map<int, int> count;
  for (int i = 0; i < draws; ++i) ++count[sample_token(view(logits), options, std::uint64_t(i))];
  double worst = 0;
  for (const auto& [token, n] : count)
    if (!expected.contains(token)) return std::numeric_limits<double>::infinity();
  for (const auto& [token, p] : expected) {
    const double deviation = std::sqrt(p * (1 - p) / draws);
    worst = std::max(worst, std::abs(count[token] / double(draws) - p) / deviation);
  }
  return worst;
}

TEST_CASE("sampling: every token's frequency is its probability") {
  CHECK(worst_deviation({}, {{0, .4}, {1, .2}, {2, .2}, {3, .1}, {4, .05}, {5, .05}}) < 4);
  CHECK(worst_deviation({.top_k = 2}, {{0, 2 / 3.}, {1, 1 / 3.}}) < 4);
  CHECK(worst_deviation({.top_p = 0.75}, {{0, .5}, {1, .25}, {2, .25}}) < 4);
  CHECK(worst_deviation({.min_p = 0.2}, {{0, 4 / 9.}, {1, 2 / 9.}, {2, 2 / 9.}, {3, 1 / 9.}}) < 4);
  // Temperature 1/2 squares the odds: 64 16 16 4 1 1.
  CHECK(worst_deviation({.temperature = 0.5}, {{0, 64 / 102.},
                                               {1, 16 / 102.},
                                               {2, 16 / 102.},
                                               {3, 4 / 102.},
                                               {4, 1 / 102.},
                                               {5, 1 / 102.}}) < 4);
  CHECK(worst_deviation({}, {{0, .5}, {1, .1}, {2, .2}, {3, .1}, {4, .05}, {5, .05}}) > 4);
}

TEST_CASE("sampling: the candidates' probabilities are the softmax") {
  const auto all = candidates(view(logits), {});
  REQUIRE(all.size() == 6);
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(all[i].token == int(i));
    CHECK(std::abs(all[i].probability - shares[i]) < 1e-15);
  }
}

TEST_CASE("sampling: greedy takes the most likely token, the lowest among equals") {
  const SampleOptions greedy{.temperature = 0};
  CHECK(tokens_of(greedy) == Tokens{0});
  for (std::uint64_t i = 0; i < 100; ++i) CHECK(sample_token(view(logits), greedy, i) == 0);
  CHECK(sample_token(view(std::array{1.0, 5.0, 2.0, 5.0}), greedy, 0) == 1);
  CHECK(sample_token(view(std::array{-3.0, -2.0}), greedy, 0) == 1);
}

TEST_CASE("sampling: top-k keeps the k most likely, the lowest among equals") {
  CHECK(tokens_of({.top_k = 1}) == Tokens{0});
  CHECK(tokens_of({.top_k = 2}) == Tokens{0, 1});
  CHECK(tokens_of({.top_k = 3}) == Tokens{0, 1, 2});
  CHECK(tokens_of({.top_k = 5}) == Tokens{0, 1, 2, 3, 4});
  CHECK(tokens_of({.top_k = 100}) == Tokens{0, 1, 2, 3, 4, 5});
  CHECK(tokens_of({.top_k = 2}, view(std::array{1.0, 2.0, 0.0, 3.0})) == Tokens{1, 3});
}

TEST_CASE("sampling: top-p keeps the fewest most likely tokens with that share") {
  CHECK(tokens_of({.top_p = 0.01}) == Tokens{0});
  CHECK(tokens_of({.top_p = 0.39}) == Tokens{0});
  CHECK(tokens_of({.top_p = 0.41}) == Tokens{0, 1});
  CHECK(tokens_of({.top_p = 0.61}) == Tokens{0, 1, 2});
  CHECK(tokens_of({.top_p = 0.89}) == Tokens{0, 1, 2, 3});
  CHECK(tokens_of({.top_p = 0.91}) == Tokens{0, 1, 2, 3, 4});
  CHECK(tokens_of({.top_p = 1}) == Tokens{0, 1, 2, 3, 4, 5});
  // A share that is met exactly needs no further token: 0.5 of two equal ones.
  CHECK(tokens_of({.top_p = 0.5}, view(std::array{1.0, 1.0})) == Tokens{0});
}

TEST_CASE("sampling: min-p keeps tokens with that share of the most likely one's probability") {
  CHECK(tokens_of({.min_p = 1}) == Tokens{0});
  CHECK(tokens_of({.min_p = 0.51}) == Tokens{0});
  CHECK(tokens_of({.min_p = 0.49}) == Tokens{0, 1, 2});
  CHECK(tokens_of({.min_p = 0.24}) == Tokens{0, 1, 2, 3});
  CHECK(tokens_of({.min_p = 0.12}) == Tokens{0, 1, 2, 3, 4, 5});
}

TEST_CASE("sampling: filters work one after the other: temperature, top-k, top-p, min-p") {
  // Two of the top 3 (0.5 0.25 0.25) reach a share of 0.7; without top-k it takes three tokens.
  CHECK(tokens_of({.top_p = 0.7}) == Tokens{0, 1, 2});
  CHECK(tokens_of({.top_k = 3, .top_p = 0.7}) == Tokens{0, 1});
  // If min-p came first, it would leave 8, 4 and 4 of 16, and two of them would reach 0.7.
  CHECK(tokens_of({.top_p = 0.7, .min_p = 0.4}) == Tokens{0, 1, 2});
  // At temperature 2 the odds are the square roots, down to 1 / sqrt(8) = 0.35.
  CHECK(tokens_of({.min_p = 0.3}) == Tokens{0, 1, 2});
  CHECK(tokens_of({.temperature = 2, .min_p = 0.3}) == Tokens{0, 1, 2, 3, 4, 5});
  CHECK(tokens_of({.temperature = 0, .top_k = 3, .min_p = 0.1}) == Tokens{0});
}

TEST_CASE("sampling: filters that keep everything change no draw") {
  for (std::uint64_t i = 0; i < 200; ++i) {
    const int token = sample_token(view(logits), {.seed = 5}, i);
    CHECK(sample_token(view(logits), {.top_k = 6, .seed = 5}, i) == token);
    CHECK(sample_token(view(logits), {.min_p = 0.1, .seed = 5}, i) == token);
  }
}

TEST_CASE("sampling: a token depends on seed, position and sequence, and on nothing else") {
  const auto draw = [](std::uint64_t seed, std::uint64_t sequence) {
    Tokens tokens;
    for (std::uint64_t i = 0; i < 64; ++i)
      tokens.push_back(sample_token(view(logits), {.seed = seed}, i, sequence));
    return tokens;
  };
  CHECK(draw(1, 0) == draw(1, 0));
  CHECK(draw(1, 0) != draw(2, 0));
  CHECK(draw(1, 0) != draw(1, 1));
  const Tokens tokens = draw(1, 0);
  CHECK(sample_token(view(logits), {.seed = 1}, 17) == tokens[17]);  // out of turn
}

TEST_CASE("sampling: tokens beyond the text's vocabulary never come") {
  const std::array<double, 4> high{0, 1, 2, 50};
  CHECK(tokens_of({.vocab = 3}, view(high)) == Tokens{0, 1, 2});
  CHECK(sample_token(view(high), {.temperature = 0, .vocab = 3}, 0) == 2);
  CHECK(sample_token(view(high), {.temperature = 0}, 0) == 3);
}

TEST_CASE("sampling: extreme logits and temperatures") {
  const std::array<double, 3> wide{-1e300, 0, 1e300};
  for (const double temperature : {1e-300, 1.0, 1e300})
    for (const Candidate& c : candidates(view(wide), {.temperature = temperature}))
      CHECK(std::isfinite(c.probability));
  CHECK(sample_token(view(wide), {.temperature = 1e-300}, 0) == 2);
  const std::array<float, 2> largest{-std::numeric_limits<float>::max(),
                                     std::numeric_limits<float>::max()};
  CHECK(sample_token(std::span<const float>(largest), {}, 3) == 1);
  CHECK(sample_token(view(std::array{7.0}), {.top_k = 1, .top_p = 0.1, .min_p = 1}, 9) == 0);
}

TEST_CASE("sampling: options that make no sense are refused by name") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinite = std::numeric_limits<double>::infinity();
  const auto message = [](const SampleOptions& options) {
    return message_of([&] { sample_token(view(logits), options, 0); });
  };
  CHECK(message({.temperature = -1}) ==
        "moe: cannot sample with SampleOptions.temperature = -1.000000: it must be finite, 0 or "
        "more; correct the option");
  for (const auto& [options, name] : std::vector<std::pair<SampleOptions, std::string>>{
           {{.tokens = -1}, "tokens"},
           {{.temperature = nan}, "temperature"},
           {{.temperature = infinite}, "temperature"},
           {{.top_k = -1}, "top_k"},
           {{.top_p = 0}, "top_p"},
           {{.top_p = 1.1}, "top_p"},
           {{.top_p = nan}, "top_p"},
           {{.min_p = -0.1}, "min_p"},
           {{.min_p = 1.1}, "min_p"},
           {{.min_p = nan}, "min_p"},
           {{.vocab = -1}, "vocab"}}) {
    INFO(name);
    CHECK(message(options).starts_with("moe: cannot sample with SampleOptions." + name + " = "));
  }
  CHECK(message({.vocab = 7}) ==
        "moe: cannot choose among 7 tokens: the model has 6; use the vocabulary that it was "
        "trained with");
}

TEST_CASE("sampling: logits that are not finite are refused") {
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
        -std::numeric_limits<double>::infinity()})
    for (const double temperature : {0.0, 1.0})
      for (std::size_t at = 0; at < 3; ++at) {
        std::array<double, 3> some{1, 2, 3};
        some[at] = bad;
        const std::string message =
            message_of([&] { sample_token(view(some), {.temperature = temperature}, 0); });
        CHECK(message.starts_with("moe: cannot choose a token: logit " + std::to_string(at) +
                                  " of 3 is "));
      }
}

}  // namespace
