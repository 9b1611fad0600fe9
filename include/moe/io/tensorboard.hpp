#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdint>
#include <moe/core/error.hpp>
#include <moe/core/format.hpp>
#include <moe/io/checksum.hpp>
#include <moe/io/files.hpp>
#include <moe/io/utf8.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace moe::inline MOE_ISA {

/// A histogram. Bucket i ends at limits[i] and holds counts[i] values; the first bucket begins at
/// `min`, the last ends at `max`. `num`, `sum` and `sum_squares` are the number, sum and sum of
/// squares of the values.
struct Histogram {
  double min = 0, max = 0, num = 0, sum = 0, sum_squares = 0;
  std::vector<double> limits = {}, counts = {};
};

/// The load of one MoE layer as a histogram: bucket [e, e + 1) counts the tokens of expert e. It
/// runs from the first to the last expert that has tokens, because TensorBoard's two readers both
/// misplace empty buckets at the ends.
/// Test: tests/io/tensorboard.cpp.
inline Histogram expert_histogram(std::span<const double> load) {
  MOE_EXPECTS(!load.empty(), "a histogram needs at least one expert");
  std::size_t begin = 0, end = load.size();
  while (begin < end && !(load[begin] > 0)) ++begin;
  while (begin < end && !(load[end - 1] > 0)) --end;
  if (begin == end) begin = 0, end = load.size();
  Histogram histogram{.min = double(begin), .max = double(end)};
  for (std::size_t e = begin; e < end; ++e) {
    const double id = double(e), count = load[e];
    histogram.num += count;
    histogram.sum += count * id;
    histogram.sum_squares += count * id * id;
    histogram.limits.push_back(id + 1);
    histogram.counts.push_back(count);
  }
  return histogram;
}

namespace detail {

/// The bytes of a protobuf message. number() and real() omit zeros, as proto3 does. text() and
/// real32() never omit, because they are used for fields whose presence matters.
/// Source: protobuf.dev, "Encoding".
class ProtoMessage {
 public:
  ProtoMessage& number(std::uint32_t field, std::int64_t value) {
    if (value != 0) varint(field << 3), varint(static_cast<std::uint64_t>(value));
    return *this;
  }
  ProtoMessage& real(std::uint32_t field, double value) {
    if (std::bit_cast<std::uint64_t>(value) != 0) varint(field << 3 | 1), raw(value);
    return *this;
  }
  ProtoMessage& real32(std::uint32_t field, float value) {
    varint(field << 3 | 5), raw(value);
    return *this;
  }
  ProtoMessage& text(std::uint32_t field, std::string_view value) {
    varint(field << 3 | 2), varint(value.size());
    bytes_ += value;
    return *this;
  }
  ProtoMessage& message(std::uint32_t field, const ProtoMessage& value) {
    return text(field, value.bytes_);
  }
  ProtoMessage& reals(std::uint32_t field, std::span<const double> values) {
    if (values.empty()) return *this;
    return text(field, {reinterpret_cast<const char*>(values.data()), values.size_bytes()});
  }
  const std::string& bytes() const { return bytes_; }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_.push_back(static_cast<char>(value | 0x80));
    bytes_.push_back(static_cast<char>(value));
  }
  template <class T>
  void raw(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  std::string bytes_;
};

/// The text, with U+FFFD in place of every byte that is not UTF-8. A single such byte in a protobuf
/// string makes TensorBoard reject the rest of the file.
inline std::string valid_utf8(std::string_view text) {
  std::string valid;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    if (next_code_point(text, at) >= 0) {
      valid += text.substr(begin, at - begin);
    } else {
      append_code_point(valid, 0xFFFD);
      ++at;
    }
  }
  return valid;
}

inline ProtoMessage event_at(double wall_time, std::int64_t step) {
  return ProtoMessage().real(1, wall_time).number(2, step);
}

/// An Event that holds a Summary of one Value.
inline std::string summary_event(double wall_time, std::int64_t step, const ProtoMessage& value) {
  return event_at(wall_time, step).message(5, ProtoMessage().message(1, value)).bytes();
}

/// The name of the writer, as stored in the first event of a file.
inline constexpr std::string_view events_writer = "moe::TensorBoardWriter";

inline std::string version_event(double wall_time) {
  return event_at(wall_time, 0)
      .text(3, "brain.Event:2")
      .message(10, ProtoMessage().text(1, events_writer))
      .bytes();
}

/// Makes TensorBoard drop the points of earlier files from `step` on.
inline std::string start_event(double wall_time, std::int64_t step) {
  constexpr std::int64_t session_start = 1;
  return event_at(wall_time, step).message(7, ProtoMessage().number(1, session_start)).bytes();
}

inline std::string scalar_event(double wall_time, std::int64_t step, std::string_view tag,
                                double value) {
  const ProtoMessage summary =
      ProtoMessage().text(1, valid_utf8(tag)).real32(2, static_cast<float>(value));
  return summary_event(wall_time, step, summary);
}

inline std::string histogram_event(double wall_time, std::int64_t step, std::string_view tag,
                                   const Histogram& h) {
  ProtoMessage histogram;
  histogram.real(1, h.min).real(2, h.max).real(3, h.num).real(4, h.sum).real(5, h.sum_squares);
  histogram.reals(6, h.limits).reals(7, h.counts);
  return summary_event(wall_time, step,
                       ProtoMessage().text(1, valid_utf8(tag)).message(5, histogram));
}

/// A string tensor of shape [1], with the metadata of the text plugin.
inline std::string text_event(double wall_time, std::int64_t step, std::string_view tag,
                              std::string_view markdown) {
  constexpr std::int64_t type_string = 7, class_tensor = 2;
  const ProtoMessage shape = ProtoMessage().message(2, ProtoMessage().number(1, 1));
  const ProtoMessage tensor =
      ProtoMessage().number(1, type_string).message(2, shape).text(8, valid_utf8(markdown));
  const ProtoMessage metadata =
      ProtoMessage().message(1, ProtoMessage().text(1, "text")).number(4, class_tensor);
  return summary_event(
      wall_time, step,
      ProtoMessage().text(1, valid_utf8(tag)).message(8, tensor).message(9, metadata));
}

constexpr std::uint32_t masked_crc32c(std::string_view bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xa282ead8;
}

/// Record layout: u64 length, u32 masked CRC-32C of the length, payload, u32 masked CRC-32C of the
/// payload.
/// Source: the record writer of tensorflow/tensorboard. A test compares with its bytes.
inline std::string event_record(std::string_view payload) {
  const auto bytes = [](auto word) {
    return std::string(reinterpret_cast<const char*>(&word), sizeof word);
  };
  const std::string length = bytes(std::uint64_t{payload.size()});
  std::string record = length + bytes(masked_crc32c(length));
  record += payload;
  return record + bytes(masked_crc32c(payload));
}

}  // namespace detail

/// Writes an event file that TensorBoard can show while it grows: every point is one write() of a
/// whole record. NaN and infinities are written as they are; bytes that are not UTF-8 become
/// U+FFFD.
/// Errors: moe::Error that names the file (full disk, permissions); earlier records stay readable.
/// Source: tensorboard/compat/proto/{event,summary}.proto.  Test: tests/io/tensorboard.cpp.
///
///     moe::TensorBoardWriter board("runs/demo");
///     board.scalar("loss/train", step, loss);
///     board.histogram("router/load/layer0", step, moe::expert_histogram(load));
class TensorBoardWriter {
 public:
  /// Starts a new file in `folder`. TensorBoard then keeps from older files in this folder only the
  /// points with step <= resumed_at: the points before a resume, or none (-1) if the files are of
  /// an earlier run.
  explicit TensorBoardWriter(const std::string& folder, std::int64_t resumed_at = -1) {
    make_folders(folder);
    const auto seconds = static_cast<long long>(wall_time());
    char known[256] = "";
    std::string host = ::gethostname(known, sizeof known - 1) == 0 ? known : "localhost";
    std::replace(host.begin(), host.end(), '/', '_');
    // Two writers may start in the same second, or in containers with equal process ids: the last
    // number of the name tells them apart.
    for (int id = 0; file_.get() < 0; ++id) {
      path_ = folder + detail::format("/events.out.tfevents.%010lld.%s.%ld.%d", seconds,
                                      host.c_str(), static_cast<long>(::getpid()), id);
      file_ = detail::open_file(path_, O_WRONLY | O_CREAT | O_EXCL | O_APPEND, 0666);
      if (file_.get() < 0 && errno != EEXIST) detail::file_failed("create", path_, errno);
    }
    write(detail::version_event(wall_time()));
    write(detail::start_event(wall_time(), resumed_at + 1));
  }

  const std::string& path() const { return path_; }

  void scalar(std::string_view tag, std::int64_t step, double value) {
    write(detail::scalar_event(wall_time(), step, tag, value));
  }
  void histogram(std::string_view tag, std::int64_t step, const Histogram& histogram) {
    MOE_EXPECTS(!histogram.limits.empty() && histogram.limits.size() == histogram.counts.size(),
                "a histogram needs one limit a count, not ", histogram.limits.size(),
                " limits and ", histogram.counts.size(), " counts");
    write(detail::histogram_event(wall_time(), step, tag, histogram));
  }
  /// TensorBoard shows it as markdown on its text page.
  void text(std::string_view tag, std::string_view markdown, std::int64_t step = 0) {
    write(detail::text_event(wall_time(), step, tag, markdown));
  }

 private:
  static double wall_time() {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch())
        .count();
  }

  void write(std::string_view event) {
    const std::string record = detail::event_record(event);
    const std::size_t done = detail::write_all(file_, record);
    if (done < record.size()) {
      const int code = errno;
      // Readers stop at an incomplete record and would not see the records after it, so remove it.
      if (::ftruncate(file_.get(), size_) != 0) size_ += static_cast<off_t>(done);
      detail::file_failed("write", path_, code);
    }
    size_ += static_cast<off_t>(record.size());
  }

  std::string path_;
  detail::Descriptor file_;
  off_t size_ = 0;
};

}  // namespace moe
