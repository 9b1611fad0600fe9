#pragma once
#include <boost/pfr/core.hpp>
#include <cstddef>
#include <moe/core/enum_names.hpp>
#include <string_view>

#ifdef __CUDACC__
static_assert(false, "moe: moe/tree is for host compilers; nvcc sees moe/kernels only");
#endif

namespace moe::inline MOE_ISA::detail {

// Field names from the compiler: __PRETTY_FUNCTION__ spells &object.field, and the last identifier
// of that is the field. Boost.PFR offers field names from version 2.2 on; Debian 12 ships 2.1.
#ifdef __clang__
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wundefined-internal"  // only its address is taken
#pragma clang diagnostic ignored "-Wundefined-var-template"
#endif
template <class T>
struct Object {
  T value;
};
template <class T>
extern Object<T> object;
template <class T>
struct Pointer {
  T at;
};
template <Pointer P>
constexpr auto spelling() {
  return std::string_view(__PRETTY_FUNCTION__);
}
template <class Tree, std::size_t I>
consteval std::string_view field_name() {
  constexpr auto* field = &boost::pfr::get<I>(object<Tree>.value);
  return last_identifier(spelling<Pointer<decltype(field)>{field}>());
}
#ifdef __clang__
#pragma clang diagnostic pop
#endif

}  // namespace moe::detail
