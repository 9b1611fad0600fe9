#include <moe/layers/linear.hpp>

#include "../catch.hpp"
#include "run.hpp"

namespace {

using namespace moe;

template <class B>
using Plain = Linear<5, 7, B>;
template <class B>
using Biased = Linear<7, 5, B, true>;
template <class B>
using Scalars = Linear<1, 1, B, true>;

TEST_CASE("Linear: backward equals the complex-step derivative", "[gradient]") {
  CHECK(test::gradient_error<Plain>() < 1e-13);
  CHECK(test::gradient_error<Biased>() < 1e-13);
  CHECK(test::gradient_error<Scalars>() < 1e-13);
  CHECK(test::gradient_error<Biased>({.n = 1, .length = 1}) < 1e-13);
}

TEST_CASE("Linear: backward adds", "[adds]") {
  CHECK(test::adding_error<Plain>() < 1e-13);
  CHECK(test::adding_error<Biased>() < 1e-13);
}

TEST_CASE("Linear: y = x W^T + b, weight (out, in)", "[identity]") {
  Reference<double> be;
  using L = Linear<2, 3, Reference<double>, true>;
  const std::vector<double> theta{1, 2, 3, 4, 5, 6, /*bias*/ 10, 20, 30}, x{1, 1, 0, 2};
  test::Run<L> run(be, {.n = 2, .length = 1}, theta, x);
  CHECK(run.forward() == std::vector<double>{13, 27, 41, 14, 28, 42});
}

TEST_CASE("Linear: no rows leave the gradients as they are", "[edge]") {
  Reference<double> be;
  using L = Biased<Reference<double>>;
  test::Run<L> run(be, {.n = 0, .length = 1}, test::some_theta<L>(), {});
  CHECK(run.forward().empty());
  run.backward({});
  CHECK(test::largest(run.gradients()) == 0);
}

TEST_CASE("Linear: a bias that is off has no numbers", "[edge]") {
  CHECK(test::parameter_elements<Plain<Reference<double>>::Params>() == 35);
  CHECK(test::parameter_elements<Biased<Reference<double>>::Params>() == 35 + 5);
}

}  // namespace
