#include <moe_lab/precision.hpp>

#include "catch.hpp"
#include "io/scratch.hpp"
#include "messages.hpp"

using moe::test::has;

namespace {

/// A model that is only measured.
struct Model {
  double (*product_gflops)(int threads);
};
int measured = 0;

const lab::Compiled<Model> both("both", {[](int) { return 100.0; }});
const lab::Compiled<Model> both_half("both bf16", {[](int) -> double { return 150 + measured++; }});
const lab::Compiled<Model> alone("alone", {[](int) { return 100.0; }});

}  // namespace

TEST_CASE("faster_precision: bf16 must be 1.3 times as fast", "[precision]") {
  CHECK(lab::faster_precision(100, 130) == "bf16");
  CHECK(lab::faster_precision(100, 1000) == "bf16");
  for (const double rate : {129.9, 100.0, 50.0, 0.0, double(NAN)})
    CHECK(lab::faster_precision(100, rate) == "float");
  CHECK(lab::faster_precision(NAN, 100) == "float");
}

TEST_CASE("chosen_precision: what is asked for, or what is measured", "[precision]") {
  const auto choose = [](const char* asked, const std::vector<std::string>& models) {
    return lab::chosen_precision<Model>(asked, models, 1);
  };
  measured = 0;
  CHECK(choose("float", {"both", "alone"}) == "float");
  CHECK(choose("bf16", {"both"}) == "bf16");
  CHECK(measured == 0);
  CHECK(choose("auto", {"both"}) == "bf16");
  CHECK(measured == 3);
  measured = -100;  // now bf16 is slower
  CHECK(choose("auto", {"both"}) == "float");
  measured = 0;
  CHECK(choose("auto", {"both", "alone"}) == "float");
  CHECK(measured == 0);
  const std::string said = moe::test::message_of([&] { choose("bf16", {"both", "alone"}); });
  for (const char* part : {"'alone'", "bf16", "MOE_LAB_BF16", "--precision float"})
    CHECK(has(said, part));
}

TEST_CASE("settle_precision: a resumed run keeps its own", "[precision]") {
  const auto settle = [](std::string precision, const std::string& begun) {
    lab::Common common{.out = "there", .command = "train --precision auto --steps 3"};
    lab::settle_precision<Model>(precision, common, begun, {"both"});
    return precision + ": " + common.command;
  };
  measured = -100;  // float is faster, which must not matter to what has begun
  CHECK(settle("auto", "bf16") == "bf16: train --precision bf16 --steps 3");
  CHECK(settle("auto", "float") == "float: train --precision float --steps 3");
  CHECK(settle("auto", "") == "float: train --precision float --steps 3");
  CHECK(settle("bf16", "bf16") == "bf16: train --precision auto --steps 3");
  for (const auto& [asked, begun] : {std::pair{"bf16", "float"}, {"float", "bf16"}}) {
    const std::string said = moe::test::message_of([&] { settle(asked, begun); });
    CHECK(has(said, "'there' with --precision " + std::string(asked)));
    CHECK(has(said, "begun with " + std::string(begun)));
    CHECK(has(said, "--out"));
  }
}

TEST_CASE("precision_begun and holds_settings: settings without a precision are float's",
          "[precision]") {
  const moe::test::ScratchFolder place;
  lab::Common common{.out = place.path()};
  CHECK(lab::precision_begun(common).empty());
  common.resume = true;
  CHECK(lab::precision_begun(common).empty());
  const std::string old = "{\n  \"steps\": 3,\n  \"seed\": 1\n}\n",
                    wide = "{\n  \"steps\": 3,\n  \"precision\": \"float\",\n  \"seed\": 1\n}\n",
                    half = "{\n  \"steps\": 3,\n  \"precision\": \"bf16\",\n  \"seed\": 1\n}\n";
  for (const char* name : {"/study.json", "/settings.json"}) {
    const std::string file = place.path() + name;
    for (const auto& [text, precision] :
         {std::pair{old, "float"}, {wide, "float"}, {half, "bf16"}}) {
      moe::write_file(file, text);
      CHECK(lab::precision_begun(common) == precision);
      CHECK(lab::holds_settings(file, text));
    }
    CHECK_FALSE(lab::holds_settings(file, wide));
    CHECK_FALSE(lab::holds_settings(file, old));
    moe::write_file(file, old);
    CHECK(lab::holds_settings(file, wide));
    CHECK_FALSE(lab::holds_settings(file, half));
    // Of older versions, too: only the model's name tells it.
    const std::string model = "{\n  \"model\": \"tiny bf16\",\n";
    moe::write_file(file, model + old.substr(2));
    CHECK(lab::precision_begun(common) == "bf16");
    CHECK(lab::holds_settings(file, model + half.substr(2)));
    CHECK_FALSE(lab::holds_settings(file, model + wide.substr(2)));
  }
}
