#include <moe/backend/reference.hpp>
#include <moe/generate/generator.hpp>
#include <moe/model/transformer.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include "catch.hpp"
#include "messages.hpp"

namespace {

using namespace moe;
using test::broken_contract;
using test::Throwing;

constexpr ModelConfig config{
    .vocab = 5, .dim = 4, .layers = 1, .heads = 1, .hidden = 4, .context = 4};
constexpr std::int32_t text[] = {1, 2, 3, 4, 0};

TEST_CASE("Contracts: a handler turns a broken one into an exception, and the model goes on",
          "[error]") {
  Reference<double> backend;
  Transformer<config, Reference<double>> model{backend, {}};
  const Throwing handler;
  std::string why;
  try {
    model.backward();
  } catch (const std::logic_error& error) {
    why = error.what();
  }
  CHECK(why.starts_with("moe: backward needs the forward pass of the same batch before it ("));
  CHECK(why.find("transformer.hpp:") != std::string::npos);
  CHECK(std::isfinite(model.forward(Batch::next_token(text)).total));
  CHECK_NOTHROW(model.backward());
}

TEST_CASE("Contracts: a generator has no more sequences than the head has logits for", "[error]") {
  constexpr ModelConfig large{
      .vocab = 4096, .dim = 4, .layers = 1, .heads = 1, .hidden = 4, .context = 4};
  Reference<float> backend;
  Transformer<large, Reference<float>> model{backend, {.max_tokens = 640}};
  CHECK_NOTHROW(Generator(model, 256));
  CHECK(broken_contract([&] {
          Generator(model, 257);
        }).starts_with("moe: a generator has 257 sequences, the model was built for 1 to 256"));
}

/// The library's router, which then forgets its slots.
template <ModelConfig C, class B>
struct Forgetful : RouterOf<C, B> {
  static void forward(B& be, const Pass& pass, const typename RouterOf<C, B>::Params& p,
                      Rows<const Value<B>, C.dim> x, typename RouterOf<C, B>::Cache& c) {
    // Clang 14 crashes on members of members of a template argument in code.
    constexpr std::size_t offsets = C.moe.experts + 1;
    RouterOf<C, B>::forward(be, pass, p, x, c);
    be.zero(c.report.offset.data, sizeof(int) * offsets);
  }
};
template <ModelConfig C, bool, class B>
using ForgetfulBlock = Block<C, true, B, AttentionOf<C, B>, MixtureOf<C, B, Forgetful<C, B>>>;

TEST_CASE("Contracts: a router that gives no expert a slot is noticed", "[error]") {
  constexpr ModelConfig mixture{.vocab = 5,
                                .dim = 4,
                                .layers = 1,
                                .heads = 1,
                                .context = 4,
                                .moe = {.experts = 2, .hidden = 4}};
  Reference<double> backend;
  Transformer<mixture, Reference<double>, ForgetfulBlock> model{backend, {}};
  CHECK(broken_contract([&] {
          model.forward(Batch::next_token(text));
        }).starts_with("moe: router 0 gave no expert a slot: "));
}

TEST_CASE("Contracts: setting a handler gives the one before", "[error]") {
  const ContractHandler handler = [](const std::string&) {};
  CHECK(set_contract_handler(handler) == nullptr);
  CHECK(set_contract_handler(nullptr) == handler);
}

TEST_CASE("Error: a sentence of parts, numbers in the shortest decimal form", "[error]") {
  const std::string path = "a.txt";
  const Error error("cannot read '", path, "' of ", std::size_t(7), " bytes at ", -3, ": ", 0.1f,
                    ", ", 1e300, std::string_view(" and "), 'c');
  CHECK(error.what() ==
        std::string("moe: cannot read 'a.txt' of 7 bytes at -3: 0.1, 1e+300 and c"));
  CHECK(error.sentence() == "cannot read 'a.txt' of 7 bytes at -3: 0.1, 1e+300 and c");
  Error again = error;  // a copy, not a part of a message
  CHECK(Error(again).what() == std::string(error.what()));
  CHECK_FALSE(std::is_convertible_v<bool, MessagePart>);
  CHECK(concat({}).empty());
}

TEST_CASE("report_errors: returns the exit code of a program", "[error]") {
  CHECK(report_errors([] {}) == 0);
  CHECK(report_errors([] { return 3; }) == 3);
  CHECK(report_errors([] { throw Error("nothing works; try again"); }) == 1);
  CHECK_THROWS_AS(report_errors([] { throw std::logic_error("not ours"); }), std::logic_error);
}

}  // namespace
