#include <moe/checkpoint/config_json.hpp>
#include <moe/core/config.hpp>
#include <moe/layers/layer.hpp>

#include "catch.hpp"
#include "io/scratch.hpp"

using namespace moe;
using moe::test::has;
using moe::test::is_sentence;
using moe::test::message_of;

namespace {
struct Sample {
  std::string name = "a \"b\"";
  bool flag = true;
  int count = -3;
  std::uint64_t seed = UINT64_MAX;
  double rate = 0.1;
  Position position = Position::rope_interleaved;
  DropoutRates rates = {.attention = 0.25};
};
}  // namespace

TEST_CASE("to_json: every field of an aggregate is an entry of its name, in order", "[json]") {
  const Json json = to_json(Sample{});
  CHECK(json.dump() ==
        R"({"name":"a \"b\"","flag":true,"count":-3,"seed":18446744073709551615,"rate":0.1,)"
        R"("position":"rope_interleaved","rates":{"embedding":0.0,"attention":0.25,)"
        R"("attention_output":0.0,"expert":0.0,"ffn_output":0.0,"final":0.0}})");
}

TEST_CASE("to_json: a model configuration keeps all of its fields", "[json]") {
  const Json json = to_json(ModelConfig{.vocab = 65, .norm = Norm::layer, .moe = {.experts = 8}});
  for (const char* first_or_last : {"vocab", "moe"}) CHECK(json.find(first_or_last) != nullptr);
  for (const char* field : {"experts", "top_k", "hidden", "expert_bias"})
    CHECK(json.at("moe").find(field) != nullptr);
  CHECK(json.at("norm").as_string("norm") == "layer");
  CHECK(json.at("moe").at("scoring").as_string("scoring") == "softmax");
}

TEST_CASE("from_json: reads back exactly what to_json wrote", "[json]") {
  Sample changed;
  changed = {"x", false, 7, 5, 1e-300, Position::none, {.final = 0.5}};
  Sample read;
  from_json(read, parse_json(to_json(changed).dump(2)), "sample");
  CHECK(to_json(read) == to_json(changed));
}

TEST_CASE("from_json: a missing, mistyped, unknown or too large field is named", "[json]") {
  const auto refusal = [](const char* field, const Json& value) {
    Json json = to_json(Sample{});
    json[field] = value;
    return message_of([&] {
      Sample sample;
      from_json(sample, json, "sample");
    });
  };
  for (const auto& message : {refusal("position", "sideways"), refusal("count", 3'000'000'000),
                              refusal("count", "3"), refusal("seed", -1), refusal("flag", 1)}) {
    CHECK(is_sentence(message));
    CHECK(has(message, "sample."));
  }
  CHECK(has(refusal("position", "sideways"), "'sideways'"));
  CHECK(has(refusal("count", 3'000'000'000), "3000000000"));
  CHECK(has(message_of([] {
              Sample sample;
              from_json(sample, Json::object(), "sample");
            }),
            "'name'"));
}

TEST_CASE("differences: every field on which two objects disagree, with both values", "[json]") {
  Sample other;
  other.count = 4;
  other.rates.attention = 0;
  Json first = to_json(Sample{}), second = to_json(other);
  first["only"] = 1;
  const auto found = differences(first, second);
  REQUIRE(found.size() == 3);
  CHECK((found[0].field == "count" && found[0].first == "-3" && found[0].second == "4"));
  CHECK((found[1].field == "rates.attention" && found[1].first == "0.25"));
  CHECK((found[2].field == "only" && found[2].second.empty()));
  CHECK(differences(first, first).empty());
}
