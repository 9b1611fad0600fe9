#pragma once
#include <concepts>
#include <cstdint>
#include <moe/backend/backend.hpp>
#include <moe/checkpoint/manifest.hpp>
#include <moe/checkpoint/tensor_file.hpp>
#include <moe/checkpoint/train_state.hpp>
#include <moe/core/options.hpp>
#include <moe/tree/leaves.hpp>

namespace moe::inline MOE_ISA {

/// A model that can be saved and loaded: its parameters are a tree of leaves in the memory of its
/// backend.
template <class M>
concept Saveable = requires(M& model, const M& seen) {
  { model.backend() } -> std::same_as<typename M::Backend&>;
  { model.params() } -> std::same_as<typename M::Params&>;
  { seen.options() } -> std::convertible_to<Options>;
};

/// An optimizer whose counters can be saved and loaded beside its state.
template <class O>
concept Resumable = requires(O& optimizer, const O& seen, std::int64_t n) {
  { seen.updates() } -> std::same_as<std::int64_t>;
  { seen.skipped() } -> std::same_as<std::int64_t>;
  { seen.consecutive_skips() } -> std::same_as<std::int64_t>;
  { seen.queued() } -> std::same_as<int>;
  optimizer.set_updates(n);
  optimizer.set_skipped(n, n);
};

namespace detail {

/// Throws if an update was queued and not collected.
template <Resumable Optimizer>
void require_collected(const char* what, const std::string& folder, const Optimizer& optimizer) {
  if (optimizer.queued() > 0)
    throw Error("cannot ", what, " the checkpoint '", folder,
                "' now: an update is queued and not collected; collect it first, and in a Trainer "
                "use on_evaluation in place of on_step");
}

template <class Model>
TensorFile<typename Model::Backend> model_file(Model& model) {
  using B = typename Model::Backend;
  using Params = typename Model::Params;
  TensorFile<B> file(model.backend(), "model.safetensors");
  for (std::size_t i = 0; i < leaves<Params>().size(); ++i) {
    const LeafInfo& leaf = leaves<Params>()[i];
    const std::string& name = leaf_names<Params>()[i];
    if (leaf.value_bytes == sizeof(Wide<B>))
      file.add(name, view<Wide<B>>(model.params(), leaf));
    else
      file.add(name, view<Weight<B>>(model.params(), leaf));
  }
  return file;
}
template <class B, class Optimizer>
TensorFile<B> optimizer_file(B& be, Optimizer& optimizer) {
  TensorFile<B> file(be, "optimizer.safetensors");
  optimizer.for_each_state(
      [&](const std::string& name, const auto& leaf) { file.add(name, leaf); });
  return file;
}

template <class Model>
Json new_manifest(const Model& model, const Json& about) {
  Json manifest;
  put(manifest, "format", std::string(manifest_format));
  put(manifest, "format_version", std::int64_t(manifest_version));
  put(manifest, "library_version", std::string(library_version));
  put(manifest, "sha256", std::string());
  put(manifest, "model", describe_model(model));
  put(manifest, "options", to_json(model.options()));
  if (!about.is_null()) put(manifest, "run", Json(about));
  return manifest;
}

}  // namespace detail

/// Throws now the error that save() would throw later; to be called before long work.
/// Errors: moe::Error if something else is at `folder`, or for missing permissions.
/// Test: tests/checkpoint/checkpoint.cpp.
inline void require_place(const std::string& folder) {
  FolderTransaction(folder, detail::manifest_file);
}

/// Saves the parameters of a model as folder/model.safetensors and folder/manifest.json, all or
/// nothing: an existing folder keeps its content until the new files are on the disk. `about` (a
/// vocabulary, settings) is stored in the manifest under "run".
/// Errors: moe::Error with the file and the reason (full disk, permissions).
/// Test: tests/checkpoint/checkpoint.cpp.
///
///     moe::Json about;
///     about["vocabulary"] = tokenizer.to_json();  // a CharTokenizer
///     moe::save(model, "model.moe", about);
///     ...
///     const moe::Json manifest = moe::load(model, "model.moe");
///     const auto tokenizer = moe::CharTokenizer::from_json(manifest.at("run").at("vocabulary"));
template <Saveable Model>
void save(Model& model, const std::string& folder, const Json& about = {}) {
  FolderTransaction transaction(folder, detail::manifest_file);
  Json manifest = detail::new_manifest(model, about);
  detail::model_file(model).write(transaction, manifest["files"]);
  transaction.write(detail::manifest_file, detail::seal(manifest));
  transaction.commit();
}

/// Loads parameters that save or save_checkpoint wrote. Everything is verified before the model
/// changes. Returns the manifest.
/// Errors: moe::Error for missing, truncated or altered files, or another model, with the fields
/// that differ.
template <Saveable Model>
Json load(Model& model, const std::string& folder) {
  const FolderReader reader(folder, detail::manifest_file);
  Json manifest = detail::read_manifest(reader);
  require_same_model(folder, manifest, describe_model(model));
  auto parameters = detail::model_file(model);
  parameters.read(reader, manifest);
  parameters.apply();
  return manifest;
}

/// Saves everything that a run needs to resume with the same bits: like save, plus
/// optimizer.safetensors and `state`, whose counters are taken from the model and the optimizer.
/// Errors: as save; also if an update is queued that was not collected, because the counters are
/// older than the parameters then.
template <Saveable Model, Resumable Optimizer>
void save_checkpoint(Model& model, Optimizer& optimizer, TrainState state,
                     const std::string& folder, const Json& about = {}) {
  detail::require_collected("save", folder, optimizer);
  state.passes = model.passes();
  state.updates = optimizer.updates();
  state.skipped = optimizer.skipped();
  state.consecutive_skips = optimizer.consecutive_skips();
  FolderTransaction transaction(folder, detail::manifest_file);
  Json manifest = detail::new_manifest(model, about);
  manifest["cursor"] = to_json(state);
  detail::model_file(model).write(transaction, manifest["files"]);
  detail::optimizer_file(model.backend(), optimizer).write(transaction, manifest["files"]);
  transaction.write(detail::manifest_file, detail::seal(manifest));
  transaction.commit();
}

/// Restores model and optimizer to the state that save_checkpoint saved, and returns the state of
/// the run.
/// Errors: as load; neither model nor optimizer has changed then.
///
///     const moe::TrainState state = moe::load_checkpoint(model, optimizer, "runs/demo/last");
template <Saveable Model, Resumable Optimizer>
TrainState load_checkpoint(Model& model, Optimizer& optimizer, const std::string& folder) {
  detail::require_collected("load", folder, optimizer);
  const FolderReader reader(folder, detail::manifest_file);
  const Json manifest = detail::read_manifest(reader);
  require_same_model(folder, manifest, describe_model(model));
  if (!manifest.find("cursor")) {
    throw Error("cannot resume from '", folder,
                "': it holds a model but no optimizer state; give a checkpoint of a run");
  }
  require_same_numbers(folder, manifest, describe_model(model));
  const TrainState state =
      detail::read_cursor(*manifest.find("cursor"), detail::manifest_field(folder, "cursor"));
  for (const std::int64_t counter :
       {state.step, state.tokens, state.updates, state.skipped, state.consecutive_skips,
        std::max<std::int64_t>(state.best_step, 0), std::max<std::int64_t>(state.last_step, 0),
        state.train_loss_steps, std::int64_t(state.evaluations_without_gain)}) {
    constexpr std::int64_t most = std::int64_t(1) << 53;
    if (counter < 0 || counter > most || std::min(state.best_step, state.last_step) < -1)
      detail::damaged(folder, "a counter of its cursor is negative or too large");
  }
  auto parameters = detail::model_file(model);
  auto optimizer_state = detail::optimizer_file(model.backend(), optimizer);
  parameters.read(reader, manifest);
  optimizer_state.read(reader, manifest);
  parameters.apply();
  optimizer_state.apply();
  model.set_passes(state.passes);
  model.zero_grads();
  optimizer.set_updates(state.updates);
  optimizer.set_skipped(state.skipped, state.consecutive_skips);
  return state;
}

}  // namespace moe
