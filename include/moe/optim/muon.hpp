#pragma once
#include <algorithm>
#include <cmath>
#include <moe/optim/orthogonalise.hpp>
#include <moe/optim/update.hpp>

namespace moe {

/// Size of Muon's step on an (out, in) matrix. keller: sqrt(max(1, out/in));
/// moonlight: 0.2 sqrt(max(out, in)), a root mean square of 0.2, so that AdamW's lr carries over.
enum class MuonScale { keller, moonlight };

inline constexpr Choice<MuonScale> muon_scales[] = {{MuonScale::keller, "keller"},
                                                    {MuonScale::moonlight, "moonlight"}};

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
      : Base(model, options.adamw),
        options_(options),
        orthogonalise_(model.backend(), scratch_bytes()) {
    const auto good = [](double x) { return x >= 0 && std::isfinite(x); };
    detail::check_option(good(options.lr), "MuonOptions.lr", options.lr, "finite, 0 or more");
    detail::check_option(options.momentum >= 0 && options.momentum < 1, "MuonOptions.momentum",
                         options.momentum, "in [0, 1)");
    detail::check_option(good(options.weight_decay), "MuonOptions.weight_decay",
                         options.weight_decay, "finite, 0 or more");
  }

  /// The peak learning rate of the hidden matrices.
  double lr() const { return options_.lr; }
  static constexpr bool orthogonalises(Role role) { return is_hidden(role); }
  /// Bytes to orthogonalise the largest leaf; all leaves share them.
  static std::size_t scratch_bytes() {
    std::size_t most = 0;
    Params tree{};
    for_each_leaf(
        [&](auto& leaf) {
          using Leaf = std::remove_cvref_t<decltype(leaf)>;
          if constexpr (orthogonalises(Leaf::role))
            most = std::max(
                most, Orthogonaliser<Backend>::bytes_needed(Leaf::count, Leaf::rows, Leaf::cols));
        },
        tree);
    return most;
  }

 private:
  friend Base;

  /// Updates the matrices that have a gradient, in runs of neighbours.
  template <class Leaf>
  void update_matrices(Leaf& p, Leaf& grad, Leaf& momentum, std::size_t matrix, double scale,
                       double lr_factor) {
    const auto idle = [&](int i) { return !this->has_gradient(matrix + std::size_t(i)); };
    for (int first = 0, last = 0; first < Leaf::count; first = last) {
      last = first + 1;
      if (idle(first)) continue;
      while (last < Leaf::count && !idle(last)) ++last;
      update_run(last - first, Leaf::rows, Leaf::cols, p.matrix(first), grad.matrix(first),
                 momentum.matrix(first), scale, options_.lr * lr_factor);
    }
  }

  void update_run(int count, int rows, int cols, T* p, T* grad, T* momentum, double scale,
                  double lr) {
    const MuonOptions& o = options_;
    const std::ptrdiff_t size = std::ptrdiff_t(rows) * cols;
    const int chunks = count * kernel::chunks(size);
    Backend& be = this->backend();
    be.rows(chunks, kernel::Momentum<T>{size, grad, momentum, T(scale), T(1 - o.momentum),
                                        o.nesterov ? T(o.momentum) : T(1)});
    const T* const direction = orthogonalise_(o.method, count, rows, cols, grad);
    const double adjusted =
        lr * (o.scale == MuonScale::keller ? std::sqrt(std::max(1.0, double(rows) / cols))
                                           : 0.2 * std::sqrt(double(std::max(rows, cols))));
    be.rows(chunks,
            kernel::Descend<T>{size, p, direction, T(1 - lr * o.weight_decay), T(adjusted)});
  }

  MuonOptions options_;
  Orthogonaliser<Backend> orthogonalise_;
};

}  // namespace moe
