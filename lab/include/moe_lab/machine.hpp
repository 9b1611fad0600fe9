#pragma once
#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <moe/core/error.hpp>
#include <moe/model/memory.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace lab {

/// Memory that this process can still take, and what sets that limit. Units: bytes.
struct AvailableMemory {
  std::uint64_t bytes = UINT64_MAX;  // the largest number: no limit is known
  std::string limit = {};
};

namespace detail {

/// The number after `key` in the first line that begins with it, in one of the small text files of
/// Linux. With an empty key, the number at the beginning of the file. Nothing if there is no such
/// file, line or number.
inline std::optional<std::uint64_t> number_in(const std::string& path, std::string_view key) {
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (!file) return {};
  std::optional<std::uint64_t> found;
  char line[4096];
  while (!found && std::fgets(line, sizeof line, file)) {
    const std::string_view text = line;
    unsigned long long value = 0;
    if (text.starts_with(key) && std::sscanf(line + key.size(), "%llu", &value) == 1) found = value;
  }
  std::fclose(file);
  return found;
}

/// How far a control group is from its limit. Cached pages of files, which it can drop, do not
/// count as used.
inline std::optional<std::uint64_t> room_in_group(const std::string& folder, const char* limit,
                                                  const char* usage, const char* droppable) {
  const auto most = number_in(folder + "/" + limit, "");
  if (!most) return {};  // no such group, or "max"
  const std::uint64_t used = number_in(folder + "/" + usage, "").value_or(0);
  const std::uint64_t files = number_in(folder + "/memory.stat", droppable).value_or(0);
  const std::uint64_t kept = used - std::min(used, files);
  return *most - std::min(*most, kept);
}

/// Calls f(kind, path) for the control groups in ROOT/proc/self/cgroup: kind "" is version 2.
template <class F>
void for_each_group(const std::string& root, const F& f) {
  std::FILE* file = std::fopen((root + "/proc/self/cgroup").c_str(), "re");
  if (!file) return;
  char line[4096];
  while (std::fgets(line, sizeof line, file)) {  // number:kinds:path
    const std::string text(line, std::string_view(line).find_last_not_of('\n') + 1);
    const std::size_t first = text.find(':'), second = text.find(':', first + 1);
    if (second == std::string::npos) continue;
    f(text.substr(first + 1, second - first - 1), text.substr(second + 1));
  }
  std::fclose(file);
}

}  // namespace detail

/// The smallest of: the free memory of the machine, what the control groups of this process leave
/// (versions 1 and 2, with all parent groups), and what its resource limits leave. `root`: the
/// folder of /proc and /sys, for tests. Missing files cause no error: an unknown limit is no limit.
/// Source: Linux, Documentation/admin-guide/cgroup-v2.rst.  Test: tests/lab/machine.cpp.
inline AvailableMemory available_memory(const std::string& root = "") {
  AvailableMemory least;
  const auto take = [&](std::optional<std::uint64_t> bytes, const std::string& limit) {
    if (bytes && *bytes < least.bytes) least = {*bytes, limit};
  };
  if (const auto free = detail::number_in(root + "/proc/meminfo", "MemAvailable:"))
    take(*free * 1024, "free memory of the machine");
  detail::for_each_group(root, [&](const std::string& kinds, std::string path) {
    const bool second = kinds.empty();
    if (!second && ("," + kinds + ",").find(",memory,") == std::string::npos) return;
    const std::string mount = root + (second ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory");
    // Inside a container the path may be the host's: then its folders do not exist, but the mount
    // does.
    for (;; path.erase(std::min(path.rfind('/'), path.size()))) {
      if (path == "/") path.clear();
      const std::string folder = mount + path;
      take(second ? detail::room_in_group(folder, "memory.max", "memory.current", "inactive_file ")
                  : detail::room_in_group(folder, "memory.limit_in_bytes", "memory.usage_in_bytes",
                                          "total_inactive_file "),
           "limit of the control group (container)");
      if (path.empty()) return;
    }
  });
  const auto below = [&](auto resource, const char* used, const char* limit) {
    rlimit most{};
    if (::getrlimit(resource, &most) != 0 || most.rlim_cur == RLIM_INFINITY) return;
    const std::uint64_t now =
        detail::number_in(root + "/proc/self/status", used).value_or(0) * 1024;
    take(most.rlim_cur - std::min<std::uint64_t>(most.rlim_cur, now), limit);
  };
  below(RLIMIT_AS, "VmSize:", "limit of address space (ulimit -v)");
  below(RLIMIT_DATA, "VmData:", "limit of data (ulimit -d)");
  return least;
}

/// Refuses to go on if `bytes` do not fit into the available memory; call it before anything is
/// allocated. 32 MB are left for the process itself: its code, the stacks of its threads, its texts
/// and files.
/// Errors: moe::Error with what is needed, what there is, and what sets the limit.
///
///     lab::require_memory(memory.total(), "train this model", "use a smaller batch");
inline void require_memory(std::uint64_t bytes, const std::string& what, const std::string& advice,
                           const AvailableMemory& available = available_memory()) {
  constexpr std::uint64_t own = 32'000'000;
  if (available.bytes >= own && bytes <= available.bytes - own) return;
  throw moe::Error("cannot ", what, ": it needs ", moe::megabytes(bytes), " and ",
                   moe::megabytes(own), " for the process itself, and ",
                   moe::megabytes(available.bytes), " can be had (", available.limit, "); ",
                   advice);
}

}  // namespace lab
