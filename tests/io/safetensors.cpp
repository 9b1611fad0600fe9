#include <moe/io/safetensors.hpp>

#include "catch.hpp"
#include "io/scratch.hpp"

using moe::Dtype;
using moe::Safetensors;
using moe::TensorView;
using moe::test::has;
using moe::test::is_sentence;
using moe::test::message_of;
using moe::test::ScratchFolder;

namespace {

std::string saved(const std::vector<TensorView>& tensors,
                  const std::map<std::string, std::string>& metadata) {
  std::string bytes;
  const auto write = [&](const void* data, std::size_t size) {
    bytes.append(static_cast<const char*>(data), size);
  };
  moe::write_safetensors(write, tensors, metadata);
  return bytes;
}

std::string length_of(std::uint64_t n) {
  return std::string(reinterpret_cast<const char*>(&n), sizeof n);
}

/// A file with this header and `bytes` bytes of data.
std::string file_of(const std::string& header, std::size_t bytes) {
  return length_of(header.size()) + header + std::string(bytes, '\1');
}

std::string repeated(const std::string& part, int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += part;
  return all;
}

/// One tensor "t" with these fields.
std::string tensor(const std::string& dtype, const std::string& shape, const std::string& offsets,
                   const std::string& more = "") {
  return R"("t":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets +
         more + "}";
}

const std::string t = R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";

std::string named(const std::string& name, const std::string& offsets, int elements) {
  return "\"" + name + R"(":{"dtype":"F32","shape":[)" + std::to_string(elements) +
         R"(],"data_offsets":)" + offsets + "}";
}

}  // namespace

TEST_CASE("Safetensors: the writer makes the bytes of the reference writer", "[external]") {
  CHECK(saved({}, {}) == length_of(8) + "{}      ");
  const float f32[] = {1, -2};
  const std::uint16_t f16[] = {0x3C00, 0x4000};
  const std::uint8_t u8[] = {7, 8, 9};
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"a.f32":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
      R"("z.f16":{"dtype":"F16","shape":[2,1],"data_offsets":[8,12]},)"
      R"("b.u8":{"dtype":"U8","shape":[3],"data_offsets":[12,15]}}  )";
  REQUIRE(header.size() == 208);
  const std::string data("\x00\x00\x80\x3f\x00\x00\x00\xc0\x00\x3c\x00\x40\x07\x08\x09", 15);
  CHECK(saved({moe::tensor_view("b.u8", {3}, u8),
               {"z.f16", Dtype::F16, {2, 1}, f16},
               moe::tensor_view("a.f32", {2}, f32)},
              {{"format", "pt"}}) == length_of(208) + header + data);
}

TEST_CASE("Safetensors: what was saved is read back, bit for bit", "[io]") {
  const ScratchFolder folder;
  const std::string path = folder / "a.safetensors";
  const std::vector<float> weight = {0.1f, -0.0f, 3e-45f, 1e38f, 5, 6};
  const std::vector<double> exact = {0.1, -1e300};
  const std::vector<std::int64_t> step = {1LL << 62};
  const std::uint16_t bf16[] = {0x3F80, 0xC049};
  const std::uint8_t small[] = {1, 2, 3};
  moe::save_safetensors(path,
                        {moe::tensor_view("layer.\"w\"\n\xE2\x82\xAC", {2, 3}, weight.data()),
                         moe::tensor_view("exact", {2}, exact.data()),
                         moe::tensor_view("step", {}, step.data()),
                         {"bf16", Dtype::BF16, {2}, bf16},
                         moe::tensor_view<float>("none", {0, 4}, nullptr),
                         moe::tensor_view("bytes", {3}, small)},
                        {{"format", "pt"}, {"note", "a \"quoted\" note"}});
  const Safetensors file(path);
  CHECK(file.names() == std::vector<std::string>{"bf16", "bytes", "exact",
                                                 "layer.\"w\"\n\xE2\x82\xAC", "none", "step"});
  const std::string name = file.names()[3];
  CHECK(file.shape(name) == std::vector<std::size_t>{2, 3});
  CHECK(file.dtype(name) == Dtype::F32);
  const auto back = file.read<float>(name);
  REQUIRE(back.size() == weight.size());
  CHECK(std::memcmp(back.data(), weight.data(), sizeof(float) * back.size()) == 0);
  CHECK(file.read<double>("exact") == exact);
  CHECK(file.read<std::int64_t>("step") == step);
  CHECK(file.shape("step").empty());
  CHECK(file.read<float>("none").empty());
  CHECK(file.read_as<double>(name) == std::vector<double>(weight.begin(), weight.end()));
  CHECK(file.read_as<float>("bf16") == std::vector<float>{1.0f, -3.140625f});
  CHECK(file.read_as<float>("bytes") == std::vector<float>{1, 2, 3});
  CHECK(file.read_bytes("bytes") == "\1\2\3");
  CHECK(file.metadata() ==
        std::map<std::string, std::string>{{"format", "pt"}, {"note", "a \"quoted\" note"}});
  CHECK(file.contains("step"));
  CHECK(!file.contains("Step"));
}

TEST_CASE("Safetensors: conversion in pieces is right across their borders", "[edge]") {
  const ScratchFolder folder;
  std::vector<float> values(100003);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) * 0.5f;
  const std::uint8_t odd = 0;  // in a file of others the F32 data may start after it, at byte 1
  moe::save_safetensors(folder / "a", {moe::tensor_view("w", {values.size()}, values.data()),
                                       moe::tensor_view("odd", {}, &odd)});
  const auto read = Safetensors(folder / "a").read_as<double>("w");
  REQUIRE(read.size() == values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (read[i] != static_cast<double>(values[i])) FAIL("element " << i << " is " << read[i]);
  }
}

TEST_CASE("Safetensors: files that the reference reader accepts are accepted", "[external]") {
  const ScratchFolder folder;
  const std::string zero = R"("z":{"dtype":"F32","shape":[0],"data_offsets":)";
  const std::string one = R"("s":{"dtype":"F32","shape":[],"data_offsets":[0,4]})";
  const struct {
    std::string what, bytes;
    std::size_t tensors;
  } cases[] = {
      {"one tensor", file_of(t, 8), 1},
      {"no tensor", file_of("{}", 0), 0},
      {"trailing spaces", file_of(t + "     ", 8), 1},
      {"trailing tab, newline, return, space", file_of(t + "\t\n\r ", 8), 1},
      {"leading spaces", file_of("   " + t, 8), 1},
      {"header of odd length", file_of(t + " ", 8), 1},
      {"unaligned tensor",
       file_of(R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)" + named("f", "[1,5]", 1) +
                   "}",
               5),
       2},
      {"unknown field", file_of("{" + tensor("F32", "[2]", "[0,8]", R"(,"x":1)") + "}", 8), 1},
      {"unknown nested field",
       file_of("{" + tensor("F32", "[2]", "[0,8]", R"(,"x":{"a":[1,null,"b"]})") + "}", 8), 1},
      {"any order",
       file_of("{" + named("c", "[8,12]", 1) + "," + named("a", "[4,8]", 1) + "," +
                   named("b", "[0,4]", 1) + "}",
               12),
       3},
      {"scalar", file_of("{" + one + "}", 4), 1},
      {"empty tensor", file_of("{" + tensor("F32", "[0,5]", "[0,0]") + "}", 0), 1},
      {"empty tensor between two",
       file_of("{" + zero + "[4,4]}," + named("a", "[0,4]", 1) + "," + named("b", "[4,8]", 1) + "}",
               8),
       3},
      {"empty tensor that shares begin 0",
       file_of("{" + named("a", "[0,4]", 1) + "," + zero + "[0,0]}}", 4), 2},
      {"a leading 0 stops the overflow",
       file_of("{" + tensor("F32", "[0,4294967296,4294967296]", "[0,0]") + "}", 0), 1},
      {"metadata null", file_of(R"({"__metadata__":null,)" + t.substr(1), 8), 1},
      {"metadata last",
       file_of(t.substr(0, t.size() - 1) + R"(,"__metadata__":{"format":"pt"}})", 8), 1},
      {"metadata key twice", file_of(R"({"__metadata__":{"a":"1","a":"2"},)" + t.substr(1), 8), 1},
      {"escapes in a name", file_of("{" + named(R"(\u0074\n\ud83d\ude00)", "[0,4]", 1) + "}", 4),
       1},
      {"empty name", file_of("{" + named("", "[0,4]", 1) + "}", 4), 1},
      {"a name like a path", file_of("{" + named("../../etc/x", "[0,4]", 1) + "}", 4), 1},
      {"even count of F4", file_of("{" + tensor("F4", "[4]", "[0,2]") + "}", 2), 1},
  };
  for (const auto& c : cases) {
    INFO(c.what);
    moe::write_file(folder / "a", c.bytes);
    std::size_t tensors = 99;
    CHECK(message_of([&] { tensors = Safetensors(folder / "a").tensors().size(); }) == "");
    CHECK(tensors == c.tensors);
  }
  moe::write_file(folder / "a", cases[17].bytes);
  CHECK(Safetensors(folder / "a").metadata().at("a") == "2");
  moe::write_file(folder / "a", cases[18].bytes);
  CHECK(Safetensors(folder / "a").contains("t\n\xF0\x9F\x98\x80"));
}

TEST_CASE("Safetensors: malformed files are rejected with their reason", "[error]") {
  const ScratchFolder folder;
  const auto one = [](const std::string& dtype, const std::string& shape,
                      const std::string& offsets, std::size_t bytes = 8) {
    return file_of("{" + tensor(dtype, shape, offsets) + "}", bytes);
  };
  const auto fields = [](const std::string& body) { return file_of("{\"t\":" + body + "}", 8); };
  const std::string deep = repeated("[", 200) + repeated("]", 200);
  const struct {
    std::string what, bytes, why;
  } cases[] = {
      {"N = 0", file_of("", 0), "an object is expected"},
      {"root array", file_of("[]", 0), "an object is expected"},
      {"root null", file_of("null", 0), "an object is expected"},
      {"trailing comma", file_of(t.substr(0, t.size() - 1) + ",}", 8), "a name in double quotes"},
      {"comment", file_of("/**/" + t, 8), "an object is expected"},
      {"NaN", one("F32", "[NaN]", "[0,8]"), "a value is expected"},
      {"trailing garbage", file_of(t + "x", 8), "text after the end"},
      {"trailing NUL", file_of(t + std::string(3, '\0'), 8), "text after the end"},
      {"byte order mark", file_of("\xEF\xBB\xBF" + t, 8), "an object is expected"},
      {"0 bytes", "", "fewer than 8 bytes"},
      {"7 bytes", std::string(7, '\0'), "fewer than 8 bytes"},
      {"N behind the end", length_of(t.size() + 9) + t + std::string(8, '\0'), "behind the end"},
      {"N = 100000001", length_of(100000001) + t, "larger than 100 MB"},
      {"N = 2^64 - 1", length_of(~std::uint64_t(0)) + t, "larger than 100 MB"},
      {"N = 2^63", length_of(std::uint64_t(1) << 63) + t, "larger than 100 MB"},
      {"name with byte 0xFF", file_of("{" + named("\xFF", "[0,4]", 1) + "}", 4), "not valid UTF-8"},
      {"no dtype", fields(R"({"shape":[2],"data_offsets":[0,8]})"), "needs dtype"},
      {"no shape", fields(R"({"dtype":"F32","data_offsets":[0,8]})"), "needs dtype"},
      {"no offsets", fields(R"({"dtype":"F32","shape":[2]})"), "needs dtype"},
      {"dtype F128", one("F128", "[2]", "[0,8]"), "'F128' is unknown"},
      {"dtype f32", one("f32", "[2]", "[0,8]"), "'f32' is unknown"},
      {"dtype 1", fields(R"({"dtype":1,"shape":[2],"data_offsets":[0,8]})"), "string is expected"},
      {"dim -2", one("F32", "[-2]", "[0,8]"), "no integer of 0 or more"},
      {"dim 2.0", one("F32", "[2.0]", "[0,8]"), "no integer of 0 or more"},
      {"dim 2e0", one("F32", "[2e0]", "[0,8]"), "no integer of 0 or more"},
      {"dim \"2\"", one("F32", "[\"2\"]", "[0,8]"), "a value is expected"},
      {"dim -0", one("F32", "[-0]", "[0,0]", 0), "no integer of 0 or more"},
      {"dim 02", one("F32", "[02]", "[0,8]"), "leading zero"},
      {"dim 2^64", one("F32", "[18446744073709551616]", "[0,8]"), "no integer of 0 or more"},
      {"1 offset", one("F32", "[2]", "[8]"), "fewer than 2"},
      {"3 offsets", one("F32", "[2]", "[0,8,8]"), "more than 2"},
      {"offsets as a map", one("F32", "[2]", R"({"a":0,"b":8})"), "array is expected"},
      {"tensor null", fields("null"), "object is expected"},
      {"tensor as an array", fields(R"(["F32",[2],[0,8]])"), "object is expected"},
      {"dtype as a map", fields(R"({"dtype":{"F32":null},"shape":[2],"data_offsets":[0,8]})"),
       "string is expected"},
      {"metadata with a number", file_of(R"({"__metadata__":{"a":1},)" + t.substr(1), 8), "string"},
      {"nested metadata", file_of(R"({"__metadata__":{"a":{}},)" + t.substr(1), 8), "string"},
      {"field twice", fields(R"({"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]})"),
       "once each"},
      {"metadata twice", file_of(R"({"__metadata__":{},"__metadata__":{},)" + t.substr(1), 8),
       "given twice"},
      {"lone surrogate", file_of("{" + named(R"(\ud800)", "[0,4]", 1) + "}", 4), "surrogate"},
      {"control character", file_of("{" + named("a\nb", "[0,4]", 1) + "}", 4), "control character"},
      {"nested in a shape", one("F32", deep, "[0,8]"), "a value is expected"},
      {"nested in an unknown field",
       file_of("{" + tensor("F32", "[2]", "[0,8]", ",\"x\":" + deep) + "}", 8), "128 deep"},
      {"begin > end", one("F32", "[2]", "[8,0]"), "do not follow"},
      {"begin > end at 0", one("F32", "[2]", "[0,0]", 0), "its shape needs 8 bytes"},
      {"hole at the start", one("F32", "[2]", "[4,12]", 12), "do not follow"},
      {"hole between",
       file_of("{" + named("a", "[0,4]", 1) + "," + named("b", "[8,12]", 1) + "}", 12),
       "do not follow"},
      {"overlap", file_of("{" + named("a", "[0,8]", 2) + "," + named("b", "[4,12]", 2) + "}", 12),
       "do not follow"},
      {"the same bytes twice",
       file_of("{" + named("a", "[0,8]", 2) + "," + named("b", "[0,8]", 2) + "}", 8),
       "do not follow"},
      {"shape against size", one("F32", "[3]", "[0,8]"), "its shape needs 12 bytes"},
      {"[0,5] with bytes", one("F32", "[0,5]", "[0,4]", 4), "its shape needs 0 bytes"},
      {"end = 2^64 - 1", one("F32", "[2]", "[0,18446744073709551615]"), "its shape needs 8 bytes"},
      {"[2^32, 2^32]", one("F32", "[4294967296,4294967296]", "[0,8]"), "64 bits can count"},
      {"[2^32, 2^32, 0]", one("F32", "[4294967296,4294967296,0]", "[0,0]", 0), "64 bits can count"},
      {"2^59 elements of 32 bits", one("F32", "[576460752303423488]", "[0,8]"),
       "64 bits can count"},
      {"odd count of F4", one("F4", "[3]", "[0,2]", 2), "whole bytes"},
      {"one byte too many", file_of(t, 9), "need 8 bytes of data and it has 9"},
      {"one byte too few", file_of(t, 7), "need 8 bytes of data and it has 7"},
      {"a name twice, same bytes", file_of(t.substr(0, t.size() - 1) + "," + t.substr(1), 8),
       "do not follow"},
      {"a name twice, other bytes",
       file_of("{" + named("a", "[0,4]", 1) + "," + named("a", "[4,8]", 1) + "}", 8),
       "the name is given twice"},
      {"a name twice, the first one invalid",
       file_of("{" + tensor("F32", "[3]", "[0,8]") + "," + t.substr(1), 8),
       "its shape needs 12 bytes"},
      {"an empty tensor's name twice",
       file_of("{" + named("a", "[0,0]", 0) + "," + named("a", "[0,0]", 0) + "}", 0),
       "the name is given twice"},
      {"9 dimensions", one("F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), "more than 8 dimensions"},
  };
  for (const auto& c : cases) {
    INFO(c.what);
    moe::write_file(folder / "a", c.bytes);
    const std::string message = message_of([&] { Safetensors file(folder / "a"); });
    CHECK(is_sentence(message));
    CHECK(has(message, folder / "a"));
    CHECK(has(message, c.why));
  }
  CHECK(has(message_of([&] { Safetensors file(folder / "none"); }), "No such file"));
  CHECK(has(message_of([&] { Safetensors file(folder.path()); }), "Is a directory"));
}

TEST_CASE("Safetensors: no damage of one byte and no cut is a crash", "[edge]") {
  const ScratchFolder folder;
  const float values[] = {1, 2, 3, 4};
  const std::string good = saved(
      {moe::tensor_view("a", {2}, values), moe::tensor_view("b", {2}, values + 2)}, {{"k", "v"}});
  std::size_t rejected = 0;
  const auto attempt = [&](const std::string& bytes) {
    FILE* file = std::fopen((folder / "a").c_str(), "wb");
    std::fwrite(bytes.data(), 1, bytes.size(), file);
    std::fclose(file);
    rejected += !message_of([&] {
                   const Safetensors read(folder / "a");
                   for (const auto& tensor : read.tensors()) read.read_bytes(tensor.name);
                 }).empty();
  };
  for (std::size_t cut = 0; cut < good.size(); ++cut) attempt(good.substr(0, cut));
  CHECK(rejected == good.size());
  for (std::size_t i = 0; i < good.size() - 16; ++i) {
    for (const char c : {'\0', '"', '9', '}', '\xFF'}) {
      std::string bytes = good;
      bytes[i] = c;
      attempt(bytes);
    }
  }
  CHECK(rejected > 3 * good.size());
}

TEST_CASE("Safetensors: a part of a tensor is read as the same part of the whole", "[io]") {
  const ScratchFolder folder;
  const std::uint16_t bf16[] = {0x3F80, 0xC049, 0x4000, 0x4040, 0x4080};
  const double one = 7;
  moe::save_safetensors(folder / "a",
                        {{"w", Dtype::BF16, {5}, bf16}, moe::tensor_view("v", {1}, &one)});
  const Safetensors file(folder / "a");
  const auto all = file.read_as<float>("w");
  for (std::size_t first = 0; first <= 5; ++first) {
    for (std::size_t count = 0; first + count <= 5; ++count) {
      std::vector<float> part(count);
      file.read_part_as("w", first, part.data(), count);
      const auto from = all.begin() + std::ptrdiff_t(first);
      CHECK(part == std::vector<float>(from, from + std::ptrdiff_t(count)));
    }
  }
  float out[8];
  const std::pair<std::size_t, std::size_t> bad[] = {{0, 6}, {5, 1}, {6, 0}, {~std::size_t(0), 2}};
  for (const auto& [first, count] : bad) {
    const auto read = [&, first = first, count = count] {
      file.read_part_as("w", first, out, count);
    };
    CHECK(is_sentence(message_of(read)));
    CHECK(has(message_of(read), "it has 5 elements where"));
  }
}

TEST_CASE("Safetensors: reading says which tensor is not what was asked for", "[error]") {
  const ScratchFolder folder;
  const float values[] = {1, 2};
  moe::save_safetensors(folder / "a",
                        {moe::tensor_view("w", {2}, values), {"c", Dtype::C64, {1}, values}});
  const Safetensors file(folder / "a");
  float out[3];
  const std::string messages[] = {message_of([&] { file.read<float>("v"); }),
                                  message_of([&] { file.read<double>("w"); }),
                                  message_of([&] { file.read_into("w", out, 3); }),
                                  message_of([&] { file.read_as_into("w", out, 3); }),
                                  message_of([&] { file.read_as<float>("c"); })};
  const std::string reasons[] = {"cannot find tensor 'v'", "its elements are F32 where F64 is",
                                 "it has 2 elements where 3 are", "it has 2 elements where 3 are",
                                 "elements C64 cannot be converted"};
  for (int i = 0; i < 5; ++i) {
    CHECK(is_sentence(messages[i]));
    CHECK(has(messages[i], folder / "a"));
    CHECK(has(messages[i], reasons[i]));
  }
  moe::FileWriter(folder / "a").finish();  // emptied under the open reader
  CHECK(has(message_of([&] { file.read<float>("w"); }), "the file was cut off"));
}

TEST_CASE("Safetensors: the writer refuses what no reader could read", "[error]") {
  const float values[] = {1, 2};
  const auto why = [&](const std::vector<TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata = {}) {
    const std::string message = message_of([&] { saved(tensors, metadata); });
    CHECK(is_sentence(message));
    return message;
  };
  const auto view = [&](const char* name) { return moe::tensor_view(name, {1}, values); };
  CHECK(has(why({view("a"), view("b"), view("a")}), "'a': two tensors have this name"));
  CHECK(has(why({view("__metadata__")}), "reserves this name"));
  CHECK(has(why({view("\xFF")}), "not UTF-8"));
  CHECK(has(why({}, {{"k", "\xFF"}}), "not UTF-8"));
  CHECK(has(why({{"t", Dtype::F4, {3}, values}}), "whole bytes"));
  CHECK(has(why({{"t", Dtype::F32, {1ull << 40, 1ull << 40}, values}}), "whole bytes"));
}
