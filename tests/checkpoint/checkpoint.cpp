#include <sys/resource.h>

#include <csignal>
#include <limits>

#include "catch.hpp"
#include "train/tiny.hpp"

using namespace moe;
using test::has;
using test::is_sentence;
using test::message_of;
using test::state_of;
using test::TinyRun;

namespace {

const std::vector<std::string> files = {"manifest.json", "model.safetensors",
                                        "optimizer.safetensors"};

/// A saved checkpoint `first`, and a run `second` with another seed, which must not change when a
/// load is refused.
struct Saved {
  test::ScratchFolder scratch;
  std::string folder = scratch / "last";
  TinyRun first{1, 3}, second{2, 1};
  TrainState state{.step = 3, .best_step = 2, .best_loss = 1.5, .seconds = 0.25};

  Saved() { save_checkpoint(first.model, first.optimizer, state, folder); }

  std::string load_error() {
    return message_of([&] { load_checkpoint(second.model, second.optimizer, folder); });
  }
  /// Whether the checkpoint is refused in one sentence and `second` is unchanged.
  bool refused() {
    const auto before = second.state();
    const auto passes = second.model.passes();
    const auto updates = second.optimizer.updates();
    const std::string message = load_error();
    return is_sentence(message) && has(message, folder) && second.state() == before &&
           second.model.passes() == passes && second.optimizer.updates() == updates;
  }
};

void write_raw(const std::string& path, const std::string& bytes) {
  write_file(path, bytes);
}

}  // namespace

TEST_CASE("save_checkpoint: loading gives the same bits, and the same bits from there on",
          "[checkpoint]") {
  Saved s;
  CHECK(s.first.state() != s.second.state());
  const TrainState state = load_checkpoint(s.second.model, s.second.optimizer, s.folder);
  CHECK(s.first.state() == s.second.state());
  CHECK(state.step == 3);
  CHECK(state.updates == 3);
  CHECK(state.passes == 3);
  CHECK(state.best_step == 2);
  CHECK(state.best_loss == 1.5);
  CHECK(state.seconds == 0.25);
  CHECK(s.second.model.passes() == 3);
  CHECK(s.second.optimizer.updates() == 3);
}

TEST_CASE("save: a bare model keeps its parameters and its description", "[checkpoint]") {
  const test::ScratchFolder scratch;
  TinyRun first(1, 2), second(2);
  save(first.model, scratch / "model.moe", Json("verse"));
  const Json manifest = load(second.model, scratch / "model.moe");
  CHECK(manifest.at("run").as_string("run") == "verse");
  CHECK(state_of(first.model, first.optimizer)[0] == state_of(second.model, second.optimizer)[0]);
  const std::string message =
      message_of([&] { load_checkpoint(second.model, second.optimizer, scratch / "model.moe"); });
  CHECK(is_sentence(message));
  CHECK(has(message, "no optimizer state"));
}

TEST_CASE("require_place: refuses what save would refuse, and leaves nothing", "[checkpoint]") {
  const test::ScratchFolder folder;
  require_place(folder / "new");
  write_file(folder / "taken", "mine");
  make_folders(folder / "full");
  write_file(folder / "full/mine", "mine");
  for (const char* name : {"taken", "full"})
    CHECK(is_sentence(message_of([&] { require_place(folder / name); })));
  CHECK(detail::names_in(folder / "") == std::vector<std::string>{"full", "taken"});
}

TEST_CASE("save: files have the names and shapes of the leaves, and PyTorch's metadata",
          "[checkpoint]") {
  Saved s;
  const Safetensors file(s.folder + "/model.safetensors");
  CHECK(file.metadata().at("format") == "pt");
  using Shape = std::vector<std::size_t>;
  CHECK(file.shape("token_embedding.weight") == Shape{65, 16});
  CHECK(file.shape("blocks.1.attn.q.weight") == Shape{16, 16});
  CHECK(file.shape("blocks.0.ffn.experts.up_proj.weight") == Shape{4, 16, 16});
  CHECK(file.shape("blocks.0.ffn.router.selection.bias") == Shape{4});
  CHECK(file.shape("final_norm.weight") == Shape{16});
  CHECK(file.dtype("final_norm.weight") == Dtype::F32);
  CHECK_FALSE(file.contains("head.weight"));  // tied
  const Safetensors state(s.folder + "/optimizer.safetensors");
  CHECK(state.contains("first.blocks.0.attn.q.weight"));
  CHECK_FALSE(state.contains("second.blocks.0.attn.q.weight"));  // Muon has no mean square
  CHECK(state.contains("second.token_embedding.weight"));
}

TEST_CASE("load: a change of any byte of any file is refused and changes nothing", "[checkpoint]") {
  Saved s;
  for (const std::string& file : files) {
    const std::string path = s.folder + "/" + file, good = read_file(path);
    const std::size_t pace = file == "manifest.json" ? 7 : 397;
    int accepted = 0, tried = 0;
    for (std::size_t at = 0; at < good.size(); at += pace) {
      std::string bad = good;
      bad[at] = char(bad[at] ^ (1 << (at / pace % 8)));
      write_raw(path, bad);
      accepted += !s.refused();
      ++tried;
    }
    write_raw(path, good);
    INFO(file);
    CHECK(tried > 50);
    CHECK(accepted == 0);
  }
  CHECK(s.load_error().empty());
}

TEST_CASE("load: a truncated, extended, missing or empty file is refused", "[checkpoint]") {
  Saved s;
  for (const std::string& file : files) {
    const std::string path = s.folder + "/" + file, good = read_file(path);
    INFO(file);
    for (const std::size_t size :
         {std::size_t(0), std::size_t(1), std::size_t(8), good.size() / 2, good.size() - 1}) {
      write_raw(path, good.substr(0, size));
      CHECK(s.refused());
    }
    write_raw(path, good + '\0');
    CHECK(s.refused());
    write_raw(path, good + good);
    CHECK(s.refused());
    REQUIRE(std::remove(path.c_str()) == 0);
    CHECK(s.refused());
    CHECK(has(s.load_error(), file));
    write_raw(path, good);
  }
  CHECK(s.load_error().empty());
  s.folder = s.scratch / "nothing";
  CHECK(s.refused());
}

TEST_CASE("load: two exchanged tensors are noticed, and named", "[checkpoint]") {
  Saved s;
  const std::string path = s.folder + "/model.safetensors";
  std::vector<std::vector<float>> values;
  std::vector<TensorView> views;
  {
    const Safetensors file(path);
    for (const std::string& name : file.names()) {
      std::string from = name;
      if (name == "blocks.0.attn.q.weight") from = "blocks.1.attn.q.weight";
      if (name == "blocks.1.attn.q.weight") from = "blocks.0.attn.q.weight";
      values.push_back(file.read<float>(from));
      views.push_back({name, Dtype::F32, file.shape(name), nullptr});
    }
  }
  for (std::size_t i = 0; i < views.size(); ++i) views[i].data = values[i].data();
  save_safetensors(path, views);
  CHECK(s.refused());
  CHECK(has(s.load_error(), "blocks.0.attn.q.weight"));
}

TEST_CASE("load: another configuration is refused with every differing field and both values",
          "[checkpoint]") {
  Saved s;
  constexpr ModelConfig other = [] {
    ModelConfig c = test::tiny_config;
    c.dim = 32;
    c.moe.experts = 2;
    return c;
  }();
  Transformer<other, test::TinyBackend> model(s.first.backend, {.max_tokens = 16});
  const std::string message = message_of([&] { load(model, s.folder); });
  CHECK(is_sentence(message));
  CHECK(has(message,
            "has dim 16, moe.experts 4 where this program was compiled for dim 32, "
            "moe.experts 2; rebuild with .dim = 16, .moe.experts = 4"));

  Options options = test::tiny_options();
  options.rope_base = 5000;
  test::TinyTransformer turned(s.first.backend, options);
  const std::string number = message_of([&] { load(turned, s.folder); });
  CHECK(is_sentence(number));
  CHECK(has(number, "has rope_base 10000"));
  CHECK(has(number, "where this model has rope_base 5000"));
  CHECK(has(number, "build the model with the Options .rope_base = 10000"));
  CHECK(!has(number, "rebuild"));

  constexpr ModelConfig layered = [] {
    ModelConfig c = test::tiny_config;
    c.norm = c.norm == Norm::rms ? Norm::layer : Norm::rms;
    return c;
  }();
  Transformer<layered, test::TinyBackend> normed(s.first.backend, {.max_tokens = 16});
  CHECK(has(message_of([&] { load(normed, s.folder); }), "rebuild with .norm = moe::Norm::"));
}

TEST_CASE("load: bf16 and double programs read float parameters", "[checkpoint]") {
  Saved s;
  const auto numbers = [](auto& model) {
    using Model = std::remove_cvref_t<decltype(model)>;
    std::vector<double> all;
    for (const LeafInfo& leaf : leaves<typename Model::Params>()) {
      const auto v = view<typename Model::W>(model.params(), leaf);
      all.insert(all.end(), v.data, v.data + v.size);
    }
    return all;
  };
  Options options = test::tiny_options();
  options.seed += 1;
  Cpu<bfloat16> narrow(1);
  Transformer<test::tiny_config, Cpu<bfloat16>> rounded(narrow, options);
  load(rounded, s.folder);
  CHECK(numbers(rounded) == numbers(s.first.model));
  Cpu<double> doubles(1);
  Transformer<test::tiny_config, Cpu<double>> precise(doubles, options);
  load(precise, s.folder);
  CHECK(numbers(precise) == numbers(s.first.model));

  // And back: a bf16 program saves float parameters, which a float program reads. It refuses those
  // of a double program.
  save(rounded, s.scratch / "rounded");
  Transformer<test::tiny_config, test::TinyBackend> again(s.first.backend, options);
  load(again, s.scratch / "rounded");
  CHECK(numbers(again) == numbers(s.first.model));
  save(precise, s.scratch / "precise");
  const std::string message = message_of([&] { load(again, s.scratch / "precise"); });
  CHECK(is_sentence(message));
  CHECK(has(message, "its parameters are double"));

  // A damaged file is noticed when it is read as double, too.
  const std::string path = s.folder + "/model.safetensors";
  std::string bytes = read_file(path);
  bytes.back() = char(bytes.back() ^ 1);
  write_file(path, bytes);
  CHECK(has(message_of([&] { load(precise, s.folder); }), "does not match its checksum"));
}

TEST_CASE("load_checkpoint: a run goes on in the numbers that it was begun in", "[checkpoint]") {
  Saved s;
  Cpu<bfloat16> narrow(1);
  Transformer<test::tiny_config, Cpu<bfloat16>> rounded(narrow, test::tiny_options());
  AdamW adamw(rounded);
  const std::string message = message_of([&] { load_checkpoint(rounded, adamw, s.folder); });
  CHECK(is_sentence(message));
  CHECK(has(message, "the run computes in F32 and this program in BF16"));
  CHECK(has(message, "moe::load"));
}

TEST_CASE("load: the state of another optimizer is refused", "[checkpoint]") {
  Saved s;
  AdamW adamw(s.second.model);
  const auto before = state_of(s.second.model, adamw);
  const std::string message = message_of([&] { load_checkpoint(s.second.model, adamw, s.folder); });
  CHECK(is_sentence(message));
  CHECK(has(message, "optimizer"));
  CHECK(state_of(s.second.model, adamw) == before);

  save_checkpoint(s.second.model, adamw, {}, s.scratch / "adamw");
  CHECK(has(
      message_of([&] { load_checkpoint(s.first.model, s.first.optimizer, s.scratch / "adamw"); }),
      "another model or optimizer"));
}

TEST_CASE("save: a full disk leaves the checkpoint before it intact", "[checkpoint]") {
  Saved s;
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &old_limit) == 0);
  for (const rlim_t limit : {rlim_t(0), rlim_t(100), rlim_t(5000), rlim_t(30000)}) {
    const rlimit small{limit, old_limit.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
    const std::string message =
        message_of([&] { save_checkpoint(s.second.model, s.second.optimizer, {}, s.folder); });
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &old_limit) == 0);
    INFO(limit);
    CHECK(is_sentence(message));
    CHECK(detail::names_in(s.scratch.path()) == std::vector<std::string>{"last"});
    CHECK(s.load_error().empty());
    CHECK(s.first.state() == s.second.state());
    s.second.model.params().final_norm.weight.data[0] += 1;
  }
  std::signal(SIGXFSZ, old_handler);
}

TEST_CASE("save: a folder that is no checkpoint is left alone", "[checkpoint]") {
  Saved s;
  const std::string folder = s.scratch / "notes";
  make_folders(folder);
  write_file(folder + "/diary.txt", "dear diary");
  const std::string message = message_of([&] { save(s.first.model, folder); });
  CHECK(is_sentence(message));
  CHECK(read_file(folder + "/diary.txt") == "dear diary");
}

TEST_CASE("load: a checkpoint whose replacement was cut off between two renames is found",
          "[checkpoint]") {
  Saved s;
  REQUIRE(std::rename(s.folder.c_str(), detail::Beside(s.folder).old().c_str()) == 0);
  CHECK(s.load_error().empty());
  CHECK((s.first.state() == s.second.state()));
  CHECK_FALSE(detail::exists(s.folder));  // a reader renames nothing
}

TEST_CASE("load_checkpoint: a negative counter is refused", "[checkpoint]") {
  Saved s;
  const Json good = read_manifest(s.folder);
  for (const char* name : {"step", "tokens", "updates", "skipped", "evaluations_without_gain"}) {
    Json manifest = good;
    manifest["cursor"][name] = -1;
    write_file(s.folder + "/manifest.json", detail::seal(manifest));
    CHECK(s.refused());
    CHECK(has(s.load_error(), "negative"));
  }
  for (const char* name : {"step", "best_step", "last_step"})
    for (const std::int64_t value :
         {std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()}) {
      Json manifest = good;
      manifest["cursor"][name] = value;
      write_file(s.folder + "/manifest.json", detail::seal(manifest));
      INFO(name << " " << value);
      CHECK(s.refused());
      CHECK(has(s.load_error(), "too large"));
    }
}

TEST_CASE("load_checkpoint: fields that had another name are those of today", "[checkpoint]") {
  Saved s;
  const auto replace = [](std::string text, const std::string& from, const std::string& to) {
    const std::size_t at = text.find('"' + from + "\":");
    REQUIRE(at != std::string::npos);
    return text.replace(at + 1, from.size(), to);
  };
  Json manifest = read_manifest(s.folder);
  std::string model = manifest.at("model").dump(), options = manifest.at("options").dump();
  model = replace(replace(model, "renormalize", "renormalise"), "expert_bias", "balance_bias");
  options = replace(options, "round_robin_routing", "uniform_routing");
  manifest["model"] = parse_json(model), manifest["options"] = parse_json(options);
  manifest["run"]["trainer"]["rates"]["warmup"] = 7;
  manifest["run"]["rates"] = "the user's own";
  write_file(s.folder + "/manifest.json", detail::seal(manifest));

  CHECK(s.load_error().empty());
  CHECK((s.first.state() == s.second.state()));
  const Json read = read_manifest(s.folder);
  CHECK((read.at("options") == to_json(s.first.model.options())));
  CHECK(read.at("run").at("trainer").at("schedule_options").at("warmup").as_int("warmup") == 7);
  CHECK(read.at("run").at("rates").as_string("rates") == "the user's own");

  // Without a cursor no Trainer wrote it: all of "run" is the user's.
  const std::string own = R"({"trainer":{"rates":[1,2],"notes":{"balance_bias":3}}})";
  save(s.first.model, s.scratch / "own", parse_json(own));
  CHECK(read_manifest(s.scratch / "own").at("run").dump() == parse_json(own).dump());
}

TEST_CASE("load: what is wrong with a manifest is named", "[checkpoint]") {
  Saved s;
  const Json good = read_manifest(s.folder);
  Json manifest = good;
  manifest["format"] = "cookbook";
  write_file(s.folder + "/manifest.json", detail::seal(manifest));
  CHECK(s.refused());
  CHECK(has(s.load_error(), "its manifest is of a 'cookbook', not of a 'moe checkpoint'"));
  manifest = good;
  manifest["model"]["scalar"] = 3;
  write_file(s.folder + "/manifest.json", detail::seal(manifest));
  CHECK(s.refused());
  CHECK(has(s.load_error(), "model.scalar"));
}

TEST_CASE("read_manifest: a format of the future is refused with both versions", "[checkpoint]") {
  Saved s;
  Json manifest = read_manifest(s.folder);
  manifest["format_version"] = 2;
  write_file(s.folder + "/manifest.json", detail::seal(manifest));
  CHECK(s.refused());
  CHECK(has(s.load_error(), "version 2"));
}
