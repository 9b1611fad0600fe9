#pragma once
#include <cstddef>
#include <moe/backend/cpu/gemm/pack.hpp>
#include <moe/backend/cpu/simd/lanes.hpp>
#include <type_traits>
#include <utility>

namespace moe::inline MOE_ISA::detail {

/// The register tile of the matrix product: `rows` x `packs` accumulator registers. 14 x 2 fills
/// the 32 registers of AVX-512 and NEON, 4 x 3 the 16 of AVX2 and SSE.
template <class T>
struct Tile {
#if defined(__AVX512F__) || defined(__aarch64__)
  static constexpr int rows = 14, packs = 2;
#else
  static constexpr int rows = 4, packs = 3;
#endif
  static constexpr int width = batch_width<T>, cols = packs * width;
};

template <int N, class F>
[[gnu::always_inline]] inline void unroll(const F& f) {
  [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) {
    (f(std::integral_constant<int, I>{}), ...);
  }
  (std::make_integer_sequence<int, N>{});
}

/// The epilogue of a product: c = alpha * sum + bias + beta * c.
template <class T>
struct Epilogue {
  T alpha = T(1), beta = T(0);
  const T* bias = nullptr;
  Prefetcher* ahead[2] = {};  // prefetched while the tile computes

  /// alpha * sum + bias for one register of sums.
  Register<T> scaled(const Register<T>& sum, const Register<T>& bias_of_column) const {
    return multiply_add<T>(Register<T>(alpha), sum, bias_of_column);
  }
  Register<T> added(const Register<T>& scaled, const Register<T>& old) const {
    return multiply_add<T>(Register<T>(beta), old, scaled);
  }
};

/// Computes a tile of C, whose type may be narrower than T. Whatever R and V are, each element is
/// one chain of FMAs for l = 0 ... k-1, in this order:
///     sum(i, j) = fma(a[i * RowStep + l * a_step], b[l * b_step + j], sum(i, j))
template <class T, int R, int V, int RowStep, class C>
inline void multiply_tile(int k, const T* a, std::ptrdiff_t a_step, const T* b,
                          std::ptrdiff_t b_step, C* c, std::ptrdiff_t ldc, const Epilogue<T>& o) {
  using Pack = Register<T>;
  constexpr int width = Tile<T>::width;
  Pack sum[R * V];
  unroll<R * V>([&](auto i) __attribute__((always_inline)) { sum[i] = Pack(T(0)); });
  const auto step = [&]() __attribute__((always_inline)) {
    Pack right[V];
    unroll<V>([&](auto j) __attribute__((always_inline)) {
      right[j] = Pack::load_unaligned(b + j * width);
    });
    unroll<R>([&](auto i) __attribute__((always_inline)) {
      const Pack left(a[i * RowStep]);
      unroll<V>([&](auto j) __attribute__((always_inline)) {
        sum[i * V + j] = multiply_add<T>(left, right[j], sum[i * V + j]);
      });
    });
    a += a_step;
    b += b_step;
  };
  // Prefetches are issued slice by slice: all at once they would delay the loads of b.
  int l = 0;
  if (k >= 4 * Prefetcher::slices) {
    for (int slice = 0; slice < Prefetcher::slices; ++slice) {
      for (int i = slice; i < R; i += Prefetcher::slices) {
        __builtin_prefetch(c + i * ldc, 1);
        __builtin_prefetch(c + i * ldc + width * V - 1, 1);
      }
      for (Prefetcher* ahead : o.ahead)
        if (ahead) ahead->ask();
      for (const int end = l + k / Prefetcher::slices; l < end; ++l) step();
    }
  }
  for (; l < k; ++l) step();
  Pack bias[V];
  unroll<V>([&](auto j) __attribute__((always_inline)) {
    bias[j] = o.bias ? Pack::load_unaligned(o.bias + j * width) : Pack(T(0));
  });
  unroll<R * V>([&](auto i)
                    __attribute__((always_inline)) { sum[i] = o.scaled(sum[i], bias[i % V]); });
  constexpr Lane<Pack> here{0};
  if (o.beta != T(0)) {
    unroll<R * V>([&](auto i) __attribute__((always_inline)) {
      C* at = c + (i / V) * ldc + (i % V) * width;
      store(at, here, o.added(sum[i], load(static_cast<const C*>(at), here)));
    });
  } else {
    unroll<R * V>([&](auto i) __attribute__((always_inline)) {
      store(c + (i / V) * ldc + (i % V) * width, here, sum[i]);
    });
  }
}

/// multiply_tile for a tile at the edge of C, of `rows` <= R rows and `cols` <= V registers of
/// columns. A partial tile is computed in a buffer, so that its elements go through the same
/// instructions. `a` and `b` must be readable for the whole tile.
template <class T, int R, int V, int RowStep, class C>
inline void multiply_tile_at_edge(int rows, int cols, int k, const T* a, std::ptrdiff_t a_step,
                                  const T* b, std::ptrdiff_t b_step, C* c, std::ptrdiff_t ldc,
                                  const Epilogue<T>& o) {
  constexpr int ld = V * Tile<T>::width;
  if (rows >= R && cols >= ld)
    return multiply_tile<T, R, V, RowStep>(k, a, a_step, b, b_step, c, ldc, o);
  rows = rows < R ? rows : R;
  cols = cols < ld ? cols : ld;
  alignas(64) C part[R * ld] = {};
  alignas(64) T bias[ld] = {};
  Epilogue<T> finish = o;
  if (o.bias) {
    for (int j = 0; j < cols; ++j) bias[j] = o.bias[j];
    finish.bias = bias;
  }
  if (o.beta != T(0))
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j < cols; ++j) part[i * ld + j] = c[i * ldc + j];
  multiply_tile<T, R, V, RowStep>(k, a, a_step, b, b_step, part, ld, finish);
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < cols; ++j) c[i * ldc + j] = part[i * ld + j];
}

}  // namespace moe::detail
