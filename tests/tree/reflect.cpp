#include <cstdint>
#include <moe/tree/bind.hpp>
#include <moe/tree/leaves.hpp>
#include <moe/tree/per_layer.hpp>
#include <moe/tree/walk.hpp>
#include <string>
#include <vector>

#include "catch.hpp"

namespace reflect_test {

using namespace moe;

struct Inner {
  Param<double, Role::hidden, 3, 4> weight;
  Param<double, Role::bias, 0, 3> bias;  // off: it has a name and no numbers
};
struct Tree {
  Inner first;
  std::array<Inner, 2> many;
  Param<double, Role::hidden, 2, 5, 6> experts;
  std::array<Inner, 0> none;
  struct {
    Param<double, Role::gain, 1, 7> only;
  } last;
};

template <class T>
std::vector<std::string> names(const std::string& path = "") {
  T tree{};
  std::vector<std::string> all;
  for_each_named_leaf([&](const std::string& name, auto&) { all.push_back(name); }, path, tree);
  return all;
}

TEST_CASE("reflect: leaves have the names of their declaration, in its order", "[reflect]") {
  CHECK(names<Tree>() == std::vector<std::string>{"first.weight", "first.bias", "many.0.weight",
                                                  "many.0.bias", "many.1.weight", "many.1.bias",
                                                  "experts", "last.only"});
  CHECK(names<Inner>("head") == std::vector<std::string>{"head.weight", "head.bias"});
}

TEST_CASE("reflect: bind gives every leaf its own aligned memory, in order", "[reflect]") {
  Tree tree{};
  std::vector<std::byte> memory(8192);
  std::byte* at = memory.data();
  at += leaf_alignment - std::uintptr_t(at) % leaf_alignment;
  const std::size_t used = bind(tree, at);
  CHECK(used == bytes<Tree>());
  std::size_t expected = 0;
  for_each_leaf(
      [&](auto& leaf) {
        CHECK(std::size_t(reinterpret_cast<std::byte*>(leaf.data) - at) == expected);
        CHECK(std::uintptr_t(leaf.data) % 256 == 0);
        expected += (leaf.size * sizeof(double) + 255) / 256 * 256;
      },
      tree);
  CHECK(expected == used);
  CHECK(used == 256 * (1 + 2 + 2 + 1));  // 96 bytes three times, 480 bytes, 56 bytes
}

TEST_CASE("reflect: the list of leaves says what the types say", "[reflect]") {
  Tree tree{};
  std::vector<std::byte> memory(bytes<Tree>());
  bind(tree, memory.data());
  CHECK(leaf_names<Tree>() == names<Tree>());
  REQUIRE(leaves<Tree>().size() == names<Tree>().size());
  std::size_t number = 0;
  for_each_leaf(
      [&](const auto& leaf) {
        const LeafView<double> seen = view<double>(tree, leaves<Tree>()[number++]);
        CHECK(seen.data == leaf.data);
        CHECK(seen.size == leaf.size);
        CHECK(seen.role == leaf.role);
        CHECK((seen.rows == leaf.rows && seen.cols == leaf.cols && seen.count == leaf.count));
        CHECK(seen.matrix(seen.count) == leaf.data + leaf.size);
      },
      tree);
}

TEST_CASE("reflect: a leaf without numbers takes no memory", "[reflect][edge]") {
  struct Empty {
    Param<float, Role::bias, 0, 64> bias;
    Rows<float, 0> rows;
    Rows<float, 8, 0> no_rows;
    Fixed<float, 0> fixed;
  };
  CHECK(bytes<Empty>(100) == 0);
}

TEST_CASE("reflect: rows grow with the tokens, other leaves do not", "[reflect]") {
  struct Cache {
    Rows<float, 16> x;
    Rows<int, 2, 3> slots;
    Fixed<double, 5> stats;
  };
  Cache cache{};
  std::vector<std::byte> memory(4096);
  CHECK(bind(cache, memory.data(), 10) == 768 + 256 + 256);
  CHECK(cache.x.count == 10);
  CHECK(cache.slots.count == 30);
  CHECK(bytes<Cache>(0) == 256);
  CHECK(bytes<Cache>(4) == 256 + 256 + 256);
  CHECK(bytes<Cache>(5) == 512 + 256 + 256);
}

struct Small {
  Rows<float, 1> a;
};
struct Large {
  Rows<float, 64> a, b;
};
struct EitherOr {
  static constexpr bool overlaid = true;
  Small small;
  struct {
  } nothing;
  Large large;
  Fixed<float, 1> one;
};
struct Nested {
  static constexpr bool overlaid = true;
  EitherOr inner;
  Fixed<float, 256> wide;
};
struct WithOverlay {
  Fixed<float, 1> before;
  EitherOr either;
  Rows<float, 2> between;
  Nested nested;
  Fixed<float, 1> after;
};

TEST_CASE("reflect: the fields of an overlaid tree start at the same address", "[reflect]") {
  WithOverlay tree{};
  std::vector<std::byte> memory(bytes<WithOverlay>(2));
  CHECK(bind(tree, memory.data(), 2) == memory.size());
  const auto at = [&](const auto& leaf) {
    return reinterpret_cast<std::byte*>(leaf.data) - memory.data();
  };
  CHECK(at(tree.before) == 0);
  CHECK(at(tree.either.small.a) == 256);
  CHECK(at(tree.either.large.a) == 256);
  CHECK(at(tree.either.large.b) == 768);
  CHECK(at(tree.either.one) == 256);
  CHECK(at(tree.between) == 1280);
  CHECK(at(tree.nested.inner.small.a) == 1536);
  CHECK(at(tree.nested.inner.large.b) == 2048);
  CHECK(at(tree.nested.wide) == 1536);
  CHECK(at(tree.after) == 2560);
  CHECK(tree.either.large.b.count == 2);
  CHECK(memory.size() == 2816);
  CHECK(bytes<WithOverlay>(0) == 256 + 256 + 1024 + 256);  // the wide field decides
  CHECK(leaf_names<EitherOr>() == std::vector<std::string>{"small.a", "large.a", "large.b", "one"});
}

TEST_CASE("reflect: counting only leaves every pointer null", "[reflect]") {
  Tree tree{};
  bind(tree, nullptr);
  for_each_leaf([&](auto& leaf) { CHECK(leaf.data == nullptr); }, tree);
}

TEST_CASE("reflect: equally shaped trees are walked side by side", "[reflect]") {
  Tree a{}, b{}, c{};
  std::vector<std::byte> memory(3 * bytes<Tree>());
  std::byte* at = memory.data();
  at += bind(a, at);
  at += bind(b, at);
  bind(c, at);
  double number = 0;
  for_each_leaf(
      [&](auto& x, auto& y) {
        for (std::size_t i = 0; i < x.size; ++i) {
          x.data[i] = number++;
          y.data[i] = 100 * x.data[i];
        }
      },
      a, b);
  for_each_leaf(
      [](auto& z, const auto& x, const auto& y) {
        for (std::size_t i = 0; i < z.size; ++i) z.data[i] = x.data[i] + y.data[i];
      },
      c, std::as_const(a), std::as_const(b));
  CHECK(number == 12 * 3 + 60 + 7);
  CHECK(c.many[1].weight.data[0] == 101 * 24);
  CHECK(c.last.only.data[6] == 101 * 102);
  std::vector<std::string> names_of_c;
  for_each_named_leaf(
      [&](const std::string& name, auto& z, const auto& x) {
        if (z.size > 0 && z.data[0] == 101 * x.data[0]) names_of_c.push_back(name);
      },
      "", c, std::as_const(a));
  CHECK(names_of_c == std::vector<std::string>{"first.weight", "many.0.weight", "many.1.weight",
                                               "experts", "last.only"});
}

struct DenseTree {
  Param<double, Role::hidden, 2, 2> up;
  Param<double, Role::bias, 1, 2> bias;
};
struct MixtureTree {
  Param<double, Role::router, 2, 3> router;
};
constexpr ModelConfig mixed{.layers = 5, .moe = {.experts = 2, .every = 2, .offset = 1}};
struct MixedModel {
  PerLayer<mixed, DenseTree, MixtureTree> blocks;
  Param<double, Role::gain, 1, 3> norm;
};

TEST_CASE("PerLayer: mixed layers are walked and named by their number in the model", "[reflect]") {
  CHECK(names<MixedModel>() == std::vector<std::string>{"blocks.0.up", "blocks.0.bias",
                                                        "blocks.1.router", "blocks.2.up",
                                                        "blocks.2.bias", "blocks.3.router",
                                                        "blocks.4.up", "blocks.4.bias", "norm"});
  MixedModel model{};
  std::vector<std::byte> memory(bytes<MixedModel>());
  bind(model, memory.data());
  // Memory is in the order of the layers, so that files have this order whatever the kinds of
  // layers are.
  CHECK(model.blocks.of<false>(0).up.data < model.blocks.of<true>(0).router.data);
  CHECK(model.blocks.of<true>(0).router.data < model.blocks.of<false>(1).up.data);
  CHECK(model.blocks.of<true>(1).router.data < model.blocks.of<false>(2).up.data);
}

TEST_CASE("PerLayer: scratch is there once for each kind that occurs", "[reflect]") {
  constexpr ModelConfig dense{.layers = 5};
  constexpr ModelConfig all{.layers = 5, .moe = {.experts = 2}};
  using Once = PerLayer<mixed, DenseTree, MixtureTree, true>;
  CHECK(names<Once>("s") == std::vector<std::string>{"s.0.up", "s.0.bias", "s.1.router"});
  CHECK(names<PerLayer<dense, DenseTree, MixtureTree, true>>("s").size() == 2);
  CHECK(names<PerLayer<all, DenseTree, MixtureTree, true>>("s").size() == 1);
  CHECK(names<PerLayer<all, DenseTree, MixtureTree>>("s").size() == 5);
  Once once{};
  CHECK(&once.of<true>(0) == &once.of<true>(1));
  CHECK(&once.of<false>(0) == &once.of<false>(2));
  std::vector<std::byte> memory(bytes<Once>());
  bind(once, memory.data());
  CHECK(memory.size() == 512);  // the dense tree's two leaves, over the mixture's one
  CHECK(once.of<false>(0).up.data == once.of<true>(0).router.data);
}

TEST_CASE("Role: which roles decay, and which ones Muon updates", "[reflect]") {
  for (const Role role : {Role::hidden, Role::residual}) CHECK(is_hidden(role));
  for (const Role role : {Role::embedding, Role::position, Role::head, Role::router, Role::gain,
                          Role::bias, Role::expert_bias})
    CHECK(!is_hidden(role));
  for (const Role role :
       {Role::hidden, Role::residual, Role::embedding, Role::position, Role::head, Role::router})
    CHECK(decays(role));
  for (const Role role : {Role::gain, Role::bias, Role::expert_bias}) CHECK(!decays(role));
}

}  // namespace reflect_test
