#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <moe/kernels/muon.hpp>
#include <moe/optim/adamw.hpp>
#include <moe/optim/orthogonalize.hpp>
#include <vector>

namespace moe::inline MOE_ISA {

/// The factor of Muon's step on an (out, in) matrix. keller: sqrt(max(1, out/in)); moonlight: 0.2
/// sqrt(max(out, in)), which gives steps a root mean square of 0.2, so that a learning rate of
/// AdamW fits.
enum class MuonScale { keller, moonlight };

namespace detail {

/// Matrix `matrix` of the leaf with index `leaf` among those that Muon updates.
struct MuonMatrix {
  std::size_t leaf;
  int matrix;
};

/// All matrices of one shape, from any leaf: small products are fast only if many are computed
/// together.
struct MuonStack {
  int rows, cols;
  std::size_t batch = 4;  // matrices per orthogonalization: at least this many, or one whole leaf
  std::vector<MuonMatrix> matrices = {};

  std::size_t max_batch() const { return std::min(batch, matrices.size()); }
  std::size_t size() const { return std::size_t(rows) * std::size_t(cols); }
};

inline std::vector<MuonStack> muon_stacks(std::span<const LeafInfo> leaves) {
  std::vector<MuonStack> stacks;
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    const LeafInfo& leaf = leaves[i];
    auto stack = std::find_if(stacks.begin(), stacks.end(), [&](const MuonStack& s) {
      return s.rows == leaf.rows && s.cols == leaf.cols;
    });
    if (stack == stacks.end()) stack = stacks.insert(stack, {leaf.rows, leaf.cols});
    stack->batch = std::max(stack->batch, std::size_t(leaf.count));
    for (int m = 0; m < leaf.count; ++m) stack->matrices.push_back({i, m});
  }
  return stacks;
}

}  // namespace detail

/// Muon on hidden matrices; each expert's matrix is updated separately:
///     m = lerp(m, g, 1 - mu),  u = orthogonal(lerp(g, m, mu)),  p = p (1 - lr wd) - lr s u
/// g is the clipped gradient, mu is `momentum` and s is the scale. Without nesterov u =
/// orthogonal(m). A matrix whose gradient is zero (an expert that got no token) is left unchanged,
/// including its momentum and decay: orthogonalization erases magnitudes, so any step would have
/// full size.
/// Source: Jordan et al. 2024, kellerjordan.github.io/posts/muon; Liu et al. 2025,
/// arXiv:2502.16982.
/// Derivation: docs/derivations/muon.md.  Test: tests/optim/muon.cpp.
struct MuonRule {
  double lr = 0.02, momentum = 0.95;
  double weight_decay = 0.1;  // p shrinks by lr * weight_decay an update
  bool nesterov = true;
  MuonScale scale = MuonScale::keller;
  Orthogonalization method = Orthogonalization::newton_schulz5;

  static constexpr std::array<std::string_view, 1> states{"first"};
  static constexpr bool takes(Role role) { return is_hidden(role); }

  template <class T>
  const MuonRule& checked(const char* owner = "MuonRule") const {
    const detail::OptionCheck check{"build an optimiser", owner};
    check.not_negative<T>("lr", lr);
    check.not_negative<T>("weight_decay", weight_decay);
    check.below_one("momentum", momentum);
    return *this;
  }

  /// The stacks, and memory to orthogonalize a batch of the largest; all stacks share it.
  template <class B>
  struct Workspace;

  template <class B>
  void update(B& be, std::span<const LeafUpdate<Wide<B>>> leaves, const UpdateStep& step,
              Workspace<B>& work) const {
    for (const detail::MuonStack& stack : work.stacks) {
      for (const detail::MuonMatrix& m : stack.matrices) {
        const LeafUpdate<Wide<B>>& leaf = leaves[m.leaf];
        if (leaf.has_gradient(m.matrix)) {
          work.batch.push_back(m);
        } else {  // the squared norm can underflow to 0 while numbers are not 0: clear them
          be.zero(leaf.grad.matrix(m.matrix), stack.size() * sizeof(Wide<B>));
        }
        if (work.batch.size() == stack.max_batch()) update_batch(be, leaves, step, stack, work);
      }
      update_batch(be, leaves, step, stack, work);
    }
  }

 private:
  /// Updates the matrices in work.batch and empties it.
  template <class B>
  void update_batch(B& be, std::span<const LeafUpdate<Wide<B>>> leaves, const UpdateStep& step,
                    const detail::MuonStack& stack, Workspace<B>& work) const {
    using T = Wide<B>;
    if (work.batch.empty()) return;
    const int rows = stack.rows, cols = stack.cols;
    const std::ptrdiff_t size = std::ptrdiff_t(stack.size());
    const double rate = lr * step.lr_factor;
    const double adjusted =
        rate * (scale == MuonScale::keller ? std::sqrt(std::max(1.0, double(rows) / cols))
                                           : 0.2 * std::sqrt(double(std::max(rows, cols))));
    T* const directions = reinterpret_cast<T*>(work.directions.data());
    work.for_each_run([&](const detail::MuonMatrix& m, int count, std::ptrdiff_t place) {
      const LeafUpdate<T>& leaf = leaves[m.leaf];
      be.rows(count * kernel::chunks(size),
              kernel::Momentum<T>{size, leaf.grad.matrix(m.matrix), leaf.state(0).matrix(m.matrix),
                                  directions + place * size, T(step.grad_scale), T(1 - momentum),
                                  nesterov ? T(momentum) : T(1)});
    });
    const T* const orthogonal =
        work.orthogonalize(method, int(work.batch.size()), rows, cols, directions);
    work.for_each_run([&](const detail::MuonMatrix& m, int count, std::ptrdiff_t place) {
      be.rows(
          count * kernel::chunks(size),
          kernel::Descend<T>{size, leaves[m.leaf].param.matrix(m.matrix), orthogonal + place * size,
                             T(1 - rate * weight_decay), T(adjusted)});
    });
    work.batch.clear();
  }
};

template <class B>
struct MuonRule::Workspace {
  using Stack = detail::MuonStack;

  Workspace(B& be, std::span<const LeafInfo> leaves)
      : stacks(detail::muon_stacks(leaves)),
        directions(be, direction_bytes(stacks)),
        orthogonalize(be, orthogonalizer_bytes(stacks)) {
    std::size_t max_batch = 0;
    for (const Stack& s : stacks) max_batch = std::max(max_batch, s.max_batch());
    batch.reserve(max_batch);
  }

  static std::size_t bytes_needed(std::span<const LeafInfo> leaves) {
    const std::vector<Stack> stacks = detail::muon_stacks(leaves);
    return direction_bytes(stacks) + orthogonalizer_bytes(stacks);
  }

  static std::size_t direction_bytes(const std::vector<Stack>& stacks) {
    std::size_t max_bytes = 0;
    for (const Stack& s : stacks)
      max_bytes = std::max(max_bytes, s.max_batch() * s.size() * sizeof(Wide<B>));
    return max_bytes;
  }
  static std::size_t orthogonalizer_bytes(const std::vector<Stack>& stacks) {
    std::size_t max_bytes = 0;
    for (const Stack& s : stacks)
      max_bytes =
          std::max(max_bytes, Orthogonalizer<B>::bytes_needed(int(s.max_batch()), s.rows, s.cols));
    return max_bytes;
  }

  /// Calls f(first matrix, count, index in the batch) for each run of contiguous matrices.
  template <class F>
  void for_each_run(const F& f) const {
    for (std::size_t i = 0, end = 0; i < batch.size(); i = end) {
      const detail::MuonMatrix& first = batch[i];
      const auto follows = [&](const detail::MuonMatrix& m) {
        return m.leaf == first.leaf && m.matrix == first.matrix + int(end - i);
      };
      for (end = i + 1; end < batch.size() && follows(batch[end]);) ++end;
      f(first, int(end - i), std::ptrdiff_t(i));
    }
  }

  std::vector<Stack> stacks;
  std::vector<detail::MuonMatrix> batch;  // matrices with a gradient, to be updated together
  Arena<B> directions;
  Orthogonalizer<B> orthogonalize;
};

/// Options of Muon: those of its rules, and OptimizerOptions.
struct MuonOptions {
  double lr = 0.02, momentum = 0.95;
  double weight_decay = 0.1;  // p shrinks by lr * weight_decay an update
  bool nesterov = true;
  MuonScale scale = MuonScale::keller;
  Orthogonalization method = Orthogonalization::newton_schulz5;
  AdamWRule rest = {};             // for all other leaves
  double clip = 1.0;               // largest L2 norm of the whole gradient; infinity: no clipping
  double expert_bias_rate = 1e-3;  // ExpertBiasRule::rate; the schedule does not apply
  int skip_limit = 8;              // so many skipped updates in a row stop the run

  MuonRule rule() const {
    return {.lr = lr,
            .momentum = momentum,
            .weight_decay = weight_decay,
            .nesterov = nesterov,
            .scale = scale,
            .method = method};
  }
};

/// An Optimizer with MuonRule for hidden matrices, ExpertBiasRule for expert biases and AdamWRule
/// for all other leaves.
/// Errors: moe::Error for invalid options.
///
///     moe::Muon optimizer{model, {.lr = 0.02, .rest = {.lr = 3e-3}, .clip = 1}};
///     const moe::StepReport report = optimizer.step(moe::cosine(step, steps));
template <Trainable Model>
class Muon : public Optimizer<Model, ExpertBiasRule, MuonRule, AdamWRule> {
  using Base = Optimizer<Model, ExpertBiasRule, MuonRule, AdamWRule>;
  using typename Base::T;
  static constexpr const char* owner = "MuonOptions";

 public:
  explicit Muon(Model& model, const MuonOptions& o = {})
      : Base(model, OptimizerOptions{.clip = o.clip, .skip_limit = o.skip_limit}.checked<T>(owner),
             ExpertBiasRule{.rate = o.expert_bias_rate}.checked<T>(owner, "expert_bias_rate"),
             o.rule().checked<T>(owner), o.rest.checked<T>("MuonOptions.rest")) {}
};

}  // namespace moe
