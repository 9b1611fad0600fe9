#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <moe/core/check_option.hpp>
#include <moe/core/random.hpp>
#include <span>
#include <string>
#include <vector>

namespace moe::inline MOE_ISA {

/// How tokens are chosen from logits. `vocab` and then the filters apply in the order of this list,
/// each to what the previous one left. The token is drawn from the rest, after renormalization.
///
///     moe::SampleOptions options{.temperature = 0.8, .top_k = 40, .seed = 1};
struct SampleOptions {
  int tokens = 200;        // how many to generate
  double temperature = 1;  // divides the logits; 0: always the most likely token
  int top_k = 0;           // only the k most likely tokens; 0: all
  double top_p = 1;        // only the smallest set of most likely tokens with this total share
  double min_p = 0;  // only tokens with at least this share of the most likely token's probability
  std::uint64_t seed = 0;
  int vocab = 0;  // only tokens below this, if the model has more tokens than the text; 0: all
};

/// Errors: moe::Error for the first invalid option, with its value and its rule.
inline void check_options(const SampleOptions& o) {
  const detail::OptionCheck check{"sample", "SampleOptions"};
  check.at_least("tokens", o.tokens, 0);
  check.not_negative<double>("temperature", o.temperature);
  check(o.top_k >= 0, "top_k", o.top_k, "1 or more, or 0 for all tokens");
  check(o.top_p > 0 && o.top_p <= 1, "top_p", o.top_p, "above 0 and at most 1");
  check(o.min_p >= 0 && o.min_p <= 1, "min_p", o.min_p, "from 0 to 1");
  check(o.vocab >= 0, "vocab", o.vocab, "1 or more, or 0 for all tokens");
}

/// A token that may be drawn. The probabilities of all candidates sum to 1.
struct Candidate {
  std::int32_t token;
  double probability;
};

namespace detail {

/// The most likely token; of equals the lowest.
template <class T>
std::size_t most_likely(std::span<const T> logits) {
  std::size_t best = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (!std::isfinite(double(logits[i])))
      throw Error("cannot choose a token: logit ", i, " of ", logits.size(), " is ",
                  double(logits[i]), "; the model has diverged, use an earlier checkpoint");
    if (logits[i] > logits[best]) best = i;
  }
  return best;
}

/// Keeps the `keep` most likely candidates (0: all), then the fewest of these that have at least
/// `share` of their sum.
inline void keep_most_likely(std::vector<Candidate>& all, std::size_t keep, double share) {
  if (keep == 0 || keep > all.size()) keep = all.size();
  std::partial_sort(all.begin(), all.begin() + std::ptrdiff_t(keep), all.end(),
                    [](const Candidate& a, const Candidate& b) {
                      return a.probability > b.probability ||
                             (a.probability == b.probability && a.token < b.token);
                    });
  all.resize(keep);
  if (share >= 1) return;
  double total = 0, sum = 0;
  for (const Candidate& c : all) total += c.probability;
  for (std::size_t i = 0; i < all.size(); ++i) {
    sum += all[i].probability;
    if (sum >= share * total) return all.resize(i + 1);
  }
}

}  // namespace detail

/// The tokens that may follow, sorted, with their probabilities: softmax(logits / temperature),
/// filtered. If equally likely tokens meet the limit of top_k or top_p, the lowest are kept.
/// Shapes: logits (vocab).  Errors: moe::Error for invalid options, or a logit that is not finite.
/// Source: Fan et al. 2018, arXiv:1805.04833 (top-k); Holtzman et al. 2019, arXiv:1904.09751
/// (top-p); Nguyen et al. 2024, arXiv:2407.01082 (min-p).  Test: tests/generate/sampling.cpp.
template <class T>
std::vector<Candidate> candidates(std::span<const T> logits, const SampleOptions& o) {
  check_options(o);
  MOE_EXPECTS(!logits.empty(), "choosing a token needs at least one logit");
  if (std::size_t(o.vocab) > logits.size())
    throw Error("cannot choose among ", o.vocab, " tokens: the model has ", logits.size(),
                "; use the vocabulary that it was trained with");
  if (o.vocab > 0) logits = logits.first(std::size_t(o.vocab));
  const std::size_t best = detail::most_likely(logits);
  if (o.temperature == 0) return {{std::int32_t(best), 1.0}};

  std::vector<Candidate> all(logits.size());
  for (std::size_t i = 0; i < all.size(); ++i)
    all[i] = {std::int32_t(i),
              std::exp((double(logits[i]) - double(logits[best])) / o.temperature)};
  if (o.top_k > 0 || o.top_p < 1) detail::keep_most_likely(all, std::size_t(o.top_k), o.top_p);
  std::erase_if(all, [&](const Candidate& c) { return c.probability < o.min_p; });
  std::sort(all.begin(), all.end(),
            [](const Candidate& a, const Candidate& b) { return a.token < b.token; });
  double total = 0;
  for (const Candidate& c : all) total += c.probability;
  for (Candidate& c : all) c.probability /= total;
  return all;
}

/// Draws the token at `position` of a generated text from candidates(). The result depends only on
/// the arguments. Texts that are generated together have different values of `sequence`.
///
///     const int token = moe::sample_token(generator.feed(prompt), options, 0);
///
/// Shapes, Errors: those of candidates().  Test: tests/generate/sampling.cpp.
template <class T>
int sample_token(std::span<const T> logits, const SampleOptions& options, std::uint64_t position,
                 std::uint64_t sequence = 0) {
  const std::vector<Candidate> all = candidates(logits, options);
  double left =
      uniform(philox(options.seed, stream(position, 0, RandomStream::sampling), sequence).word[0]);
  for (const Candidate& c : all) {
    left -= c.probability;
    if (left < 0) return c.token;
  }
  return all.back().token;  // rounding made the sum less than 1
}

}  // namespace moe
