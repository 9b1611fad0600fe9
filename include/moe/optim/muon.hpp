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

/// All matrices of one shape, from any leaf: small products are fast only if many are computed
/// together.
struct MuonStack {
  int rows, cols;
  std::size_t batch;  // matrices per orthogonalization: at most this many, or one whole leaf
  std::size_t matrices = 0;

  std::size_t max_batch() const { return std::min(batch, matrices); }
  std::size_t size() const { return std::size_t(rows) * std::size_t(cols); }
  bool holds(int of_rows, int of_cols) const { return rows == of_rows && cols == of_cols; }
};

template <class B>
std::vector<MuonStack> muon_stacks(std::span<const LeafInfo> leaves) {
  constexpr std::size_t few = 4, all = std::size_t(-1);
  std::size_t batch = few;
  if constexpr (requires { B::whole_stacks; }) batch = B::whole_stacks ? all : few;
  std::vector<MuonStack> stacks;
  for (const LeafInfo& leaf : leaves) {
    auto stack = std::find_if(stacks.begin(), stacks.end(),
                              [&](const MuonStack& s) { return s.holds(leaf.rows, leaf.cols); });
    if (stack == stacks.end()) stack = stacks.insert(stack, {leaf.rows, leaf.cols, batch});
    stack->batch = std::max(stack->batch, std::size_t(leaf.count));
    stack->matrices += std::size_t(leaf.count);
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
    const detail::OptionCheck check{"build an optimizer", owner};
    check.not_negative<T>("lr", lr);
    check.not_negative<T>("weight_decay", weight_decay);
    check.below_one("momentum", momentum);
    return *this;
  }

  /// The stacks, and memory to orthogonalize a batch of the largest; all stacks share it.
  template <class B>
  struct Workspace;

  template <class B>
  void update(B& be, const RuleUpdate<Wide<B>>& u, Workspace<B>& work) const {
    const kernel::MuonMatrix<Wide<B>>* matrix = work.matrices();
    for (const detail::MuonStack& stack : work.stacks) {
      for (std::size_t left = stack.matrices; left > 0;) {
        const std::size_t count = std::min(left, stack.max_batch());
        update_batch(be, u.control, stack, matrix, int(count), work);
        matrix += count, left -= count;
      }
    }
  }

 private:
  template <class B>
  void update_batch(B& be, const kernel::StepControl* control, const detail::MuonStack& stack,
                    const kernel::MuonMatrix<Wide<B>>* matrix, int count,
                    Workspace<B>& work) const {
    using T = Wide<B>;
    const int rows = stack.rows, cols = stack.cols;
    const std::ptrdiff_t size = std::ptrdiff_t(stack.size());
    T* const directions = reinterpret_cast<T*>(work.directions.data());
    const T* const orthogonal =
        work.orthogonalize(method, count, rows, cols, directions,
                           kernel::Momentum<T>{size, matrix, directions, control, T(1 - momentum),
                                               nesterov ? T(momentum) : T(1)});
    be.rows(count * kernel::chunks(size),
            kernel::Descend<T>{size, matrix, orthogonal, control, lr,
                               scale == MuonScale::keller
                                   ? std::sqrt(std::max(1.0, double(rows) / cols))
                                   : 0.2 * std::sqrt(double(std::max(rows, cols))),
                               weight_decay});
  }
};

template <class B>
struct MuonRule::Workspace {
  using Stack = detail::MuonStack;
  using Matrix = kernel::MuonMatrix<Wide<B>>;

  Workspace(B& be, std::span<const LeafUpdate<Wide<B>>> leaves)
      : stacks(detail::muon_stacks<B>(infos_of(leaves))),
        table(be, table_bytes(stacks)),
        directions(be, direction_bytes(stacks)),
        orthogonalize(be, orthogonalizer_bytes(stacks)) {
    std::vector<Matrix> all;
    for (const Stack& stack : stacks)
      for (const LeafUpdate<Wide<B>>& leaf : leaves)
        for (int i = 0; stack.holds(leaf.param.rows, leaf.param.cols) && i < leaf.param.count; ++i)
          all.push_back({leaf.param.matrix(i), leaf.grad.matrix(i), leaf.state(0).matrix(i),
                         leaf.grad_square + i});
    be.upload(table.data(), all.data(), all.size() * sizeof(Matrix));
  }

  /// The matrices of all stacks, one stack after the other.
  const Matrix* matrices() const { return reinterpret_cast<const Matrix*>(table.data()); }

  static std::size_t bytes_needed(std::span<const LeafInfo> leaves) {
    const std::vector<Stack> stacks = detail::muon_stacks<B>(leaves);
    return table_bytes(stacks) + direction_bytes(stacks) + orthogonalizer_bytes(stacks);
  }

  static std::size_t table_bytes(const std::vector<Stack>& stacks) {
    std::size_t count = 0;
    for (const Stack& s : stacks) count += s.matrices;
    return count * sizeof(Matrix);
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
  static std::vector<LeafInfo> infos_of(std::span<const LeafUpdate<Wide<B>>> leaves) {
    std::vector<LeafInfo> infos;
    for (const LeafUpdate<Wide<B>>& leaf : leaves)
      infos.push_back({sizeof(Wide<B>), leaf.param.size, leaf.param.rows, leaf.param.cols,
                       leaf.param.count, leaf.param.role, false});
    return infos;
  }

  std::vector<Stack> stacks;
  Arena<B> table, directions;
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
