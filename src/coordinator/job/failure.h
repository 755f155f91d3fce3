// Why an attempt or a job failed, in the form in which it is stored and shown.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace syncbn::coordinator {

// Decides what happens next. Numbers are those of syncbn.v1.Failure.Class.
enum class FailureClass {
  kConfig = 1,     // run file, data or installation cannot work: never retried
  kUser = 2,       // the program failed: not retried
  kInfra = 3,      // a host, the network, a daemon, the launcher: retried from the last checkpoint
  kStall = 4,      // no progress: retried from the last checkpoint
  kOom = 5,        // out of memory: not retried
  kTimeout = 6,    // a time limit passed
  kCancelled = 7,  // ended on request
  kDiverged = 8,   // training diverged: the same run does so again, never retried
  kStorage = 9,    // a disk is full, or results could not be written: not retried
};
inline constexpr FailureClass kFirstFailureClass = FailureClass::kConfig;
inline constexpr FailureClass kLastFailureClass = FailureClass::kStorage;

// "CONFIG", "USER" and so on.
std::string_view FailureClassName(FailureClass value);

// Whether the next attempt may do better without anybody's help.
bool IsRetried(FailureClass value);

struct Failure {
  FailureClass failure_class = FailureClass::kInfra;
  std::string message;  // one line: what happened, where, what to do
  std::optional<int> rank;
  std::string host;
  int signal = 0;  // 0: none
  std::optional<int> exit_code;
  std::string excerpt;     // the lines of output that tell most
  std::vector<int> ranks;  // of a stall: those that hold up the others
  int attempt = 0;
  // Of a stall: what was waited for, and what the first of those who hold it up was doing, in which
  // layer.
  std::string operation, activity, layer;

  bool operator==(const Failure&) const = default;
};

}  // namespace syncbn::coordinator
