#pragma once
#include <moe/backend/cpu/attention/block.hpp>
#include <moe/backend/cpu/gemm/bf16_dot.hpp>
#include <moe/backend/cpu/simd/rounded.hpp>

namespace moe::inline MOE_ISA::detail {

/// Writes one register of queries of a matrix (keys, lanes), key after key, as the left operand of
/// the products of Kernel, rounded to T: for sums over keys, for sums over queries, or for both,
/// where the other pointer is null. The matrix that the numbers come from may be overwritten.
template <class Kernel, class W, class T>
class OperandWriter {
 public:
  using Block = AttentionBlock<Kernel, W, T>;

  OperandWriter(int pack, W* over_keys, W* over_queries)
      : to_((over_keys ? over_keys : over_queries) + pack * Block::width) {}

  void write(int j, const Register<W>& value) {
    rounded<T>(value).store_unaligned(to_ + j * Block::lanes);
  }
  /// To be called after the last of `keys` keys.
  void finish(int) {}

 private:
  W* to_;
};

#ifdef __AVX512BF16__
/// Pairs of terms: two keys of a query, in row j / 2, or two queries of a key, in row j.
template <>
class OperandWriter<Dot, float, bfloat16> {
 public:
  using Block = AttentionBlock<Dot, float, bfloat16>;

  OperandWriter(int pack, float* over_keys, float* over_queries)
      : over_keys_(over_keys ? over_keys + pack * Block::width : nullptr),
        over_queries_(over_queries ? over_queries + pack * Block::width / 2 : nullptr) {}

  void write(int j, const Register<float>& value) {
    if (j % 2 == 0) {
      earlier_ = value;
      return;
    }
    const RoundedPairs both(earlier_, value);
    if (over_keys_) both.pairs.store_unaligned(over_keys_ + j / 2 * Block::lanes);
    if (over_queries_) both.store_rows(over_queries_ + (j - 1) * Block::lanes, Block::lanes);
  }
  void finish(int keys) {
    if (keys % 2) write(keys, Register<float>(0.0f));
  }

 private:
  float *over_keys_, *over_queries_;
  Register<float> earlier_ = Register<float>(0.0f);
};
#endif

}  // namespace moe::detail
