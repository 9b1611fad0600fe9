#pragma once
#include <moe/io/safetensors.hpp>

#include "reader.hpp"

namespace moe::hostile {

inline std::string word(std::uint64_t n) {
  return std::string(reinterpret_cast<const char*>(&n), sizeof n);
}
/// A file with this header and `bytes` bytes of data.
inline std::string with_header(const std::string& header, std::size_t bytes) {
  return word(header.size()) + header + std::string(bytes, '\1');
}
inline std::string entry(const std::string& name, const std::string& dtype,
                         const std::string& shape, const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" +
         offsets + "}";
}

/// Reads all tensors of a file, as bytes and as numbers.
inline void read_all(const std::string& path) {
  const Safetensors file(path);
  for (const auto& tensor : file.tensors()) {
    file.read_bytes(tensor.name);
    if (is_convertible(tensor.dtype)) file.read_as<float>(tensor.name);
  }
}

/// Attacks: what the reference reader of safetensors rejects.
inline void conformance_of_safetensors(Reader& reader) {
  const std::string t = "{" + entry("t", "F32", "[2]", "[0,8]") + "}";
  const auto row = [&](const std::string& what, const std::string& bytes) {
    reader.rejects(Cause::conformance, what, bytes);
  };
  const auto one = [&](const std::string& dtype, const std::string& shape,
                       const std::string& offsets, std::size_t bytes = 8) {
    row(dtype + " " + shape + " " + offsets,
        with_header("{" + entry("t", dtype, shape, offsets) + "}", bytes));
  };
  const auto body = [&](const std::string& text) { row(text, with_header(text, 8)); };
  const std::string open = t.substr(0, t.size() - 1), rest = t.substr(1);
  for (const std::string header : {"", "[]", "null"})
    row("header " + header, with_header(header, 0));
  for (const std::string& header : {open + ",}", "/**/" + t, t + "x", "\xEF\xBB\xBF" + t})
    body(header);
  row("trailing NUL", with_header(t + std::string(3, '\0'), 8));
  one("F32", "[NaN]", "[0,8]");
  row("0 bytes", "");
  row("7 bytes", std::string(7, '\0'));
  row("N behind the end", word(t.size() + 9) + t + std::string(8, '\1'));
  row("N = 100000001", word(100000001) + t + std::string(8, '\1'));
  row("N = 2^64 - 1", word(~std::uint64_t(0)) + t + std::string(8, '\1'));
  row("name with byte 0xFF", with_header("{" + entry("\xFF", "F32", "[2]", "[0,8]") + "}", 8));
  body(R"({"t":{"shape":[2],"data_offsets":[0,8]}})");
  for (const char* dtype : {"F128", "f32"}) one(dtype, "[2]", "[0,8]");
  for (const char* dim : {"-2", "2.0", "2e0", "\"2\"", "-0", "02", "18446744073709551616"})
    one("F32", std::string("[") + dim + "]", "[0,8]");
  for (const char* offsets : {"[8]", "[0,8,8]", R"({"a":0,"b":8})"}) one("F32", "[2]", offsets);
  body(R"({"t":null})");
  for (const char* metadata : {R"({"a":1})", R"({"a":{"b":"c"}})", R"({"a":null})", "[]", "\"a\""})
    body(std::string(R"({"__metadata__":)") + metadata + "," + rest);
  body(R"({"t":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})");
  body(R"({"t":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}})");
  body(R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"data_offsets":[0,8]}})");
  body(R"({"__metadata__":{},"__metadata__":{},)" + rest);
  for (const char* name : {R"(\ud800)", R"(\udc00\ud800)", "\x01", "a\nb", "a\tb"})
    row("name " + Json(name).dump(),
        with_header("{" + entry(name, "F32", "[2]", "[0,8]") + "}", 8));
  for (const std::size_t depth : {std::size_t(129), std::size_t(100000)}) {
    const std::string deep = repeated("[", depth) + repeated("]", depth);
    row("an unknown field nested " + std::to_string(depth),
        with_header(R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":)" + deep + "}}",
                    8));
    row("a shape nested " + std::to_string(depth),
        with_header("{" + entry("t", "F32", deep, "[0,8]") + "}", 8));
  }
  const auto two = [&](const std::string& what, const std::string& first,
                       const std::string& second) {
    row(what, with_header("{" + entry("a", "F32", "[1]", first) + "," +
                              entry("b", "F32", "[1]", second) + "}",
                          12));
  };
  one("F32", "[2]", "[8,0]");
  one("F32", "[2]", "[4,12]", 12);
  two("a hole between", "[0,4]", "[8,12]");
  two("overlap", "[0,4]", "[2,6]");
  two("the same range twice", "[0,4]", "[0,4]");
  one("F32", "[3]", "[0,8]");
  one("F32", "[0,5]", "[0,4]", 4);
  one("F32", "[2]", "[0,18446744073709551615]");
  one("F32", "[4294967296,4294967296]", "[0,0]", 0);
  one("F32", "[4294967296,4294967296,0]", "[0,0]", 0);
  one("F4", "[3]", "[0,2]", 2);
  row("one byte more", with_header(t, 9));
  row("one byte less", with_header(t, 7));
}

inline void causes_in_safetensors(Reader& reader) {
  const auto file = [](const std::string& entries, std::size_t bytes = 8) {
    return with_header("{" + entries + "}", bytes);
  };
  const auto one = [&](const std::string& dtype, const std::string& shape,
                       const std::string& offsets, std::size_t bytes = 8) {
    return file(entry("t", dtype, shape, offsets), bytes);
  };
  const std::string good = entry("a", "F32", "[2]", "[0,8]");
  const std::size_t big = 4 << 20;
  const std::string end = std::to_string(big);
  const auto huge_header = [&](std::uint64_t n) { return word(n) + std::string(big, ' '); };

  reader.rejects(Cause::length_plus_one, "8 + N wraps", huge_header(~std::uint64_t(0) - 7));
  reader.rejects(Cause::length_plus_one, "N = 2^64 - 1", huge_header(~std::uint64_t(0)));
  reader.rejects(Cause::signed_compare, "N = 2^63", huge_header(std::uint64_t(1) << 63));
  reader.rejects(Cause::narrowing_cast, "N = 2^32 + 2", huge_header((std::uint64_t(1) << 32) + 2));
  reader.rejects(Cause::header_counts, "N = 10^8", huge_header(100000000));
  reader.rejects(Cause::header_counts, "N is the file", huge_header(big + 1));
  reader.rejects(Cause::count_wraps, "[2^61] of 8 bytes",
                 one("F64", "[2305843009213693952]", "[0,0]", 0));
  reader.rejects(Cause::array_times_size, "[2^62] of 4 bytes, 4 MB",
                 one("F32", "[4611686018427387904]", "[0," + end + "]", big));
  reader.rejects(Cause::elements_times_size, "[2^62 + 2] of 4 bytes",
                 one("F32", "[4611686018427387906]", "[0,8]"));
  reader.rejects(Cause::elements_times_size, "[2^40,2^22] of 4 bytes, 4 MB",
                 one("F32", "[1099511627776,4194304]", "[0," + end + "]", big));
  reader.rejects(Cause::dims_multiply, "[2^32,2^32,2]",
                 one("U8", "[4294967296,4294967296,2]", "[0,0]", 0));
  reader.rejects(Cause::dims_multiply, "[2^64-1,2^64-1]",
                 one("U8", "[18446744073709551615,18446744073709551615]", "[0,1]", 1));
  reader.rejects(Cause::dims_multiply, "[3,6148914691236517206] is 2",
                 one("U8", "[3,6148914691236517206]", "[0,2]", 2));
  for (const char* offsets :
       {"[0,9223372036854775807]", "[9223372036854775808,9223372036854775816]",
        "[18446744073709551608,0]", "[18446744073709551608,18446744073709551615]", "[16,24]",
        "[1,9]"})
    reader.rejects(Cause::trusted_offsets, offsets, one("F32", "[2]", offsets));
  for (const char* number : {"-1", "-8", "-9223372036854775808"}) {
    reader.rejects(Cause::negative_number, std::string("begin ") + number,
                   one("F32", "[2]", std::string("[") + number + ",8]"));
    reader.rejects(Cause::negative_number, std::string("dimension ") + number,
                   one("F32", std::string("[") + number + "]", "[0,8]"));
  }
  reader.rejects(Cause::index_from_text, "\"-1\" as offset", one("F32", "[2]", "[\"-1\",8]"));
  reader.rejects(Cause::narrowing_cast, "[2^32 + 2] for 8 bytes",
                 one("F32", "[4294967298]", "[0,8]"));
  reader.rejects(Cause::narrowing_cast, "end 2^32 + 8", one("F32", "[2]", "[0,4294967304]"));
  reader.rejects(Cause::signed_compare, "[2^63] of no bytes",
                 one("U8", "[9223372036854775808]", "[0,0]", 0));
  reader.rejects(Cause::sum_overflow, "2^61 - 1 bytes and 2^61 and 8",
                 file(entry("a", "U8", "[2305843009213693951]", "[0,2305843009213693951]") + "," +
                      entry("b", "U8", "[9]", "[2305843009213693951,2305843009213693960]")));
  reader.rejects(Cause::sum_overflow, "the second wraps to its begin",
                 file(good + "," + entry("b", "U8", "[18446744073709551608]", "[8,0]")));
  reader.rejects(Cause::two_sizes, "a shape below its offsets", one("F32", "[1]", "[0,8]"));
  reader.rejects(Cause::two_sizes, "a shape above its offsets", one("F32", "[3]", "[0,8]"));
  reader.rejects(Cause::two_sizes, "offsets below the data", one("F32", "[1]", "[0,4]"));
  reader.rejects(Cause::dims_beyond_data, "[2^28] and 4 MB",
                 one("F32", "[268435456]", "[0,1073741824]", big));
  reader.rejects(Cause::dims_beyond_data, "one element too many, 4 MB",
                 one("F32", "[1048577]", "[0,4194308]", big));
  reader.rejects(Cause::padding_wraps, "[2^64-1] of 4 bits",
                 one("F4", "[18446744073709551615]", "[0,9223372036854775808]"));
  reader.rejects(Cause::padding_wraps, "3 elements of 6 bits in 3 bytes",
                 one("F6_E2M3", "[3]", "[0,3]", 3));
  reader.rejects(Cause::alignment_trusted, "the second begins at the next page",
                 file(good + "," + entry("b", "U8", "[4]", "[4096,4100]"), 4100));
  reader.rejects(Cause::nested_types, "dtype as array",
                 file(R"("t":{"dtype":["F32"],"shape":[2],"data_offsets":[0,8]})"));
  reader.rejects(Cause::nested_types, "shape in shape", one("F32", "[[2]]", "[0,8]"));
  reader.rejects(Cause::fixed_array, "9 dimensions", one("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]", 1));
  reader.rejects(Cause::fixed_array, "10^6 dimensions",
                 one("U8", "[1" + repeated(",1", 1000000) + "]", "[0,1]", 1));
  reader.rejects(Cause::missing_part, "null shape",
                 file(R"("t":{"dtype":"F32","shape":null,"data_offsets":[0,8]})"));
  reader.rejects(Cause::missing_part, "an empty entry", file(R"("t":{})"));
  reader.rejects(Cause::error_paths, "a good tensor and a bad one",
                 file(good + R"(,"b":{"dtype":"F32","shape":[)"));
  reader.rejects(Cause::assert_as_check, "the name twice",
                 file(good + "," + entry("a", "F32", "[0]", "[8,8]")));

  // Long headers that are refused late must not have taken much memory before.
  const auto many = [&](std::size_t count, const std::string& shape, const std::string& last) {
    std::string entries;
    for (std::size_t i = 0; i < count; ++i)
      entries += entry(std::to_string(i), "U8", shape, "[0,0]") + ",";
    return file(entries + last, 8);
  };
  const std::string bad = entry("z", "F32", "[3]", "[0,8]");
  reader.rejects(Cause::count_bound, "99999 empty tensors and a bad one", many(99999, "[0]", bad));
  reader.rejects(Cause::count_bound, "50000 of 8 dimensions and a bad one",
                 many(50000, "[0,1,1,1,1,1,1,1]", bad));
  reader.rejects(Cause::count_bound, "100001 tensors", many(100001, "[0]", good));
  reader.rejects(Cause::count_bound, "99999 tensors, then text",
                 many(99999, "[0]", good).append("x"));
  std::string metadata = R"("__metadata__":{)";
  for (int i = 0; i < 99000; ++i) metadata += "\"" + std::to_string(i) + "\":\"\",";
  reader.rejects(Cause::count_bound, "99001 metadata entries, then a bad tensor",
                 file(metadata + R"("a":"b"},)" + bad));
  reader.rejects(Cause::header_counts, "a field name again and again in a name",
                 file(entry(repeated(R"(\"data_offsets\")", 200000), "F32", "[3]", "[0,8]")));
  const std::string mega(4 << 20, 'n'), escapes = repeated("nnnnnnn\\n", 1 << 19);
  for (const std::string& text : {mega, escapes, repeated("\\u0001", 700000)}) {
    const std::string what = " of " + text.substr(0, 8) + "...";
    reader.rejects(Cause::length_plus_one, "a name" + what,
                   file(entry(text, "F32", "[3]", "[0,8]")));
    reader.rejects(Cause::length_plus_one, "two names" + what,
                   file(good + "," + entry(text, "U8", "[0]", "[8,8]") + "," +
                        entry(text, "U8", "[0]", "[8,8]")));
    reader.rejects(Cause::length_plus_one, "a dtype" + what,
                   file(entry("t", text, "[3]", "[0,8]")));
    reader.rejects(Cause::length_plus_one, "metadata" + what,
                   file(R"("__metadata__":{"a":")" + text + "\"}," + bad));
    reader.rejects(Cause::length_plus_one, "a field" + what, file("\"t\":{\"" + text + "\":1}"));
  }
}

inline void attack_safetensors(const test::ScratchFolder& folder) {
  const std::string path = folder / "file.safetensors";
  const std::string good = with_header(
      R"({"__metadata__":{"format":"pt"},)" + entry("a", "F32", "[2,1]", "[0,8]") + "," +
          entry("b", "BF16", "[2]", "[8,12]") + "," + entry("c", "F4", "[4]", "[12,14]") + "}",
      14);
  Reader reader("safetensors", path, path, good, [path] { read_all(path); });
  conformance_of_safetensors(reader);
  causes_in_safetensors(reader);
  reader.misplaced();
  reader.cut_and_appended(true);
  reader.flipped(0, good.size() - 14, false);
}

}  // namespace moe::hostile
