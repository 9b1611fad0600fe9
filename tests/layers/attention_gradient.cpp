#include <moe/layers/attention.hpp>

#include "../catch.hpp"
#include "run.hpp"

namespace {

using namespace moe;

template <class B>
using Plain = Attention<2, 2, 8, 5, B>;
template <class B>
using Grouped = Attention<4, 2, 8, 5, B, AttentionTraits{Position::rope_interleaved, true}>;
template <class B>
using OneKey = Attention<3, 1, 6, 5, B, AttentionTraits{Position::rope_half, true, true}>;
template <class B>
using GroupedNorms =
    Attention<4, 2, 8, 5, B, AttentionTraits{Position::rope_interleaved, false, true}>;
template <class B>
using Learned = Attention<2, 1, 6, 5, B, AttentionTraits{Position::learned, true}>;
template <class B>
using Bare = Attention<1, 1, 3, 5, B, AttentionTraits{Position::none, false, true}>;

TEST_CASE("Attention: backward equals the complex-step derivative", "[gradient]") {
  CHECK(test::gradient_error<Plain>() < 1e-12);
  CHECK(test::gradient_error<Grouped>() < 1e-12);
  CHECK(test::gradient_error<OneKey>() < 1e-12);
  CHECK(test::gradient_error<GroupedNorms>() < 1e-12);
  CHECK(test::gradient_error<Learned>() < 1e-12);
  CHECK(test::gradient_error<Bare>() < 1e-12);
}

TEST_CASE("Attention: backward equals the complex-step derivative for sequences of one token",
          "[gradient][edge]") {
  CHECK(test::gradient_error<Grouped>({.n = 1, .length = 1}) < 1e-12);
  CHECK(test::gradient_error<OneKey>({.n = 3, .length = 1}) < 1e-12);
  CHECK(test::gradient_error<Plain>({.n = 5, .length = 5}) < 1e-12);
}

TEST_CASE(
    "Attention: backward equals the complex-step derivative with dropout on the probabilities",
    "[gradient]") {
  test::Setup setup;
  setup.options.dropout.attention = 0.4;
  CHECK(test::gradient_error<Plain>(setup) < 1e-12);
  CHECK(test::gradient_error<GroupedNorms>(setup) < 1e-12);
}

TEST_CASE("Attention: backward adds", "[adds]") {
  CHECK(test::adding_error<Plain>() < 1e-13);
  CHECK(test::adding_error<OneKey>() < 1e-13);
  CHECK(test::adding_error<Grouped>() < 1e-13);
}

}  // namespace
