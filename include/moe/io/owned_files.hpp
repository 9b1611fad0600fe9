#pragma once
#include <dirent.h>

#include <algorithm>
#include <memory>
#include <moe/io/checksum.hpp>
#include <moe/io/files.hpp>
#include <moe/io/json.hpp>
#include <optional>

// Which files of a folder are ours. A folder saved by this library contains a list: a JSON file
// with "format": "moe ...", "files": {"NAME": {"bytes": ..., "xxh64": ...}} and "sha256", the
// checksum of the list itself. A folder is recognized by the content of that file, never by its
// name, and only listed files are ever removed.

namespace moe::inline MOE_ISA::detail {

/// The names in a folder, sorted, without "." and "..".
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

/// The XXH64 of a whole file, read in pieces.
inline std::string hash_of(const FileReader& file) {
  std::vector<char> piece(std::size_t(1) << 20);
  Xxh64 hash;
  for (std::uint64_t at = 0; at < file.size();) {
    const std::size_t size = file.read_some(at, piece.data(), piece.size());
    if (size == 0) break;  // the file has become shorter
    hash.add(piece.data(), size);
    at += size;
  }
  return hex(hash.value());
}

/// The entry of a list for one file.
inline Json file_entry(const std::string& path) {
  const FileReader file(path);
  Json entry;
  entry["bytes"] = file.size();
  entry["xxh64"] = hash_of(file);
  return entry;
}

/// The text of a list. Its "sha256" is the hash of the text in which that field is empty.
inline std::string seal(Json& list) {
  list["sha256"] = "";
  list["sha256"] = sha256(list.dump(2));
  return list.dump(2);
}

/// True if the text still has the checksum that seal() gave it.
inline bool is_sealed(const std::string& text) {
  constexpr std::string_view before = "\"sha256\": \"";
  constexpr std::size_t digits = 64;
  const std::size_t at = text.find(before) + before.size();
  if (at < before.size() || text.size() < at + digits) return false;
  const std::string sum = text.substr(at, digits);
  return sha256(std::string(text).erase(at, digits)) == sum;
}

/// The member "files" of a list, or nothing if the text is not a list.
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
    return std::nullopt;  // another file with that name
  }
}

struct OwnedFiles {
  std::vector<std::string> ours;       // the list and the files it names, if they exist
  std::vector<std::string> changed;    // those of `ours` that differ from what was saved
  std::vector<std::string> strangers;  // all other files
  bool whole = true;                   // all files of the list exist
};

/// True if a file still matches its entry in the list. A file above 1 MiB is not read if its size
/// matches and it is not newer than the list, so that a save need not read gigabytes.
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

/// Divides the files of a folder into ours and others, by its file `list`. Nothing if it has no
/// list.
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

/// Removes our files from a folder, the list last, and then the folder if it is empty. If a removal
/// is interrupted, the next call continues it.
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
