#include <moe/backend/cpu.hpp>
#include <moe/layers/linear.hpp>
#include <moe/model/eigen.hpp>

#include "catch.hpp"
#include "gradient.hpp"

namespace {

using namespace moe;

TEST_CASE("as_eigen: a linear layer gives Eigen's product", "[eigen]") {
  using L = Linear<37, 21, Cpu<double>>;
  Cpu<double> backend{1};
  test::Owned<L::Params, Cpu<double>> params(backend);
  test::set_leaves(params.tree, test::random_numbers(37 * 21, 1));
  auto x = test::random_numbers(5 * 37, 2);
  std::vector<double> y(5 * 21);
  const Rows<double, 37> in{x.data(), 5};
  const Rows<double, 21> out{y.data(), 5};
  L::forward(backend, params.tree, in, out);
  const auto weight = as_eigen(params.tree.weight);
  CHECK(weight.rows() == 21);
  CHECK((as_eigen(out) - as_eigen(in) * weight.transpose()).cwiseAbs().maxCoeff() < 1e-13);
}

TEST_CASE("as_eigen: the matrices of a stack are views of its memory", "[eigen]") {
  std::vector<float> memory(3 * 2 * 4);
  const Param<float, Role::hidden, 2, 4, 3> stack{memory.data()};
  as_eigen(stack, 1)(1, 3) = 7;
  CHECK(memory[8 + 4 + 3] == 7);
}

}  // namespace
