// Causal attention forward and backward, as a share of the measured FMA peak. Only operations on
// keys that a query sees are counted.  Names: attention/WHAT/head_dim/tokens of a sequence/heads x
// key heads; attention_bf16/... in bfloat16.
#include "measure.hpp"

namespace {

struct Shape {
  int head_dim, length, heads, kv_heads;
  double dropout = 0;
};

template <class T>
void attention(benchmark::State& state, const Shape& shape, bool backward, int threads) {
  constexpr int sequences = 4;
  const moe::AttentionShape s{sequences,   shape.length,   shape.length,   shape.length,
                              shape.heads, shape.kv_heads, shape.head_dim, {shape.dropout, 1, 2}};
  const std::ptrdiff_t rows = std::ptrdiff_t(sequences) * shape.length;
  const std::ptrdiff_t wide = rows * shape.heads * shape.head_dim;
  const std::ptrdiff_t narrow = rows * shape.kv_heads * shape.head_dim;
  const bench::Numbers<T> q(wide), out(wide), dout(wide), dq(wide), k(narrow, 0.5), v(narrow),
      dk(narrow), dv(narrow);
  const bench::Numbers<> lse(rows * shape.heads);
  moe::Cpu<T> be(threads);
  const auto limit = std::is_same_v<T, float> ? bench::fma_peak : bench::bf16_peak;
  const auto forward = [&] {
    be.attention_forward(s, q.data(), k.data(), v.data(), out.data(), lse.data());
  };
  forward();
  const double causal =
      2.0 * sequences * shape.heads * shape.length * (shape.length + 1.0) * shape.head_dim;
  if (backward) {
    bench::measure(state, 2.5 * causal, limit(threads), [&] {
      be.attention_backward(s, q.data(), k.data(), v.data(), out.data(), dout.data(), lse.data(),
                            dq.data(), dk.data(), dv.data());
    });
  } else {
    bench::measure(state, causal, limit(threads), forward);
  }
}

template <class T>
void add_type(const std::string& name, const Shape& s) {
  for (const bool backward : {false, true})
    bench::add(
        name + "/" + std::string(backward ? "backward" : "forward") +
            "/head_dim:" + std::to_string(s.head_dim) + "/length:" + std::to_string(s.length) +
            "/heads:" + std::to_string(s.heads) + "x" + std::to_string(s.kv_heads) +
            (s.dropout > 0 ? "/dropout" : ""),
        [=](benchmark::State& state, int threads) { attention<T>(state, s, backward, threads); });
}
void add(const Shape& s) {
  add_type<float>("attention", s);
  add_type<moe::bfloat16>("attention_bf16", s);
}

}  // namespace

int main(int argc, char** argv) {
  for (const int head_dim : {32, 48, 64, 104, 128})
    for (const int length : {256, 512}) add({head_dim, length, 8, 8});
  add({64, 256, 8, 2});
  add({128, 512, 8, 2});
  add({64, 256, 8, 8, 0.1});
  return bench::run(argc, argv);
}
