// A backend of one's own, in the fewest lines that work: plain loops over float, on one thread.
// Backend is a policy: whatever has the functions of moe/backend/backend.hpp runs every model, with
// no change in the library. This one also counts the operations of its products, and shows that a
// mixture computes the chosen experts only.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <moe/moe.hpp>
#include <new>
#include <string>
#include <vector>

class Plain {
 public:
  using Value = float;  // of activations
  using Wide = float;   // of parameters and sums
  using In = moe::Matrix<const float>;
  using Gemm = moe::GemmOptions<float>;
  using Shape = moe::AttentionShape;

  double flops = 0;  // two for each multiply-add of a product

  // Memory. Every function is done when it returns, so a Ticket is always ready.
  struct Ticket {};
  std::byte* allocate(std::size_t bytes) {
    void* const block = ::operator new(bytes + 1, std::align_val_t(256));
    return static_cast<std::byte*>(std::memset(block, 0, bytes));
  }
  void release(std::byte* block, std::size_t) { ::operator delete(block, std::align_val_t(256)); }
  void zero(void* to, std::size_t bytes) {
    if (bytes > 0) std::memset(to, 0, bytes);
  }
  void copy(void* to, const void* from, std::size_t bytes) {
    if (bytes > 0) std::memmove(to, from, bytes);
  }
  void upload(void* to, const void* from, std::size_t bytes) { copy(to, from, bytes); }
  void download(void* to, const void* from, std::size_t bytes) { copy(to, from, bytes); }
  Ticket later(void* to, const void* from, std::size_t bytes) {
    return copy(to, from, bytes), Ticket{};
  }
  bool ready(Ticket) const { return true; }
  void wait(Ticket) {}
  void synchronize() {}

  // Kernels: a group is one thread, a lane one number.
  struct Group {
    void for_each(int n, const auto& f) const {
      for (int i = 0; i < n; ++i) f(moe::Lane<float>{i});
    }
    void for_each_index(int n, const auto& f) const {
      for (int i = 0; i < n; ++i) f(i);
    }
    void once(const auto& f) const { f(); }
    float sum(int n, const auto& f) const {
      float total = 0;
      for (int i = 0; i < n; ++i) total += f(moe::Lane<float>{i});
      return total;
    }
    double total(int n, const auto& f) const { return moe::serial_total(n, f); }
    float max(int n, const auto& f) const {
      float most = f(moe::Lane<float>{0});
      for (int i = 1; i < n; ++i) most = std::max(most, f(moe::Lane<float>{i}));
      return most;
    }
  };
  void rows(int n, const auto& kernel) {
    for (int r = 0; r < n; ++r) kernel(Group{}, r);
  }
  template <class Kernel>
  void columns(int n, moe::Segments rows, const Kernel& kernel) {
    for (int i = 0; i < n; ++i)
      for (int g = 0; g < rows.segments; ++g) {
        if (rows.begin(g) == rows.end(g)) continue;
        float sums[Kernel::sums] = {};
        for (int r = rows.begin(g); r < rows.end(g); ++r) kernel.add(sums, moe::Lane<float>{i}, r);
        kernel.store(sums, moe::Lane<float>{i}, g);
      }
  }

  // Products.
  void gemm(int m, int n, int k, In a, In b, float* c, std::ptrdiff_t ldc, Gemm o = {}) {
    flops += 2.0 * m * n * k;
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < n; ++j) {
        float sum = 0;
        for (int l = 0; l < k; ++l) sum += at(a, i, l) * at(b, l, j);
        float& to = c[i * ldc + j];
        to = o.alpha * sum + (o.bias ? o.bias[j] : 0) + (o.beta != 0 ? o.beta * to : 0);
      }
  }
  void batched_gemm(int batch, int m, int n, int k, In a, std::ptrdiff_t a_step, In b,
                    std::ptrdiff_t b_step, float* c, std::ptrdiff_t ldc, std::ptrdiff_t c_step,
                    Gemm o = {}) {
    for (int i = 0; i < batch; ++i, a.data += a_step, b.data += b_step, c += c_step)
      gemm(m, n, k, a, b, c, ldc, o);
  }
  void symmetric_gemm(int batch, int m, int k, In a, std::ptrdiff_t a_step, float* c,
                      moe::SymmetricOptions<float> o) {
    batched_gemm(batch, m, m, k, a, a_step, transposed(a), a_step, c, m, std::ptrdiff_t(m) * m);
    if (!o.is_plain())
      rows(batch * m,
           moe::kernel::Polynomial<float>{m, m, a.data, c, o.identity, o.linear, o.square});
  }
  void grouped_gemm_m(moe::Segments rows, int n, int k, In a, In b, std::ptrdiff_t b_step, float* c,
                      std::ptrdiff_t ldc, Gemm o = {}, std::ptrdiff_t bias_step = 0) {
    for (int g = 0; g < rows.segments; ++g, b.data += b_step) {
      const int first = rows.begin(g);
      gemm(rows.end(g) - first, n, k, from_row(a, first), b, c + first * ldc, ldc, o);
      if (o.bias) o.bias += bias_step;
    }
  }
  void grouped_gemm_k(moe::Segments rows, int m, int n, In a, In b, float* c, std::ptrdiff_t ldc,
                      std::ptrdiff_t c_step, Gemm o = {}) {
    for (int g = 0; g < rows.segments; ++g, c += c_step)
      for (int i = 0; i < m; ++i)
        for (int j = 0; j < n; ++j) {
          float sum = 0;
          for (int s = rows.begin(g); s < rows.end(g); ++s) sum += at(a, s, i) * at(b, s, j);
          float& to = c[i * ldc + j];
          to = o.alpha * sum + (o.beta != 0 ? o.beta * to : 0);
        }
    flops += 2.0 * m * n * (rows.end(rows.segments - 1) - rows.begin(0));
  }
  static constexpr int head_rows(int) { return 256; }

  // Attention, query by query.
  void reserve(const Shape&) {}
  void attention_forward(const Shape& s, const float* q, const float* k, const float* v, float* out,
                         float* lse) {
    for_each_query(s, [&](std::ptrdiff_t row, std::ptrdiff_t query, int keys, const auto& key,
                          const auto& mask) {
      std::vector<float> p = scores(s, q + query, k, keys, key);
      const float most = *std::max_element(p.begin(), p.end());
      float sum = 0;
      for (const float x : p) sum += std::exp(x - most);
      lse[row] = most + std::log(sum);
      std::fill_n(out + query, s.head_dim, 0.0f);
      for (int j = 0; j < keys; ++j)
        for (int d = 0; d < s.head_dim; ++d)
          out[query + d] += mask(j) * std::exp(p[std::size_t(j)] - lse[row]) * v[key(j) + d];
    });
  }
  void attention_backward(const Shape& s, const float* q, const float* k, const float* v,
                          const float* out, const float* dout, const float* lse, float* dq,
                          float* dk, float* dv) {
    const float scale = 1 / std::sqrt(float(s.head_dim));
    for_each_query(s, [&](std::ptrdiff_t row, std::ptrdiff_t query, int keys, const auto& key,
                          const auto& mask) {
      const std::vector<float> score = scores(s, q + query, k, keys, key);
      float along = 0;
      for (int d = 0; d < s.head_dim; ++d) along += dout[query + d] * out[query + d];
      for (int j = 0; j < keys; ++j) {
        const float p = std::exp(score[std::size_t(j)] - lse[row]);
        float dp = 0;
        for (int d = 0; d < s.head_dim; ++d) {
          dp += dout[query + d] * v[key(j) + d];
          dv[key(j) + d] += mask(j) * p * dout[query + d];
        }
        const float dscore = scale * p * (mask(j) * dp - along);
        for (int d = 0; d < s.head_dim; ++d) {
          dq[query + d] += dscore * k[key(j) + d];
          dk[key(j) + d] += dscore * q[query + d];
        }
      }
    });
  }

  // Routing: a stable counting sort.
  void group_by_expert(int tokens, int experts, int top_k, const int* expert, int* slot_of,
                       int* token_of, int* offset) {
    int slot = 0;
    for (int e = 0; e < experts; ++e) {
      offset[e] = slot;
      for (int i = 0; i < tokens * top_k; ++i)
        if (expert[i] == e) token_of[slot] = i / top_k, slot_of[i] = slot++;
    }
    offset[experts] = slot;
  }

  std::string describe() const { return "plain loops"; }

 private:
  static float at(const In& m, int i, int j) {
    return m.data[(m.rows ? m.rows[i] : i) * m.row_stride + j * m.col_stride];
  }
  static In from_row(In m, int first) {
    if (!m.rows) return m.data += first * m.row_stride, m;
    return m.rows += first, m;
  }
  /// Calls f(row of lse, offset of the query, visible keys, offset of key j, dropout of key j).
  static void for_each_query(const Shape& s, const auto& f) {
    for (int b = 0; b < s.sequences; ++b)
      for (int h = 0; h < s.heads; ++h)
        for (int i = 0; i < s.queries; ++i) {
          const std::ptrdiff_t row = std::ptrdiff_t(b * s.queries + i) * s.heads + h;
          const auto key = [&](int j) {
            const std::ptrdiff_t at = std::ptrdiff_t(b * s.key_rows + j) * s.kv_heads;
            return (at + h / (s.heads / s.kv_heads)) * s.head_dim;
          };
          const auto mask = [&](int j) {
            const std::ptrdiff_t first = std::ptrdiff_t((b * s.heads + h) * s.queries + i) * s.keys;
            return s.dropout.active() ? float(s.dropout.factor(std::uint64_t(first + j))) : 1.0f;
          };
          f(row, row * s.head_dim, s.keys - s.queries + i + 1, key, mask);
        }
  }
  static std::vector<float> scores(const Shape& s, const float* query, const float* k, int keys,
                                   const auto& key) {
    std::vector<float> all(std::size_t(keys), 0.0f);
    for (int j = 0; j < keys; ++j)
      for (int d = 0; d < s.head_dim; ++d)
        all[std::size_t(j)] += query[d] * k[key(j) + d] / std::sqrt(float(s.head_dim));
    return all;
  }
};
static_assert(moe::Backend<Plain>);

constexpr moe::ModelConfig dense{
    .vocab = 27, .dim = 32, .layers = 2, .heads = 2, .hidden = 128, .context = 16};
constexpr moe::ModelConfig mixture = [] {  // twice the feed-forward's parameters, the same work
  moe::ModelConfig c = dense;
  c.moe = {.experts = 4, .top_k = 2, .hidden = 64};
  return c;
}();

// The loss after some steps of AdamW.
template <moe::ModelConfig Config, class Backend>
double trained(Backend& backend, int steps) {
  moe::Transformer<Config, Backend> model{backend, {.batch = 1, .dropout = {.attention = 0.1}}};
  moe::AdamW optimizer{model};
  std::int32_t text[17];
  for (int i = 0; i < 17; ++i) text[i] = i * 7 % 27;
  for (int step = 0; step < steps; ++step) {
    model.forward_backward(moe::Batch::next_token(text));
    optimizer.step();
  }
  return model.forward(moe::Batch::next_token(text), false).total;
}

template <moe::ModelConfig Config>
double flops_of_one_pass() {
  Plain backend;
  trained<Config>(backend, 0);
  return backend.flops;
}

int compare() {
  Plain plain;
  moe::Cpu cpu;
  const double ours = trained<mixture>(plain, 20), the_library = trained<mixture>(cpu, 20);
  std::printf("a mixture after 20 steps: loss %.5f by %s, %.5f by %s\n", ours,
              plain.describe().c_str(), the_library, cpu.describe().c_str());
  const double one = flops_of_one_pass<dense>(), two = flops_of_one_pass<mixture>();
  std::printf("a pass: %.2f million operations in products, dense; %.2f, mixture\n", one / 1e6,
              two / 1e6);
  const bool same = std::abs(ours - the_library) < 1e-3;
  return same && two < 1.1 * one ? 0 : 1;  // the router's product is the rest
}

int main() {
  return moe::report_errors(compare);
}
