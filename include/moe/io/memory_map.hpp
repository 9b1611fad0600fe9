#pragma once
#include <sys/mman.h>

#include <moe/io/files.hpp>

namespace moe::inline MOE_ISA {

/// Maps a whole file into memory, for the lifetime of the object; the system reads a page when it
/// is first touched. The file must not become shorter meanwhile: touching a page that no longer
/// exists kills the program.
///
///     const moe::MemoryMap file("tokens.bin");
///     use(file.bytes());
///
/// Errors: as FileReader.  Test: tests/io/memory_map.cpp.
class MemoryMap {
 public:
  MemoryMap() = default;
  explicit MemoryMap(const std::string& path) {
    const FileReader checked(path);  // rejects folders, pipes and devices
    const detail::Descriptor file = detail::open_file(path, O_RDONLY);
    struct stat status;
    if (file.get() < 0 || ::fstat(file.get(), &status) != 0) {
      detail::file_failed("map", path, errno);
    }
    const auto size = static_cast<std::size_t>(status.st_size);
    if (size == 0) return;
    void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (data == MAP_FAILED) detail::file_failed("map", path, errno);
    data_ = static_cast<const char*>(data);
    size_ = size;
  }
  MemoryMap(MemoryMap&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  MemoryMap& operator=(MemoryMap&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~MemoryMap() {
    if (data_ != nullptr) ::munmap(const_cast<char*>(data_), size_);
  }

  std::string_view bytes() const { return {data_, size_}; }

 private:
  const char* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace moe
