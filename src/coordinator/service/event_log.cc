#include "coordinator/service/event_log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"
#include "base/text.h"

namespace syncbn::coordinator {
namespace {

spdlog::level::level_enum ToSpdlog(LogEvent::Level level) {
  switch (level) {
    case LogEvent::Level::kDebug:
      return spdlog::level::debug;
    case LogEvent::Level::kInfo:
      return spdlog::level::info;
    case LogEvent::Level::kWarning:
      return spdlog::level::warn;
    case LogEvent::Level::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

// A line stays a line, whatever a client put into a name.
std::string JoinLines(const std::string& text) {
  std::string line;
  for (const char c : text) line += c == '\n' ? " | " : std::string(1, c);
  return OneLine(line);
}

}  // namespace

std::string_view LevelName(LogEvent::Level level) {
  switch (level) {
    case LogEvent::Level::kDebug:
      return "debug";
    case LogEvent::Level::kInfo:
      return "info";
    case LogEvent::Level::kWarning:
      return "warning";
    case LogEvent::Level::kError:
      return "error";
  }
  return "info";
}

std::string FormatAsText(const LogEvent& event, WallTime time) {
  std::string about;
  auto add = [&](const std::string& part) {
    if (!about.empty()) about += ", ";
    about += part;
  };
  if (!event.job.empty()) {
    add(event.job + (event.attempt ? " attempt " + std::to_string(*event.attempt) : ""));
  }
  if (!event.actor.empty()) add("by " + event.actor);
  for (const auto& [name, value] : event.fields) add(name + "=" + value);
  std::string level(LevelName(event.level));
  level.resize(7, ' ');
  std::string line = FormatTime(time) + " " + level + " " + event.event;
  if (!event.message.empty()) line += ": " + event.message;
  if (!about.empty()) line += " (" + about + ")";
  return JoinLines(line);
}

std::string FormatAsJson(const LogEvent& event, WallTime time) {
  nlohmann::ordered_json line;
  line["time"] = FormatTime(time);
  line["level"] = LevelName(event.level);
  line["event"] = event.event;
  if (!event.message.empty()) line["message"] = event.message;
  if (!event.job.empty()) line["job"] = event.job;
  if (event.attempt) line["attempt"] = *event.attempt;
  if (!event.actor.empty()) line["actor"] = event.actor;
  for (const auto& [name, value] : event.fields) line[name] = value;
  // Bytes that are no UTF-8 become replacement characters instead of an exception.
  return PrintableJson(line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

EventLog::EventLog(Options options) : options_(std::move(options)) {
  spdlog::sink_ptr sink;
  if (options_.path.empty()) {
    sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  } else {
    // The library would make it.
    const std::filesystem::path folder = std::filesystem::path(options_.path).parent_path();
    std::error_code error;
    if (!folder.empty() && !std::filesystem::is_directory(folder, error)) {
      throw Error(ErrorCode::kInvalidArgument, "cannot write the log " + options_.path +
                                                   ": there is no folder " + folder.string());
    }
    try {
      sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(options_.path);
    } catch (const spdlog::spdlog_ex& failure) {
      throw Error(ErrorCode::kPermissionDenied,
                  "cannot write the log " + options_.path + ": " + failure.what());
    }
  }
  logger_ = std::make_shared<spdlog::logger>("coordinator", sink);
  logger_->set_pattern("%v");
  logger_->set_level(ToSpdlog(options_.least));
  logger_->flush_on(spdlog::level::trace);
  // Not to standard error, which may be what failed.
  logger_->set_error_handler([](const std::string&) {});
}

EventLog::~EventLog() = default;

void EventLog::Write(const LogEvent& event) noexcept {
  try {
    if (!logger_->should_log(ToSpdlog(event.level))) return;
    const WallTime now = options_.clock->Now();
    const std::string line = options_.format == Format::kJson ? FormatAsJson(event, now)
                                                              : FormatAsText(event, now);
    logger_->log(ToSpdlog(event.level), "{}", line);
  } catch (...) {  // no memory for a line: the event is lost, the request is not
  }
}

}  // namespace syncbn::coordinator
