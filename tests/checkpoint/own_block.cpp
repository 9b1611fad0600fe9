#include <moe/backend/cpu.hpp>
#include <moe/checkpoint/checkpoint.hpp>
#include <moe/data/char_tokenizer.hpp>
#include <moe/model/transformer.hpp>

#include "catch.hpp"
#include "io/scratch.hpp"

// A checkpoint of blocks of one's own is not taken for one of the library's: they may have the same
// parameters and compute something else.

namespace {

using namespace moe;
using test::has;
using test::is_sentence;
using test::message_of;

constexpr ModelConfig config{.vocab = 5,
                             .dim = 8,
                             .layers = 2,
                             .heads = 2,
                             .context = 4,
                             .moe = {.experts = 2, .hidden = 8, .every = 2}};

template <ModelConfig C, bool Mixture, class B>
struct Named : Block<C, Mixture, B> {
  static constexpr std::string_view name = "named";
};
template <ModelConfig C, bool Mixture, class B>
struct Other : Block<C, Mixture, B> {
  static constexpr std::string_view name = "other";
};
template <ModelConfig C, bool Mixture, class B>
struct Unnamed : Block<C, Mixture, B> {};

template <template <ModelConfig, bool, class> class BlockTemplate>
struct Rig {
  Cpu<float> backend{1};
  Transformer<config, Cpu<float>, BlockTemplate> model{backend, {}};
};

template <template <ModelConfig, bool, class> class Stored,
          template <ModelConfig, bool, class> class Loading>
std::string error_between() {
  const test::ScratchFolder scratch;
  Rig<Stored> from;
  Rig<Loading> to;
  save(from.model, scratch / "model.moe");
  return message_of([&] { load(to.model, scratch / "model.moe"); });
}

}  // namespace

TEST_CASE("Checkpoint: blocks of one's own are told apart by their names", "[checkpoint]") {
  CHECK(error_between<DefaultBlock, DefaultBlock>() == "");
  CHECK(error_between<Named, Named>() == "");
  CHECK(error_between<Unnamed, Unnamed>() == "");
  const std::string message = error_between<Named, DefaultBlock>();
  CHECK(is_sentence(message));
  CHECK(has(message,
            "has block \"named\" where this program was compiled for block none; use "
            "another checkpoint"));
  for (const std::string& why :
       {error_between<DefaultBlock, Named>(), error_between<Named, Other>(),
        error_between<Unnamed, DefaultBlock>(), error_between<DefaultBlock, Unnamed>()}) {
    CHECK(is_sentence(why));
    CHECK(has(why, "block"));
  }
}

TEST_CASE("Checkpoint: a vocabulary travels in the manifest", "[checkpoint]") {
  const test::ScratchFolder scratch;
  Rig<DefaultBlock> rig;
  const CharTokenizer tokenizer("hello");
  Json about;
  about["vocabulary"] = tokenizer.to_json();
  save(rig.model, scratch / "model.moe", about);
  const Json manifest = load(rig.model, scratch / "model.moe");
  const auto again = CharTokenizer::from_json(manifest.at("run").at("vocabulary"));
  CHECK(again.decode(again.encode("hole")) == "hole");
  CHECK(again.encode("hole") == tokenizer.encode("hole"));
}
