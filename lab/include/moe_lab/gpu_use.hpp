#pragma once
#include <algorithm>
#include <charconv>
#include <cmath>
#include <moe/io/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace lab {

using moe::unknown;

/// One GPU of the machine, used by this process or by others.
/// Units: MB = 1e6 bytes. A number that the driver does not tell is NaN.
struct GpuUse {
  int index = 0;
  std::string name = {};
  double utilization_percent = unknown, memory_used_mb = unknown, memory_total_mb = unknown,
         temperature_c = unknown;
};

namespace detail {

inline constexpr const char* gpu_query =
    "--query-gpu=index,name,utilization.gpu,memory.used,memory.total,temperature.gpu";

inline std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

/// The number in `text` if it is 0 or more; nothing for "[N/A]", "[Unknown Error]", nan and the
/// like.
template <class Number>
std::optional<Number> amount(std::string_view text) {
  Number value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  const bool good =
      error == std::errc() && stop == end && value >= 0 && std::isfinite(double(value));
  return good ? std::optional(value) : std::nullopt;
}

/// The GPUs that CUDA_VISIBLE_DEVICES (null: not set) leaves to this process. If it names GPUs by
/// anything but their indices, all of them.
inline std::vector<GpuUse> visible_gpus(std::vector<GpuUse> gpus, const char* visible) {
  if (visible == nullptr) return gpus;
  std::vector<int> indices;
  std::string_view list = visible;
  while (!list.empty() && list != "-1") {
    const std::size_t comma = std::min(list.find(','), list.size());
    const std::optional<int> index = amount<int>(trimmed(list.substr(0, comma)));
    if (!index) return gpus;
    indices.push_back(*index);
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  std::erase_if(gpus, [&](const GpuUse& gpu) {
    return std::find(indices.begin(), indices.end(), gpu.index) == indices.end();
  });
  return gpus;
}

/// The position of the GPU whose utilisation is farthest from the mean of the others, `others`, if
/// it is more than 30 points away; otherwise -1.
inline int uneven_gpu(const std::vector<GpuUse>& gpus, double& others) {
  double sum = 0, known = 0, farthest = 30;
  for (const GpuUse& gpu : gpus) {
    if (!std::isnan(gpu.utilization_percent)) sum += gpu.utilization_percent, known += 1;
  }
  int found = -1;
  for (std::size_t i = 0; i < gpus.size() && known > 1; ++i) {
    const double own = gpus[i].utilization_percent, mean = (sum - own) / (known - 1);
    if (std::isnan(own) || std::abs(own - mean) <= farthest) continue;
    farthest = std::abs(own - mean);
    others = mean;
    found = int(i);
  }
  return found;
}

}  // namespace detail

/// Reads what nvidia-smi answers to detail::gpu_query with --format=csv,noheader,nounits: one GPU
/// per line. Other lines ("No devices were found") are left out.  Test: tests/lab/resources.cpp.
inline std::vector<GpuUse> parse_gpu_use(std::string_view csv) {
  std::vector<GpuUse> gpus;
  while (!csv.empty()) {
    const std::size_t size = std::min(csv.find('\n'), csv.size());
    std::string_view line = csv.substr(0, size);
    csv.remove_prefix(std::min(size + 1, csv.size()));
    double numbers[4];
    std::size_t comma = 0;
    for (std::size_t i = 4; i-- > 0;) {  // from the end, as a name may contain commas
      comma = line.rfind(',');
      if (comma == line.npos) break;
      numbers[i] =
          detail::amount<double>(detail::trimmed(line.substr(comma + 1))).value_or(unknown);
      line = line.substr(0, comma);
    }
    const std::size_t name = line.find(',');
    if (comma == line.npos || name == line.npos) continue;
    const std::optional<int> index = detail::amount<int>(detail::trimmed(line.substr(0, name)));
    if (!index) continue;
    const auto mb = [](double mib) { return mib * 1.048576; };
    gpus.push_back({*index, std::string(detail::trimmed(line.substr(name + 1))), numbers[0],
                    mb(numbers[1]), mb(numbers[2]), numbers[3]});
  }
  return gpus;
}

/// All GPUs as one: the mean utilisation, the sum of the memory and the highest temperature.
/// Unknown values are left out; NaN if all are unknown.
inline GpuUse all_gpus(const std::vector<GpuUse>& gpus) {
  GpuUse all{.index = 0};
  double known = 0;
  const auto add = [](double& sum, double x) {
    if (!std::isnan(x)) sum = std::isnan(sum) ? x : sum + x;
  };
  for (const GpuUse& gpu : gpus) {
    add(all.utilization_percent, gpu.utilization_percent);
    known += !std::isnan(gpu.utilization_percent);
    add(all.memory_used_mb, gpu.memory_used_mb);
    add(all.memory_total_mb, gpu.memory_total_mb);
    all.temperature_c = std::fmax(all.temperature_c, gpu.temperature_c);
  }
  if (known > 0) all.utilization_percent /= known;
  return all;
}

}  // namespace lab
