#include <moe/model/loss.hpp>

#include "catch.hpp"

TEST_CASE("Loss: every field is gathered and divided, tokens are counted", "[loss]") {
  const moe::Loss a{.cross_entropy = 1,
                    .balance = 2,
                    .z = 3,
                    .entropy = 4,
                    .total = 5,
                    .accuracy = 0.5,
                    .tokens = 1};
  const moe::Loss b{.cross_entropy = 5,
                    .balance = 6,
                    .z = 7,
                    .entropy = 8,
                    .total = 9,
                    .accuracy = 1,
                    .tokens = 3};
  moe::Loss sum;
  for (const moe::Loss& batch : {a, b}) sum.add(batch, batch.tokens);
  CHECK(sum.cross_entropy == 16);
  CHECK(sum.tokens == 4);
  sum.divide(sum.tokens);
  CHECK(sum.cross_entropy == 4);
  CHECK(sum.balance == 5);
  CHECK(sum.z == 6);
  CHECK(sum.entropy == 7);
  CHECK(sum.total == 8);
  CHECK(sum.accuracy == 0.875);
  CHECK(sum.tokens == 4);
  moe::Loss half;
  half.add(a, 0.5);
  CHECK(half.total == 2.5);
  CHECK(half.tokens == 1);
}
