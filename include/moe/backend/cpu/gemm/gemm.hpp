#pragma once
#include <algorithm>
#include <moe/backend/cpu/gemm/bf16_dot.hpp>
#include <moe/backend/cpu/gemm/blocked.hpp>
#include <moe/backend/cpu/gemm/selection.hpp>
#include <moe/backend/cpu/gemm/tile_product.hpp>
#include <moe/backend/cpu/simd/rounded.hpp>
#include <vector>

namespace moe::inline MOE_ISA::detail {

/// The products of the Multiplies concept, with sums in W. Threads divide the rows and columns of
/// C, never the sum. Each thread packs its own operands, in a workspace allocated once.
/// Operands and C may be of the narrower type T. Operands of type W are then rounded to T, unless
/// the product is exact. `narrow_products` selects the kernel for two bfloat16 operands, and
/// `float_products` that of products in float alone.
template <class W, class T = W>
class Gemm {
 public:
  using Options = GemmOptions<W>;

  explicit Gemm(int threads, Bf16Products narrow_products = Bf16Products::measured,
                FloatProducts float_products = FloatProducts::fma)
      : threads_(threads),
        space_(std::size_t(threads)),
        multiplier_(multiplier_for<T>(narrow_products, float_products)) {
    for (Workspace& w : space_) w.reserve(bytes_of_thread());
  }
  static std::size_t bytes_of_thread() {
    const std::size_t rounded = narrow ? Blocking<W>::rounded_numbers : 0;
    return (Blocking<W>::workspace_numbers + rounded) * sizeof(W);
  }

  /// True if threads divide the rows only: then, and only then, a product can end with a kernel.
  bool divides_rows(double m, int n, int k) const {
    return n > 0 && best_partition<W>(threads_, m, n, work_of(m, n, k)).cols == 1;
  }

  template <class A, class B, class C>
  void gemm(int m, int n, int k, const Matrix<const A>& a, const Matrix<const B>& b, C* c,
            std::ptrdiff_t ldc, const Options& o, const RowsAfter& after = {}) {
    with_operands(a, b, o, [&](const auto& left, const auto& right) {
      const Partition cut = best_partition<W>(threads_, m, n, work_of(m, n, k));
      for_each_part(cut, n, o, [&](int part, int first, int cols, const Options& oj, int worker) {
        const auto [i, end] = share(m, cut.rows, part, Tile<W>::rows);
        one(end - i, cols, k, left.from(i, 0), right.from(first, 0), c + i * ldc + first, ldc, oj,
            worker, after.from(i));
      });
    });
  }

  template <class A, class B, class C>
  void batched_gemm(int batch, int m, int n, int k, const Matrix<const A>& a, std::ptrdiff_t a_step,
                    const Matrix<const B>& b, std::ptrdiff_t b_step, C* c, std::ptrdiff_t ldc,
                    std::ptrdiff_t c_step, const Options& o) {
    const double each = work_of(m, n, k);
    const bool whole = batch >= threads_ || each < worth_a_thread;
    const auto with = [&](int i, const auto& run) {
      Matrix<const A> ai = a;
      Matrix<const B> bi = b;
      ai.data += i * a_step;
      bi.data += i * b_step;
      run(ai, bi, c + i * c_step);
    };
    if (whole) {
      parallel(each * batch < worth_a_thread ? 1 : threads_, batch, [&](int i, int worker) {
        with(i, [&](const auto& ai, const auto& bi, C* ci) {
          with_operands(ai, bi, o, [&](const auto& left, const auto& right) {
            one(m, n, k, left, right, ci, ldc, o, worker);
          });
        });
      });
    } else {
      for (int i = 0; i < batch; ++i)
        with(i, [&](const auto& ai, const auto& bi, C* ci) { gemm(m, n, k, ai, bi, ci, ldc, o); });
    }
  }

  template <class A, class B, class C>
  void grouped_gemm_m(int groups, const int* offset, int n, int k, const Matrix<const A>& a,
                      const Matrix<const B>& b, std::ptrdiff_t b_step, C* c, std::ptrdiff_t ldc,
                      const Options& o, std::ptrdiff_t bias_step, const RowsAfter& after = {}) {
    with_operands(a, b, o, [&](const auto& left, const auto& right) {
      const int slots = offset[groups] - offset[0];
      const Partition cut = best_partition<W>(threads_, slots, n, work_of(slots, n, k));
      for_each_part(cut, n, o, [&](int part, int j, int cols, const Options& oj, int worker) {
        const auto [first, end] = share(slots, cut.rows, part, Tile<W>::rows);
        for (int g = 0; g < groups; ++g) {
          const int i = std::max(offset[g], offset[0] + first);
          const int rows = std::min(offset[g + 1], offset[0] + end) - i;
          if (rows <= 0) continue;
          auto weight = right.from(j, 0);
          weight.data += g * b_step;
          Options og = oj;
          if (og.bias) og.bias += g * bias_step;
          one(rows, cols, k, left.from(i, 0), weight, c + i * ldc + j, ldc, og, worker,
              after.from(i));
        }
      });
    });
  }

  template <class A, class B, class C>
  void grouped_gemm_k(int groups, const int* offset, int m, int n, const Matrix<const A>& a,
                      const Matrix<const B>& b, C* c, std::ptrdiff_t ldc, std::ptrdiff_t c_step,
                      const Options& o) {
    const Matrix<const A> by_column{a.data, a.col_stride, a.row_stride};
    // A row of group g costs its number of slots, and a constant for writing C.
    const auto cost = [&](int g) { return double(offset[g + 1] - offset[g]) + 8; };
    double total = 0;
    for (int g = 0; g < groups; ++g) total += cost(g) * m;
    const int parts = total * n * 2 < worth_a_thread ? 1 : threads_;
    with_operands(by_column, b, o, [&](auto left, const auto& right) {
      left.l_table = a.rows;
      parallel(parts, parts, [&](int part, int worker) {
        double before = 0;  // cost of the groups before g
        for (int g = 0; g < groups; ++g) {
          const auto row_at = [&](int p) {
            if (p == parts) return m;
            const double rows = (total * p / parts - before) / cost(g);
            if (rows >= m) return m;
            return rows <= 0 ? 0 : int(rows) / Tile<W>::rows * Tile<W>::rows;
          };
          const int i = row_at(part), rows = row_at(part + 1) - i, s = offset[g];
          if (rows > 0)
            one(rows, n, offset[g + 1] - s, left.from(i, s), right.from(0, s),
                c + g * c_step + i * ldc, ldc, o, worker);
          before += cost(g) * m;
        }
      });
    });
  }

 private:
  static constexpr bool narrow = !std::is_same_v<W, T>;

  /// Calls f(left, right) with the operands in the types that packing reads.
  template <class A, class B, class F>
  static void with_operands(const Matrix<const A>& a, const Matrix<const B>& b, const Options& o,
                            const F& f) {
    const auto call = [&]<class L, class R>(const L* left, const R* right) {
      f(Operand<L>{left, a.row_stride, a.col_stride, a.rows},
        Operand<R>{right, b.col_stride, b.row_stride, nullptr, b.rows});
    };
    if constexpr (narrow && (std::is_same_v<A, W> || std::is_same_v<B, W>)) {
      if (o.precision == Precision::rounded) return call(rounded(a.data), rounded(b.data));
    }
    call(a.data, b.data);
  }
  static const Rounded<W, T>* rounded(const W* at) requires narrow {
    return reinterpret_cast<const Rounded<W, T>*>(at);
  }
  static const T* rounded(const T* at) { return at; }
  /// The product on one thread, with the kernel that suits the operands.
  template <class A, class B, class C>
  void one(int m, int n, int k, const Operand<A>& a, const Operand<B>& b, C* c, std::ptrdiff_t ldc,
           const Options& o, int worker, const RowsAfter& after = {}) {
    W* const space = space_[std::size_t(worker)].template as<W>();
#ifdef MOE_HAS_TILES
    if constexpr (narrow ? !std::is_same_v<A, W> && !std::is_same_v<B, W>
                         : std::is_same_v<T, float>) {
      if (multiplier_ == Multiplier::tiles)
        return multiply_on_tiles<Tiles, WidePacking>(m, n, k, a, b, c, ldc, o, space, after);
    }
#endif
#ifdef __AVX512BF16__
    if constexpr (narrow && !std::is_same_v<A, W> && !std::is_same_v<B, W>) {
      if (multiplier_ == Multiplier::dot)
        return multiply<Dot>(m, n, k, a, b, c, ldc, o, space, after);
    }
#endif
    multiply<Widened>(m, n, k, a, b, c, ldc, o, space, after);
  }

  /// Calls work(row part, first column, number of columns, options of these columns, worker) for
  /// every part.
  template <class F>
  void for_each_part(const Partition& cut, int n, const Options& o, const F& work) {
    const int parts = cut.rows * cut.cols;
    parallel(parts, parts, [&](int part, int worker) {
      const auto [j, end] = share(n, cut.cols, part % cut.cols, Tile<W>::cols);
      Options oj = o;
      if (oj.bias) oj.bias += j;
      work(part / cut.cols, j, end - j, oj, worker);
    });
  }

  int threads_;
  std::vector<Workspace> space_;
  Multiplier multiplier_;
};

}  // namespace moe::detail
