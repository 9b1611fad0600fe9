#pragma once
#include <moe/backend/cpu/gemm.hpp>
#include <vector>

namespace moe::detail {

/// The products of the Multiplies concept, cut over threads by rows and columns of C, never along
/// the sum. Every thread packs for itself; the workspaces are made once.
template <class T>
class Products {
 public:
  using In = Matrix<const T>;
  using Options = GemmOptions<T>;

  explicit Products(int threads) : threads_(threads), space_(std::size_t(threads)) {
    for (Workspace& w : space_) w.reserve(Blocking<T>::workspace_numbers * sizeof(T));
  }

  void gemm(int m, int n, int k, const In& a, const In& b, T* c, std::ptrdiff_t ldc,
            const Options& o) {
    const Operand<T> left = left_of(a), right = right_of(b);
    const Cut cut = best_cut<T>(threads_, m, n, 2.0 * m * n * k);
    for_each_part(cut, n, o, [&](int part, int first, int cols, const Options& oj, int worker) {
      const auto [i, end] = share(m, cut.rows, part, Tile<T>::rows);
      multiply(end - i, cols, k, left.from(i, 0), right.from(first, 0), c + i * ldc + first, ldc,
               oj, space(worker));
    });
  }

  void batched_gemm(int batch, int m, int n, int k, const In& a, std::ptrdiff_t a_step, const In& b,
                    std::ptrdiff_t b_step, T* c, std::ptrdiff_t ldc, std::ptrdiff_t c_step,
                    const Options& o) {
    const bool whole = batch >= threads_ || 2.0 * m * n * k < 1e6;
    const bool small = 2.0 * batch * m * n * k < 1e6;
    const auto one = [&](int i, const auto& run) {
      In ai = a, bi = b;
      ai.data += i * a_step;
      bi.data += i * b_step;
      run(ai, bi, c + i * c_step);
    };
    if (whole) {
      parallel(small ? 1 : threads_, batch, [&](int i, int worker) {
        one(i, [&](const In& ai, const In& bi, T* ci) {
          multiply(m, n, k, left_of(ai), right_of(bi), ci, ldc, o, space(worker));
        });
      });
    } else {
      for (int i = 0; i < batch; ++i)
        one(i, [&](const In& ai, const In& bi, T* ci) { gemm(m, n, k, ai, bi, ci, ldc, o); });
    }
  }

  void grouped_gemm_m(int groups, const int* offset, int n, int k, const In& a, const In& b,
                      std::ptrdiff_t b_step, T* c, std::ptrdiff_t ldc, const Options& o,
                      std::ptrdiff_t bias_step) {
    const Operand<T> left = left_of(a), right = right_of(b);
    const int slots = offset[groups] - offset[0];
    const Cut cut = best_cut<T>(threads_, slots, n, 2.0 * slots * n * k);
    for_each_part(cut, n, o, [&](int part, int j, int cols, const Options& oj, int worker) {
      const auto [first, end] = share(slots, cut.rows, part, Tile<T>::rows);
      for (int g = 0; g < groups; ++g) {
        const int i = std::max(offset[g], offset[0] + first);
        const int rows = std::min(offset[g + 1], offset[0] + end) - i;
        if (rows <= 0) continue;
        Operand<T> weight = right.from(j, 0);
        weight.data += g * b_step;
        Options og = oj;
        if (og.bias) og.bias += g * bias_step;
        multiply(rows, cols, k, left.from(i, 0), weight, c + i * ldc + j, ldc, og, space(worker));
      }
    });
  }

  void grouped_gemm_k(int groups, const int* offset, int m, int n, const In& a, const In& b, T* c,
                      std::ptrdiff_t ldc, std::ptrdiff_t c_step, const Options& o) {
    // A row of group g costs its number of slots, and a little for writing C.
    const auto cost = [&](int g) { return double(offset[g + 1] - offset[g]) + 8; };
    double total = 0;
    for (int g = 0; g < groups; ++g) total += cost(g) * m;
    const int parts = total * n * 2 < 1e6 ? 1 : threads_;
    const Operand<T> left{a.data, a.col_stride, a.row_stride, nullptr, a.rows}, right = right_of(b);
    parallel(parts, parts, [&](int part, int worker) {
      double before = 0;  // cost of the groups before g
      for (int g = 0; g < groups; ++g) {
        const auto row_at = [&](int p) {
          if (p == parts) return m;
          const double rows = (total * p / parts - before) / cost(g);
          if (rows >= m) return m;
          return rows <= 0 ? 0 : int(rows) / Tile<T>::rows * Tile<T>::rows;
        };
        const int i = row_at(part), rows = row_at(part + 1) - i, s = offset[g];
        if (rows > 0)
          multiply(rows, n, offset[g + 1] - s, left.from(i, s), right.from(0, s),
                   c + g * c_step + i * ldc, ldc, o, space(worker));
        before += cost(g) * m;
      }
    });
  }

 private:
  static Operand<T> left_of(const In& a) {
    return {a.data, a.row_stride, a.col_stride, a.rows, nullptr};
  }
  static Operand<T> right_of(const In& b) {
    return {b.data, b.col_stride, b.row_stride, nullptr, b.rows};
  }
  T* space(int worker) { return space_[std::size_t(worker)].template as<T>(); }

  /// work(row part, first column, columns, options of these columns, worker).
  template <class F>
  void for_each_part(const Cut& cut, int n, const Options& o, const F& work) {
    const int parts = cut.rows * cut.cols;
    parallel(parts, parts, [&](int part, int worker) {
      const auto [j, end] = share(n, cut.cols, part % cut.cols, Tile<T>::cols);
      Options oj = o;
      if (oj.bias) oj.bias += j;
      work(part / cut.cols, j, end - j, oj, worker);
    });
  }

  int threads_;
  std::vector<Workspace> space_;
};

}  // namespace moe::detail
