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
  static_assert(moe::enum_names<Activation>.size() == 6);
  static_assert(moe::enum_name(Activation::gelu) == "gelu");
  static_assert(moe::enum_name(Activation::relu_squared) == "relu_squared");
  static_assert(moe::enum_name(Activation::geglu) == "geglu");
  static_assert(moe::enum_names<moe::Role>.back() == "selection_bias");
  static_assert(moe::enum_names<Alone>.size() == 1);
  static_assert(moe::enum_names<Inside::Kind>[1] == "second");
  static_assert(moe::enum_name(static_cast<Inside::Kind>(2)).empty());
  static_assert(moe::enum_name(static_cast<Alone>(-1)).empty());
  static_assert(moe::enum_names<Mode>.empty());
  static_assert(moe::qualified_enum_names<moe::Norm>[1] == "moe::Norm::rms");
  static_assert(moe::find_enum<moe::Norm>("rms") == moe::Norm::rms);
  static_assert(!moe::find_enum<moe::Norm>("RMS"));
  static_assert(!moe::find_enum<moe::Norm>(""));
  CHECK(true);
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
