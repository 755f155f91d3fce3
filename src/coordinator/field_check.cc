#include "coordinator/field_check.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <string_view>

#include "base/text.h"
#include "coordinator/api_error.h"

namespace syncbn::coordinator {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr int64_t kMostWhole = int64_t{1} << 53;
constexpr double kMostNumber = 1e15;
constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
// 9999-12-31T23:59:59Z, where RFC 3339 ends.
constexpr int64_t kLastSecond = 253'402'300'799;
constexpr int64_t kMostSeconds = int64_t{100} * 366 * 86400;
constexpr int64_t kNanos = 1'000'000'000;
// More than any worker could have lost.
constexpr int64_t kMostPoints = int64_t{1} << 40;

struct Limits {
  int64_t least = 0, most = kMostWhole;  // of a whole number
  int64_t bytes = 16 * 1024;             // of a text
  int64_t entries = 1024;                // of a list
};

struct Rule {
  std::string_view field;  // full name
  Limits limits;
};

// What differs from the usual. A message's own name: bytes of all of it.
constexpr Rule kRules[] = {
    // A run file has a limit of its own, which says more (submission.h).
    {"syncbn.v1.Job.run_file", {.bytes = kNone}},
    {"syncbn.v1.Job.effective_run_file", {.bytes = kNone}},
    // So have variables, of which all faults are said at once.
    {"syncbn.v1.Job.environment", {.entries = kNone}},
    {"syncbn.v1.Job.EnvironmentEntry.key", {.bytes = kNone}},
    {"syncbn.v1.Job.EnvironmentEntry.value", {.bytes = kNone}},
    // As a run file.
    {"syncbn.v1.Study.study_file", {.bytes = kNone}},
    {"syncbn.v1.Study.run_file", {.bytes = kNone}},
    {"syncbn.v1.Resources", {.bytes = 64 * 1024}},
    {"syncbn.v1.Resources.priority", {.least = -kMostWhole}},
    {"syncbn.v1.Failure.exit_code", {.least = -kMostWhole}},
    {"syncbn.v1.QueryMetricsRequest.first_step", {.least = -kMostWhole}},
    {"syncbn.v1.QueryMetricsRequest.last_step", {.least = -kMostWhole}},
    {"syncbn.v1.ReadLogRequest.offset", {.least = -kMostWhole}},
    {"syncbn.v1.FollowLogRequest.offset", {.least = -kMostWhole}},
    {"syncbn.v1.RegisterRequest.version", {.bytes = 255}},
    {"syncbn.v1.HeartbeatRequest.spooled_points", {.most = kMostPoints}},
    {"syncbn.v1.HeartbeatRequest.lost_points", {.most = kMostPoints}},
    {"syncbn.v1.MetricBatch.names", {.bytes = kNone, .entries = kNone}},
    {"syncbn.v1.MetricBatch.name_index", {.entries = kNone}},
    {"syncbn.v1.MetricBatch.step", {.entries = kNone}},
    {"syncbn.v1.MetricBatch.value", {.entries = kNone}},
    {"syncbn.v1.MetricBatch.time_us", {.most = kLastSecond * 1'000'000, .entries = kNone}},
    {"syncbn.v1.MetricBatch.first_sequence", {.least = -kMostWhole, .most = kMostPoints}},
    {"syncbn.v1.MetricBatch.lost_before", {.least = -kMostWhole, .most = kMostPoints}},
    {"syncbn.v1.RankExit", {.bytes = 64 * 1024}},
    {"syncbn.v1.RankExit.error_code", {.bytes = 64}},
    {"syncbn.v1.RankExit.frames", {.entries = 64}},
    {"syncbn.v1.RankExit.missing_ranks", {.entries = 16 * 1024}},
    {"syncbn.v1.RankExit.lost_points", {.most = kMostPoints}},
    {"syncbn.v1.RankExit.last_sequence", {.most = kMostPoints}},
    {"syncbn.v1.RankExit.host", {.bytes = 255}},
    {"syncbn.v1.RankExit.digest", {.bytes = 255}},
};

// Numbers that may be infinite or none.
constexpr std::string_view kAnyNumber = "syncbn.v1.MetricBatch.value";

const Limits* Find(std::string_view name) {
  const Rule* found = std::find_if(std::begin(kRules), std::end(kRules),
                                   [&](const Rule& rule) { return rule.field == name; });
  return found == std::end(kRules) ? nullptr : &found->limits;
}

Limits LimitsOf(const FieldDescriptor& field) {
  const Limits* found = Find(field.full_name());
  return found == nullptr ? Limits() : *found;
}

[[noreturn]] void Refuse(const std::string& path, const std::string& what) {
  ThrowFieldInvalid(path, path + " " + what);
}

void CheckWhole(const std::string& path, int64_t value, const Limits& limits) {
  if (value >= limits.least && value <= limits.most) return;
  Refuse(path, "is " + std::to_string(value) + "; it can be " + std::to_string(limits.least) +
                   " to " + std::to_string(limits.most));
}

void CheckSize(const std::string& path, size_t bytes, int64_t most) {
  if (static_cast<int64_t>(bytes) <= most) return;
  Refuse(path, "has " + std::to_string(bytes) + " bytes; at most " + std::to_string(most) +
                   " are allowed");
}

// A time or a duration: seconds and the part of one.
void CheckTime(const std::string& path, int64_t seconds, int nanos, int64_t most,
               const std::string& range) {
  if (seconds >= 0 && seconds <= most && nanos >= 0 && nanos < kNanos) return;
  Refuse(path, "has " + std::to_string(seconds) + " seconds and " + std::to_string(nanos) +
                   " nanoseconds; it can be " + range + ", and 0 to 999999999 nanoseconds");
}

// `read` is the function of Reflection that reads this field, or this element of it.
template <typename Value, typename Repeated, typename Use>
void ForEach(const Message& message, const FieldDescriptor& field, Value value, Repeated repeated,
             const Use& use) {
  const Reflection& reflection = *message.GetReflection();
  if (!field.is_repeated()) return use((reflection.*value)(message, &field));
  const int count = reflection.FieldSize(message, &field);
  for (int i = 0; i < count; ++i) use((reflection.*repeated)(message, &field, i));
}

void CheckMessage(const Message& message, const std::string& path);

void CheckField(const Message& message, const FieldDescriptor& field, const std::string& path) {
  const Reflection& reflection = *message.GetReflection();
  Limits limits = LimitsOf(field);
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_INT32)
    limits.most = std::min<int64_t>(limits.most, std::numeric_limits<int32_t>::max());
  if (field.is_repeated()) {
    const int count = reflection.FieldSize(message, &field);
    if (count > limits.entries) {
      Refuse(path, "has " + std::to_string(count) + " entries; at most " +
                       std::to_string(limits.entries) + " are allowed");
    }
  }
  const auto whole = [&](auto value) { CheckWhole(path, static_cast<int64_t>(value), limits); };
  const auto number = [&](double value) {
    if (field.full_name() == kAnyNumber) return;
    if (value >= 0 && value <= kMostNumber) return;
    Refuse(path, "is " + FormatDouble(value) + "; it can be 0 to 1e15");
  };
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return ForEach(message, field, &Reflection::GetInt32, &Reflection::GetRepeatedInt32, whole);
    case FieldDescriptor::CPPTYPE_INT64:
      return ForEach(message, field, &Reflection::GetInt64, &Reflection::GetRepeatedInt64, whole);
    case FieldDescriptor::CPPTYPE_UINT32:
      return ForEach(message, field, &Reflection::GetUInt32, &Reflection::GetRepeatedUInt32, whole);
    case FieldDescriptor::CPPTYPE_UINT64:
      return ForEach(message, field, &Reflection::GetUInt64, &Reflection::GetRepeatedUInt64,
                     // Half of them are below 0 as the other type has it.
                     [&](uint64_t value) {
                       whole(std::min<uint64_t>(value, std::numeric_limits<int64_t>::max()));
                     });
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return ForEach(message, field, &Reflection::GetDouble, &Reflection::GetRepeatedDouble,
                     number);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return ForEach(message, field, &Reflection::GetFloat, &Reflection::GetRepeatedFloat, number);
    case FieldDescriptor::CPPTYPE_BOOL:
      return;
    case FieldDescriptor::CPPTYPE_ENUM:
      return ForEach(message, field, &Reflection::GetEnumValue, &Reflection::GetRepeatedEnumValue,
                     [&](int value) {
                       if (field.enum_type()->FindValueByNumber(value) != nullptr) return;
                       Refuse(path, "has " + std::to_string(value) + ", which is no " +
                                        field.enum_type()->name() + " that is known here");
                     });
    case FieldDescriptor::CPPTYPE_STRING:
      return ForEach(message, field, &Reflection::GetString, &Reflection::GetRepeatedString,
                     [&](const std::string& text) { CheckSize(path, text.size(), limits.bytes); });
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      const auto check = [&](const Message& one) { CheckMessage(one, path); };
      if (!field.is_repeated()) return check(reflection.GetMessage(message, &field));
      for (int i = 0; i < reflection.FieldSize(message, &field); ++i)
        check(reflection.GetRepeatedMessage(message, &field, i));
      return;
    }
  }
}

void CheckMessage(const Message& message, const std::string& path) {
  const Descriptor& type = *message.GetDescriptor();
  if (type.full_name() == "google.protobuf.Timestamp") {
    const auto& time = static_cast<const google::protobuf::Timestamp&>(message);
    return CheckTime(path, time.seconds(), time.nanos(), kLastSecond,
                     "from 1970 to 9999: 0 to " + std::to_string(kLastSecond) + " seconds");
  }
  if (type.full_name() == "google.protobuf.Duration") {
    const auto& time = static_cast<const google::protobuf::Duration&>(message);
    return CheckTime(path, time.seconds(), time.nanos(), kMostSeconds,
                     "0 to " + std::to_string(kMostSeconds) + " seconds");
  }
  if (const Limits* limits = Find(type.full_name()))
    CheckSize(path, message.ByteSizeLong(), limits->bytes);
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    // The fields of a job or a study are known without what holds it.
    const bool resource = field->full_name() == "syncbn.v1.CreateJobRequest.job" ||
                          field->full_name() == "syncbn.v1.CreateStudyRequest.study";
    // Entries of a map are known by the map.
    const std::string name = resource || type.options().map_entry() ? "" : field->name();
    CheckField(message, *field, path.empty() || name.empty() ? path + name : path + "." + name);
  }
}

}  // namespace

void CheckFields(const Message& message, const std::string& path) {
  CheckMessage(message, path);
}

}  // namespace syncbn::coordinator
