#pragma once
#include <algorithm>
#include <climits>
#include <functional>
#include <moe/core/error.hpp>
#include <moe/data/bpe/token_tables.hpp>
#include <span>
#include <utility>

namespace moe::inline MOE_ISA::detail {

/// Two adjacent tokens that are merged into one. Merges of lower rank come first.
struct Merge {
  std::int32_t left, right, result;
};

/// A hash table from (left, right) to the rank of the merge.
class PairTable {
 public:
  static constexpr std::int32_t none = INT_MAX;

  PairTable() : slots_(slots_for(0)) {}

  /// Replaces the rank if the pair exists. Returns false in that case.
  bool insert(std::int32_t left, std::int32_t right, std::int32_t rank) {
    if (2 * (count_ + 1) > slots_.size()) grow();
    Slot& slot = slots_[find(key(left, right))];
    const bool is_new = slot.rank == none;
    slot = {key(left, right), rank};
    count_ += is_new;
    return is_new;
  }
  std::int32_t rank(std::int32_t left, std::int32_t right) const {
    return slots_[find(key(left, right))].rank;
  }

 private:
  struct Slot {
    std::uint64_t key = 0;
    std::int32_t rank = none;
  };
  static std::uint64_t key(std::int32_t left, std::int32_t right) {
    return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
  }
  std::size_t find(std::uint64_t key) const {
    const std::uint64_t mixed = (key ^ key >> 29) * 0x9E3779B97F4A7C15;
    std::size_t at = (mixed ^ mixed >> 32) & (slots_.size() - 1);
    while (slots_[at].rank != none && slots_[at].key != key) at = (at + 1) & (slots_.size() - 1);
    return at;
  }
  void grow() {
    const std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(2 * slots_.size()));
    for (const Slot& slot : old)
      if (slot.rank != none) slots_[find(slot.key)] = slot;
  }

  std::vector<Slot> slots_;
  std::size_t count_ = 0;
};

/// Merges adjacent pairs, the pair of lowest rank first and the leftmost of equals, until no pair
/// is in the table. Short pieces are searched again after every merge. For long ones, where that
/// would take quadratic time, the pairs are kept in a heap.
/// Source: Sennrich et al. 2016, arXiv:1508.07909.  Test: tests/data/bpe_tokenizer.cpp.
class PieceMerger {
 public:
  static constexpr std::size_t scan_most = 64;

  PieceMerger(const PairTable& pairs, std::span<const Merge> merges)
      : pairs_(pairs), merges_(merges) {}

  /// Merges ids in place. Returns how many are left.
  std::size_t merge(std::int32_t* ids, std::size_t count) {
    return count <= scan_most ? merge_by_scan(ids, count) : merge_by_heap(ids, count);
  }

  std::size_t merge_by_scan(std::int32_t* ids, std::size_t count) {
    if (count < 2) return count;
    rank_.resize(count);
    for (std::size_t i = 0; i + 1 < count; ++i) rank_[i] = pairs_.rank(ids[i], ids[i + 1]);
    while (count > 1) {
      const auto last = rank_.begin() + static_cast<std::ptrdiff_t>(count) - 1;
      const auto best = std::min_element(rank_.begin(), last);
      if (*best == PairTable::none) break;
      const auto i = static_cast<std::size_t>(best - rank_.begin());
      ids[i] = merges_[static_cast<std::size_t>(*best)].result;
      --count;
      std::copy(ids + i + 2, ids + count + 1, ids + i + 1);
      std::copy(best + 1, last, best);
      if (i + 1 < count) rank_[i] = pairs_.rank(ids[i], ids[i + 1]);
      if (i > 0) rank_[i - 1] = pairs_.rank(ids[i - 1], ids[i]);
    }
    return count;
  }

  std::size_t merge_by_heap(std::int32_t* ids, std::size_t count) {
    if (count >= INT_MAX) {
      throw Error("cannot encode a piece of ", count,
                  " bytes: less than 2147483647 are possible; cut the text into parts");
    }
    constexpr std::int32_t gone = -1;
    const auto end = static_cast<std::int32_t>(count);
    const auto at = [](auto& list, std::int32_t i) -> auto& {
      return list[static_cast<std::size_t>(i)];
    };
    next_.resize(count), previous_.resize(count), rank_.resize(count);
    heap_.clear();
    const auto later = std::greater<std::uint64_t>();
    const auto entry = [&](std::int32_t i) {
      return static_cast<std::uint64_t>(at(rank_, i)) << 32 | static_cast<std::uint32_t>(i);
    };
    // Updates the rank of the pair that begins at i. Heap entries with another rank are stale.
    const auto rate = [&](std::int32_t i) {
      const std::int32_t right = at(next_, i);
      at(rank_, i) = right == end ? PairTable::none : pairs_.rank(ids[i], ids[right]);
    };
    for (std::int32_t i = 0; i < end; ++i) at(next_, i) = i + 1, at(previous_, i) = i - 1;
    for (std::int32_t i = 0; i < end; ++i) {
      rate(i);
      if (at(rank_, i) != PairTable::none) heap_.push_back(entry(i));
    }
    std::make_heap(heap_.begin(), heap_.end(), later);
    const auto push = [&](std::int32_t i) {
      rate(i);
      if (at(rank_, i) == PairTable::none) return;
      heap_.push_back(entry(i));
      std::push_heap(heap_.begin(), heap_.end(), later);
    };
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end(), later);
      const std::uint64_t top = heap_.back();
      heap_.pop_back();
      const auto i = static_cast<std::int32_t>(top & 0xFFFFFFFF);
      const auto rank = static_cast<std::int32_t>(top >> 32);
      if (at(rank_, i) != rank) continue;
      const std::int32_t right = at(next_, i), after = at(next_, right);
      ids[i] = merges_[static_cast<std::size_t>(rank)].result;
      at(next_, i) = after;
      if (after != end) at(previous_, after) = i;
      at(rank_, right) = gone;
      push(i);
      if (at(previous_, i) >= 0) push(at(previous_, i));
    }
    std::size_t left = 0;
    for (std::int32_t i = 0; i != end; i = at(next_, i)) ids[left++] = ids[i];
    return left;
  }

 private:
  const PairTable& pairs_;
  std::span<const Merge> merges_;
  std::vector<std::int32_t> rank_, next_, previous_;
  std::vector<std::uint64_t> heap_;
};

}  // namespace moe::detail
