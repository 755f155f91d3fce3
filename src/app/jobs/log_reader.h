// Reading logs that are kept on the coordinator, in pieces.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "client/connection.h"

namespace syncbn::app {

struct LogQuery {
  // "jobs/17/attempts/2/logs/output"
  std::string name;
  std::optional<int> rank = std::nullopt;
};

// Everything from `offset` (negative: from that many bytes before the end) to the present end.
// Throws what asking throws.
struct LogRange {
  int64_t begin = 0;
  int64_t end = 0;  // where to go on
};
LogRange ReadLog(client::Connection& connection, const LogQuery& query, int64_t offset,
                 const std::function<void(const v1::LogChunk&)>& take);

// The last `lines` lines, and where the log goes on after them.
struct LogTail {
  std::string text;
  int64_t end = 0;
};
LogTail ReadTail(client::Connection& connection, const LogQuery& query, int64_t lines);

}  // namespace syncbn::app
