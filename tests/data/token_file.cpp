#include <moe/data/token_file.hpp>

#include "catch.hpp"
#include "io/scratch.hpp"

using moe::TokenFile;
using moe::TokenFileOptions;
using moe::write_token_file;
using moe::test::has;
using moe::test::is_sentence;
using moe::test::message_of;
using moe::test::ScratchFolder;

namespace {

using Tokens = std::vector<std::int32_t>;

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

/// The bytes of a token file as the scripts of llm.c write it.
template <class T>
std::string llm_c(std::uint32_t magic, std::uint32_t version, const std::vector<T>& tokens) {
  std::vector<std::uint32_t> header(256);
  header[0] = magic, header[1] = version, header[2] = std::uint32_t(tokens.size());
  return bytes_of(header) + bytes_of(tokens);
}

/// The error of opening a file with these bytes, or "".
std::string refusal(const std::string& bytes, const TokenFileOptions& options = {}) {
  const ScratchFolder folder;
  moe::write_file(folder / "a.bin", bytes);
  const std::string message = message_of([&] { TokenFile file(folder / "a.bin", options); });
  INFO(message);
  if (!message.empty()) CHECK(is_sentence(message));
  return message;
}

Tokens counted(int first, int count) {
  Tokens tokens;
  for (int i = 0; i < count; ++i) tokens.push_back(first + i);
  return tokens;
}

}  // namespace

TEST_CASE("TokenFile: reads llm.c's two formats and nanoGPT's", "[external]") {
  const ScratchFolder folder;
  const std::vector<std::uint16_t> narrow = {1, 65535, 50256, 0};
  const std::vector<std::uint32_t> wide = {1, 128255, 70000};
  moe::write_file(folder / "narrow", llm_c(20240520, 1, narrow));
  moe::write_file(folder / "wide", llm_c(20240801, 7, wide));
  moe::write_file(folder / "nano", bytes_of(narrow));
  CHECK(TokenFile(folder / "narrow").tokens() == Tokens{1, 65535, 50256, 0});
  CHECK(TokenFile(folder / "wide", {.vocab = 128256}).tokens() == Tokens{1, 128255, 70000});
  CHECK(TokenFile(folder / "nano", {.headerless = true}).tokens() == Tokens{1, 65535, 50256, 0});
  // Files of llm.c are recognised by their first number, even if headerless files are allowed.
  CHECK(TokenFile(folder / "wide", {.headerless = true}).tokens() == Tokens{1, 128255, 70000});
  CHECK(TokenFile(folder / "narrow").tokens(1, 2) == Tokens{65535, 50256});
  CHECK(TokenFile(folder / "narrow").tokens(3) == Tokens{0});
  CHECK(TokenFile(folder / "narrow").tokens(9).empty());
  CHECK(TokenFile(Tokens{7, 8, 9}).tokens(1) == Tokens{8, 9});
  CHECK(TokenFile(Tokens{}).size() == 0);
}

TEST_CASE("TokenFile: several shards are one sequence, sorted by name", "[io]") {
  const ScratchFolder folder;
  moe::make_folders(folder / "data");
  write_token_file(folder / "data/train_02.bin", counted(10, 5));
  write_token_file(folder / "data/train_01.bin", counted(0, 10));
  write_token_file(folder / "data/train_03.bin", {});
  write_token_file(folder / "data/train_04.bin", counted(15, 70000));
  write_token_file(folder / "data/val_01.bin", counted(1, 3));
  moe::write_file(folder / "data/train_05.txt", "");
  const TokenFile train(moe::token_shards(folder / "data", "train"));
  CHECK(train.size() == 70015);
  CHECK(train.tokens() == counted(0, 70015));
  for (const std::size_t first : {0u, 3u, 9u, 10u, 14u, 15u, 20u})
    for (const std::size_t count : {0u, 1u, 6u, 20u}) {
      Tokens window(count);
      train.copy(first, window);
      CHECK(window == counted(int(first), int(count)));
    }
  CHECK(moe::token_shards(folder / "data").size() == 5);
  const std::string none = message_of([&] { moe::token_shards(folder / "data", "test"); });
  CHECK(is_sentence(none));
  CHECK(has(none, "no file 'test*.bin'"));
  CHECK(is_sentence(message_of([&] { moe::token_shards(folder / "absent"); })));
}

TEST_CASE("TokenFile: a token of the vocabulary's size or more is refused at open", "[error]") {
  for (const std::size_t at : {0u, 1u, 499u, 999u}) {
    std::vector<std::uint16_t> narrow(1000, 49);
    std::vector<std::uint32_t> wide(1000, 49);
    CHECK(refusal(llm_c(20240520, 1, narrow), {.vocab = 50}) == "");
    narrow[at] = 50;
    wide[at] = 50;
    CHECK(has(refusal(llm_c(20240520, 1, narrow), {.vocab = 50}), "token 50 where the vocabulary"));
    CHECK(has(refusal(llm_c(20240801, 7, wide), {.vocab = 50}), "token 50 where the vocabulary"));
    CHECK(has(refusal(bytes_of(narrow), {.vocab = 50, .headerless = true}), "token 50"));
    CHECK(refusal(llm_c(20240520, 1, narrow)) == "");  // without a check
    wide[at] = 0x80000000;
    CHECK(has(refusal(llm_c(20240801, 7, wide)), "token 2147483648"));
  }
}

TEST_CASE("TokenFile: sizes that do not fit and unknown files are refused", "[error]") {
  const std::vector<std::uint16_t> tokens = {1, 2, 3};
  const std::string good = llm_c(20240520, 1, tokens);
  REQUIRE(refusal(good) == "");
  CHECK(has(refusal(good.substr(0, good.size() - 1)), "1029 bytes where its header of 3 tokens"));
  CHECK(has(refusal(good + "x"), "1031 bytes"));
  CHECK(has(refusal(good.substr(0, 1000)), "1000 bytes"));
  CHECK(has(refusal(good.substr(0, 4)), "version 0"));
  CHECK(has(refusal(""), "does not begin with"));
  CHECK(has(refusal(bytes_of(tokens)), "TokenFileOptions.headerless"));
  CHECK(has(refusal("abc", {.headerless = true}), "odd number of bytes"));
  CHECK(has(refusal(llm_c(20240520, 2, tokens)), "version 2 where 1 is known"));
  CHECK(has(refusal(llm_c(20240801, 1, tokens)), "version 1 where 7 is known"));
  CHECK(has(refusal(llm_c(20240522, 1, tokens)), "does not begin with"));
  for (const std::uint32_t count : {0u, 2u, 4u, 0x7FFFFFFFu, 0x80000000u, 0xFFFFFFFFu}) {
    std::string bad = good;
    std::memcpy(bad.data() + 8, &count, 4);
    CHECK(has(refusal(bad), "1030 bytes where its header"));
  }
  CHECK(refusal("", {.headerless = true}) == "");
}

TEST_CASE("write_token_file: writes llm.c's bytes and a checksum that finds damage", "[io]") {
  const ScratchFolder folder;
  const std::string path = folder / "a.bin";
  for (const Tokens& tokens : {Tokens{}, Tokens{1, 2, 65535}, Tokens{65536, 0, 99999}}) {
    write_token_file(path, tokens);
    const std::string bytes = moe::read_file(path);
    const bool wide = !tokens.empty() && tokens[0] == 65536;
    CHECK(bytes.size() == 1024 + tokens.size() * (wide ? 4 : 2));
    std::uint32_t header[3];
    std::memcpy(header, bytes.data(), sizeof header);
    CHECK(header[0] == (wide ? 20240801 : 20240520));
    CHECK(header[1] == (wide ? 7 : 1));
    CHECK(header[2] == tokens.size());
    CHECK(TokenFile(path, {.vocab = INT_MAX}).size() == tokens.size());
    CHECK(TokenFile(path).tokens() == tokens);
    for (std::size_t at = 1024; at < bytes.size(); ++at) {
      std::string bad = bytes;
      bad[at] = static_cast<char>(bad[at] ^ 1);
      CHECK(has(refusal(bad, {.vocab = INT_MAX}), "checksum"));
    }
  }
  for (const Tokens& tokens : {Tokens{-1}, Tokens{5, -7}}) {
    const std::string message = message_of([&] { write_token_file(path, tokens); });
    CHECK(is_sentence(message));
    CHECK(has(message, "is negative"));
  }
  CHECK(is_sentence(message_of([&] { write_token_file(folder / "no/a.bin", Tokens{1}); })));
}
