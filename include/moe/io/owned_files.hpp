#pragma once
#include <dirent.h>

#include <algorithm>
#include <memory>
#include <moe/io/checksum.hpp>
#include <moe/io/files.hpp>
#include <moe/io/json.hpp>
#include <optional>

// What of a folder is ours. A folder that the library saves holds a JSON file, its list, with
// "format": "moe ..." and "files": {"NAME": {"bytes": ..., "xxh64": ...}}. A folder is known by the
// content of that file, never by its name, and only files of the list are ever removed.

namespace moe::detail {

/// Names in a folder, sorted, without "." and "..".
inline std::vector<std::string> names_in(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path.c_str()), ::closedir);
  if (folder == nullptr) file_failed("open folder", path, errno);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(folder.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// Up to this size a file is compared by its hash, beyond it by its size alone: people edit the
/// small ones, and a save should not read gigabytes again.
inline constexpr std::uint64_t hashed_bytes = 1 << 20;

/// What a list says of one file.
inline Json file_entry(const std::string& path) {
  const FileReader file(path);
  Json entry;
  entry["bytes"] = file.size();
  if (file.size() <= hashed_bytes) {
    const std::string bytes = read_file(file);
    entry["xxh64"] = hex(xxh64(bytes.data(), bytes.size()));
  }
  return entry;
}

/// The member "files" of a list, if the text is one.
inline std::optional<Json> files_of_list(std::string_view text) {
  constexpr std::size_t most_values = 1 << 20;
  try {
    const Json list = parse_json(text, "list", most_values);
    const Json* const format = list.is_object() ? list.find("format") : nullptr;
    const Json* const files = format != nullptr ? list.find("files") : nullptr;
    if (files == nullptr || !files->is_object() || !format->is_string() ||
        !format->as_string("format").starts_with("moe "))
      return std::nullopt;
    return *files;
  } catch (const Error&) {
    return std::nullopt;  // something else of that name
  }
}

struct OwnedFiles {
  std::vector<std::string> ours;       // the list and what it names, as far as it is there
  std::vector<std::string> changed;    // of these, what is no longer what was saved
  std::vector<std::string> strangers;  // everything else
  bool whole = true;                   // all that the list names is there
};

/// What of a folder is ours by its file `list`; nothing if it has none.
inline std::optional<OwnedFiles> owned_files(const std::string& folder, const std::string& list) {
  struct stat status;
  const std::string path = folder + "/" + list;
  if (::lstat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  const std::optional<Json> files = files_of_list(read_file(path));
  if (!files) return std::nullopt;
  OwnedFiles found;
  for (const std::string& name : names_in(folder)) {
    const Json* const entry = files->find(name);
    if (name != list && entry == nullptr) {
      found.strangers.push_back(name);
      continue;
    }
    found.ours.push_back(name);
    if (name == list) continue;
    const std::string file = folder + "/" + name;
    const bool regular = ::lstat(file.c_str(), &status) == 0 && S_ISREG(status.st_mode);
    const Json now = regular ? file_entry(file) : Json();
    // A large file has no hash, neither in the list nor now.
    const auto same = [&](const char* field) {
      const Json *const known = entry->find(field), *const seen = now.find(field);
      return seen == nullptr || (known != nullptr && *seen == *known);
    };
    if (!regular || !same("bytes") || !same("xxh64")) found.changed.push_back(name);
  }
  for (const auto& [name, entry] : files->members("files"))
    found.whole = found.whole && std::binary_search(found.ours.begin(), found.ours.end(), name);
  return found;
}

/// Removes what is ours in a folder, the list last, and the folder if nothing else is in it. A
/// removal that was cut off goes on where it was.
inline void remove_owned(const std::string& folder, const std::string& list) {
  if (const std::optional<OwnedFiles> found = owned_files(folder, list)) {
    for (const std::string& name : found->ours) {
      const std::string file = folder + "/" + name;
      if (name != list && ::unlink(file.c_str()) != 0 && errno != ENOENT)
        file_failed("remove", file, errno);
    }
    ::unlink((folder + "/" + list).c_str());
  }
  if (::rmdir(folder.c_str()) != 0 && errno != ENOTEMPTY && errno != EEXIST && errno != ENOENT)
    file_failed("remove folder", folder, errno);
}

}  // namespace moe::detail
