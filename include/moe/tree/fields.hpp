#pragma once
#include <boost/pfr/core.hpp>
#include <boost/pfr/tuple_size.hpp>
#include <cstddef>
#include <moe/tree/field_name.hpp>
#include <string_view>
#include <type_traits>
#include <utility>

namespace moe::inline MOE_ISA {

/// Number of fields of an aggregate.
template <class T>
inline constexpr std::size_t field_count = boost::pfr::tuple_size_v<std::remove_const_t<T>>;

/// Calls f(a.first, b.first, ...), f(a.second, b.second, ...) and so on for aggregates with equally
/// many fields.
template <class F, class T, class... Same>
void for_each_field(F&& f, T& object, Same&... same) {
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    const auto call = [&]<std::size_t N>(std::integral_constant<std::size_t, N>) {
      f(boost::pfr::get<N>(object), boost::pfr::get<N>(same)...);
    };
    (call(std::integral_constant<std::size_t, I>{}), ...);
  }
  (std::make_index_sequence<field_count<T>>{});
}

/// The same with the name in front: f("first", a.first, b.first) and so on.
///
///     moe::for_each_named_field([](std::string_view name, auto& field) { ... }, config);
template <class F, class T, class... Same>
void for_each_named_field(F&& f, T& object, Same&... same) {
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    const auto call = [&]<std::size_t N>(std::integral_constant<std::size_t, N>) {
      f(detail::field_name<std::remove_const_t<T>, N>(), boost::pfr::get<N>(object),
        boost::pfr::get<N>(same)...);
    };
    (call(std::integral_constant<std::size_t, I>{}), ...);
  }
  (std::make_index_sequence<field_count<T>>{});
}

}  // namespace moe
