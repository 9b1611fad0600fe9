#include <atomic>
#include <cstdlib>
#include <limits>
#include <new>
#include <string>

#include "catch.hpp"
#include "parity.hpp"
#include "skip.hpp"

namespace {
std::atomic<int> allocations{0};
}

#if !MOE_SANITIZED  // a sanitizer has its own operator new
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  ++allocations;
  if (void* block = std::malloc(bytes ? bytes : 1)) return block;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t bytes, std::align_val_t alignment) {
  ++allocations;
  const std::size_t unit = std::size_t(alignment);
  if (void* block = std::aligned_alloc(unit, (bytes + unit) / unit * unit)) return block;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(bytes ? bytes : 1);
}
[[gnu::noinline]] void* operator new(std::size_t bytes, std::align_val_t alignment,
                                     const std::nothrow_t&) noexcept {
  ++allocations;
  const std::size_t unit = std::size_t(alignment);
  return std::aligned_alloc(unit, (bytes + unit) / unit * unit);
}
[[gnu::noinline]] void operator delete(void* block) noexcept {
  std::free(block);
}
[[gnu::noinline]] void operator delete(void* block, std::size_t) noexcept {
  std::free(block);
}
[[gnu::noinline]] void operator delete(void* block, std::align_val_t) noexcept {
  std::free(block);
}
[[gnu::noinline]] void operator delete(void* block, std::size_t, std::align_val_t) noexcept {
  std::free(block);
}
#endif

using namespace moe;
using namespace moe::test;

TEST_CASE("Cpu: memory is aligned to 256 bytes and zeroed, small or large", "[memory]") {
  Cpu<float> cpu{2};
  const std::size_t mib = std::size_t(1) << 20;
  for (const std::size_t bytes : {std::size_t(0), std::size_t(1), 5 * mib, 9 * mib + 3}) {
    for (int again = 0; again < 2; ++again) {
      std::byte* block = cpu.allocate(bytes);
      CHECK(std::uintptr_t(block) % 256 == 0);
      CHECK(std::count(block, block + bytes, std::byte{0}) == std::ptrdiff_t(bytes));
      std::fill(block, block + bytes, std::byte{7});
      cpu.release(block, bytes);
    }
  }
}

TEST_CASE("Cpu: too large a block is an error that says what to do", "[error]") {
  if (sanitized) return skip("a sanitizer ends a program that asks for a petabyte");
  Cpu<float> cpu{1};
  std::string message;
  try {
    cpu.allocate(std::size_t(1) << 50);
  } catch (const Error& error) {
    message = error.what();
  }
  CHECK(message.find("moe: cannot allocate 1125899906842624 bytes") == 0);
  CHECK(message.find("use a smaller batch or model") != std::string::npos);
}

TEST_CASE("Cpu: zero and copy reach every byte of small and large blocks", "[memory]") {
  Cpu<float> cpu{2};
  for (const std::size_t bytes : {std::size_t(0), std::size_t(5), (std::size_t(3) << 20) + 7}) {
    std::vector<unsigned char> from(bytes + 1), to(bytes + 1, 9);
    for (std::size_t i = 0; i < bytes; ++i) from[i] = static_cast<unsigned char>(i * 7 + 1);
    from[bytes] = 9;
    cpu.upload(to.data(), from.data(), bytes);
    CHECK(to == from);
    cpu.zero(to.data(), bytes);
    CHECK(std::count(to.begin(), to.end(), 0) == std::ptrdiff_t(bytes));
    CHECK(to[bytes] == 9);
  }
}

/// Adds the number of rows to every column.
struct CountRows {
  Row<float> count;
  static constexpr int sums = 1;
  template <class V>
  void add(V* sum, Lane<V>, int) const {
    sum[0] = sum[0] + V(1.0f);
  }
  template <class V>
  void store(const V* sum, Lane<V> i, int) const {
    count[i] += sum[0];
  }
};

TEST_CASE("Cpu: rows and columns visit everything once for every number of threads", "[kernels]") {
  for (const int threads : {1, 2, 3, 4}) {
    Cpu<float> cpu{threads};
    CHECK(cpu.threads() == threads);
    for (const int n : {0, 1, 15, 17, 100, 1037}) {
      const std::size_t size = std::size_t(n);
      std::vector<float> row(size), column(size + 1);
      cpu.rows(n, [&](const auto&, int r) { row[std::size_t(r)] += 1; });
      const Row<float> all{column.data()};
      cpu.columns(n, {1, 3}, CountRows{all});
      CHECK(std::count(row.begin(), row.end(), 1.0f) == n);
      CHECK(std::count(column.begin(), column.end() - 1, 3.0f) == n);
      CHECK(column.back() == 0);
    }
  }
}

TEST_CASE("Cpu: group_by_expert is the oracle's stable counting sort", "[sort]") {
  Cpu<float> cpu;
  Reference<double> oracle;
  for (const int tokens : {0, 1, 57})
    for (const int experts : {1, 4, 60})
      for (const int top_k : {1, 3}) {
        const std::size_t slots = std::size_t(tokens * top_k);
        std::vector<int> expert(slots), slot_of(slots), token_of(slots), offset(61);
        for (std::size_t i = 0; i < slots; ++i)
          expert[i] = int(philox(1, 2, i)[0] % std::uint32_t(experts));
        auto expected_slot = slot_of, expected_token = token_of, expected_offset = offset;
        cpu.group_by_expert(tokens, experts, top_k, expert.data(), slot_of.data(), token_of.data(),
                            offset.data());
        oracle.group_by_expert(tokens, experts, top_k, expert.data(), expected_slot.data(),
                               expected_token.data(), expected_offset.data());
        CHECK(slot_of == expected_slot);
        CHECK(token_of == expected_token);
        CHECK(offset == expected_offset);
        CHECK(offset[std::size_t(experts)] == int(slots));
        for (std::size_t i = 0; i < slots; ++i) {
          const int slot = slot_of[i], e = expert[i];
          CHECK(token_of[std::size_t(slot)] == int(i) / top_k);
          CHECK((offset[std::size_t(e)] <= slot && slot < offset[std::size_t(e) + 1]));
        }
      }
}

TEST_CASE("Cpu: no function allocates after reserve", "[memory]") {
  if (moe::test::sanitized) return moe::test::skip("a sanitizer has its own operator new");
  Cpu<float> cpu{2};
  const AttentionShape s{2, 70, 70, 70, 4, 2, 24, {0.1, 1, 2}};
  const std::vector<int> offset = {0, 30, 140}, expert(140, 1);
  std::vector<int> slot(140), token(140), sorted(3);
  std::vector<float> x(1 << 18), y(1 << 18), lse(1000);
  const float* in = x.data();
  float* out = y.data();
  cpu.reserve(s);
  const int before = allocations;
  cpu.gemm(140, 96, 600, {in, 600}, {in, 96}, out, 96);
  cpu.batched_gemm(3, 70, 40, 50, {in, 50}, 3500, {in, 40}, 2000, out, 40, 2800);
  cpu.grouped_gemm_m({2, offset.back(), offset.data()}, 96, 60, {in, 60}, {in, 1, 60}, 5760, out,
                     96);
  cpu.grouped_gemm_k({2, offset.back(), offset.data()}, 96, 60, {in, 96}, {in, 60}, out, 60, 5760);
  cpu.attention_forward(s, in, in, in, out, lse.data());
  cpu.attention_backward(s, in, in, in, in, in, lse.data(), out, out, out);
  cpu.group_by_expert(70, 2, 2, expert.data(), slot.data(), token.data(), sorted.data());
  cpu.rows(100, [&](const auto& group, int r) {
    out[r] = group.sum(99, [&](auto i) { return load(in, i); });
  });
  cpu.columns(100, {1, 3}, CountRows{{out}});
  CHECK(allocations == before);
  const int now = allocations;
  cpu.release(cpu.allocate(10), 10);
  CHECK(allocations > now);  // the counter counts
}

TEST_CASE("Cpu: the measured peak is a plausible rate", "[peak]") {
  if (sanitized)
    return skip("a sanitizer checks each multiply-add, so the rate is not the machine's");
  Cpu<float> cpu{1};
  const double peak = fma_peak_gflops(cpu, 0.01);
  CHECK(peak > 0.1);
  CHECK(peak < 1e5);
}
