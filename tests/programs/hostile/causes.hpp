#pragma once

namespace moe::hostile {

/// Root causes of vulnerabilities in readers of model files, each with the CVEs that it comes from.
enum class Cause {
  count_wraps,          // 2024-25664, 25666, 25668: a count times a size wraps in malloc
  length_plus_one,      // 2024-25665, 23496: length n + 1 wraps
  array_times_size,     // 2024-25667, 21825: array length times element size wraps
  nested_types,         // 2024-25667: nested arrays, deep recursion
  dims_multiply,        // 2024-21802: the product of the dimensions overflows
  header_counts,        // 2024-21836, 23605: counts of the header are believed
  error_paths,          // 2024-32878: what was half read is released or used
  missing_part,         // 2024-41130: null or absent parts are dereferenced
  trusted_offsets,      // 2024-42477 to 42479: positions of the file are believed
  narrowing_cast,       // 2025-49847: size_t -> int32 passes the bound
  signed_compare,       // 2025-52566: signed against unsigned
  sum_overflow,         // 2025-53630: a sum of sizes overflows
  two_sizes,            // 2026-27940: a size is known in two places that differ
  elements_times_size,  // 2026-33298: elements times element size overflows
  padding_wraps,        // advisory: rounding up wraps before the check
  alignment_trusted,    // advisory: alignment zero, huge, or of another type
  count_bound,          // advisory: a bound on a count from the wrong size
  fixed_array,          // advisory: more items than a fixed array has
  index_from_text,      // advisory: stoi("-1") as an index
  negative_number,      // 2026-21869: a negative number from JSON
  dims_beyond_data,     // 2026-7482: dimensions above the data: over-read
  assert_as_check,      // assert or abort instead of an error
  conformance,          // what the safetensors format forbids, or malformed text
  damage,               // cut off, bits flipped, bytes appended
  causes
};
inline constexpr int causes = static_cast<int>(Cause::causes);

}  // namespace moe::hostile
