#pragma once
#include <cstddef>
#include <moe/core/lane.hpp>
#include <type_traits>

// Lists of types, for code that nvcc compiles, too.

namespace moe::inline MOE_ISA::kernel {

template <class... Types>
struct List {};

/// The types of two lists, and of several.
template <class... First, class... Second>
List<First..., Second...> operator+(List<First...>, List<Second...>);
template <class... Lists>
using Join = decltype((Lists() + ...));

/// Type number I of a list.
template <std::size_t I, class Types>
struct TypeAt;
template <class First, class... Rest>
struct TypeAt<0, List<First, Rest...>> : std::type_identity<First> {};
template <std::size_t I, class First, class... Rest>
struct TypeAt<I, List<First, Rest...>> : TypeAt<I - 1, List<Rest...>> {};

}  // namespace moe::kernel
