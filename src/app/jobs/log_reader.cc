#include "app/jobs/log_reader.h"

#include <algorithm>

namespace syncbn::app {

LogRange ReadLog(client::Connection& connection, const LogQuery& query, int64_t offset,
                 const std::function<void(const v1::LogChunk&)>& take) {
  v1::ReadLogRequest request;
  request.set_name(query.name);
  if (query.rank) request.set_rank(*query.rank);
  request.set_offset(offset);
  std::optional<int64_t> begin;
  while (true) {
    const v1::LogChunk chunk = connection.Call(&v1::LogService::Stub::ReadLog, request);
    if (!begin) begin = chunk.offset();
    take(chunk);
    // Lines of other ranks move the place on without data; at the present end it stays.
    if (chunk.end() || chunk.next_offset() == chunk.offset()) {
      return {.begin = *begin, .end = chunk.next_offset()};
    }
    request.set_offset(chunk.next_offset());
  }
}

LogTail ReadTail(client::Connection& connection, const LogQuery& query, int64_t lines) {
  // Looks at a piece before the end that grows until it holds enough lines.
  for (int64_t window = 256 << 10;; window *= 8) {
    LogTail tail;
    const LogRange range = ReadLog(connection, query, -window,
                                   [&](const v1::LogChunk& chunk) { tail.text += chunk.data(); });
    tail.end = range.end;
    // Back from the end, over the line end of the last line.
    size_t begin = tail.text.size();
    int64_t found = 0;
    for (; found < lines && begin > 0; ++found) {
      const size_t before = begin < 2 ? std::string::npos : tail.text.rfind('\n', begin - 2);
      begin = before == std::string::npos ? 0 : before + 1;
    }
    if ((found == lines && (begin > 0 || lines == 0)) || range.begin == 0) {
      tail.text.erase(0, begin);
      return tail;
    }
  }
}

}  // namespace syncbn::app
