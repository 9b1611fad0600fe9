#include <signal.h>
#include <sys/resource.h>

#include <cmath>
#include <ctime>
#include <limits>
#include <moe/io/folder_transaction.hpp>
#include <moe/io/tensorboard.hpp>

#include "catch.hpp"
#include "io/scratch.hpp"

using namespace moe;
using moe::test::has;

namespace {

std::string hexadecimal(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) text += hex(static_cast<std::uint8_t>(byte)).substr(14);
  return text;
}

/// The payloads of a file of records, up to the first record that is cut off or damaged.
std::vector<std::string> payloads(const std::string& path, std::size_t* good_bytes = nullptr) {
  const std::string bytes = read_file(path);
  std::vector<std::string> found;
  std::size_t at = 0;
  while (at + 16 <= bytes.size()) {
    std::uint64_t size;
    std::memcpy(&size, bytes.data() + at, sizeof size);
    if (size > bytes.size() - at - 16) break;
    const std::string payload = bytes.substr(at + 12, size);
    if (detail::event_record(payload) != bytes.substr(at, size + 16)) break;
    found.push_back(payload);
    at += size + 16;
  }
  if (good_bytes != nullptr) *good_bytes = at;
  return found;
}

/// The event without its first field, the time.
std::string timeless(const std::string& payload) {
  REQUIRE(payload.size() > 9);
  REQUIRE(payload[0] == 0x09);
  return payload.substr(9);
}

}  // namespace

TEST_CASE("TensorBoard: records are framed as TensorBoard's own writer does", "[external]") {
  CHECK(detail::masked_crc32c("123456789") == 0xc78ab0e5);
  CHECK(detail::masked_crc32c("") == 0xa282ead8);
  CHECK(hexadecimal(detail::event_record(detail::version_event(1700000000.0))) ==
        "3200000000000000241956ec0900000040fc54d9411a0d627261696e2e4576656e743a3252180a166d6f653a3a"
        "54656e736f72426f61726457726974657246c82230");
  CHECK(
      hexadecimal(detail::event_record(detail::scalar_event(1700000001.5, 7, "loss/train", 0.5))) ==
      "200000000000000029eda9500900006040fc54d94110072a130a110a0a6c6f73732f747261696e150000003f"
      "e43e3656");
}

TEST_CASE("TensorBoard: events have the bytes that its own protobufs have", "[external]") {
  CHECK(hexadecimal(detail::version_event(1700000000.0)) ==
        "0900000040fc54d9411a0d627261696e2e4576656e743a3252180a166d6f653a3a54656e736f72426f61726457"
        "7269"
        "746572");
  CHECK(hexadecimal(detail::scalar_event(1700000001.5, 7, "loss/train", 0.5)) ==
        "0900006040fc54d94110072a130a110a0a6c6f73732f747261696e150000003f");
  const double load[] = {1, 1, 1, 1};
  CHECK(hexadecimal(detail::histogram_event(1700000002.0, 7, "experts", expert_histogram(load))) ==
        "0900008040fc54d94110072a750a730a07657870657274732a68110000000000001040190000000000001040"
        "210000000000001840290000000000002c403220000000000000f03f00000000000000400000000000000840"
        "00000000000010403a20000000000000f03f000000000000f03f000000000000f03f000000000000f03f");
  CHECK(hexadecimal(detail::text_event(1700000003.0, 0, "config/text_summary", "| a | b |")) ==
        "090000c040fc54d9412a380a360a13636f6e6669672f746578745f73756d6d61727942130807120412020801"
        "42097c2061207c2062207c4a0a0a060a04746578742002");
}

TEST_CASE("TensorBoard: a scalar of zero is written, as without it there is no scalar", "[edge]") {
  const std::string zero = hexadecimal(detail::scalar_event(1, 0, "a", 0));
  CHECK(zero == "09000000000000f03f2a0a0a080a01611500000000");
  const std::string largest =
      hexadecimal(detail::scalar_event(1, std::numeric_limits<std::int64_t>::max(), "a", 0));
  CHECK(has(largest, "10ffffffffffffffff7f2a"));
  CHECK(has(hexadecimal(detail::scalar_event(1, 300, "a", 0)), "10ac022a"));
  const double infinity = std::numeric_limits<double>::infinity();
  CHECK(has(hexadecimal(detail::scalar_event(1, 1, "a", infinity)), "150000807f"));
  CHECK(has(hexadecimal(detail::scalar_event(1, 1, "a", -infinity)), "15000080ff"));
  CHECK(has(hexadecimal(detail::scalar_event(1, 1, "a", std::nan(""))), "150000c07f"));
}

TEST_CASE("expert_histogram: it runs from the first to the last expert with tokens", "[edge]") {
  const double load[] = {0, 0, 0.25, 0, 0.75, 0};
  const Histogram histogram = expert_histogram(load);
  CHECK(histogram.min == 2);
  CHECK(histogram.max == 5);
  CHECK(histogram.num == 1);
  CHECK(histogram.sum == 3.5);
  CHECK(histogram.sum_squares == 13);
  CHECK(histogram.limits == std::vector<double>{3, 4, 5});
  CHECK(histogram.counts == std::vector<double>{0.25, 0, 0.75});
  const double none[] = {0, 0};
  CHECK(expert_histogram(none).min == 0);
  CHECK(expert_histogram(none).max == 2);
  CHECK(expert_histogram(none).counts == std::vector<double>{0, 0});
}

TEST_CASE("TensorBoardWriter: every record is whole in the file as soon as it is written", "[io]") {
  const test::ScratchFolder folder;
  TensorBoardWriter board(folder / "runs/demo");
  const auto last = [&](std::size_t events) {
    std::size_t good = 0;
    const std::vector<std::string> all = payloads(board.path(), &good);
    CHECK(good == read_file(board.path()).size());
    REQUIRE(all.size() == events);
    return timeless(all.back());
  };
  CHECK(hexadecimal(last(2)) == "3a020801");  // the start of a session at step 0
  CHECK(timeless(payloads(board.path()).front()) == timeless(detail::version_event(1)));
  board.scalar("loss", 10, 1.5);
  CHECK(last(3) == timeless(detail::scalar_event(1, 10, "loss", 1.5)));
  const double load[] = {0.5, 0.5};
  board.histogram("router/load/layer0", 11, expert_histogram(load));
  CHECK(last(4) ==
        timeless(detail::histogram_event(1, 11, "router/load/layer0", expert_histogram(load))));
  board.text("config", "| a |", 3);
  CHECK(last(5) == timeless(detail::text_event(1, 3, "config", "| a |")));
  double time;
  std::memcpy(&time, payloads(board.path()).back().data() + 1, sizeof time);
  CHECK(std::abs(time - double(std::time(nullptr))) < 60);
}

TEST_CASE("TensorBoardWriter: a resumed run keeps the points up to its step", "[resume]") {
  const test::ScratchFolder folder;
  const TensorBoardWriter board(folder.path(), 300);
  const std::vector<std::string> all = payloads(board.path());
  REQUIRE(all.size() == 2);
  // TensorBoard forgets the points with step >= that of the start.
  CHECK(timeless(all[1]) == timeless(detail::start_event(1, 301)));
  CHECK(hexadecimal(timeless(all[1])) == "10ad023a020801");
}

TEST_CASE("TensorBoardWriter: writers of the same second have files of their own", "[io]") {
  const test::ScratchFolder folder;
  TensorBoardWriter first(folder.path()), second(folder.path()), third(folder.path());
  first.scalar("a", 1, 1);
  second.scalar("b", 1, 1);
  CHECK(first.path() != second.path());
  CHECK(second.path() != third.path());
  const std::vector<std::string> names = detail::names_in(folder.path());
  CHECK(names.size() == 3);
  for (const std::string& name : names) {
    CHECK(name.rfind("events.out.tfevents.", 0) == 0);
    CHECK(name.find_first_not_of("0123456789", 20) == 30);
  }
  CHECK(payloads(first.path()).size() == 3);
  CHECK(payloads(second.path()).size() == 3);
  CHECK(payloads(third.path()).size() == 2);
  const TensorBoardWriter moved = std::move(first);
  CHECK(payloads(moved.path()).size() == 3);
}

TEST_CASE("TensorBoardWriter: text that is not UTF-8 stays readable", "[edge]") {
  CHECK(detail::valid_utf8("a\xE2\x82\xAC") == "a\xE2\x82\xAC");
  CHECK(detail::valid_utf8("a\xE2\x82z\xFF") == "a\xEF\xBF\xBD\xEF\xBF\xBDz\xEF\xBF\xBD");
  CHECK(detail::valid_utf8("").empty());
  CHECK(detail::text_event(1, 1, "t\xFF", "\xFF") ==
        detail::text_event(1, 1, "t\xEF\xBF\xBD", "\xEF\xBF\xBD"));
  CHECK(detail::scalar_event(1, 1, "\xFF", 1) == detail::scalar_event(1, 1, "\xEF\xBF\xBD", 1));
}

TEST_CASE("TensorBoardWriter: a full disk is an error, and what was written stays readable",
          "[error]") {
  const test::ScratchFolder folder;
  TensorBoardWriter board(folder.path());
  board.scalar("a", 1, 1);
  const std::size_t before = read_file(board.path()).size();
  rlimit old;
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &old) == 0);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit full = {before + 20, old.rlim_max};  // room for half a record
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &full) == 0);
  const std::string message = test::message_of([&] { board.text("b", std::string(100, 'x')); });
  ::setrlimit(RLIMIT_FSIZE, &old);
  ::signal(SIGXFSZ, handler);
  CHECK(test::is_sentence(message));
  CHECK(has(message, board.path()));
  CHECK(has(message, "File too large; free some space"));
  CHECK(read_file(board.path()).size() == before);
  board.scalar("a", 2, 1);
  CHECK(payloads(board.path()).size() == 4);
}

TEST_CASE("TensorBoardWriter: a folder that cannot be made is an error", "[error]") {
  const test::ScratchFolder folder;
  write_file(folder / "file", "");
  const std::string message = test::message_of([&] { TensorBoardWriter(folder / "file/run"); });
  CHECK(test::is_sentence(message));
  CHECK(has(message, folder / "file"));
}
