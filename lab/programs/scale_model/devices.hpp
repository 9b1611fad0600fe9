#pragma once
#include <cmath>
#include <moe/core/error.hpp>
#include <string>
#include <string_view>

// The devices that can be rented. docs/scaling.md says which figures are measured, published or
// assumed.

namespace scale {

/// One device.   Units: operations a second of dense bf16 (cpu: float), bytes, dollars an hour.
struct Device {
  std::string name = {};
  double peak = 0, memory = 0, price = 0;
  bool gpu = true;
};

inline constexpr double h100_peak = 989.5e12;

inline const Device devices[] = {
    {"a100", 312e12, 80e9, 1.50},       {"h100", h100_peak, 80e9, 3.00},
    {"h200", h100_peak, 141e9, 4.50},   {"b200", 2250e12, 180e9, 6.00},
    {"cpu", 356.5e9, 8e9, 0.05, false},
};

inline std::string device_names() {
  std::string names;
  for (const Device& device : devices) names += (names.empty() ? "" : ", ") + device.name;
  return names;
}

/// Errors: a name that is not in the table.
inline Device find_device(std::string_view name) {
  for (const Device& device : devices)
    if (device.name == name) return device;
  throw moe::Error("cannot plan for --gpu '", name, "': known are ", device_names(),
                   "; for another device give one of them with --price, ",
                   "--peak-tflops and --memory-gb");
}

/// The share of the peak that training a mixture of width `dim` is assumed to reach:
/// ceiling / (1 + (half / dim)^2), half of the ceiling at dim = half. On GPUs half grows with
/// sqrt(peak): a small model is bound by launches and memory and reaches the same rate on all.
/// An assumption that fits a few measured points: docs/scaling.md.
inline double assumed_mfu(const Device& device, int dim) {
  const double ceiling = device.gpu ? 0.25 : 0.65;
  const double half = device.gpu ? 1152 * std::sqrt(device.peak / h100_peak) : 128;
  return ceiling / (1 + half * half / (double(dim) * dim));
}

}  // namespace scale
