#include "parity.hpp"

#include <moe/layers/linear.hpp>
#include <moe/layers/norm.hpp>

#include "../catch.hpp"

namespace {

using namespace moe;

template <class B>
using Projection = Linear<37, 43, B, true>;
template <class B>
using Rms = RMSNorm<37, B>;
template <class B>
using Norm37 = LayerNorm<37, B>;
template <class B>
using Narrow = LayerNorm<3, B, false>;

TEST_CASE("Cpu: linear maps and norms agree with the oracle", "[parity]") {
  CHECK(test::agrees<Projection>());
  CHECK(test::agrees<Rms>());
  CHECK(test::agrees<Norm37>());
  CHECK(test::agrees<Narrow>());
  CHECK(test::agrees<Norm37>({.n = 1, .length = 1}));
}

}  // namespace
