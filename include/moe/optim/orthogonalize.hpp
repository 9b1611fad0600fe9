#pragma once
#include <algorithm>
#include <cstddef>
#include <moe/backend/backend.hpp>
#include <moe/core/error.hpp>
#include <moe/kernels/chunk.hpp>
#include <moe/kernels/fuse.hpp>
#include <moe/kernels/gradient_norm.hpp>
#include <moe/kernels/newton_schulz.hpp>
#include <string>

namespace moe::inline MOE_ISA {

/// The method that approximates the nearest matrix with orthonormal rows or columns.
/// newton_schulz5: Jordan et al. 2024, kellerjordan.github.io/posts/muon; maps singular values in
/// [0.01, 1] into [0.68, 1.14]. polar_express5: Amsel et al. 2025, arXiv:2505.16932; maps those in
/// [0.001, 1] into [0.84, 1.15].
enum class Orthogonalization { newton_schulz5, polar_express5 };

namespace detail {

/// X <- X / (stretch |X| + eps), then five times X <- (a I + b A + c A^2) X with A = X X^T. |X| is
/// the Frobenius norm.
struct OddPolynomials {
  double stretch, eps;
  struct {
    double a, b, c;
  } step[5];
};
inline constexpr OddPolynomials newton_schulz5{1,
                                               1e-7,
                                               {{3.4445, -4.7750, 2.0315},
                                                {3.4445, -4.7750, 2.0315},
                                                {3.4445, -4.7750, 2.0315},
                                                {3.4445, -4.7750, 2.0315},
                                                {3.4445, -4.7750, 2.0315}}};
inline constexpr OddPolynomials polar_express5{
    1.02,
    1e-6,
    {{8.156554524902461, -22.48329292557795, 15.878769915207462},
     {4.042929935166739, -2.808917465908714, 0.5000178451051316},
     {3.8916678022926607, -2.772484153217685, 0.5060648178503393},
     {3.285753657755655, -2.3681294933425376, 0.46449024233003106},
     {2.3465413258596377, -1.7097828382687081, 0.42323551169305323}}};

}  // namespace detail

/// Orthogonalizes `count` matrices (rows x cols), each by itself. A zero matrix stays zero.
/// Products round their operands to the backend's Value type, as those of layers do: on a backend
/// with bfloat16 activations a result differs by 1 to 8 %, while singular values stay in the band.
/// They work on the smaller side. On the CPU, which computes 5/8 of a symmetric product, that is
/// about 5 (3.25 m^2 n + 1.25 m^3) flop for an m x n matrix with 128 <= m <= n. Never throws or
/// allocates after construction.
///
/// Derivation: docs/derivations/muon.md.  Test: tests/optim/orthogonalize.cpp.
///
///     using Orth = moe::Orthogonalizer<moe::Cpu<float>>;
///     Orth orthogonalize{backend, Orth::bytes_needed(8, 512, 256)};
///     float* result = orthogonalize(moe::Orthogonalization::newton_schulz5, 8, 512, 256, x);
template <class B>
class Orthogonalizer {
  using T = Wide<B>;
  using In = Matrix<const T>;

 public:
  /// `bytes`: the largest bytes_needed of all stacks that will be passed.
  Orthogonalizer(B& be, std::size_t bytes) : be_(&be), arena_(be, bytes) {}

  static std::size_t bytes_needed(int count, int rows, int cols) {
    return Scratch(nullptr, count, rows, cols).bytes;
  }

  /// Overwrites x. The result is in x or in the scratch memory, which the next call overwrites.
  /// `make`: a kernel that makes x chunk by chunk (kernel::Chunk) just before, or none.
  template <class... Kernel>
  T* operator()(Orthogonalization method, int count, int rows, int cols, T* x,
                const Kernel&... make) {
    const Scratch s(arena_.data(), count, rows, cols);
    MOE_EXPECTS(s.bytes <= arena_.bytes(), "Orthogonalizer has ", arena_.bytes(),
                " bytes, this stack needs ", s.bytes);
    const detail::OddPolynomials& p = method == Orthogonalization::newton_schulz5
                                          ? detail::newton_schulz5
                                          : detail::polar_express5;
    normalize(p, count, rows, cols, x, s, make...);
    const bool wide = rows <= cols;
    const int m = std::min(rows, cols), n = std::max(rows, cols);
    const std::ptrdiff_t size = std::ptrdiff_t(rows) * cols, square = std::ptrdiff_t(m) * m;
    T* to = s.other;
    for (const auto& step : p.step) {
      const In stack{x, cols};
      be_->symmetric_gemm(count, m, n, wide ? stack : transposed(stack), size, s.gram, {});
      be_->symmetric_gemm(count, m, m, In{s.gram, m}, square, s.polynomial,
                          {T(step.c), T(step.b), T(step.a)});
      const In factor{s.polynomial, m};
      if (wide) {
        be_->batched_gemm(count, m, n, m, factor, square, stack, size, to, cols, size, {});
      } else {
        be_->batched_gemm(count, n, m, m, stack, size, factor, square, to, cols, size, {});
      }
      std::swap(x, to);
    }
    return x;
  }

 private:
  struct Scratch {
    T *other, *gram, *polynomial, *partial, *factor;
    std::size_t bytes = 0;

    Scratch(std::byte* at, int count, int rows, int cols) {
      const auto take = [&](std::size_t each) {
        T* const here = at ? reinterpret_cast<T*>(at + bytes) : nullptr;
        bytes += (std::size_t(count) * each * sizeof(T) + 255) / 256 * 256;
        return here;
      };
      const std::size_t m = std::size_t(std::min(rows, cols));
      const std::size_t size = std::size_t(rows) * std::size_t(cols);
      other = take(size);
      gram = take(m * m);
      polynomial = take(m * m);
      partial = take(std::size_t(kernel::chunks(std::ptrdiff_t(size))));
      factor = take(1);
    }
  };

  template <class... Kernel>
  void normalize(const detail::OddPolynomials& p, int count, int rows, int cols, T* x,
                 const Scratch& s, const Kernel&... make) {
    const std::ptrdiff_t size = std::ptrdiff_t(rows) * cols;
    const int parts = kernel::chunks(size);
    const kernel::NormSquare<T> square{size, x, s.partial};
    if constexpr (sizeof...(make) > 0) {
      be_->rows(count * parts, kernel::Fused{make..., square});
    } else {
      be_->rows(count * parts, square);
    }
    be_->rows(count, kernel::InverseNorm<T>{parts, s.partial, s.factor, p.stretch, p.eps});
    be_->rows(count * rows, kernel::ScaleMatrix<T>{rows, cols, x, s.factor});
  }

  B* be_;
  Arena<B> arena_;
};

}  // namespace moe
