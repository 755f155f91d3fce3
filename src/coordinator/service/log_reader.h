// Reads the log of an attempt while it grows, by byte offset and in whole lines.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace syncbn::coordinator {

struct LogPiece {
  std::string data;
  int64_t offset = 0;       // where the data began
  int64_t next_offset = 0;  // where to go on
  int64_t size = 0;         // of the log when it was read
};

// An open log. Not thread-safe.
class LogReader {
 public:
  // A log that is not there yet is empty. Throws for one that cannot be read.
  explicit LogReader(std::filesystem::path path) : path_(std::move(path)) {}
  ~LogReader();
  LogReader(const LogReader&) = delete;
  LogReader& operator=(const LogReader&) = delete;

  int64_t size();

  // Whole lines from `offset` on, about `max_bytes` of the log at most. An offset inside a line is
  // moved back to its start; a negative one counts from the end. A line without an end is left for
  // later, unless `complete` says that the log will not grow: then it is the last. With `rank` only
  // the lines of that rank; then data may be empty although next_offset has moved. OUT_OF_RANGE for
  // an offset beyond the end.
  LogPiece Read(int64_t offset, int64_t max_bytes, std::optional<int> rank, bool complete);

 private:
  bool Open();
  std::string ReadAt(int64_t offset, int64_t bytes);
  int64_t StartOfLine(int64_t offset);

  std::filesystem::path path_;
  int file_ = -1;
};

}  // namespace syncbn::coordinator
