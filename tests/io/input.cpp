#include <moe/data/text.hpp>
#include <moe/data/windows.hpp>
#include <moe/io/input.hpp>

#include "catch.hpp"
#include "fifo.hpp"
#include "scratch.hpp"

using namespace moe;
using test::has;
using test::is_sentence;
using test::message_of;
using test::through_fifo;

TEST_CASE("read_input: a pipe is read once and whole, a file as usual", "[input]") {
  const test::ScratchFolder scratch;
  std::string text;
  for (int i = 0; i < 60000; ++i) text += "line " + std::to_string(i) + "\n";  // many pipe buffers
  const std::string fifo = scratch / "fifo";
  CHECK(through_fifo(fifo, text, [](const std::string& p) { return read_input(p); }) == text);
  CHECK(through_fifo(fifo, text, [](const std::string& p) { return load_text(p); }) == text);
  CHECK(through_fifo(fifo, text, [](const std::string& p) {
          return ByteCorpus(p).tokens().size();
        }) == text.size());
  write_file(scratch / "file", text);
  CHECK(read_input(scratch / "file") == text);
}

TEST_CASE("read_input: an empty pipe, one that is no text, and nothing", "[input]") {
  const test::ScratchFolder scratch;
  const auto refusal = [&](const std::string& bytes) {
    return through_fifo(scratch / "fifo", bytes, [](const std::string& path) {
      return message_of([&] { load_text(path); });
    });
  };
  CHECK(has(refusal(""), "it is empty"));
  CHECK(has(refusal(std::string("ab\0c", 4)), "byte 2 is NUL"));
  CHECK(is_sentence(refusal("caf\xe9")));
  CHECK(is_sentence(message_of([&] { read_input(scratch / "none"); })));
  CHECK(is_sentence(message_of([] { read_input("/"); })));
}
