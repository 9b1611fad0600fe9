#pragma once
#include <cmath>
#include <moe/data/text.hpp>
#include <moe/io/json_reader.hpp>
#include <moe/train/run_folder.hpp>
#include <moe_lab/models.hpp>
#include <moe_lab/precision.hpp>

// Writes results.json of one run from the rows of its metrics.jsonl, which also has the rows from
// before a resume.

namespace lab {

/// The identity of a run, as text: a run can only be resumed by one with the same identity.
inline std::string identity(const Job& job, const moe::Json& config) {
  moe::Json json;
  json["name"] = job.name;
  json["settings"] = moe::to_json(job.settings);
  json["model"] = config;
  json["tokens"] = job.data.hash();
  return json.dump(2) + "\n";
}

/// Whether the run to resume is already done. If so, `outcome` is its result.
/// Errors: its folder holds another run.
inline bool finished(const Job& job, const moe::Json& config, Outcome& outcome) {
  const std::string settings = job.folder + "/settings.json", file = job.folder + "/results.json";
  if (!job.resume) return false;
  if (!moe::detail::exists(settings)) {
    if (!moe::has_checkpoint(job.folder) && !moe::detail::exists(file)) return false;
    throw moe::Error("cannot resume '", job.folder,
                     "': its settings.json is gone, so whether this is the same run cannot be "
                     "known; put it back, or give another --out");
  }
  if (!holds_settings(settings, identity(job, config)))
    throw moe::Error("cannot resume '", job.folder,
                     "': it was started with other settings or another text, see settings.json; "
                     "give the same command, or another --out");
  if (!moe::detail::exists(file)) return false;
  bool of_old_version = false;
  try {
    const moe::Json json = moe::parse_json(moe::read_file(file), file);
    const moe::Json& known = json.at("outcome", file);
    of_old_version = !known.find("skipped");
    if (!of_old_version) moe::from_json(outcome, known, "outcome");
  } catch (const moe::Error& error) {
    const std::string aside = file + ".unreadable-" + moe::detail::unique_suffix();
    if (std::rename(file.c_str(), aside.c_str()) != 0)
      moe::detail::file_failed("move away", file, errno);
    std::fprintf(stderr, "warning: %s; it is now '%s', and the run goes on from its checkpoint\n",
                 error.what(), aside.c_str());
    return false;
  }
  if (of_old_version) {
    if (!moe::newest_checkpoint(job.folder).empty()) return false;  // it has what is missing
    throw moe::Error("cannot resume '", job.folder,
                     "': its results are of an older version of this program and its checkpoint "
                     "is gone; keep them and give another --out");
  }
  // In JSON both unknown and infinite numbers are null.
  for (double* x : {&outcome.loss, &outcome.accuracy, &outcome.best, &outcome.train_loss})
    if (!std::isfinite(*x)) *x = moe::unknown;
  if (outcome.diverged) outcome.loss = INFINITY;
  return true;
}

/// Whether a file looks like one that a run of the laboratory wrote.
inline bool is_settings(const std::string& path) {
  return moe::detail::has_members({"settings", "tokens"})(path);
}
inline const moe::detail::LooksOurs is_results = moe::detail::has_members({"program", "command"});
inline void add_results(moe::Removal& removal, const std::string& folder) {
  removal.add_file(folder + "/results.json", is_results);
}
inline void add_run(moe::Removal& removal, const std::string& folder) {
  removal.lock(folder);
  removal.add_run(folder);
  removal.add_file(folder + "/settings.json", is_settings);
  add_results(removal, folder);
}

/// Prepares the folder. Returns true if it has a checkpoint to resume from.
inline bool open_run(const Job& job, const moe::Json& config) {
  moe::make_folders(job.folder);
  moe::Removal old;
  add_results(old, job.folder);
  moe::detail::require_ours(job.folder + "/settings.json", is_settings);
  old.go();
  moe::write_file(job.folder + "/settings.json", identity(job, config));
  return job.resume && moe::has_checkpoint(job.folder);
}

/// The configuration: first the fields of the documents' config by the names they have there, then
/// all settings.
inline moe::Json config_json(const ModelConfig& c, const Settings& s) {
  moe::Json json;
  json["d_model"] = c.dim;
  json["n_layers"] = c.layers;
  json["n_heads"] = c.heads;
  json["d_ff"] = c.moe.experts > 0 ? c.expert_hidden() : c.dense_hidden();
  json["num_experts"] = c.moe.experts;
  json["expert_top_k"] = c.moe.experts > 0 ? c.moe.top_k : 0;
  json["max_steps"] = s.steps;
  json["batch_size"] = s.batch;
  json["max_seq_len"] = s.length;
  const moe::Json all = moe::to_json(s);
  for (const auto& [name, value] : all.members("settings")) json[name] = value;
  return json;
}

/// The rows of metrics.jsonl. Unreadable rows are left out with a warning: a result without its
/// full history is better than none.
inline std::vector<moe::Json> rows_in(const std::string& folder) {
  const std::string file = folder + "/metrics.jsonl";
  std::vector<moe::Json> rows;
  std::string why;
  const auto try_to = [&](const auto& work) {
    try {
      work();
    } catch (const moe::Error& error) {
      if (why.empty()) why = error.what();
    }
  };
  std::string text;
  try_to([&] { text = moe::read_file(file); });
  for (std::size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos;
       begin = end + 1) {
    const auto line = std::string_view(text).substr(begin, end - begin);
    try_to([&] { rows.push_back(moe::parse_json(line, file)); });
  }
  if (!why.empty())
    std::fprintf(stderr, "warning: the history in '%s' is not whole: %s\n",
                 (folder + "/results.json").c_str(), why.c_str());
  return rows;
}

/// Adds the rows as the lists that the documents' scripts write.
inline void add_history(moe::Json& json, const std::vector<moe::Json>& rows) {
  // A number that is not finite is null in the rows; its exp is null, too.
  const auto exp_of = [](const moe::Json& x) {
    return x.is_number() ? moe::Json(std::exp(x.as_double("loss"))) : moe::Json();
  };
  moe::Json train = moe::Json::array(), speed = moe::Json::array(), evaluations;
  for (const char* name :
       {"steps", "tokens", "losses", "accuracies", "perplexities", "tokens_per_sec"})
    evaluations[name] = moe::Json::array();
  for (const moe::Json& row : rows) {
    const auto at = [&](const char* name) {
      const moe::Json* value = row.find(name);
      return value ? *value : moe::Json();
    };
    moe::Json one;
    if (at("kind") == moe::Json("train")) {
      one["step"] = at("step");
      one["loss"] = at("loss");
      one["aux_loss"] = at("balance");
      one["accuracy"] = at("accuracy");
      one["perplexity"] = exp_of(at("loss"));
      one["tokens_per_sec"] = at("tokens_per_second");
      moe::Json fast;
      fast["step"] = at("step");
      fast["tokens_per_sec"] = at("tokens_per_second");
      train.push_back(std::move(one));
      speed.push_back(std::move(fast));
    } else {
      evaluations["steps"].push_back(at("step"));
      evaluations["tokens"].push_back(at("tokens"));
      evaluations["losses"].push_back(at("val_loss"));
      evaluations["accuracies"].push_back(at("val_accuracy"));
      evaluations["perplexities"].push_back(at("val_perplexity"));
      evaluations["tokens_per_sec"].push_back(at("tokens_per_second"));
    }
  }
  json["train_losses"] = std::move(train);
  json["eval_metrics"] = std::move(evaluations);
  json["performance_metrics"]["tokens_per_sec_history"] = std::move(speed);
}

/// Writes results.json. Sets out.accuracy to that of the last step, which only the rows have.
inline void write_results(const Job& job, const Model& model, int threads, Outcome& out) {
  const Settings& s = job.settings;
  moe::Json json;
  json["name"] = job.name;
  json["program"] = job.program;
  json["command"] = job.command;
  json["machine"]["backend"] = std::string("cpu, ") + model.precision;
  json["machine"]["threads"] = threads;
  json["data"] = job.data.describe();
  json["seed"] = s.seed;
  json["budget"]["rule"] = "updates";
  json["budget"]["updates"] = out.updates;
  json["budget"]["tokens"] = out.tokens;
  json["budget"]["flops"] = out.flops;
  json["model"] = model.name;
  json["config"] = config_json(model.config, s);
  json["params_total"] = model.parameters.total;
  json["params_active"] = model.parameters.active;
  json["params_embedding"] = model.parameters.embedding;
  moe::Json& speed = json["performance_metrics"];
  speed["total_tokens_processed"] = out.tokens;
  speed["avg_tokens_per_sec"] = out.tokens_per_second();
  speed["total_time_seconds"] = out.seconds;
  speed["total_time_minutes"] = out.seconds / 60;
  speed["peak_memory_mb"] = out.memory_mb;
  const std::vector<moe::Json> rows = rows_in(job.folder);
  add_history(json, rows);
  for (const moe::Json& row : rows) {
    const moe::Json *const accuracy = row.find("val_accuracy"), *const step = row.find("step");
    if (accuracy && accuracy->is_number() && step && *step == moe::Json(out.updates) &&
        !out.diverged)
      out.accuracy = accuracy->as_double("val_accuracy");
  }
  json["final_metrics"]["val_loss"] = out.loss;
  json["final_metrics"]["val_accuracy"] = out.accuracy;
  json["final_metrics"]["val_perplexity"] = std::exp(out.loss);
  json["skipped_updates"] = out.skipped;
  json["diverged"] = out.diverged;
  json["outcome"] = moe::to_json(out);
  moe::write_file(job.folder + "/results.json", json.dump(2) + "\n");
}

}  // namespace lab
