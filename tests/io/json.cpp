#include <cstring>
#include <limits>
#include <moe/io/json.hpp>

#include "catch.hpp"
#include "io/scratch.hpp"

using moe::Json;
using moe::parse_json;
using moe::test::has;
using moe::test::message_of;

TEST_CASE("Json: objects keep the order of insertion and print compact or indented", "[io]") {
  Json json;
  json["zeta"] = 1;
  json["alpha"]["x"] = true;
  json["alpha"]["y"] = nullptr;
  json["list"] = std::vector<int>{3, 1, 2};
  json["zeta"] = 2u;
  json["empty"] = Json::object();
  json["none"] = Json::array();
  json["list"].push_back("end");
  CHECK(json.dump() ==
        R"({"zeta":2,"alpha":{"x":true,"y":null},"list":[3,1,2,"end"],"empty":{},"none":[]})");
  CHECK(json["alpha"].dump(2) == "{\n  \"x\": true,\n  \"y\": null\n}");
  CHECK(parse_json(json.dump()) == json);
  CHECK(parse_json(json.dump(4)) == json);
}

TEST_CASE("Json: integers of 64 bits stay exact", "[io]") {
  const std::int64_t low = std::numeric_limits<std::int64_t>::min();
  const std::uint64_t high = std::numeric_limits<std::uint64_t>::max();
  CHECK(Json(low).dump() == "-9223372036854775808");
  CHECK(Json(high).dump() == "18446744073709551615");
  CHECK(parse_json(Json(low).dump()).as_int("x") == low);
  CHECK(parse_json(Json(high).dump()).as_uint("x") == high);
  CHECK(parse_json("9007199254740993").as_int("x") == 9007199254740993);
  CHECK(has(message_of([&] { parse_json("18446744073709551615").as_int("seed"); }), "'seed'"));
  CHECK(has(message_of([&] { parse_json("-1").as_uint("seed"); }), "it is -1"));
  CHECK(has(message_of([&] { parse_json("18446744073709551616").as_uint("seed"); }), "integer"));
}

TEST_CASE("Json: doubles round-trip and stay doubles", "[io]") {
  const double values[] = {0.0,
                           -0.0,
                           1.0,
                           0.1,
                           1e300,
                           5e-324,
                           1.7976931348623157e308,
                           -2.5e-8,
                           1e21,
                           123456789.125,
                           2.2250738585072014e-308};
  for (const double value : values) {
    const Json back = parse_json(Json(value).dump());
    CHECK(!back.is_integer());
    const double got = back.as_double("x");
    CHECK(std::memcmp(&got, &value, sizeof value) == 0);
  }
  CHECK(Json(1.0).dump() == "1.0");
  CHECK(Json(std::numeric_limits<double>::quiet_NaN()).dump() == "null");
  CHECK(Json(-std::numeric_limits<double>::infinity()).dump() == "null");
  CHECK(parse_json("3").as_double("x") == 3.0);
}

TEST_CASE("Json: strings are escaped as serde escapes them and come back", "[io]") {
  const std::string text =
      std::string("q\" b\\ s/ \b\f\n\r\t\x01\x1f\x7f ") + '\0' + "\xE2\x82\xAC";
  const std::string dumped = Json(text).dump();
  CHECK(dumped == "\"q\\\" b\\\\ s/ \\b\\f\\n\\r\\t\\u0001\\u001f\x7f \\u0000\xE2\x82\xAC\"");
  CHECK(parse_json(dumped).as_string("x") == text);
  CHECK(parse_json(R"("\u0041\u00e9\u20AC\ud83d\ude00\/")").as_string("x") ==
        "A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80/");
}

TEST_CASE("Json: strict parsing says what is wrong and where", "[error]") {
  const struct {
    std::string text, why;
  } cases[] = {
      {"", "a value is expected at byte 0"},
      {"nul", "a value is expected"},
      {"[1,]", "a value is expected at byte 3"},
      {"{\"a\":1,}", "a name in double quotes"},
      {"{a:1}", "a name in double quotes"},
      {"{\"a\" 1}", "':' is expected"},
      {"[1 2]", "',' or ']'"},
      {"{\"a\":1", "',' or '}'"},
      {"01", "leading zero"},
      {"-01", "leading zero"},
      {"-", "a digit is expected"},
      {"1.", "a digit is expected"},
      {".5", "a value is expected"},
      {"+1", "a value is expected"},
      {"1e", "a digit is expected"},
      {"0x10", "text after the end"},
      {"1e999", "range of double"},
      {"NaN", "a value is expected"},
      {"Infinity", "a value is expected"},
      {"1 x", "text after the end"},
      {"nullx", "text after the end"},
      {"/* c */ 1", "a value is expected"},
      {"\"a", "not closed"},
      {"\"\\", "unknown escape"},
      {"\"\\x\"", "unknown escape"},
      {"\"\\u12 x\"", "hexadecimal"},
      {"\"\\u-123\"", "hexadecimal"},
      {"\"\\u12", "cut off"},
      {"\"\\ud800\"", "surrogate"},
      {"\"\\udc00\"", "surrogate"},
      {"\"\\ud800\\u0041\"", "surrogate"},
      {"\"\n\"", "control character"},
      {std::string("\"\0\"", 3), "control character"},
      {"\"\xFF\"", "UTF-8 at byte 1"},
      {"\xEF\xBB\xBF{}", "a value is expected at byte 0"},
      {"{\"a\":1,\"b\":2,\"a\":3}", "'a' is given twice"},
      {std::string(129, '[') + std::string(129, ']'), "more than 128 deep"},
      {std::string(1000000, '['), "more than 128 deep"},
  };
  for (const auto& c : cases) {
    INFO(c.text.substr(0, 40));
    const std::string message = message_of([&] { parse_json(c.text, "a.json"); });
    CHECK(moe::test::is_sentence(message));
    CHECK(has(message, "a.json"));
    CHECK(has(message, c.why));
    // Skipping a value checks as much as building it, except for names given twice.
    const std::string skipped = message_of([&] {
      moe::JsonReader reader(c.text, "a.json");
      reader.skip();
      reader.finish();
    });
    CHECK((has(skipped, c.why) || c.why == "'a' is given twice"));
  }
  CHECK(message_of([] { parse_json(std::string(128, '[') + std::string(128, ']')); }).empty());
  CHECK(message_of([] { parse_json(" \t\r\n{ \"a\" : [ 1 , -0 , 2e3 ] } \n"); }).empty());
}

TEST_CASE("Json: a missing field or a wrong type is an error that names the field", "[error]") {
  const Json json = parse_json(R"({"a":{"b":"text"},"n":1.5,"f":false,"z":[]})");
  CHECK(json.at("f").as_bool("f") == false);
  CHECK(json.at("z").items("z").empty());
  CHECK(json.at("a").members("a").front().first == "b");
  CHECK(json.find("missing") == nullptr);
  CHECK(json.at("z").find("a") == nullptr);
  CHECK(message_of([&] { json.at("missing", "manifest.json"); }) ==
        "moe: cannot find field 'missing' in manifest.json: it is missing; check the file that "
        "holds it");
  CHECK(message_of([&] { json.at("a").at("b").as_int("a.b"); }) ==
        "moe: cannot use field 'a.b': it is a string where an integer of 64 bits with sign is "
        "expected; check the file that holds it");
  CHECK(has(message_of([&] { json.at("n").as_int("n"); }), "it is a number where an integer"));
  CHECK(has(message_of([&] { json.at("n").as_string("n"); }), "where a string"));
  CHECK(has(message_of([&] { json.at("n").as_bool("n"); }), "where a boolean"));
  CHECK(has(message_of([&] { json.at("f").as_double("f"); }), "where a number"));
  CHECK(has(message_of([&] { json.at("f").items("f"); }), "where an array"));
  CHECK(has(message_of([&] { json.at("f").members("f"); }), "where an object"));
  CHECK(has(message_of([&] { json.at("f").at("x", "f"); }), "where an object"));
}

TEST_CASE("parse_json: more values than allowed are refused, as many are not", "[error]") {
  const std::string text = R"({"a":[1,"[,{",{}],"b":null})";  // 6 values
  CHECK(moe::parse_json(text, "x", 6).find("b") != nullptr);
  CHECK(has(message_of([&] { moe::parse_json(text, "x", 5); }), "more values than expected"));
  CHECK(has(message_of([&] { moe::parse_json("1", "x", 0); }), "more values than expected"));
}

TEST_CASE("Json: doubles are written as Python writes them", "[io]") {
  const std::pair<double, const char*> cases[] = {
      {100000.0, "100000.0"}, {1e6, "1000000.0"},           {1e-4, "0.0001"}, {1e-5, "1e-05"},
      {1.5e-7, "1.5e-07"},    {1e15, "1000000000000000.0"}, {1e16, "1e+16"},  {0.0, "0.0"},
      {-0.0, "-0.0"},         {-250000.0, "-250000.0"},     {0.1, "0.1"},     {1e300, "1e+300"}};
  for (const auto& [value, text] : cases) CHECK(moe::Json(value).dump() == text);
}

TEST_CASE("JsonReader: Python's numbers only where they are asked for", "[io]") {
  const std::string text = R"({"a":[NaN,Infinity,-Infinity,-1]})";
  CHECK_THROWS_AS(moe::parse_json(text), moe::Error);
  const moe::Json json = moe::parse_json(text, "text", SIZE_MAX, moe::JsonNumbers::python);
  CHECK(json.at("a").items("a").size() == 4);
  CHECK(json.dump() == R"({"a":[null,null,null,-1]})");
}
