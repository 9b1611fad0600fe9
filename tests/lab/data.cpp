#include <moe_lab/data.hpp>

#include "catch.hpp"
#include "data/tokenizer_files.hpp"
#include "io/scratch.hpp"
#include "skip.hpp"

using moe::test::has;
using moe::test::is_sentence;
using moe::test::message_of;
using moe::test::ScratchFolder;

namespace {

constexpr const char* separator = "<|endoftext|>";

/// Documents that contain their number: "document 7 ... document 7 <|endoftext|>".
std::string documents(int count, int words) {
  std::string text;
  for (int d = 0; d < count; ++d) {
    for (int w = 0; w < words + d % 3; ++w) text += "document " + std::to_string(d) + " ";
    text += separator;
  }
  return text;
}

std::string verse(int lines) {
  std::string text;
  for (int i = 0; i < lines; ++i) text += "line " + std::to_string(i * 7919) + " of the verse\n";
  return text;
}

/// Checks that training and validation are neighbours and together all of the tokens.
void check_split(const lab::Data& data, const std::string& text) {
  CHECK(!data.train.empty());
  CHECK(!data.validation.empty());
  CHECK(data.train.data() == data.tokens.data());
  CHECK(data.validation.data() == data.train.data() + data.train.size());
  CHECK(data.train.size() + data.validation.size() == data.tokens.size());
  CHECK(data.tokenizer.decode(data.train) + data.tokenizer.decode(data.validation) == text);
}

struct Files {
  ScratchFolder folder;
  std::string path = folder / "text.txt";

  lab::DataOptions options(const std::string& text) const {
    moe::write_file(path, text);
    return {.path = path};
  }
};

/// Writes the files of a vocabulary of 257 + 4 tokens.
void write_vocabulary(const std::string& folder) {
  moe::test::TokenizerParts parts;
  parts.merges = {"d o", "do c", "l i", "n e"};
  moe::write_file(folder + "/vocab.json", parts.vocabulary_json());
  moe::write_file(folder + "/merges.txt", parts.merges_txt());
}

}  // namespace

TEST_CASE("Data: the cut lies between two documents", "[identity]") {
  const Files files;
  for (const int count : {10, 17, 40}) {
    INFO(count);
    const std::string text = documents(count, 20);
    const lab::Data data(files.options(text));
    check_split(data, text);
    const std::string train = data.tokenizer.decode(data.train);
    CHECK(train.ends_with(separator));
    CHECK(train.size() <= text.size() * 9 / 10);
    // One more document would be too much for training.
    const std::string validation = data.tokenizer.decode(data.validation);
    const std::size_t first = validation.find(separator) + std::string(separator).size();
    CHECK(train.size() + first > text.size() * 9 / 10);
    // The separator is one token.
    CHECK(data.train.back() == data.tokenizer.end_of_text());
    CHECK(data.tokenizer.end_of_text() == 256);
  }
}

TEST_CASE("Data: without separators the cut is at nine tenths, inside the text", "[identity]") {
  const Files files;
  const std::string text = verse(300);
  const lab::Data data(files.options(text));
  check_split(data, text);
  CHECK(data.train.size() == text.size() * 9 / 10);  // bytes
  // A single document is cut inside, too, and many documents are if the options ask for it.
  const std::string one = verse(300) + separator;
  const lab::Data single(files.options(one));
  check_split(single, one);
  CHECK(single.train.size() == one.size() * 9 / 10);
  const std::string many = documents(20, 30);
  lab::DataOptions options = files.options(many);
  options.documents = false;
  const lab::Data inside(options);
  check_split(inside, many);
  CHECK(inside.tokenizer.decode(inside.train).size() == many.size() * 9 / 10);
  CHECK(!inside.tokenizer.decode(inside.train).ends_with(separator));
}

TEST_CASE("Data: a character of several bytes is not cut", "[edge]") {
  const Files files;
  std::string text;
  for (int i = 0; i < 101; ++i) text += "\xE2\x82\xAC";
  const lab::Data data(files.options(text));
  check_split(data, text);
  CHECK(data.train.size() % 3 == 0);
}

TEST_CASE("Data: merges of a vocabulary, and the same cut by bytes", "[identity]") {
  const Files files;
  write_vocabulary(files.folder.path());
  for (const std::string& text : {documents(20, 25), verse(200)}) {
    lab::DataOptions options = files.options(text);
    options.vocabulary = files.folder.path();
    options.vocab = 261;
    const lab::Data data(options);
    check_split(data, text);
    CHECK(data.tokenizer.vocab_size() == 261);
    CHECK(data.tokens.size() < text.size());
    CHECK(has(data.vocabulary, "261 tokens of GPT-2's, from " + files.folder.path()));
    // The cut is where the bytes are cut, or at the end of the token that covers this place.
    const lab::Data bytes(files.options(text));
    const std::string train = data.tokenizer.decode(data.train);
    const std::string cut = bytes.tokenizer.decode(bytes.train);
    CHECK(train.size() >= cut.size());
    CHECK(train.size() - data.tokenizer.bytes_of(data.train.back()).size() < cut.size());
    // For a smaller model only the merges that fit are used.
    options.vocab = 259;
    CHECK(lab::Data(options).tokenizer.vocab_size() == 259);
  }
}

TEST_CASE("Data: the tokens of a vocabulary are the same from the cache", "[identity]") {
  const Files files;
  write_vocabulary(files.folder.path());
  lab::DataOptions options = files.options(documents(20, 25));
  options.vocabulary = files.folder.path(), options.vocab = 261;
  const lab::Data first(options), second(options);
  CHECK(has(second.source, "cached"));
  CHECK(first.tokens == second.tokens);
  CHECK(first.train.size() == second.train.size());
  CHECK(first.hash() == second.hash());
}

TEST_CASE("Data: the first merges of GPT-2 for a model of 49,152 tokens", "[shared]") {
  const char* folder = std::getenv("MOE_DATA_DIR");
  const std::string gpt2 = std::string(folder == nullptr ? "" : folder) + "/gpt2";
  if (folder == nullptr || !moe::detail::exists(gpt2 + "/merges.txt")) {
    return moe::test::skip("MOE_DATA_DIR has no gpt2/merges.txt");
  }
  const Files files;
  const std::string text = documents(30, 40);
  lab::DataOptions options = files.options(text);
  options.vocab = 49152;
  const lab::Data data(options);
  check_split(data, text);
  CHECK(data.tokenizer.vocab_size() == 49152);
  CHECK(data.tokenizer.end_of_text() == 49151);
  CHECK(data.train.back() == 49151);
  CHECK(*std::max_element(data.tokens.begin(), data.tokens.end()) == 49151);
  CHECK(data.tokens.size() * 3 < text.size());
}

TEST_CASE("Data: a model of bytes has 257 tokens, whatever vocabulary is given", "[identity]") {
  const Files files;
  lab::DataOptions options = files.options(verse(100));
  options.vocabulary = files.folder / "none";
  const lab::Data data(options);
  CHECK(data.tokenizer.vocab_size() == 257);
  CHECK(data.tokens.size() == verse(100).size());
  CHECK(has(data.vocabulary, "one a byte"));
  CHECK(!has(data.vocabulary, "not"));
  // For a larger model a missing vocabulary is an error.
  options.vocab = 300;
  const std::string message = message_of([&] { lab::Data{options}; });
  INFO(message);
  CHECK(message.rfind("moe: ", 0) == 0);
  CHECK(has(message, "none"));
}

TEST_CASE("Data: the hash is of the text and of the cut", "[identity]") {
  const Files files;
  const std::string text = documents(20, 25);
  const std::string hash = lab::Data(files.options(text)).hash();
  CHECK(lab::Data(files.options(text)).hash() == hash);
  for (const std::size_t at : {std::size_t(0), text.size() / 2, text.size() - 20}) {
    std::string other = text;
    other[at] = other[at] == 'x' ? 'y' : 'x';
    CHECK(lab::Data(files.options(other)).hash() != hash);
  }
  CHECK(lab::Data(files.options(text + "a")).hash() != hash);
  lab::DataOptions options = files.options(text);
  options.documents = false;
  CHECK(lab::Data(options).hash() != hash);
}

TEST_CASE("Data: describes what it is made of", "[identity]") {
  const Files files;
  const lab::Data data(files.options(verse(100)));
  const std::string said = data.describe();
  CHECK(has(said, files.path));
  CHECK(has(said, std::to_string(data.train.size()) + " tokens train"));
  CHECK(has(said, std::to_string(data.validation.size()) + " validate"));
}

TEST_CASE("Data: texts that cannot be used", "[error]") {
  const Files files;
  CHECK(is_sentence(message_of([&] { lab::Data{files.options("")}; })));
  CHECK(is_sentence(message_of([&] { lab::Data{files.options("a")}; })));
  const std::string missing =
      message_of([&] { lab::Data{lab::DataOptions{.path = files.folder / "none.txt"}}; });
  CHECK(missing.rfind("moe: ", 0) == 0);
  CHECK(has(missing, "none.txt"));
}
