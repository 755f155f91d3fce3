#include "app/client_text.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/util/json_util.h>

#include <array>
#include <charconv>
#include <cmath>
#include <ctime>
#include <nlohmann/json.hpp>
#include <vector>

#include "app/console.h"
#include "base/error.h"
#include "base/printable.h"
#include "base/text.h"

namespace syncbn::app {
namespace {

bool AllDigits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

std::string Local(WallTime time, const char* format) {
  const auto seconds = static_cast<std::time_t>(
      std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count());
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  std::array<char, 64> text{};
  return std::string(text.data(), std::strftime(text.data(), text.size(), format, &parts));
}

// What a message is about, by its own name: "jobs/17".
std::string NameOf(const google::protobuf::Message& message) {
  for (const char* name : {"name", "job", "path"}) {
    const auto* field = message.GetDescriptor()->FindFieldByName(name);
    if (field == nullptr || field->is_repeated()) continue;
    if (field->type() == google::protobuf::FieldDescriptor::TYPE_STRING)
      return OneLine(message.GetReflection()->GetString(message, field));
    if (field->type() == google::protobuf::FieldDescriptor::TYPE_MESSAGE)
      return NameOf(message.GetReflection()->GetMessage(message, field));
  }
  for (const char* name : {"snapshot", "change"}) {
    const auto* field = message.GetDescriptor()->FindFieldByName(name);
    if (field != nullptr && message.GetReflection()->HasField(message, field))
      return NameOf(message.GetReflection()->GetMessage(message, field));
  }
  return "a " + message.GetDescriptor()->name();
}

// "17" or "jobs/17" as "jobs/17".
std::string ResourceNameOf(std::string_view text, const std::string& kind, std::string_view prefix,
                           const std::string& example, const std::string& list) {
  std::string_view digits = text;
  if (digits.starts_with(prefix)) digits.remove_prefix(prefix.size());
  // They begin with 1.
  if (AllDigits(digits) &&
      (digits.size() > 18 || digits.find_first_not_of('0') == std::string_view::npos))
    throw Error(ErrorCode::kNotFound, "there is no " + kind + " " + std::string(text));
  if (!AllDigits(digits)) {
    throw Error(ErrorCode::kInvalidArgument, "\"" + std::string(text) + "\" is not a " + kind +
                                                 ": write its number, as in " + example + " or " +
                                                 std::string(prefix) + example + " ('" + list +
                                                 "' lists them)");
  }
  return std::string(prefix) + std::string(digits);
}

}  // namespace

std::string JobNameOf(std::string_view text) {
  return ResourceNameOf(text, "job", "jobs/", "17", "syncbn jobs");
}

std::string StudyNameOf(std::string_view text) {
  return ResourceNameOf(text, "study", "studies/", "3", "syncbn study list");
}

std::string LastPart(std::string_view name) {
  return std::string(name.substr(name.rfind('/') + 1));
}

std::chrono::seconds ParseDuration(std::string_view text, std::string_view option,
                                   std::chrono::seconds most) {
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorCode::kInvalidArgument,
                std::string(option) + ": \"" + std::string(text) + "\" is " + why);
  };
  const auto fail = [&] { refuse("not a time: write 45s, 30m, 2h, 1d, or 1h30m"); };
  double total = 0;
  std::string_view rest = text;
  if (rest.empty()) fail();
  while (!rest.empty()) {
    const size_t length = std::min(rest.find_first_not_of("0123456789."), rest.size());
    double number = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + length, number);
    if (length == 0 || error == std::errc::invalid_argument || end != rest.data() + length) fail();
    // One that no double holds: what from_chars leaves then says nothing.
    if (error != std::errc()) number = HUGE_VAL;
    rest.remove_prefix(length);
    double unit = 1;
    if (rest.empty()) {
      if (length != text.size()) fail();
    } else {
      switch (rest.front()) {
        case 's': unit = 1; break;
        case 'm': unit = 60; break;
        case 'h': unit = 3600; break;
        case 'd': unit = 86400; break;
        default: fail();
      }
      rest.remove_prefix(1);
    }
    total += number * unit;
  }
  const std::string range =
      ": from 1s to " + std::to_string(most / std::chrono::days(1)) + "d are allowed";
  if (total < 1) refuse("too short" + range);
  if (total > static_cast<double>(most.count())) refuse("too long" + range);
  return std::chrono::seconds(std::llround(total));
}

std::pair<std::string, std::string> ParsePair(const std::string& text, std::string_view option) {
  const size_t equal = text.find('=');
  if (equal == std::string::npos || equal == 0) {
    throw Error(ErrorCode::kInvalidArgument,
                std::string(option) + ": expected KEY=VALUE, found \"" + text + "\"");
  }
  return {text.substr(0, equal), text.substr(equal + 1)};
}

google::protobuf::Map<std::string, std::string> ParseLabels(
    const std::vector<std::string>& labels) {
  google::protobuf::Map<std::string, std::string> parsed;
  for (const std::string& label : labels) {
    const auto [key, value] = ParsePair(label, "--label");
    if (!parsed.insert({key, value}).second) {
      throw Error(ErrorCode::kInvalidArgument, "--label: \"" + key + "\" is given twice");
    }
  }
  return parsed;
}

WallTime TimeOf(const google::protobuf::Timestamp& time) {
  return WallTime(std::chrono::seconds(time.seconds()) +
                  std::chrono::microseconds(time.nanos() / 1000));
}

double SecondsOf(const google::protobuf::Duration& duration) {
  return static_cast<double>(duration.seconds()) + 1e-9 * duration.nanos();
}

std::string RoughDuration(double seconds) {
  const double s = std::max(0.0, seconds);
  if (s < 59.5) return Format("%.0f s", s);
  if (s < 3570) return Format("%.0f min", s / 60);
  if (s < 36 * 3600) return Format("%.0f h", s / 3600);
  return Format("%.0f days", s / 86400);
}

std::string Ago(const google::protobuf::Timestamp& time, WallTime now) {
  const double seconds = std::chrono::duration<double>(now - TimeOf(time)).count();
  // Clocks of two machines differ a little: what is just ahead is now.
  if (seconds < -2) return "in " + RoughDuration(-seconds);
  return RoughDuration(seconds) + " ago";
}

std::string In(const google::protobuf::Timestamp& time, WallTime now) {
  const double seconds = std::chrono::duration<double>(TimeOf(time) - now).count();
  return seconds < 0.5 ? "now" : "in " + RoughDuration(seconds);
}

std::string LocalTime(const google::protobuf::Timestamp& time) {
  return Local(TimeOf(time), "%Y-%m-%d %H:%M:%S %Z");
}

std::string LocalClock(WallTime time) {
  return Local(time, "%H:%M:%S");
}

std::string Thousands(int64_t value) {
  std::string text = std::to_string(value);
  const size_t first = value < 0 ? 1 : 0;
  for (size_t at = text.size(); at > first + 3; at -= 3) text.insert(at - 3, 1, ',');
  return text;
}

std::string Bytes(int64_t value) {
  if (value < 1024) return Format("%lld B", static_cast<long long>(value));
  double amount = static_cast<double>(value);
  for (const char* unit : {"KiB", "MiB", "GiB"}) {
    amount /= 1024;
    if (amount < 1024) return Format("%.1f %s", amount, unit);
  }
  return Format("%.1f TiB", amount / 1024);
}

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using Json = nlohmann::ordered_json;

void MendNumbers(const Message& message, Json& json);

// Protobuf writes as texts what JSON has no number for (not finite) and what JavaScript has none for
// (64 bits); a reader expects numbers.
void MendNumber(const FieldDescriptor& field, Json& value) {
  if (!value.is_string()) return;
  const std::string text = value.get<std::string>();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_FLOAT:
    case FieldDescriptor::CPPTYPE_DOUBLE: value = nullptr; break;
    case FieldDescriptor::CPPTYPE_INT64: value = std::stoll(text); break;
    case FieldDescriptor::CPPTYPE_UINT64: value = std::stoull(text); break;
    default: break;
  }
}

void MendField(const Message& message, const FieldDescriptor& field, Json& value) {
  const auto& reflection = *message.GetReflection();
  const bool is_message = field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
  if (field.is_map()) {
    // Of messages there are no maps.
    const FieldDescriptor& type = *field.message_type()->FindFieldByName("value");
    for (Json& element : value) MendNumber(type, element);
  } else if (!field.is_repeated()) {
    if (!is_message) return MendNumber(field, value);
    MendNumbers(reflection.GetMessage(message, &field), value);
  } else {
    for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
      Json& element = value.at(static_cast<size_t>(i));
      if (is_message)
        MendNumbers(reflection.GetRepeatedMessage(message, &field, i), element);
      else
        MendNumber(field, element);
    }
  }
}

void MendNumbers(const Message& message, Json& json) {
  // Timestamps and durations are texts.
  if (!json.is_object()) return;
  const auto& descriptor = *message.GetDescriptor();
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor& field = *descriptor.field(i);
    const auto value = json.find(field.name());
    if (value != json.end()) MendField(message, field, *value);
  }
}

}  // namespace

Json JsonOf(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(message, &text, options);
  if (!status.ok()) {
    throw Error(ErrorCode::kDataLoss, "the coordinator's answer about " + NameOf(message) +
                                          " cannot be shown as JSON: " + status.ToString());
  }
  Json json = Json::parse(text);
  MendNumbers(message, json);
  return json;
}

std::string JsonLine(const google::protobuf::Message& message) {
  return PrintableJson(JsonOf(message).dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace syncbn::app
