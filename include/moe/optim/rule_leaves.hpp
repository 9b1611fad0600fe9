#pragma once
#include <algorithm>
#include <array>
#include <moe/backend/backend.hpp>
#include <moe/optim/gradient_norm.hpp>
#include <moe/optim/rule.hpp>
#include <moe/tree/leaves.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace moe::inline MOE_ISA::detail {

/// The leaves of a model, divided among the rules of an optimizer: each goes to the first rule that
/// takes its role. Owns the states of all rules, and the tables of chunks by which a rule updates
/// its leaves in one launch.
/// Errors: moe::Error if no rule takes a leaf.
template <class B, class Params, UpdateRule... Rules>
class RuleLeaves {
 public:
  using T = Wide<B>;
  using Chunk = kernel::LeafChunk<T>;
  static constexpr std::size_t count = sizeof...(Rules);

  /// `squares`: of each measured matrix; see GradientNorm.
  RuleLeaves(B& be, Params& params, Params& grads, const double* squares)
      : states_(be, state_bytes()), table_(be, chunk_bytes()) {
    T* state = reinterpret_cast<T*>(states_.data());
    for (std::size_t i = 0; i < leaves<Params>().size(); ++i) {
      const LeafInfo& leaf = leaves<Params>()[i];
      const bool measured = GradientNorm<B, Params>::measured(leaf);
      if (leaf.size > 0) {
        const std::size_t rule = rule_of(leaf.role), stride = leaf.bytes() / sizeof(T);
        if (rule == count) no_rule_for(i);
        of_rule_[rule].push_back({leaf_names<Params>()[i], view<T>(params, leaf),
                                  view<T>(grads, leaf), state, stride,
                                  measured ? squares : nullptr});
        state += states_of(rule) * stride;
      }
      if (measured) squares += leaf.count;
    }
    std::vector<Chunk> all;
    for (std::size_t rule = 0; rule < count; ++rule) {
      first_chunk_[rule] = int(all.size());
      for (const LeafUpdate<T>& leaf : of_rule_[rule]) add_chunks(leaf, all);
    }
    first_chunk_[count] = int(all.size());
    be.upload(table_.data(), all.data(), all.size() * sizeof(Chunk));
  }

  std::span<const LeafUpdate<T>> of_rule(std::size_t rule) const { return of_rule_[rule]; }
  RuleUpdate<T> update(std::size_t rule, const kernel::StepControl* control) const {
    const auto* const chunk = reinterpret_cast<const Chunk*>(table_.data());
    return {chunk + first_chunk_[rule], first_chunk_[rule + 1] - first_chunk_[rule], control};
  }

  /// Calls f(name, leaf) for every state of every leaf; see Optimizer::for_each_state.
  template <class F>
  void for_each_state(F&& f) const {
    constexpr std::array<std::span<const std::string_view>, count> names{Rules::states...};
    for (std::size_t rule = 0; rule < count; ++rule) {
      for (std::size_t i = 0; i < names[rule].size(); ++i) {
        for (const LeafUpdate<T>& update : of_rule_[rule]) {
          LeafView<T> leaf = update.state(i);
          f(std::string(names[rule][i]) + "." + std::string(update.name), leaf);
        }
      }
    }
  }

  /// The leaves of a rule, and the bytes of the states and of the tables of all.
  static std::vector<LeafInfo> infos_of(std::size_t rule) {
    std::vector<LeafInfo> all;
    for (const LeafInfo& leaf : leaves<Params>())
      if (leaf.size > 0 && rule_of(leaf.role) == rule) all.push_back(leaf);
    return all;
  }
  static std::size_t state_bytes() {
    std::size_t total = 0;
    for (const LeafInfo& leaf : leaves<Params>())
      total += states_of(rule_of(leaf.role)) * leaf.bytes();
    return total;
  }
  static std::size_t chunk_bytes() {
    std::size_t chunks = 0;
    for (const LeafInfo& leaf : leaves<Params>())
      if (leaf.size > 0)
        chunks += std::size_t(leaf.count) *
                  std::size_t(kernel::chunks(std::ptrdiff_t(leaf.rows) * leaf.cols));
    return chunks * sizeof(Chunk);
  }

 private:
  /// The index of the first rule that takes a role, or `count` if none does.
  static constexpr std::size_t rule_of(Role role) {
    std::size_t number = 0;
    static_cast<void>(((Rules::takes(role) || (++number, false)) || ...));
    return number;
  }
  static constexpr std::size_t states_of(std::size_t rule) {
    constexpr std::array<std::size_t, count + 1> each{Rules::states.size()..., 0};
    return each[rule];
  }
  static void add_chunks(const LeafUpdate<T>& leaf, std::vector<Chunk>& to) {
    const std::ptrdiff_t size = std::ptrdiff_t(leaf.param.rows) * leaf.param.cols;
    for (int m = 0; m < leaf.param.count; ++m)
      for (std::ptrdiff_t at = 0; at < size; at += kernel::chunk)
        to.push_back({leaf.param.matrix(m) + at, leaf.grad.matrix(m) + at,
                      leaf.states + m * size + at, std::ptrdiff_t(leaf.state_stride),
                      int(std::min<std::ptrdiff_t>(kernel::chunk, size - at)),
                      decays(leaf.param.role)});
  }
  [[noreturn]] static void no_rule_for(std::size_t leaf) {
    throw Error("cannot build an optimizer for a model with the leaf '", leaf_names<Params>()[leaf],
                "': none of its rules takes that; add one that takes what is left, as AdamWRule");
  }

  Arena<B> states_, table_;
  std::array<std::vector<LeafUpdate<T>>, count> of_rule_;
  std::array<int, count + 1> first_chunk_{};
};

}  // namespace moe::detail
