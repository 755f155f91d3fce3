#include "study/result_log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/untrusted_json.h"

namespace syncbn::study {
namespace {

using Json = nlohmann::json;

Json Of(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? Json() : Json(value > 0 ? "inf" : "-inf");
}

double NumberOf(const Json& json) {
  if (json.is_null()) return std::numeric_limits<double>::quiet_NaN();
  if (!json.is_string()) return json.get<double>();
  const double infinity = std::numeric_limits<double>::infinity();
  const auto text = json.get<std::string>();
  if (text == "inf") return infinity;
  if (text == "-inf") return -infinity;
  throw Error(ErrorCode::kDataLoss, "is damaged: `" + text + "` is no number");
}

Json Of(const TrialPlace& place) {
  return {{"hosts", place.hosts},
          {"processor", place.processor},
          {"cores", place.cores},
          {"ended", place.ended}};
}

TrialPlace PlaceOf(const Json& json) {
  return {.hosts = json.at("hosts").get<std::vector<std::string>>(),
          .processor = json.at("processor").get<std::string>(),
          .cores = json.at("cores").get<int>(),
          .ended = json.at("ended").get<std::string>()};
}

using Course = std::vector<std::pair<int64_t, double>>;

Json Of(const Course& course) {
  Json all = Json::array();
  for (const auto& [steps, value] : course) all.push_back({steps, Of(value)});
  return all;
}

Course CourseOf(const Json& json) {
  Course course;
  for (const Json& at : json) course.emplace_back(at.at(0).get<int64_t>(), NumberOf(at.at(1)));
  return course;
}

Json Of(const std::vector<Evaluation>& evaluations) {
  Json all = Json::array();
  for (const Evaluation& at : evaluations) {
    all.push_back({at.steps, at.samples, Of(at.loss), Of(at.accuracy)});
  }
  return all;
}

std::vector<Evaluation> EvaluationsOf(const Json& json) {
  std::vector<Evaluation> all;
  for (const Json& at : json) {
    all.push_back({.steps = at.at(0).get<int64_t>(),
                   .samples = at.at(1).get<int64_t>(),
                   .loss = NumberOf(at.at(2)),
                   .accuracy = NumberOf(at.at(3))});
  }
  return all;
}

TrialEnd EndOf(const std::string& name) {
  for (const TrialEnd end : {TrialEnd::kFinished, TrialEnd::kDiverged, TrialEnd::kFailed}) {
    if (name == TrialEndName(end)) return end;
  }
  throw Error(ErrorCode::kDataLoss, "there is no end '" + name + "'");
}

// The whole lines of a text.
std::string_view WholeLines(std::string_view text) {
  const size_t end = text.rfind('\n');
  return end == std::string_view::npos ? std::string_view() : text.substr(0, end + 1);
}

// What no run can have come to: the file is damaged.
void CheckNumbers(const TrialRecord& record) {
  const auto check = [](bool right, const char* what) {
    if (!right) throw Error(ErrorCode::kDataLoss, std::string("is damaged: ") + what);
  };
  check(record.end != TrialEnd::kFinished || record.classes > 0, "a data set without classes");
  check(record.steps >= 0 && record.samples >= 0 && record.classes >= 0, "a count below 0");
  std::vector<const std::vector<Evaluation>*> all = {&record.test, &record.train};
  for (const auto& [name, evaluations] : record.test_with) all.push_back(&evaluations);
  for (const std::vector<Evaluation>* evaluations : all) {
    int64_t steps = 0;
    for (const Evaluation& at : *evaluations) {
      check(at.steps >= steps && at.samples >= 0, "evaluations out of their order");
      check(std::isnan(at.accuracy) || (at.accuracy >= 0 && at.accuracy <= 1),
            "an accuracy that is no share");
      steps = at.steps;
    }
    check(steps <= record.steps, "an evaluation after the last step");
  }
}

// What ends a line: the digest of all before it, by which a changed figure is found.
constexpr std::string_view kSum = R"(,"sum":")";
constexpr size_t kSumDigits = 8;

std::string SumOf(std::string_view line) {
  return DigestOf(std::as_bytes(std::span(line))).Hex().substr(0, kSumDigits);
}

// Lines of an earlier program have none.
void CheckSum(std::string_view line) {
  const size_t length = kSum.size() + kSumDigits + 2;
  if (line.size() < length || line.substr(line.size() - length, kSum.size()) != kSum) return;
  const std::string_view before = line.substr(0, line.size() - length);
  const std::string_view sum = line.substr(before.size() + kSum.size(), kSumDigits);
  if (SumOf(before) == sum) return;
  throw Error(ErrorCode::kDataLoss, "is damaged: its figures are not those that were written");
}

std::string TextOf(const std::filesystem::path& path) {
  return std::filesystem::exists(path) ? ReadFile(path) : std::string();
}

}  // namespace

std::string ToJsonLine(const std::string& id, const TrialRecord& record) {
  Json json = {{"id", id},
               {"end", TrialEndName(record.end)},
               {"steps", record.steps},
               {"samples", record.samples},
               {"classes", record.classes},
               {"digest", record.digest},
               {"by", record.by},
               {"test", Of(record.test)},
               {"train", Of(record.train)}};
  if (!record.place.hosts.empty()) json["place"] = Of(record.place);
  if (!record.reason.empty()) json["reason"] = record.reason;
  for (const auto& [name, evaluations] : record.test_with)
    json["test_with"][name] = Of(evaluations);
  for (const auto& [name, course] : record.figures) json["figures"][name] = Of(course);
  for (const auto& [name, value] : record.sizes) json["sizes"][name] = Of(value);
  for (const auto& [name, value] : record.timings) json["timings"][name] = Of(value);
  std::string line = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  line.pop_back();  // its brace
  const std::string sum = SumOf(line);
  return line + std::string(kSum) + sum + "\"}\n";
}

std::pair<std::string, TrialRecord> FromJsonLine(std::string_view line) {
  try {
    while (line.ends_with('\n')) line.remove_suffix(1);
    const Json json = ParseUntrustedJson<Json>(line);
    CheckSum(line);
    TrialRecord record{.end = EndOf(json.at("end").get<std::string>()),
                       .reason = json.value("reason", ""),
                       .steps = json.at("steps").get<int64_t>(),
                       .samples = json.at("samples").get<int64_t>(),
                       .test = EvaluationsOf(json.at("test")),
                       .train = EvaluationsOf(json.at("train")),
                       .classes = json.at("classes").get<int>(),
                       .digest = json.at("digest").get<std::string>(),
                       .by = json.at("by").get<std::string>(),
                       .timings = {}};
    // Earlier programs have recorded neither.
    if (json.contains("place")) record.place = PlaceOf(json["place"]);
    if (json.contains("sizes")) {
      for (const auto& [name, value] : json["sizes"].items()) record.sizes[name] = NumberOf(value);
    }
    if (json.contains("test_with")) {
      for (const auto& [name, evaluations] : json["test_with"].items()) {
        record.test_with[name] = EvaluationsOf(evaluations);
      }
    }
    if (json.contains("figures")) {
      for (const auto& [name, course] : json["figures"].items()) {
        record.figures[name] = CourseOf(course);
      }
    }
    if (json.contains("timings")) {
      for (const auto& [name, value] : json["timings"].items()) {
        record.timings[name] = NumberOf(value);
      }
    }
    CheckNumbers(record);
    return {json.at("id").get<std::string>(), std::move(record)};
  } catch (const JsonFault& fault) {
    throw Error(ErrorCode::kDataLoss, "is not the result of a trial: " + fault.message());
  } catch (const Json::exception& error) {
    throw Error(ErrorCode::kDataLoss, std::string("is not the result of a trial: ") + error.what());
  }
}

std::map<std::string, TrialRecord> ParseResults(std::string_view text, const std::string& name) {
  text = WholeLines(text);
  std::map<std::string, TrialRecord> results;
  int line = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    ++line;
    try {
      auto [id, record] = FromJsonLine(text.substr(begin, end - begin));
      results.insert_or_assign(std::move(id), std::move(record));
    } catch (const Error& error) {
      throw Error(ErrorCode::kDataLoss, name + ":" + std::to_string(line) + ": " + error.message() +
                                            "; remove the line, and its trial runs again");
    }
    begin = end + 1;
  }
  return results;
}

std::map<std::string, TrialRecord> ReadResults(const std::filesystem::path& path) {
  return ParseResults(TextOf(path), path.string());
}

const TrialRecord* KeptResults::Find(const std::string& id) const {
  const auto found = results_.find(id);
  return found == results_.end() ? nullptr : &found->second;
}

void KeptResults::Add(const std::string& id, TrialRecord record) {
  Write(id, record);
  results_.insert_or_assign(id, std::move(record));
}

ResultLog::ResultLog(std::filesystem::path path) : path_(std::move(path)) {
  fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd_ < 0) ThrowErrno("open", path_);
  try {
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      throw Error(ErrorCode::kFailedPrecondition,
                  path_.parent_path().string() + ": another process is running this study");
    }
    const std::string text = TextOf(path_);
    const std::string_view whole = WholeLines(text);
    results_ = ParseResults(whole, path_.string());
    if (whole.size() < text.size() && ::ftruncate(fd_, static_cast<off_t>(whole.size())) != 0) {
      ThrowErrno("cut", path_);
    }
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

ResultLog::~ResultLog() {
  ::close(fd_);
}

size_t ResultLog::KeepOnly(const std::string& by) {
  return std::erase_if(results_, [&](const auto& one) { return one.second.by != by; });
}

void ResultLog::DropFailed() {
  std::erase_if(results_, [](const auto& one) { return one.second.end == TrialEnd::kFailed; });
}

void ResultLog::Write(const std::string& id, const TrialRecord& record) {
  const std::string line = ToJsonLine(id, record);
  const off_t before = ::lseek(fd_, 0, SEEK_END);
  size_t written = 0;
  while (written < line.size()) {
    const ssize_t n = ::write(fd_, line.data() + written, line.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int cause = errno;
      // A torn line in the middle of the file would be none of the last.
      if (written > 0 && ::ftruncate(fd_, before) != 0) ThrowErrno("cut", path_);
      errno = cause;
      ThrowErrno("write", path_);
    }
    written += static_cast<size_t>(n);
  }
  if (::fdatasync(fd_) != 0) ThrowErrno("sync", path_);
}

}  // namespace syncbn::study
