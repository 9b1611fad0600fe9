#include <moe/io/checksum.hpp>

#include "catch.hpp"

TEST_CASE("sha256: equals the published digests", "[external]") {
  CHECK(moe::sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(moe::sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(moe::sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(moe::sha256(std::string(1000000, 'a')) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("xxh64: equals the published digests", "[external]") {
  const auto xxh64 = [](std::string_view text, std::uint64_t seed = 0) {
    return moe::hex(moe::xxh64(text.data(), text.size(), seed));
  };
  CHECK(xxh64("") == "ef46db3751d8e999");
  CHECK(xxh64("a") == "d24ec4f1a98c6e5b");
  CHECK(xxh64("abc") == "44bc2cf5ad770999");
  CHECK(xxh64("xxhash", 20141025) == "b559b98d844e0635");
  CHECK(xxh64("Nobody inspects the spammish repetition") == "fbcea83c8a378bf1");
}

TEST_CASE("sha256, xxh64: every length around the block sizes, as other libraries hash it",
          "[external]") {
  // The digests of the prefixes of one text, hashed together: Python's hashlib and xxhash.
  std::string text, sha, xxh;
  for (unsigned i = 0; i < 200; ++i) {
    sha += moe::sha256(text);
    xxh += moe::hex(moe::xxh64(text.data(), text.size(), i * 7919));
    text.push_back(static_cast<char>(i * 37 + 11));
  }
  CHECK(moe::sha256(sha) == "37ed9f3e9317c970ce0a947f43f4167ed4d844cdc8e0aca76aad24f49d96697b");
  CHECK(moe::sha256(xxh) == "113231a42a849f97d9ef00841d2d734f4d569b98e57f163d930345a77873c447");
}

TEST_CASE("xxh64: one flipped bit anywhere changes the sum", "[edge]") {
  std::string text(77, 'x');
  const std::uint64_t before = moe::xxh64(text.data(), text.size());
  for (std::size_t i = 0; i < text.size() * 8; ++i) {
    text[i / 8] = static_cast<char>(text[i / 8] ^ (1 << (i % 8)));
    CHECK(moe::xxh64(text.data(), text.size()) != before);
    text[i / 8] = 'x';
  }
}

TEST_CASE("crc32c: equals the published sums", "[external]") {
  static_assert(moe::crc32c("123456789") == 0xe3069283);
  CHECK(moe::crc32c("") == 0);
  // RFC 3720, B.4: 32 bytes of zeros, of ones, rising, falling.
  std::string rising, falling;
  for (int i = 0; i < 32; ++i) rising.push_back(static_cast<char>(i));
  falling.assign(rising.rbegin(), rising.rend());
  CHECK(moe::crc32c(std::string(32, '\0')) == 0x8a9136aa);
  CHECK(moe::crc32c(std::string(32, '\xFF')) == 0x62a8ab43);
  CHECK(moe::crc32c(rising) == 0x46dd794e);
  CHECK(moe::crc32c(falling) == 0x113fdb5c);
}
