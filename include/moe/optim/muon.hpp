#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <moe/kernels/chunk.hpp>
#include <moe/kernels/muon.hpp>
#include <moe/optim/optimizer.hpp>
#include <moe/optim/orthogonalise.hpp>
#include <moe/tree/leaves.hpp>
#include <vector>

namespace moe {

/// Size of Muon's step on an (out, in) matrix. keller: sqrt(max(1, out/in));
/// moonlight: 0.2 sqrt(max(out, in)), a root mean square of 0.2, so that AdamW's lr carries over.
enum class MuonScale { keller, moonlight };

struct MuonOptions {
  double lr = 0.02, momentum = 0.95, weight_decay = 0.1;
  bool nesterov = true;
  MuonScale scale = MuonScale::keller;
  Orthogonalisation method = Orthogonalisation::newton_schulz5;
  AdamWOptions adamw = {};  // the other leaves; clip, balance_rate and skip_limit of all
};

/// Muon on hidden matrices, each expert's on its own, and AdamW on all other leaves:
/// m = lerp(m, g, 1 - mu),  u = orthogonal(lerp(g, m, mu)),  p = p (1 - lr wd) - lr s u.
/// A matrix whose gradient is all zero (an expert that no token reached) is left alone, momentum
/// and decay included: any step would be full-sized, as orthogonalising erases magnitudes.
/// Source: Jordan et al. 2024, kellerjordan.github.io/posts/muon; Liu et al. 2025,
/// arXiv:2502.16982.  Derivation: docs/derivations/muon.md.  Test: tests/optim/muon.cpp.
///
///     moe::Muon optimizer{model, {.lr = 0.02, .adamw = {.lr = 3e-3}}};
///     const moe::StepReport report = optimizer.step(moe::cosine(step, steps));
template <Trainable Model>
class Muon : public detail::Update<Model, Muon<Model>> {
  using Base = detail::Update<Model, Muon<Model>>;
  using typename Base::Backend, typename Base::Params, typename Base::T;

 public:
  explicit Muon(Model& model, const MuonOptions& options = {})
      : Base(model, checked(options).adamw),
        options_(options),
        stacks_(all_stacks()),
        directions_(model.backend(), direction_bytes()),
        orthogonalise_(model.backend(), orthogonaliser_bytes()) {
    std::size_t most = 0;
    for (const Stack& stack : stacks_) most = std::max(most, stack.most());
    active_.reserve(most);
  }

  /// The peak learning rate of the hidden matrices.
  double lr() const { return options_.lr; }
  static constexpr bool orthogonalises(Role role) { return is_hidden(role); }
  /// Bytes to orthogonalise the largest stack; all stacks share them.
  static std::size_t scratch_bytes() { return direction_bytes() + orthogonaliser_bytes(); }

 private:
  friend Base;
  static const MuonOptions& checked(const MuonOptions& o) {
    const detail::OptionCheck check{"build an optimiser", "MuonOptions"};
    detail::check_rates<T>(check, o.lr, o.weight_decay);
    check.below_one("momentum", o.momentum);
    return o;
  }
  using Orthogonal = Orthogonaliser<Backend>;

  /// A matrix: number `at` of leaf number `leaf`, number `matrix` of all that have a gradient norm.
  struct Member {
    std::size_t leaf, matrix;
    int at;
  };
  /// Matrices of one shape, of any leaf: small products are fast only many at a time.
  struct Stack {
    int rows, cols;
    std::size_t together = 4;  // orthogonalised at a time, to stay in the cache: a leaf, or so many
    std::vector<Member> members = {};

    std::size_t most() const { return std::min(together, members.size()); }
    std::size_t size() const { return std::size_t(rows) * std::size_t(cols); }
  };

  static std::vector<Stack> all_stacks() {
    std::vector<Stack> stacks;
    std::size_t number = 0, matrix = 0;
    for (const LeafInfo& leaf : leaves<Params>()) {
      if (orthogonalises(leaf.role)) {
        const auto same_shape = [&](const Stack& s) {
          return s.rows == leaf.rows && s.cols == leaf.cols;
        };
        auto stack = std::find_if(stacks.begin(), stacks.end(), same_shape);
        if (stack == stacks.end()) stack = stacks.insert(stack, {leaf.rows, leaf.cols});
        stack->together = std::max(stack->together, std::size_t(leaf.count));
        for (int i = 0; i < leaf.count; ++i)
          stack->members.push_back({number, matrix + std::size_t(i), i});
      }
      if (GradientNorm<Backend, Params>::measured(leaf)) matrix += std::size_t(leaf.count);
      ++number;
    }
    return stacks;
  }
  static std::size_t direction_bytes() {
    std::size_t most = 0;
    for (const Stack& s : all_stacks()) most = std::max(most, s.most() * s.size() * sizeof(T));
    return most;
  }
  static std::size_t orthogonaliser_bytes() {
    std::size_t most = 0;
    for (const Stack& s : all_stacks())
      most = std::max(most, Orthogonal::bytes_needed(int(s.most()), s.rows, s.cols));
    return most;
  }

  /// Updates the matrices that have a gradient.
  void update_matrices(double scale, double lr_factor) {
    for (const Stack& stack : stacks_) {
      active_.clear();
      for (const Member& m : stack.members) {
        if (this->has_gradient(m.matrix)) {
          active_.push_back(m);
        } else {  // there may be numbers whose squares are zero
          this->backend().zero(this->gradient(m.leaf).matrix(m.at), stack.size() * sizeof(T));
        }
        if (active_.size() == stack.most()) update_active(stack, scale, lr_factor);
      }
      update_active(stack, scale, lr_factor);
    }
  }

  void update_active(const Stack& stack, double scale, double lr_factor) {
    if (active_.empty()) return;
    const MuonOptions& o = options_;
    const int rows = stack.rows, cols = stack.cols;
    const std::ptrdiff_t size = std::ptrdiff_t(stack.size());
    const double lr = o.lr * lr_factor;
    const double adjusted =
        lr * (o.scale == MuonScale::keller ? std::sqrt(std::max(1.0, double(rows) / cols))
                                           : 0.2 * std::sqrt(double(std::max(rows, cols))));
    Backend& be = this->backend();
    T* const directions = reinterpret_cast<T*>(directions_.data());
    for_each_run([&](const Member& m, int count, std::ptrdiff_t place) {
      be.rows(count * kernel::chunks(size),
              kernel::Momentum<T>{size, this->gradient(m.leaf).matrix(m.at),
                                  this->momentum(m.leaf).matrix(m.at), directions + place * size,
                                  T(scale), T(1 - o.momentum), o.nesterov ? T(o.momentum) : T(1)});
    });
    const T* const orthogonal =
        orthogonalise_(o.method, int(active_.size()), rows, cols, directions);
    for_each_run([&](const Member& m, int count, std::ptrdiff_t place) {
      be.rows(
          count * kernel::chunks(size),
          kernel::Descend<T>{size, this->parameter(m.leaf).matrix(m.at), orthogonal + place * size,
                             T(1 - lr * o.weight_decay), T(adjusted)});
    });
    active_.clear();
  }

  /// Calls f(first of them, count, place among active_) for active matrices that lie side by side.
  template <class F>
  void for_each_run(const F& f) {
    for (std::size_t i = 0, end = 0; i < active_.size(); i = end) {
      const Member& first = active_[i];
      const auto follows = [&](const Member& m) {
        return m.leaf == first.leaf && m.at == first.at + int(end - i);
      };
      for (end = i + 1; end < active_.size() && follows(active_[end]);) ++end;
      f(first, int(end - i), std::ptrdiff_t(i));
    }
  }

  MuonOptions options_;
  std::vector<Stack> stacks_;
  std::vector<Member> active_;
  Arena<Backend> directions_;
  Orthogonal orthogonalise_;
};

}  // namespace moe
