#include <moe/checkpoint/hugging_face/config.hpp>
#include <moe/checkpoint/hugging_face/tensors.hpp>
#include <moe/checkpoint/manifest.hpp>
#include <moe/data/bpe/bpe_tokenizer.hpp>

#include "catch.hpp"
#include "io/scratch.hpp"

using namespace moe;
using test::has;
using test::is_sentence;
using test::message_of;
using test::ScratchFolder;

namespace {

const std::string pointer =
    "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 269060552\n";

/// The errors of every reader for a file of this content.
std::vector<std::string> messages(const std::string& content) {
  const ScratchFolder folder;
  for (const char* name : {"model.safetensors", "tokenizer.json", "config.json", "manifest.json",
                           "i/model.safetensors.index.json", "v/vocab.json", "v/merges.txt"}) {
    const std::string path = folder / name;
    make_folders(detail::parent_folder(path));
    write_file(path, content);
  }
  write_file(folder / "vocab.json", R"({"a":0,"b":1,"ab":2})");
  write_file(folder / "merges.txt", content);
  return {
      message_of([&] { Safetensors(folder / "model.safetensors"); }),
      message_of([&] { HuggingFaceTensors(folder.path()); }),
      message_of([&] { HuggingFaceTensors(folder / "i"); }),
      message_of([&] { BpeTokenizer::from_folder(folder.path()); }),
      message_of([&] { BpeTokenizer::from_folder(folder / "v"); }),
      message_of([&] { BpeTokenizer::from_files(folder / "vocab.json", folder / "merges.txt"); }),
      message_of([&] { read_hugging_face_config(folder.path()); }),
      message_of([&] { read_manifest(folder.path()); })};
}

}  // namespace

TEST_CASE("Files of another kind: a pointer of Git LFS is named by every reader", "[error]") {
  for (const std::string& message : messages(pointer)) {
    INFO(message);
    CHECK(is_sentence(message));
    CHECK(has(message, "git lfs pull"));
  }
  const ScratchFolder folder;
  write_file(folder / "text.txt", pointer);
  CHECK(has(message_of([&] { read_file(folder / "text.txt"); }), "git lfs pull"));
}

TEST_CASE("Files of another kind: web pages, archives and pickles are named", "[error]") {
  const struct {
    std::string content, is;
  } cases[] = {{"<!DOCTYPE html>\n<html lang=\"en\"></html>", "a web page"},
               {"\n<HTML><body>404</body></HTML>", "a web page"},
               {std::string("\x1F\x8B\x08\0\0\0\0\0\0\x03more", 14), "gzip"},
               {std::string("PK\x03\x04\0\0\x08\x08\0\0archive", 17), "a zip archive"},
               {std::string("\x80\x02\x8A\nl\xFC\x9C more of it", 17), "a pickle"},
               {std::string("GGUF\x03\0\0\0\x01\0\0\0", 12), "a GGUF file"}};
  for (const auto& c : cases) {
    for (const std::string& message : messages(c.content)) {
      INFO(message);
      CHECK(is_sentence(message));
      CHECK(has(message, c.is));
    }
  }
  CHECK(detail::foreign_file("{\"a\":1}").is == nullptr);
  CHECK(detail::foreign_file("version 2").is == nullptr);
  CHECK(detail::foreign_file("").is == nullptr);
}

TEST_CASE("Files of another kind: a folder without safetensors says what it holds", "[error]") {
  const ScratchFolder folder;
  CHECK(has(message_of([&] { HuggingFaceTensors(folder.path()); }), "safe serialization"));
  write_file(folder / "pytorch_model.bin", "x");
  const std::string message = message_of([&] { HuggingFaceTensors(folder.path()); });
  CHECK(is_sentence(message));
  CHECK(has(message, "only 'pytorch_model.bin'"));
  CHECK(has(message, "safe_serialization=True"));
}
