#pragma once
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <moe/backend/reference.hpp>
#include <moe/optim/optimizer.hpp>
#include <moe/tree/bind.hpp>
#include <moe/tree/walk.hpp>
#include <string>
#include <vector>
#if __has_include(<moe/backend/cpu.hpp>)
#include <moe/backend/cpu.hpp>
#define MOE_TEST_HAS_CPU 1
#endif

#include "messages.hpp"

// The smallest model that an optimizer can work on. It has a leaf of every role, and the test
// writes the gradients itself.

namespace moe::test {

template <class T>
struct TinyParams {
  struct Block {
    Param<T, Role::gain, 1, 5> gain;
    Param<T, Role::hidden, 4, 5> q;
    Param<T, Role::router, 3, 5> router;
    Param<T, Role::expert_bias, 1, 3> expert_bias;
    Param<T, Role::hidden, 7, 5, 3> up;
    Param<T, Role::bias, 3, 7> up_bias;
    Param<T, Role::residual, 5, 7, 3> down;
  };
  Param<T, Role::embedding, 4000, 5> embedding;  // enough chunks for several threads
  Param<T, Role::position, 6, 5> position;
  std::array<Block, 2> blocks;
  Param<T, Role::head, 11, 5> head;
};

template <class B>
class TinyModel {
 public:
  using Backend = B;
  using T = typename B::Value;
  using Params = TinyParams<T>;

  template <class... Threads>
  explicit TinyModel(Threads... threads)
      : be_(threads...),
        values_(be_, bytes<Params>()),
        gradients_(be_, bytes<Params>()),
        flag_(be_, sizeof(int)) {
    bind(params_, values_.data());
    bind(grads_, gradients_.data());
    fill(params_, 1, 1);
  }
  Backend& backend() { return be_; }
  Params& params() { return params_; }
  Params& grads() { return grads_; }
  int* loss_not_finite() { return reinterpret_cast<int*>(flag_.data()); }
  void zero_grads() {
    be_.zero(grads_.embedding.data, bytes<Params>());
    be_.zero(flag_.data(), sizeof(int));
  }

  void set_loss(double loss) { *loss_not_finite() = *loss_not_finite() || !std::isfinite(loss); }
  void draw_grads(std::uint64_t seed, double size = 1) { fill(grads_, seed + 100, size); }

 private:
  static void fill(Params& tree, std::uint64_t seed, double size) {
    std::uint64_t leaf_number = 0;
    for_each_leaf(
        [&](auto& leaf) {
          for (std::size_t i = 0; i < leaf.size; ++i)
            leaf.data[i] = T(size * normal(seed, leaf_number, i));
          ++leaf_number;
        },
        tree);
  }
  B be_;
  Arena<B> values_, gradients_, flag_;
  Params params_, grads_;
};

/// Every leaf's values by path.
using Values = std::map<std::string, std::vector<double>>;

template <class Tree>
Values values(Tree& tree) {
  Values all;
  for_each_named_leaf(
      [&](const std::string& path, auto& leaf) {
        all[path] = std::vector<double>(leaf.data, leaf.data + leaf.size);
      },
      "", tree);
  return all;
}

/// Parameters and optimizer state together.
template <class Model, class Optimizer>
Values everything(Model& model, Optimizer& optimizer) {
  Values all = values(model.params());
  optimizer.for_each_state([&](const std::string& name, auto& leaf) {
    all[name] = std::vector<double>(leaf.data, leaf.data + leaf.size);
  });
  return all;
}

inline double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double worst = a.size() == b.size() ? 0 : std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
    const double d = std::abs(a[i] - b[i]);
    if (!(d <= worst)) worst = d;
  }
  return worst;
}
inline double largest_difference(const Values& a, const Values& b) {
  double worst = a.size() == b.size() ? 0 : std::numeric_limits<double>::infinity();
  for (const auto& [name, value] : a) {
    const double d = largest_difference(value, b.at(name));
    if (!(d <= worst)) worst = d;
  }
  return worst;
}

/// L2 norm of a gradient, in the plainest way.
inline double norm_of(const Values& grads) {
  double sum = 0;
  for (const auto& [name, value] : grads)
    if (!has(name, "expert_bias"))
      for (double g : value) sum += g * g;
  return std::sqrt(sum);
}

/// AdamW for one tensor, scalar by scalar, from the paper's formulas.
struct ScalarAdamW {
  double lr, beta1, beta2, eps, weight_decay;
  std::vector<double> m, v;

  void step(std::vector<double>& p, const std::vector<double>& g, int t) {
    m.resize(p.size());
    v.resize(p.size());
    for (std::size_t i = 0; i < p.size(); ++i) {
      m[i] = beta1 * m[i] + (1 - beta1) * g[i];
      v[i] = beta2 * v[i] + (1 - beta2) * g[i] * g[i];
      const double mean = m[i] / (1 - std::pow(beta1, t)), square = v[i] / (1 - std::pow(beta2, t));
      p[i] -= lr * weight_decay * p[i];
      p[i] -= lr * mean / (std::sqrt(square) + eps);
    }
  }
};

/// Whether weight decay applies to a leaf. It is told by the name, independently of the library's
/// roles.
inline bool decayed(const std::string& path) {
  return !has(path, "gain") && !has(path, "bias");
}

}  // namespace moe::test
