#pragma once
#include <dirent.h>

#include <algorithm>
#include <memory>
#include <moe/io/checksum.hpp>
#include <moe/io/files.hpp>
#include <moe/io/json.hpp>
#include <optional>

// What of a folder is ours. A folder that the library saves holds a JSON file, its list, with
// "format": "moe ...", "files": {"NAME": {"bytes": ..., "xxh64": ...}} and "sha256", the checksum
// of the list itself. A folder is known by the content of that file, never by its name, and only
// files of the list are ever removed.

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

/// XXH64 of a whole file, read in pieces.
inline std::string hash_of(const FileReader& file) {
  std::vector<char> piece(std::size_t(1) << 20);
  Xxh64 hash;
  for (std::uint64_t at = 0; at < file.size();) {
    const std::size_t size = file.read_some(at, piece.data(), piece.size());
    if (size == 0) break;  // it has become shorter
    hash.add(piece.data(), size);
    at += size;
  }
  return hex(hash.value());
}

/// What a list says of one file.
inline Json file_entry(const std::string& path) {
  const FileReader file(path);
  Json entry;
  entry["bytes"] = file.size();
  entry["xxh64"] = hash_of(file);
  return entry;
}

/// The text of a list; its "sha256" is the hash of the text in which that field is empty.
inline std::string seal(Json& list) {
  list["sha256"] = "";
  list["sha256"] = sha256(list.dump(2));
  return list.dump(2);
}

/// Whether a text has the checksum that seal() gave it, in all bytes.
inline bool is_sealed(const std::string& text) {
  constexpr std::string_view before = "\"sha256\": \"";
  constexpr std::size_t digits = 64;
  const std::size_t at = text.find(before) + before.size();
  if (at < before.size() || text.size() < at + digits) return false;
  const std::string sum = text.substr(at, digits);
  return sha256(std::string(text).erase(at, digits)) == sum;
}

/// The member "files" of a list, if the text is one.
inline std::optional<Json> files_of_list(std::string_view text) {
  constexpr std::size_t most_values = 1 << 20;
  try {
    const Json list = parse_json(text, "list", most_values);
    const Json* const format = list.is_object() ? list.find("format") : nullptr;
    const Json* const files = format != nullptr ? list.find("files") : nullptr;
    if (files == nullptr || !files->is_object() || !list.find("sha256") || !format->is_string() ||
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

/// Whether a file is what its entry in the list says. A large one that is not younger than the list
/// is not read again when its size is right: a save should not read gigabytes.
inline bool is_as_saved(const std::string& path, const Json& entry, const struct stat& list) {
  constexpr off_t large = 1 << 20;
  struct stat status;
  if (::lstat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return false;
  const Json *const bytes = entry.find("bytes"), *const hash = entry.find("xxh64");
  if (bytes == nullptr || hash == nullptr || *bytes != Json(std::uint64_t(status.st_size)))
    return false;
  const bool younger = status.st_mtim.tv_sec != list.st_mtim.tv_sec
                           ? status.st_mtim.tv_sec > list.st_mtim.tv_sec
                           : status.st_mtim.tv_nsec > list.st_mtim.tv_nsec;
  return (status.st_size > large && !younger) || *hash == Json(hash_of(FileReader(path)));
}

/// What of a folder is ours by its file `list`; nothing if it has none.
inline std::optional<OwnedFiles> owned_files(const std::string& folder, const std::string& list) {
  struct stat status;
  const std::string path = folder + "/" + list;
  if (::lstat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  const std::string text = read_file(path);
  const std::optional<Json> files = files_of_list(text);
  if (!files) return std::nullopt;
  OwnedFiles found;
  for (const std::string& name : names_in(folder)) {
    const Json* const entry = files->find(name);
    if (name != list && entry == nullptr) {
      found.strangers.push_back(name);
      continue;
    }
    found.ours.push_back(name);
    const bool same = name == list
                          ? is_sealed(text)
                          : entry->is_object() && is_as_saved(folder + "/" + name, *entry, status);
    if (!same) found.changed.push_back(name);
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
