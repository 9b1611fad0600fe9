#pragma once
#include <moe/backend.hpp>
#include <moe/io/safetensors.hpp>
#include <moe/train/cursor.hpp>
#include <moe/train/manifest.hpp>

namespace moe {

namespace detail {

/// Shape of a leaf in files: without the dimensions that are 1 by construction.
inline std::vector<std::size_t> file_shape(int count, int rows, int cols) {
  std::vector<std::size_t> shape;
  if (count > 1) shape.push_back(std::size_t(count));
  if (rows > 1) shape.push_back(std::size_t(rows));
  shape.push_back(std::size_t(cols));
  return shape;
}

/// One tensor file of a checkpoint on its way between disk and backend.
template <class B>
class TensorFile {
 public:
  using T = Wide<B>;

  TensorFile(B& be, std::string file) : be_(&be), file_(std::move(file)) {}

  /// Takes a copy of a leaf, or notes where a verified copy will go.
  void add(const std::string& name, const LeafView<T>& leaf) {
    if (leaf.size == 0) return;
    tensors_.push_back({name, file_shape(leaf.count, leaf.rows, leaf.cols), leaf.data, {}});
  }

  /// Writes the file into a transaction and describes it in `files`.
  void write(FolderTransaction& to, Json& files) {
    std::vector<TensorView> views;
    Json hashes = Json::object();
    for (Tensor& t : tensors_) {
      t.values.resize(elements(t));
      be_->download(t.values.data(), t.data, t.values.size() * sizeof(T));
      put(hashes, t.name, hex(xxh64(t.values.data(), t.values.size() * sizeof(T))));
      views.push_back(tensor_view(t.name, t.shape, t.values.data()));
    }
    save_safetensors(to.path(file_), views);
    const std::string bytes = read_file(to.path(file_));
    Json& entry = files[file_];
    put(entry, "bytes", std::int64_t(bytes.size()));
    put(entry, "xxh64", hex(xxh64(bytes.data(), bytes.size())));
    put(entry, "tensors", std::move(hashes));
  }

  /// Reads and verifies everything; nothing of the backend changes.
  void read(const std::string& folder, const Json& manifest) {
    const std::string list = manifest_field(folder, "files"), what = list + "." + file_;
    const Json& entry = manifest.at("files", manifest_field(folder)).at(file_, list);
    const std::string path = folder + "/" + file_;
    const std::uint64_t size = FileReader(path).size();
    const std::uint64_t known = entry.at("bytes", what).as_uint(what + ".bytes");
    if (size != known) {
      damaged(folder, file_ + " has " + std::to_string(size) + " bytes where its manifest says " +
                          std::to_string(known));
    }
    const Safetensors file(path);
    for (Tensor& t : tensors_) {
      const Json* hash = entry.at("tensors", what).find(t.name);
      if (!hash || !file.contains(t.name)) {
        throw Error("moe: cannot load checkpoint '" + folder + "': " + file_ + " has no tensor '" +
                    t.name + "'; it is of another model or optimiser, use the one it was saved by");
      }
      if (file.shape(t.name) != t.shape)
        damaged(folder, "tensor '" + t.name + "' of " + file_ + " has another shape");
      t.values = file.template read<T>(t.name);
      if (hex(xxh64(t.values.data(), t.values.size() * sizeof(T))) !=
          hash->as_string(what + ".tensors." + t.name))
        damaged(folder, "tensor '" + t.name + "' of " + file_ + " does not match its checksum");
    }
    if (file.tensors().size() != tensors_.size()) {
      throw Error("moe: cannot load checkpoint '" + folder + "': " + file_ + " has " +
                  std::to_string(file.tensors().size()) + " tensors where " +
                  std::to_string(tensors_.size()) +
                  " are expected; it is of another optimiser, use the one it was saved by");
    }
    const std::string bytes = read_file(path);
    if (hex(xxh64(bytes.data(), bytes.size())) !=
        entry.at("xxh64", what).as_string(what + ".xxh64"))
      damaged(folder, file_ + " does not match its checksum");
  }

  /// Hands what read() verified to the backend.
  void apply() const {
    for (const Tensor& t : tensors_)
      be_->upload(t.data, t.values.data(), t.values.size() * sizeof(T));
  }

 private:
  struct Tensor {
    std::string name;
    std::vector<std::size_t> shape;
    T* data;
    std::vector<T> values;
  };
  static std::size_t elements(const Tensor& t) {
    std::size_t n = 1;
    for (const std::size_t extent : t.shape) n *= extent;
    return n;
  }
  B* be_;
  std::string file_;
  std::vector<Tensor> tensors_;
};

template <class Model>
TensorFile<typename Model::Backend> model_file(Model& model) {
  using B = typename Model::Backend;
  using Params = typename Model::Params;
  TensorFile<B> file(model.backend(), "model.safetensors");
  for (std::size_t i = 0; i < leaves<Params>().size(); ++i)
    file.add(leaf_names<Params>()[i], view<Wide<B>>(model.params(), leaves<Params>()[i]));
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

/// Saves the parameters of a model as folder/model.safetensors and folder/manifest.json, all or
/// nothing: a folder of that name keeps what it held until the new files are on the disk.
/// `about` is kept in the manifest under "run" (a vocabulary, settings).
/// Errors: moe::Error naming the file and the reason (full disk, permissions).
/// Test: tests/train/checkpoint.cpp.
///
///     moe::save(model, "model.moe");
template <class Model>
void save(Model& model, const std::string& folder, const Json& about = {}) {
  FolderTransaction transaction(folder, detail::manifest_file);
  Json manifest = detail::new_manifest(model, about);
  detail::model_file(model).write(transaction, manifest["files"]);
  transaction.write(detail::manifest_file, detail::seal(manifest));
  transaction.commit();
}

/// Loads the parameters that save or save_checkpoint wrote; everything is verified before the
/// model changes. Gives the manifest.
/// Errors: missing, truncated or altered files; another model, the differing fields named.
template <class Model>
Json load(Model& model, const std::string& folder) {
  Json manifest = read_manifest(folder);
  require_same_model(folder, manifest, describe_model(model));
  auto parameters = detail::model_file(model);
  parameters.read(folder, manifest);
  parameters.apply();
  return manifest;
}

/// Saves all that a run needs to go on with the same bits, as save does; adds
/// optimizer.safetensors and the cursor, whose counters come from the model and the optimiser.
template <class Model, class Optimizer>
void save_checkpoint(Model& model, Optimizer& optimizer, Cursor cursor, const std::string& folder,
                     const Json& about = {}) {
  cursor.passes = model.passes();
  cursor.updates = optimizer.updates();
  cursor.skipped = optimizer.skipped();
  cursor.consecutive_skips = optimizer.consecutive_skips();
  FolderTransaction transaction(folder, detail::manifest_file);
  Json manifest = detail::new_manifest(model, about);
  manifest["cursor"] = to_json(cursor);
  detail::model_file(model).write(transaction, manifest["files"]);
  detail::optimizer_file(model.backend(), optimizer).write(transaction, manifest["files"]);
  transaction.write(detail::manifest_file, detail::seal(manifest));
  transaction.commit();
}

/// Brings model and optimiser back to where save_checkpoint found them and gives the cursor.
/// Errors: as load; neither model nor optimiser has changed then.
///
///     const moe::Cursor cursor = moe::load_checkpoint(model, optimizer, "runs/demo/last");
template <class Model, class Optimizer>
Cursor load_checkpoint(Model& model, Optimizer& optimizer, const std::string& folder) {
  const Json manifest = read_manifest(folder);
  require_same_model(folder, manifest, describe_model(model));
  if (!manifest.find("cursor")) {
    throw Error("moe: cannot resume from '" + folder +
                "': it holds a model but no optimiser state; give a checkpoint of a run");
  }
  const Cursor cursor =
      detail::read_cursor(*manifest.find("cursor"), detail::manifest_field(folder, "cursor"));
  for (const std::int64_t counter :
       {cursor.step, cursor.tokens, cursor.updates, cursor.skipped, cursor.consecutive_skips,
        cursor.best_step + 1, cursor.last_step + 1, cursor.train_loss_steps,
        std::int64_t(cursor.evaluations_without_gain)}) {
    if (counter < 0) detail::damaged(folder, "a counter of its cursor is negative");
  }
  auto parameters = detail::model_file(model);
  auto state = detail::optimizer_file(model.backend(), optimizer);
  parameters.read(folder, manifest);
  state.read(folder, manifest);
  parameters.apply();
  state.apply();
  model.set_passes(cursor.passes);
  model.zero_grads();
  optimizer.set_updates(cursor.updates);
  optimizer.set_skipped(cursor.skipped, cursor.consecutive_skips);
  return cursor;
}

}  // namespace moe
