#include "report/report_settings.h"

#include <charconv>
#include <cstdlib>

#include "base/error.h"

namespace syncbn::report {
namespace {

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Digits from `text` on; moves it past them.
std::optional<int> TakeNumber(std::string_view& text) {
  int value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || value < 0) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

bool TakeText(std::string_view& text, std::string_view expected) {
  if (!text.starts_with(expected)) return false;
  text.remove_prefix(expected.size());
  return true;
}

}  // namespace

int AttemptNumber(const std::string& attempt) {
  std::string_view rest = attempt;
  if (TakeText(rest, "jobs/") && TakeNumber(rest) && TakeText(rest, "/attempts/")) {
    const std::optional<int> number = TakeNumber(rest);
    if (number && *number > 0 && rest.empty()) return *number;
  }
  throw Error(ErrorCode::kInvalidArgument,
              "'" + attempt + "' names no attempt; expected jobs/JOB/attempts/ATTEMPT");
}

std::optional<ReportSettings> SettingsFromEnvironment() {
  const std::string marker = Variable("SYNCBN_ATTEMPT");
  ReportSettings settings{.coordinator = Variable("SYNCBN_COORDINATOR"),
                          .token = Variable("SYNCBN_TOKEN"),
                          .spool = Variable("SYNCBN_SPOOL"),
                          .tls_ca = Variable("SYNCBN_TLS_CA"),
                          .tls_certificate = Variable("SYNCBN_TLS_CERT"),
                          .tls_key = Variable("SYNCBN_TLS_KEY")};
  if (marker.empty() || settings.coordinator.empty()) return std::nullopt;
  const size_t slash = marker.find('/');
  if (slash == std::string::npos) {
    throw Error(ErrorCode::kInvalidArgument,
                "SYNCBN_ATTEMPT is '" + marker + "'; expected STORE/jobs/JOB/attempts/ATTEMPT");
  }
  settings.attempt = marker.substr(slash + 1);
  try {
    AttemptNumber(settings.attempt);
  } catch (Error& error) {
    throw error.AddFrame("reading SYNCBN_ATTEMPT");
  }
  if (settings.spool.empty() || !settings.spool.is_absolute()) {
    throw Error(ErrorCode::kInvalidArgument,
                "SYNCBN_SPOOL is '" + settings.spool.string() +
                    "'; a process of a job needs an absolute path of its spool folder there");
  }
  return settings;
}

}  // namespace syncbn::report
