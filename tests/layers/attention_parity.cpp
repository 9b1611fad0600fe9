#include <moe/layers/attention.hpp>

#include "../catch.hpp"
#include "parity.hpp"

namespace {

using namespace moe;

template <class B>
using Half = Attention<4, 2, 40, 15, B>;
template <class B>
using Interleaved =
    Attention<3, 1, 42, 15, B, AttentionTraits{Position::rope_interleaved, true, true}>;
template <class B>
using Odd = Attention<2, 2, 38, 15, B, AttentionTraits{Position::learned, true, true}>;

TEST_CASE("Cpu: attention agrees with the oracle", "[parity]") {
  CHECK(test::agrees<Half>());
  CHECK(test::agrees<Interleaved>());
  CHECK(test::agrees<Odd>());
  CHECK(test::agrees<Half>({.n = 1, .length = 1}));
}

TEST_CASE("Cpu: attention agrees with the oracle with dropout", "[parity]") {
  test::Setup setup{.n = 45, .length = 15};
  setup.options.dropout.attention = 0.25;
  CHECK(test::agrees<Half>(setup));
  CHECK(test::agrees<Odd>(setup));
}

}  // namespace
