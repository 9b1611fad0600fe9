#include <bit>
#include <cstdint>
#include <moe/optim/adamw.hpp>
#include <moe/optim/muon.hpp>

#include "catch.hpp"
#include "model.hpp"
#if defined(__SSE__)
#include <pmmintrin.h>
#endif

// Tests that numbers without a gradient come to rest at 0 and not at denormal numbers, which are
// slow and whose bits depend on the floating-point mode of the thread.

using namespace moe::test;

namespace {

/// Looks at the bits, because a thread that treats denormal numbers as 0 would not find them
/// otherwise.
bool is_denormal(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x) & 0x7fffffff;
  return bits > 0 && bits < 0x00800000;
}
bool is_denormal(double x) {
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(x) & 0x7fffffffffffffff;
  return bits > 0 && bits < 0x0010000000000000;
}

template <class Model, class Optimizer>
std::size_t denormal_numbers(Model& model, Optimizer& optimizer) {
  std::size_t found = 0;
  const auto count = [&](const std::string&, auto& leaf) {
    for (std::size_t i = 0; i < leaf.size; ++i) found += is_denormal(leaf.data[i]);
  };
  moe::for_each_named_leaf(count, "", model.params());
  optimizer.for_each_state(count);
  return found;
}

/// Fast decays: 2^-126 is reached after some 170 updates instead of 1,700.
const moe::AdamWOptions fast{.lr = 0.5, .beta1 = 0.5, .beta2 = 0.6, .weight_decay = 0.8};

/// The CPU with one thread, so that all work is done in the mode of the test's thread.
struct OneThread : moe::Cpu<float> {
  OneThread() : moe::Cpu<float>(1) {}
};

/// Checks that after `steps` steps nothing of the first gradient is left, and that no denormal
/// number occurs on the way. Every matrix keeps one number with a gradient, because Muon skips a
/// matrix without any.
template <class Optimizer, class Model, class Options>
void check_rest(const Options& options, int steps) {
  Model model;
  Optimizer optimizer{model, options};
  model.draw_grads(1, 1e-3);
  std::size_t denormal = 0;
  for (int i = 0; i < steps; ++i) {
    if (i > 0)
      moe::for_each_leaf(
          [](auto& leaf) {
            for (std::size_t at = 0; at < leaf.size; at += 35) leaf.data[at] = 1e-3f;
          },
          model.grads());
    optimizer.step();
    denormal += denormal_numbers(model, optimizer);
  }
  CHECK(denormal == 0);
  std::size_t still = 0;
  optimizer.for_each_state([&](const std::string&, auto& leaf) {
    for (std::size_t at = 0; at < leaf.size; ++at) still += at % 35 != 0 && leaf.data[at] != 0;
  });
  CHECK(still == 0);
}

}  // namespace

TEST_CASE("Optimizers: states without a gradient come to rest at 0", "[optim][denormal]") {
  using Plain = TinyModel<moe::Reference<float>>;
  using Fast = TinyModel<moe::Cpu<float>>;
  using Double = TinyModel<moe::Cpu<double>>;
  check_rest<moe::AdamW<Plain>, Plain>(fast, 220);
  check_rest<moe::AdamW<Fast>, Fast>(fast, 220);
  check_rest<moe::AdamW<Double>, Double>(fast, 1500);
  const moe::MuonOptions muon{.lr = 0.5, .momentum = 0.5, .weight_decay = 0.8, .rest = fast.rule()};
  check_rest<moe::Muon<Plain>, Plain>(muon, 220);
  check_rest<moe::Muon<Fast>, Fast>(muon, 220);
}

TEST_CASE("Optimizers: parameters under decay come to rest at 0", "[optim][denormal]") {
  TinyModel<moe::Cpu<float>> model;
  moe::AdamW optimizer{model, fast};
  std::size_t denormal = 0;
  for (int i = 0; i < 220; ++i) {
    optimizer.step();
    denormal += denormal_numbers(model, optimizer);
  }
  CHECK(denormal == 0);
  const auto& head = model.params().head;
  CHECK(std::count(head.data, head.data + head.size, 0.0f) == std::ptrdiff_t(head.size));
}

TEST_CASE("Optimizers: a state of denormal numbers that was loaded is mended", "[optim]") {
  TinyModel<moe::Cpu<float>> model;
  moe::AdamW optimizer{model};
  optimizer.for_each_state([](const std::string&, auto& leaf) {
    for (std::size_t i = 0; i < leaf.size; ++i) leaf.data[i] = 1e-40f;
  });
  CHECK(denormal_numbers(model, optimizer) > 0);
  optimizer.step();
  CHECK(denormal_numbers(model, optimizer) == 0);
}

namespace {

/// Gradients of every size down to the smallest denormal number, and zeros.
std::vector<std::vector<float>> gradients_of_all_sizes(std::size_t size, int steps) {
  std::vector<std::vector<float>> all;
  for (int t = 0; t < steps; ++t) {
    std::vector<float> g(size);
    for (std::size_t i = 0; i < size; ++i) {
      const moe::RandomWords words = moe::philox(7, std::uint64_t(t), i);
      const auto& word = words.word;
      const float digits = 1 + float(word[0] % 1000) * 1e-3f;
      const bool none = word[2] % 4 == 0 || (t > 20 && i % 3 == 0);
      g[i] = none ? 0 : std::ldexp(word[3] % 2 ? digits : -digits, -int(word[1] % 150));
    }
    all.push_back(std::move(g));
  }
  return all;
}

template <class Tree>
void set_leaves(Tree& tree, const std::vector<float>& values) {
  auto from = values.begin();
  moe::for_each_leaf(
      [&](auto& leaf) {
        std::copy_n(from, leaf.size, leaf.data);
        from += std::ptrdiff_t(leaf.size);
      },
      tree);
}

/// The bits of parameters and states after some updates.
template <class B, template <class> class Optimizer, class Options>
std::vector<std::uint32_t> bits_after(const Options& options, bool flush) {
  TinyModel<B> model;
  Optimizer<TinyModel<B>> optimizer{model, options};
  std::size_t size = 0;
  moe::for_each_leaf([&](auto& leaf) { size += leaf.size; }, model.grads());
  const auto gradients = gradients_of_all_sizes(size, 60);
#if defined(__SSE__)
  const unsigned mode = _mm_getcsr();
  if (flush) {
    _MM_SET_FLUSH_ZERO_MODE(_MM_FLUSH_ZERO_ON);
    _MM_SET_DENORMALS_ZERO_MODE(_MM_DENORMALS_ZERO_ON);
  }
#endif
  for (const std::vector<float>& g : gradients) {
    set_leaves(model.grads(), g);
    optimizer.step();
  }
#if defined(__SSE__)
  _mm_setcsr(mode);
#endif
  std::vector<std::uint32_t> bits;
  const auto add = [&](const std::string& name, auto& leaf) {
    if (has(name, "expert_bias")) return;  // moved by loads, which are no small numbers
    for (std::size_t i = 0; i < leaf.size; ++i)
      bits.push_back(std::bit_cast<std::uint32_t>(leaf.data[i]));
  };
  moe::for_each_named_leaf(add, "", model.params());
  optimizer.for_each_state(add);
  return bits;
}

/// How many numbers differ between a and b.
std::size_t differences(const std::vector<std::uint32_t>& a, const std::vector<std::uint32_t>& b) {
  std::size_t found = a.size() != b.size();
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) found += a[i] != b[i];
  return found;
}

}  // namespace

TEST_CASE("Optimizers: the same bits whether the thread flushes denormal numbers or not",
          "[optim][denormal]") {
  for (const double lr : {1e-3, 1e-12}) {
    for (const double eps : {1e-8, 1e-20}) {
      const moe::AdamWOptions adamw{.lr = lr, .beta1 = 0.5, .beta2 = 0.6, .eps = eps};
      const moe::MuonOptions muon{.lr = lr, .momentum = 0.5, .rest = adamw.rule()};
      using Plain = moe::Reference<float>;
      CHECK(differences(bits_after<Plain, moe::AdamW>(adamw, true),
                        bits_after<Plain, moe::AdamW>(adamw, false)) == 0);
      CHECK(differences(bits_after<OneThread, moe::AdamW>(adamw, true),
                        bits_after<OneThread, moe::AdamW>(adamw, false)) == 0);
      CHECK(differences(bits_after<OneThread, moe::Muon>(muon, true),
                        bits_after<OneThread, moe::Muon>(muon, false)) == 0);
    }
  }
}

TEST_CASE("AdamW: lanes of a register and single numbers come to rest alike", "[optim][denormal]") {
  // Without clipping, because each backend adds up the norm in its own order. Clang rounds products
  // of single numbers and of registers differently, so that only zeros can be compared.
  const moe::AdamWOptions adamw{.beta1 = 0.5, .beta2 = 0.6, .clip = INFINITY};
  auto lanes = bits_after<OneThread, moe::AdamW>(adamw, false),
       singles = bits_after<moe::Reference<float>, moe::AdamW>(adamw, false);
#ifdef __clang__
  for (auto* all : {&lanes, &singles})
    for (std::uint32_t& bits : *all) bits = bits != 0;
#endif
  CHECK(differences(lanes, singles) == 0);
}
