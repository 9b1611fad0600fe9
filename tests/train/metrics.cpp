#include <cmath>
#include <moe/train/metrics_writer.hpp>
#include <moe/train/router_health.hpp>

#include "catch.hpp"
#include "io/scratch.hpp"

using namespace moe;
using moe::test::has;

namespace {
Json row(int step) {
  Json json;
  json["step"] = step;
  return json;
}
}  // namespace

TEST_CASE("MetricsWriter: every row is a whole line in the file as soon as it is written", "[io]") {
  const test::ScratchFolder folder;
  MetricsWriter metrics(folder / "metrics.jsonl");
  metrics.write(row(1));
  CHECK(read_file(folder / "metrics.jsonl") == "{\"step\":1}\n");
  metrics.write(row(2));
  CHECK(read_file(folder / "metrics.jsonl") == "{\"step\":1}\n{\"step\":2}\n");
}

TEST_CASE("MetricsWriter: resuming drops later rows and a row that a crash cut off", "[io]") {
  const test::ScratchFolder folder;
  const std::string path = folder / "metrics.jsonl";
  write_file(path, "{\"step\":1}\n{\"step\":2}\n{\"step\":2,\"a\":1}\n{\"step\":3}\n{\"st");
  MetricsWriter metrics(path, 2);
  metrics.write(row(3));
  CHECK(read_file(path) == "{\"step\":1}\n{\"step\":2}\n{\"step\":2,\"a\":1}\n{\"step\":3}\n");
}

TEST_CASE("MetricsWriter: a new run starts an empty file, a full device is an error", "[io]") {
  const test::ScratchFolder folder;
  write_file(folder / "metrics.jsonl", "{\"step\":1}\n");
  MetricsWriter metrics(folder / "metrics.jsonl");
  CHECK(read_file(folder / "metrics.jsonl").empty());
  if (detail::exists("/dev/full")) {
    const std::string message = test::message_of([] { MetricsWriter("/dev/full").write(row(1)); });
    CHECK(test::is_sentence(message));
    CHECK(has(message, "No space left"));
  }
}

TEST_CASE("router_health: even, collapsed and dead experts", "[routing]") {
  const double even[] = {0.25, 0.25, 0.25, 0.25};
  CHECK(std::abs(router_health(even).effective_experts - 4) < 1e-12);
  CHECK(std::abs(router_health(even).max_violation) < 1e-12);
  CHECK(router_health(even).dead_experts == 0);
  const double collapsed[] = {0, 0.5, 0, 0.5, 0, 0, 0, 0};
  CHECK(std::abs(router_health(collapsed).effective_experts - 2) < 1e-12);
  CHECK(std::abs(router_health(collapsed).max_violation - 3) < 1e-12);
  CHECK(router_health(collapsed).dead_experts == 6);
  const double nearly_dead[] = {0.0024, 0.0026, 0.995, 0};
  CHECK(router_health(nearly_dead).dead_experts == 2);  // 1 % of the fair share is 0.0025
}

TEST_CASE("health_verdict: names the worst that it sees", "[routing]") {
  const RouterHealth even{7.6, 0.2, 0}, uneven{5.9, 0.8, 0}, dead{6.5, 0.9, 1};
  const auto verdict = [](std::vector<RouterHealth> layers, int collapsed = 0) {
    return health_verdict(layers, 8, collapsed);
  };
  CHECK(verdict({}) == "");
  CHECK(verdict({even, even}) == "healthy (7.6 of 8 experts)");
  CHECK(verdict({{6, 0.5, 0}}) == "healthy (6.0 of 8 experts)");
  CHECK(verdict({even, uneven}) == "uneven (5.9 of 8 experts in layer 1)");
  CHECK(verdict({dead, even}) == "1 dead (6.5 of 8 experts)");
  CHECK(verdict({{2, 3, 6}, even}, 1) ==
        "COLLAPSED in 1 of 2 layers (2.0 of 8 experts in layer 0)");
}

TEST_CASE("router_health: a load that is not known is neither healthy nor collapsed",
          "[routing][edge]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const std::vector<double>& load :
       {std::vector<double>{0, 0, 0, 0}, {0.5, nan, 0.25, 0.25}, {nan, nan, nan, nan}, {}}) {
    const RouterHealth health = router_health(load);
    CHECK(std::isnan(health.effective_experts));
    CHECK(std::isnan(health.max_violation));
    CHECK(health.dead_experts == 0);
    const RouterHealth layers[] = {router_health(std::vector<double>(4, 0.25)), health};
    CHECK(health_verdict(layers, 4) == "expert load not known");
    RouterSentinel sentinel(4, 1, 1);
    CHECK(sentinel.observe(0, health).empty());
  }
}

TEST_CASE("RouterSentinel: warns once, after so many collapsed steps in a row", "[routing]") {
  RouterSentinel sentinel(8, 2, 100);
  const RouterHealth good{6, 0.4, 0}, bad{2.9, 1.2, 3}, lopsided{5, 1.6, 0};
  const auto warnings = [&](const RouterHealth& health, int steps, int layer) {
    int found = 0;
    for (int i = 0; i < steps; ++i) found += !sentinel.observe(layer, health).empty();
    return found;
  };
  CHECK(warnings(bad, 99, 0) == 0);
  CHECK(warnings(good, 1, 0) == 0);
  CHECK(warnings(bad, 99, 0) == 0);
  CHECK(sentinel.collapsed() == 0);
  CHECK(warnings(bad, 500, 0) == 1);
  CHECK(sentinel.collapsed() == 1);
  CHECK(warnings(lopsided, 100, 3) == 1);
  CHECK(sentinel.collapsed() == 2);
  CHECK(warnings(good, 10000, 1) == 0);
}

TEST_CASE("RouterSentinel: few experts have a line between even and collapsed", "[routing]") {
  CHECK_FALSE(RouterSentinel(2, 2).is_collapsed({2, 0, 0}));
  CHECK_FALSE(RouterSentinel(2, 1).is_collapsed({2, 0, 0}));
  CHECK(RouterSentinel(2, 1).is_collapsed({1.2, 0.9, 0}));
  CHECK_FALSE(RouterSentinel(3, 2).is_collapsed({3, 0, 0}));
  CHECK(RouterSentinel(3, 2).is_collapsed({2.1, 0.5, 1}));
}
