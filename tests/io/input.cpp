#include <sys/stat.h>

#include <moe/data/corpus.hpp>
#include <moe/data/windows.hpp>
#include <moe/io/input.hpp>
#include <thread>

#include "catch.hpp"
#include "scratch.hpp"

using namespace moe;
using test::has;
using test::is_sentence;
using test::message_of;

namespace {

/// Calls use(path) on a FIFO into which another thread writes `bytes` once.
template <class Use>
auto through_fifo(const std::string& path, const std::string& bytes, Use&& use) {
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  std::thread writer([&] {
    const detail::Descriptor to(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    for (std::size_t done = 0; done < bytes.size();) {
      const ssize_t put = ::write(to.get(), bytes.data() + done, bytes.size() - done);
      if (put <= 0) break;
      done += std::size_t(put);
    }
  });
  const auto result = use(path);
  writer.join();
  ::unlink(path.c_str());
  return result;
}

}  // namespace

TEST_CASE("read_input: a pipe is read once and whole, a file as ever", "[input]") {
  const test::ScratchFolder scratch;
  std::string text;
  for (int i = 0; i < 60000; ++i) text += "line " + std::to_string(i) + "\n";  // many pipe buffers
  const std::string fifo = scratch / "fifo";
  CHECK(through_fifo(fifo, text, [](const std::string& p) { return read_input(p); }) == text);
  CHECK(through_fifo(fifo, text, [](const std::string& p) { return load_text(p); }) == text);
  const Corpus corpus =
      through_fifo(fifo, text, [](const std::string& p) { return find_tiny_shakespeare(p); });
  CHECK(corpus.text == text);
  CHECK(corpus.path.empty());  // nobody may try to read it again
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
