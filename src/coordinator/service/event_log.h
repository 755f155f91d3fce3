// What the coordinator does, one event a line: as text for people, or as one JSON object for
// programs. Holds no secrets and no run files.
//
//   log.Write({.event = "job.placed", .message = "2 processes on node1", .job = "jobs/17",
//              .attempt = 2, .actor = "scheduler"});
//
// Thread-safe.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace spdlog {
class logger;
}

namespace syncbn::coordinator {

struct LogEvent {
  enum class Level { kDebug, kInfo, kWarning, kError };

  Level level = Level::kInfo;
  // What happened, for programs: "rpc.refused", "job.transition", ...
  std::string event;
  // For people.
  std::string message;
  std::string job;  // "jobs/17"; empty where no job is concerned
  std::optional<int> attempt = std::nullopt;
  std::string actor;
  // More, by name.
  std::vector<std::pair<std::string, std::string>> fields = {};
};

std::string_view LevelName(LogEvent::Level level);

// One line without its end.
//   2026-01-31T12:34:56.789012Z info  job.placed: 2 processes on node1 (jobs/17 attempt 2, scheduler)
std::string FormatAsText(const LogEvent& event, WallTime time);
//   {"time":"2026-...","level":"info","event":"job.placed","message":"...","job":"jobs/17",...}
std::string FormatAsJson(const LogEvent& event, WallTime time);

class EventLog {
 public:
  enum class Format { kText, kJson };
  struct Options {
    Format format = Format::kText;
    LogEvent::Level least = LogEvent::Level::kInfo;
    // Appended to; empty: standard error.
    std::string path;
    const Clock* clock = &Clock::System();
  };

  explicit EventLog(Options options);
  ~EventLog();

  // Never throws: a log that cannot be written must not end a request.
  void Write(const LogEvent& event) noexcept;

  // Where its lines are: a file, or "its standard error".
  std::string place() const { return options_.path.empty() ? "its standard error" : options_.path; }

 private:
  Options options_;
  std::shared_ptr<spdlog::logger> logger_;
};

}  // namespace syncbn::coordinator
