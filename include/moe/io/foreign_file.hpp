#pragma once
#include <moe/core/error.hpp>
#include <string>
#include <string_view>

namespace moe::inline MOE_ISA::detail {

/// The actual kind of a file whose name promises another, and a remedy.
struct ForeignFile {
  const char* is = nullptr;  // nullptr: no other kind was recognized
  const char* remedy = nullptr;
};

inline bool begins_with_word(std::string_view text, std::string_view lower) {
  if (text.size() < lower.size()) return false;
  for (std::size_t i = 0; i < lower.size(); ++i) {
    const char c = text[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c) != lower[i]) return false;
  }
  return true;
}

/// True for the text that Git LFS leaves in place of a large file.
inline bool is_lfs_pointer(std::string_view begin) {
  return begin.starts_with("version https://git-lfs.github.com/spec/") ||
         begin.starts_with("version https://hawser.github.com/spec/");
}

/// Recognizes, by their first bytes, the kinds of files that users most often supply in place of a
/// model file.
/// Test: tests/io/foreign_file.cpp.
inline ForeignFile foreign_file(std::string_view begin) {
  constexpr const char* unpack = "unpack it first";
  constexpr const char* convert =
      "save the model as safetensors, with save_pretrained(folder, safe_serialization=True)";
  const auto magic = [&](std::string_view bytes) { return begin.starts_with(bytes); };
  if (is_lfs_pointer(begin))
    return {"a pointer of Git LFS and not the file itself", "run 'git lfs pull' in its folder"};
  std::string_view text = begin.substr(0, 256);
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  while (!text.empty() && (text[0] == ' ' || (text[0] >= '\t' && text[0] <= '\r')))
    text.remove_prefix(1);
  if (begins_with_word(text, "<!doctype html") || begins_with_word(text, "<html"))
    return {"a web page", "download the file itself, by its 'raw' or 'resolve' address"};
  if (magic("\x1F\x8B")) return {"packed by gzip", unpack};
  if (magic({"\x28\xB5\x2F\xFD", 4})) return {"packed by zstd", unpack};
  if (magic("BZh")) return {"packed by bzip2", unpack};
  if (magic({"\xFD"
             "7zXZ\0",
             6}))
    return {"packed by xz", unpack};
  if (magic("PK\x03\x04"))
    return {"a zip archive, as torch.save writes too",
            "unpack it, or save a model of PyTorch as safetensors"};
  if (magic("\x80\x02") || magic("\x80\x03") || magic("\x80\x04") || magic("\x80\x05"))
    return {"a pickle of Python", convert};
  if (magic("GGUF")) return {"a GGUF file of llama.cpp", "take the model's safetensors instead"};
  if (magic("\x89HDF\r\n")) return {"an HDF5 file", convert};
  return {};
}

/// Throws if the first bytes of a file show that it is of another kind.
/// Errors: moe::Error that names the file, what it is, and what to do.
inline void refuse_foreign(std::string_view begin, std::string_view path) {
  const ForeignFile found = foreign_file(begin);
  if (found.is == nullptr) return;
  throw Error("cannot use '", path, "': it is ", found.is, "; ", found.remedy);
}

}  // namespace moe::detail
