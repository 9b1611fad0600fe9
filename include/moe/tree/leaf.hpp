#pragma once
#include <array>
#include <cstddef>
#include <moe/core/tensor.hpp>

// A tree is an aggregate of leaves, arrays and smaller trees: the Params, Cache or Scratch of a
// layer or a model. Its bookkeeping is derived from its declaration.

namespace moe::inline MOE_ISA {

template <class T>
inline constexpr bool is_param = false;
template <class T, Role R, int Rows, int Cols, int Count>
inline constexpr bool is_param<Param<T, R, Rows, Cols, Count>> = true;

template <class T>
inline constexpr bool is_rows = false;
template <class T, int Cols, int PerToken>
inline constexpr bool is_rows<Rows<T, Cols, PerToken>> = true;

template <class T>
inline constexpr bool is_fixed = false;
template <class T, int Size>
inline constexpr bool is_fixed<Fixed<T, Size>> = true;

template <class T>
inline constexpr bool is_leaf = is_param<T> || is_rows<T> || is_fixed<T>;

template <class T>
inline constexpr bool is_array = false;
template <class T, std::size_t N>
inline constexpr bool is_array<std::array<T, N>> = true;

/// A tree in which only one field is in use at a time. All its fields start at the same address.
///
///     struct Branch {
///       static constexpr bool overlaid = true;
///       Attention::Scratch attn;
///       FeedForward::Scratch ffn;
///     };
template <class T>
inline constexpr bool is_overlaid = false;
template <class T>
requires(T::overlaid) inline constexpr bool is_overlaid<T> = true;

}  // namespace moe
