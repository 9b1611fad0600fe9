#pragma once
#include <sys/stat.h>

#include <moe/io/descriptor.hpp>
#include <string>
#include <thread>

#include "catch.hpp"

namespace moe::test {

/// Calls use(path) on a FIFO into which another thread writes `bytes` once.
template <class Use>
auto through_fifo(const std::string& path, const std::string& bytes, Use&& use) {
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  std::thread writer([&] {
    const detail::Descriptor to(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    for (std::size_t done = 0; done < bytes.size();) {
      const ssize_t put = ::write(to.get(), bytes.data() + done, bytes.size() - done);
      if (put <= 0) break;
      done += std::size_t(put);
    }
  });
  const auto result = use(path);
  writer.join();
  ::unlink(path.c_str());
  return result;
}

}  // namespace moe::test
