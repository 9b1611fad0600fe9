#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>
#include <moe/backend/backend.hpp>
#include <moe/core/error.hpp>
#include <moe/kernels/newton_schulz.hpp>
#include <new>
#include <string>
#include <vector>

namespace moe::inline MOE_ISA {

/// Plain loops on one thread, for any number type: the tests compare every other backend with it. W
/// needs + - * /, comparison, construction from double, and exp, log, sqrt, tanh, erf.
/// T is the type of activations in memory: W, or narrower.
///
///     moe::Reference<double> backend;
///     moe::Reference<float, moe::bfloat16> oracle_of_mixed_precision;
template <class W = double, class T = W>
class Reference : public detail::DoneAtOnce {
 public:
  using Value = T;
  using Wide = W;

  std::byte* allocate(std::size_t bytes) {
    auto* block = static_cast<std::byte*>(::operator new(bytes + 1, std::align_val_t(256)));
    std::memset(block, 0, bytes);
    return block;
  }
  void release(std::byte* block, std::size_t) { ::operator delete(block, std::align_val_t(256)); }
  void zero(void* to, std::size_t bytes) {
    if (bytes > 0) std::memset(to, 0, bytes);  // neither function may have a null pointer
  }
  void copy(void* to, const void* from, std::size_t bytes) {
    if (bytes > 0) std::memmove(to, from, bytes);
  }
  void upload(void* to, const void* from, std::size_t bytes) { copy(to, from, bytes); }
  void download(void* to, const void* from, std::size_t bytes) { copy(to, from, bytes); }
  Ticket later(void* to, const void* from, std::size_t bytes) {
    download(to, from, bytes);
    return {};
  }
  std::string describe() const { return "1 thread"; }
  static constexpr int head_rows(int vocab) { return detail::head_rows_in_cache(vocab); }

  struct Group {
    template <class F>
    void for_each(int n, const F& f) const {
      for (int i = 0; i < n; ++i) f(Lane<W>{i});
    }
    template <class F>
    void for_each_index(int n, const F& f) const {
      for (int i = 0; i < n; ++i) f(i);
    }
    template <class F>
    void once(const F& f) const {
      f();
    }
    template <class F>
    W sum(int n, const F& f) const {
      W total(0);
      for (int i = 0; i < n; ++i) total = total + f(Lane<W>{i});
      return total;
    }
    template <class F>
    double total(int n, const F& f) const {
      return serial_total(n, f);
    }
    template <class F>
    W max(int n, const F& f) const {
      W max = f(Lane<W>{0});
      for (int i = 1; i < n; ++i) {
        const W value = f(Lane<W>{i});
        if (max < value) max = value;
      }
      return max;
    }
  };

  template <class Kernel>
  void rows(int n, const Kernel& kernel) {
    for (int r = 0; r < n; ++r) kernel(Group{}, r);
  }
  template <class Kernel>
  void columns(int n, Segments rows, const Kernel& kernel) {
    for (int i = 0; i < n; ++i) detail::add_segments(rows, kernel, Lane<W>{i}, W(0));
  }

  // The defaults of X and Y allow calls that write an operand of type W as {data, stride}.
  template <class X = const W, class Y = const W, class Z>
  void gemm(int m, int n, int k, Matrix<X> a, Matrix<Y> b, Z* c, std::ptrdiff_t ldc,
            GemmOptions<W> o = {}) {
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < n; ++j) {
        W sum(0);
        for (int l = 0; l < k; ++l) sum = sum + at(a, i, l, o) * at(b, l, j, o);
        Z& out = c[i * ldc + j];
        W value = o.alpha * sum;
        if (o.bias) value = value + o.bias[j];
        out = o.beta == W(0) ? value : W(value + o.beta * out);
      }
  }
  template <class X = const W, class Y = const W, class Z>
  void batched_gemm(int batch, int m, int n, int k, Matrix<X> a, std::ptrdiff_t a_step, Matrix<Y> b,
                    std::ptrdiff_t b_step, Z* c, std::ptrdiff_t ldc, std::ptrdiff_t c_step,
                    GemmOptions<W> o = {}) {
    for (int i = 0; i < batch; ++i) {
      gemm(m, n, k, a, b, c, ldc, o);
      a.data += a_step;
      b.data += b_step;
      c += c_step;
    }
  }
  void symmetric_gemm(int batch, int m, int k, Matrix<const W> a, std::ptrdiff_t a_step, W* c,
                      SymmetricOptions<W> o) {
    MOE_EXPECTS(o.is_plain() || k == m, "a polynomial of a matrix needs a square one, not ", m,
                " x ", k);
    batched_gemm(batch, m, m, k, a, a_step, transposed(a), a_step, c, m, std::ptrdiff_t(m) * m,
                 {.precision = o.precision});
    if (!o.is_plain())
      rows(batch * m, kernel::Polynomial<W>{m, m, a.data, c, o.identity, o.linear, o.square});
  }
  template <class X = const W, class Y = const W, class Z>
  void grouped_gemm_m(Segments segments, int n, int k, Matrix<X> a, Matrix<Y> b,
                      std::ptrdiff_t b_step, Z* c, std::ptrdiff_t ldc, GemmOptions<W> o = {},
                      std::ptrdiff_t bias_step = 0) {
    for (int g = 0; g < segments.segments; ++g) {
      const int first = segments.begin(g);
      Matrix<X> rows = a;
      if (rows.rows) {
        rows.rows += first;
      } else {
        rows.data += first * a.row_stride;
      }
      gemm(segments.end(g) - first, n, k, rows, b, c + first * ldc, ldc, o);
      b.data += b_step;
      if (o.bias) o.bias += bias_step;
    }
  }
  template <class X = const W, class Y = const W, class Z>
  void grouped_gemm_k(Segments segments, int m, int n, Matrix<X> a, Matrix<Y> b, Z* c,
                      std::ptrdiff_t ldc, std::ptrdiff_t c_step, GemmOptions<W> o = {}) {
    for (int g = 0; g < segments.segments; ++g, c += c_step)
      for (int i = 0; i < m; ++i)
        for (int j = 0; j < n; ++j) {
          W sum(0);
          for (int s = segments.begin(g); s < segments.end(g); ++s)
            sum = sum + at(a, s, i, o) * at(b, s, j, o);
          Z& out = c[i * ldc + j];
          out = o.beta == W(0) ? W(o.alpha * sum) : W(o.alpha * sum + o.beta * out);
        }
  }

  void reserve(const AttentionShape&) {}

  void attention_forward(const AttentionShape& s, const T* q, const T* k, const T* v, T* out,
                         W* lse) {
    for_each_query(s, [&](const Query& at) {
      const std::vector<W> p =
          probabilities(s, at, q, k, nullptr, &lse[at.row * s.heads + at.head]);
      for (int d = 0; d < s.head_dim; ++d) {
        W sum(0);
        for (int j = 0; j < at.visible; ++j)
          sum = sum + operand(dropped(s, at, j, p[std::size_t(j)])) * v[at.key(s, j) + d];
        out[at.query(s) + d] = sum;
      }
    });
  }

  void attention_backward(const AttentionShape& s, const T* q, const T* k, const T* v, const T* out,
                          const T* dout, const W* lse, T* to_dq, T* to_dk, T* to_dv) {
    // The gradients are summed in W and rounded to T once, at the end.
    const std::size_t rows = std::size_t(s.sequences) * std::size_t(s.head_dim);
    const std::size_t queries = rows * std::size_t(s.queries * s.heads);
    const std::size_t keys = rows * std::size_t(s.key_rows * s.kv_heads);
    std::vector<W> dq(to_dq, to_dq + queries), dk(to_dk, to_dk + keys), dv(to_dv, to_dv + keys);
    const W scale = W(1 / std::sqrt(double(s.head_dim)));
    for_each_query(s, [&](const Query& at) {
      const std::vector<W> p =
          probabilities(s, at, q, k, &lse[at.row * s.heads + at.head], nullptr);
      W delta(0);  // sum_j p_j dp_j
      for (int d = 0; d < s.head_dim; ++d)
        delta = delta + dout[at.query(s) + d] * out[at.query(s) + d];
      for (int j = 0; j < at.visible; ++j) {
        W dp(0);
        for (int d = 0; d < s.head_dim; ++d) {
          dp = dp + dout[at.query(s) + d] * v[at.key(s, j) + d];
          W& to = dv[std::size_t(at.key(s, j) + d)];
          to = to + operand(dropped(s, at, j, p[std::size_t(j)])) * dout[at.query(s) + d];
        }
        const W ds = operand(p[std::size_t(j)] * (dropped(s, at, j, dp) - delta) * scale);
        for (int d = 0; d < s.head_dim; ++d) {
          W& to_q = dq[std::size_t(at.query(s) + d)];
          W& to_k = dk[std::size_t(at.key(s, j) + d)];
          to_q = to_q + ds * k[at.key(s, j) + d];
          to_k = to_k + ds * q[at.query(s) + d];
        }
      }
    });
    std::copy(dq.begin(), dq.end(), to_dq);
    std::copy(dk.begin(), dk.end(), to_dk);
    std::copy(dv.begin(), dv.end(), to_dv);
  }

  void group_by_expert(int tokens, int experts, int top_k, const int* expert, int* slot_of,
                       int* token_of, int* offset) {
    std::fill(offset, offset + experts + 1, 0);
    for (int i = 0; i < tokens * top_k; ++i) ++offset[expert[i] + 1];
    for (int e = 0; e < experts; ++e) offset[e + 1] += offset[e];
    std::vector<int> next(offset, offset + experts);
    for (int i = 0; i < tokens * top_k; ++i) {
      const int slot = next[std::size_t(expert[i])]++;
      slot_of[i] = slot;
      token_of[slot] = i / top_k;
    }
  }

 private:
  template <class X>
  static W at(const Matrix<X>& m, int i, int j, const GemmOptions<W>& o) {
    const std::ptrdiff_t row = m.rows ? m.rows[i] : i;
    const X& number = m.data[row * m.row_stride + j * m.col_stride];
    return o.precision != Precision::rounded ? W(number) : W(T(number));
  }

  /// A number as a product reads it: rounded to T.
  static W operand(const W& number) { return W(T(number)); }

  struct Query {
    std::ptrdiff_t sequence, row, head;
    int i, visible;
    std::ptrdiff_t query(const AttentionShape& s) const {
      return (row * s.heads + head) * s.head_dim;
    }
    std::ptrdiff_t key(const AttentionShape& s, int j) const {
      return ((sequence * s.key_rows + j) * s.kv_heads + head / (s.heads / s.kv_heads)) *
             s.head_dim;
    }
  };

  template <class F>
  static void for_each_query(const AttentionShape& s, const F& f) {
    for (std::ptrdiff_t b = 0; b < s.sequences; ++b)
      for (std::ptrdiff_t h = 0; h < s.heads; ++h)
        for (int i = 0; i < s.queries; ++i)
          f(Query{b, b * s.queries + i, h, i, s.keys - s.queries + i + 1});
  }

  static W dropped(const AttentionShape& s, const Query& at, int j, const W& value) {
    if (!s.dropout.active()) return value;
    const std::ptrdiff_t row = (at.sequence * s.heads + at.head) * s.queries + at.i;
    return value * W(s.dropout.factor(std::uint64_t(row * s.keys + j)));
  }

  static std::vector<W> probabilities(const AttentionShape& s, const Query& at, const T* q,
                                      const T* k, const W* known_lse, W* lse) {
    using std::exp, std::log;
    const W scale = W(1 / std::sqrt(double(s.head_dim)));
    std::vector<W> p(std::size_t(at.visible), W(0));
    for (int j = 0; j < at.visible; ++j) {
      for (int d = 0; d < s.head_dim; ++d)
        p[std::size_t(j)] = p[std::size_t(j)] + q[at.query(s) + d] * k[at.key(s, j) + d];
      p[std::size_t(j)] = p[std::size_t(j)] * scale;
    }
    W log_sum;
    if (known_lse) {
      log_sum = *known_lse;
    } else {
      W max = p[0];
      for (const W& x : p)
        if (max < x) max = x;
      W sum(0);
      for (const W& x : p) sum = sum + exp(x - max);
      *lse = log_sum = max + log(sum);
    }
    for (W& x : p) x = exp(x - log_sum);
    return p;
  }
};

}  // namespace moe
