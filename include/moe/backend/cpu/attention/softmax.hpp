#pragma once
#include <algorithm>
#include <cmath>
#include <moe/backend/cpu/attention/block.hpp>
#include <moe/backend/cpu/attention/operand_writer.hpp>
#include <moe/backend/cpu/dropout.hpp>
#include <moe/backend/cpu/simd/elementary.hpp>

namespace moe::inline MOE_ISA::detail {

/// Softmax and its gradient for one block of queries: each lane is one query.
template <class Kernel, class W, class T>
struct AttentionSoftmax {
  using Block = AttentionBlock<Kernel, W, T>;
  using Pack = Register<W>;
  using Writer = OperandWriter<Kernel, W, T>;
  static constexpr int width = Block::width, lanes = Block::lanes;
  static constexpr int sum_block = 64;  // numbers of keys in a partial sum

  /// p = softmax over the keys of each lane, times dropout, for sums over keys; writes lse.
  static void forward(const Block& b, W* lse) {
    const bool dropped = b.s.dropout.active();
    if (dropped) draw(b);
    for (int pack = 0; pack < b.registers; ++pack) {
      W* p = b.p + pack * width;
      const Pack lane = lane_numbers();
      Pack max = Pack::load_unaligned(p);  // every query sees key 0
      const int all = std::min(b.keys, b.last_key(pack * width) + 1);
      for (int j = 1; j < all; ++j) max = xsimd::max(max, Pack::load_unaligned(p + j * lanes));
      for (int j = std::max(1, all); j < b.keys; ++j) {
        const auto seen = lane >= Pack(W(j - b.last_key(pack * width)));
        max = xsimd::select(seen, xsimd::max(max, Pack::load_unaligned(p + j * lanes)), max);
      }
      Pack sum(W(0));
      for (int block = 0; block < b.keys; block += sum_block) {
        Pack part(W(0));
        for_each_key(
            b, pack, block, std::min(b.keys, block + sum_block), [&](int j, const auto& seen) {
              const Pack e = seen(kernel::exp(Pack(Pack::load_unaligned(p + j * lanes) - max)));
              e.store_unaligned(p + j * lanes);
              part += e;
            });
        sum += part;
      }
      const Pack inverse = Pack(W(1)) / sum;
      Writer to(pack, b.p, nullptr);
      for (int j = 0; j < b.keys; ++j) {
        Pack value = Pack::load_unaligned(p + j * lanes) * inverse;
        if (dropped) value = value * Pack::load_unaligned(b.drop + pack * width + j * lanes);
        to.write(j, value);
      }
      to.finish(b.keys);
      W log_sum[width];
      (max + kernel::log(sum)).store_unaligned(log_sum);
      for (int l = 0; l < std::min(width, b.count - pack * width); ++l)
        lse[b.lse_at(pack * width + l)] = log_sum[l];
    }
  }

  /// Expects the scores in p and v dout^T in dp. Replaces p by the probabilities times dropout, for
  /// sums over queries, and dp by the gradient of the scores, for sums over keys; for sums over
  /// queries that is in gradient_over_queries.
  static void backward(const Block& b, const T* out, const T* dout, const W* lse, W scale) {
    const bool dropped = b.s.dropout.active();
    if (dropped) draw(b);
    for (int pack = 0; pack < b.registers; ++pack) {
      W log_sum[width] = {}, delta[width] = {};
      for (int l = 0; l < std::min(width, b.count - pack * width); ++l) {
        const std::ptrdiff_t at = (pack * width + l) * b.query_stride();
        log_sum[l] = lse[b.lse_at(pack * width + l)];
        delta[l] = SimdGroup<W>{}.sum(b.s.head_dim, [&]<class V>(Lane<V> d) -> V {
          return load(out + at, d) * load(dout + at, d);
        });
      }
      const Pack log_sums = Pack::load_unaligned(log_sum), deltas = Pack::load_unaligned(delta);
      const W *p = b.p + pack * width, *dp = b.dp + pack * width;
      Writer to_p(pack, nullptr, b.p), to_ds(pack, b.dp, b.ds);
      for_each_key(b, pack, 0, b.keys, [&](int j, const auto& seen) {
        const Pack share = seen(kernel::exp(Pack(Pack::load_unaligned(p + j * lanes) - log_sums)));
        Pack dshare = Pack::load_unaligned(dp + j * lanes), kept = share;
        if (dropped) {
          const Pack factor = Pack::load_unaligned(b.drop + pack * width + j * lanes);
          dshare = dshare * factor;
          kept = share * factor;
        }
        to_p.write(j, kept);
        to_ds.write(j, share * (dshare - deltas) * Pack(scale));
      });
      to_p.finish(b.keys);
      to_ds.finish(b.keys);
    }
  }

  static const W* gradient_over_queries(const Block& b) { return Kernel::terms == 1 ? b.dp : b.ds; }

 private:
  static Pack lane_numbers() {
    W number[width];
    for (int l = 0; l < width; ++l) number[l] = W(l);
    return Pack::load_unaligned(number);
  }

  /// Calls f(key, seen) for the keys from ... to - 1. seen(x) is x in the lanes whose query sees
  /// the key, and 0 in the others.
  template <class F>
  static void for_each_key(const Block& b, int pack, int from, int to, const F& f) {
    const int all = std::min(to, b.last_key(pack * width) + 1);  // end of the keys all lanes see
    const Pack lane = lane_numbers();
    int j = from;
    for (; j < all; ++j) f(j, [](const Pack& yes) { return yes; });
    for (; j < to; ++j) {
      const auto seen = lane >= Pack(W(j - b.last_key(pack * width)));
      f(j, [&](const Pack& yes) { return xsimd::select(seen, yes, Pack(W(0))); });
    }
  }

  /// Writes the dropout factors of the block, in its layout. Eight consecutive keys share one call
  /// of the random number generator. If these groups of eight start at the same key in every row,
  /// the lanes draw together.
  static void draw(const Block& b) {
    const Dropout drop = b.s.dropout.of_step();
    const DropoutThreshold<W> factor(drop);
    const auto start = [&](int lane) {
      const std::ptrdiff_t row = (b.sequence * b.s.heads + b.head) * b.s.queries + b.first + lane;
      return std::uint64_t(row) * std::uint64_t(b.s.keys);
    };
    if (b.s.keys % 8 == 0) {
      for (int pack = 0; pack < b.registers; ++pack) {
        std::uint64_t number[width];
        for (int l = 0; l < width; ++l) number[l] = start(pack * width + l) / 8;
        for (int j = 0; j < b.keys; j += 8) {
          std::uint32_t word[4][width];
          philox_lanes(drop.seed, drop.stream, number, word);
          for (int e = 0; e < 8; ++e)
#pragma GCC unroll 1
            for (int l = 0; l < width; ++l)
              b.drop[(j + e) * lanes + pack * width + l] = factor(word[e / 2][l], e);
          for (int l = 0; l < width; ++l) ++number[l];
        }
      }
      return;
    }
    for (int l = 0; l < b.registers * width; ++l) {
      W* const to = b.drop + l;
      for (int j = 0; j < b.keys;) {
        const std::uint64_t index = start(l) + std::uint64_t(j);
        const RandomWords words = philox(drop.seed, drop.stream, index / 8);
        for (int e = int(index % 8); e < 8 && j < b.keys; ++e, ++j)
          to[j * lanes] = factor(words.word[e / 2], e);
      }
    }
  }
};

}  // namespace moe::detail
