#include <sys/stat.h>

#include <moe/io/memory_map.hpp>

#include "catch.hpp"
#include "io/scratch.hpp"

using moe::MemoryMap;
using moe::test::has;
using moe::test::is_sentence;
using moe::test::message_of;
using moe::test::ScratchFolder;

TEST_CASE("MemoryMap: holds the bytes of the file, also after a move and after its removal",
          "[io]") {
  const ScratchFolder folder;
  std::string bytes(100000, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7 % 251);
  moe::write_file(folder / "a", bytes);
  MemoryMap first(folder / "a");
  CHECK(first.bytes() == bytes);
  MemoryMap second = std::move(first);
  CHECK(second.bytes() == bytes);
  first = std::move(second);
  ::unlink((folder / "a").c_str());
  CHECK(first.bytes() == bytes);
  moe::write_file(folder / "empty", "");
  CHECK(MemoryMap(folder / "empty").bytes().empty());
  CHECK(MemoryMap().bytes().empty());
}

TEST_CASE("MemoryMap: anything but a file is refused", "[error]") {
  const ScratchFolder folder;
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  for (const std::string& path : {folder / "none", folder.path(), folder / "pipe"}) {
    const std::string message = message_of([&] { MemoryMap map(path); });
    INFO(message);
    CHECK(is_sentence(message));
    CHECK(has(message, path));
  }
}
