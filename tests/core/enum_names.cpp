#include <moe/core/config.hpp>
#include <moe/core/enum_names.hpp>
#include <moe/core/tensor.hpp>
#include <moe/optim/schedule.hpp>

#include "catch.hpp"
#include "io/scratch.hpp"

namespace {
enum class Mode { left_of_it = 1, right = 2 };  // 0 has no name
enum class Alone { only };
struct Inside {
  enum class Kind : std::uint8_t { first, second };
};
}  // namespace

TEST_CASE("enum names: those of the source, in every kind of scope", "[enum]") {
  using moe::Activation;
  STATIC_REQUIRE(moe::enum_names<Activation>.front() == "gelu");
  STATIC_REQUIRE(moe::enum_name(Activation::gelu) == "gelu");
  STATIC_REQUIRE(moe::enum_name(Activation::relu_squared) == "relu_squared");
  STATIC_REQUIRE(moe::enum_name(Activation::geglu) == "geglu");
  STATIC_REQUIRE(moe::enum_names<moe::Role>.back() == "expert_bias");
  STATIC_REQUIRE(moe::enum_names<Alone>.size() == 1);
  STATIC_REQUIRE(moe::enum_names<Inside::Kind>[1] == "second");
  STATIC_REQUIRE(moe::enum_name(static_cast<Inside::Kind>(2)).empty());
  STATIC_REQUIRE(moe::enum_name(static_cast<Alone>(-1)).empty());
  STATIC_REQUIRE(moe::enum_names<Mode>.empty());
  STATIC_REQUIRE(moe::qualified_enum_names<moe::Norm>[1] == "moe::Norm::rms");
  STATIC_REQUIRE(moe::find_enum<moe::Norm>("rms") == moe::Norm::rms);
  STATIC_REQUIRE(!moe::find_enum<moe::Norm>("RMS"));
  STATIC_REQUIRE(!moe::find_enum<moe::Norm>(""));
}

TEST_CASE("parse_enum: names map both ways and an unknown one lists the choices", "[enum]") {
  using moe::ScheduleKind;
  for (const ScheduleKind kind :
       {ScheduleKind::cosine, ScheduleKind::warmup_stable_decay, ScheduleKind::constant})
    CHECK(moe::parse_enum<ScheduleKind>("schedule", moe::enum_name(kind)) == kind);
  const std::string error =
      moe::test::message_of([] { moe::parse_enum<ScheduleKind>("schedule", "cosin"); });
  CHECK(error ==
        "moe: cannot use 'cosin' as schedule: it is not a known name; choose one of cosine, "
        "warmup_stable_decay, constant");
}
