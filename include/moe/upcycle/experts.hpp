#pragma once
#include <algorithm>
#include <cmath>
#include <moe/upcycle/recipe.hpp>
#include <numeric>
#include <string>
#include <vector>

// The operations of upcycling on the numbers of one leaf, on the host.

namespace moe::inline MOE_ISA::detail {

/// Random numbers for one use in one expert of one layer.
class UpcycleRandom {
 public:
  enum Use { order, gate, up, down, noise, router };
  UpcycleRandom(const UpcycleOptions& options, int layer, int expert, Use use)
      : seed_(options.seed),
        stream_(stream(std::uint64_t(expert) * 8 + std::uint64_t(use), std::uint32_t(layer),
                       RandomStream::upcycle)) {}

  double next() { return normal(seed_, stream_, count_++); }
  /// A random permutation of 0 ... n - 1: sorted by random keys, equal keys by index.
  std::vector<int> order_of(int n) const {
    std::vector<std::uint64_t> keys(std::size_t(n), 0);
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const RandomWords words = philox(seed_, stream_, i);
      keys[i] = std::uint64_t(words[0]) << 32 | words[1];
    }
    std::vector<int> all(std::size_t(n), 0);
    std::iota(all.begin(), all.end(), 0);
    std::stable_sort(all.begin(), all.end(),
                     [&](int a, int b) { return keys[std::size_t(a)] < keys[std::size_t(b)]; });
    return all;
  }

 private:
  std::uint64_t seed_, stream_, count_ = 0;
};

/// The origin of the hidden units of one expert. All its matrices use the same.
struct ExpertUnits {
  std::vector<int> source;  // of each unit: its index in the dense feed-forward
  std::vector<char> drawn;  // of each unit: true if its numbers are drawn anew
  int count() const { return int(source.size()); }
};

inline ExpertUnits expert_units(Recipe recipe, const UpcycleOptions& options, int layer, int expert,
                                int hidden, int dense_hidden) {
  ExpertUnits units;
  units.source.resize(std::size_t(hidden));
  units.drawn.assign(std::size_t(hidden), 0);
  const int groups = dense_hidden / hidden;
  std::iota(units.source.begin(), units.source.end(),
            recipe == Recipe::virtual_groups ? expert % groups * hidden : 0);
  const UpcycleRandom random(options, layer, expert, UpcycleRandom::order);
  if (recipe == Recipe::permute) units.source = random.order_of(hidden);
  if (recipe == Recipe::drop) {
    const auto order = random.order_of(hidden);
    const auto dropped = std::size_t(std::lround(options.drop * hidden));
    for (std::size_t i = 0; i < dropped; ++i) units.drawn[std::size_t(order[i])] = 1;
  }
  return units;
}

/// The layout of a leaf of a feed-forward: each hidden unit has `each` numbers, `number_step`
/// apart; units are `unit_step` apart. Units are the rows of gate and up matrices, and the columns
/// of down matrices.
struct UnitLayout {
  int each;
  std::ptrdiff_t unit_step, number_step;

  std::size_t at(int unit, int number) const {
    return std::size_t(unit * unit_step + number * number_step);
  }
};

/// Makes one expert's leaf from the dense one: copies its units, times `scale`. Units that are
/// drawn anew get normal numbers with the mean and deviation of those they replace, or 0 without
/// `random`.
/// Source of drawing anew: Nakamura et al. 2025, arXiv:2502.19261, section 3, with one set of units
/// for all matrices of an expert.
template <class W>
void take_units(const ExpertUnits& units, UnitLayout from, const std::vector<W>& dense,
                UnitLayout to, double scale, UpcycleRandom* random, W* out) {
  double sum = 0, square = 0, n = 0;
  for (int u = 0; u < units.count(); ++u) {
    for (int i = 0; i < to.each; ++i) {
      const double value = scale * double(dense[from.at(units.source[std::size_t(u)], i)]);
      out[to.at(u, i)] = W(value);
      if (!units.drawn[std::size_t(u)]) continue;
      sum += value, square += value * value, n += 1;
    }
  }
  if (n == 0) return;
  const double mean = sum / n, deviation = std::sqrt(std::max(0.0, square / n - mean * mean));
  for (int u = 0; u < units.count(); ++u)
    for (int i = 0; i < to.each; ++i)
      if (units.drawn[std::size_t(u)])
        out[to.at(u, i)] = W(random ? mean + deviation * random->next() : 0.0);
}

/// Adds normal noise with a standard deviation of `size` times the root mean square of the numbers.
template <class W>
void add_noise(W* numbers, std::size_t n, double size, UpcycleRandom random) {
  double square = 0;
  for (std::size_t i = 0; i < n; ++i) square += double(numbers[i]) * double(numbers[i]);
  const double deviation = size * std::sqrt(square / double(n));
  for (std::size_t i = 0; i < n; ++i)
    numbers[i] = W(double(numbers[i]) + deviation * random.next());
}

/// The initial rows (experts, dim) of a router. Each `groups` consecutive experts share one row.
template <class W>
std::vector<W> router_rows(const UpcycleOptions& options, int layer, int experts, int dim,
                           int groups) {
  const int distinct = experts / groups;
  const auto size = std::size_t(dim);
  std::vector<std::vector<double>> rows;
  for (int e = 0; e < distinct; ++e) {
    UpcycleRandom random(options, layer, e, UpcycleRandom::router);
    std::vector<double> row(size);
    for (double& x : row) x = options.router == RouterStart::zero ? 0 : random.next();
    if (options.router == RouterStart::orthogonal) {
      // Two passes of Gram-Schmidt: the second removes what rounding left.
      for (int pass = 0; pass < 2; ++pass)
        for (const auto& other : rows) {
          const double along = std::inner_product(row.begin(), row.end(), other.begin(), 0.0);
          for (std::size_t i = 0; i < size; ++i) row[i] -= along * other[i];
        }
      const double length = std::sqrt(std::inner_product(row.begin(), row.end(), row.begin(), 0.0));
      for (double& x : row) x /= length;
    }
    rows.push_back(std::move(row));
  }
  const double scale = options.router_std *
                       (options.router == RouterStart::orthogonal ? std::sqrt(double(dim)) : 1.0);
  std::vector<W> all;
  for (int e = 0; e < experts; ++e)
    for (const double x : rows[std::size_t(e / groups)]) all.push_back(W(scale * x));
  return all;
}

}  // namespace moe::detail
