// Values of messages by reflection: the parts of schema.h that look into a message.
#include <algorithm>
#include <cctype>
#include <cstdio>

#include "base/check.h"
#include "base/text.h"
#include "config/character.h"
#include "config/scalar.h"
#include "config/schema.h"

namespace syncbn::config {

bool Holds(const v1::Condition& condition, const Message& message) {
  const size_t dot = condition.key().find('.');
  const FieldDescriptor* field =
      message.GetDescriptor()->FindFieldByName(condition.key().substr(0, dot));
  SYNCBN_CHECK(field != nullptr) << condition.key();
  if (dot != std::string::npos) {
    v1::Condition below = condition;
    below.set_key(condition.key().substr(dot + 1));
    return Holds(below, message.GetReflection()->GetMessage(message, field));
  }
  if (!HasValue(message, *field)) return false;
  if (condition.values().empty()) return true;
  const auto matches = [&](int index) {
    const std::string text = ValueText(message, *field, index);
    return std::find(condition.values().begin(), condition.values().end(), text) !=
           condition.values().end();
  };
  if (!field->is_repeated()) return matches(-1);
  const int size = message.GetReflection()->FieldSize(message, field);
  for (int i = 0; i < size; ++i) {
    if (matches(i)) return true;
  }
  return false;
}

const v1::Condition* FailingCondition(const Message& message, const FieldDescriptor& field) {
  for (const v1::Condition& condition : RulesOf(field).only_when()) {
    if (!Holds(condition, message)) return &condition;
  }
  return nullptr;
}

bool HasEffect(const Message& message, const FieldDescriptor& field) {
  return FailingCondition(message, field) == nullptr;
}

bool HasValue(const Message& message, const FieldDescriptor& field) {
  const auto& reflection = *message.GetReflection();
  if (field.is_repeated()) {
    return reflection.FieldSize(message, &field) > 0 || !RulesOf(field).default_value().empty();
  }
  if (field.has_presence()) return reflection.HasField(message, &field);
  if (reflection.HasField(message, &field)) return true;  // not zero
  // A zero: a value where a default makes zero one of the possible values.
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM) return false;
  return !RulesOf(field).default_value().empty();
}

namespace {

// The shortest text that reads back as the same number, in a form that every reader of YAML takes
// for one: YAML 1.1 wants a point before an exponent (1e-05 is a text to PyYAML).
std::string NumberText(double value) {
  std::string text = FormatDouble(value);
  const size_t exponent = text.find('e');
  if (exponent != std::string::npos && text.find('.') == std::string::npos) {
    text.insert(exponent, ".0");
  }
  return text;
}

}  // namespace

std::string ValueText(const Message& message, const FieldDescriptor& field, int index) {
  const auto& r = *message.GetReflection();
  const bool at = field.is_repeated();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return (at ? r.GetRepeatedBool(message, &field, index) : r.GetBool(message, &field))
                 ? "true"
                 : "false";
    case FieldDescriptor::CPPTYPE_INT32:
      return std::to_string(at ? r.GetRepeatedInt32(message, &field, index)
                               : r.GetInt32(message, &field));
    case FieldDescriptor::CPPTYPE_INT64:
      return std::to_string(at ? r.GetRepeatedInt64(message, &field, index)
                               : r.GetInt64(message, &field));
    case FieldDescriptor::CPPTYPE_UINT32:
      return std::to_string(at ? r.GetRepeatedUInt32(message, &field, index)
                               : r.GetUInt32(message, &field));
    case FieldDescriptor::CPPTYPE_UINT64:
      return std::to_string(at ? r.GetRepeatedUInt64(message, &field, index)
                               : r.GetUInt64(message, &field));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return NumberText(at ? r.GetRepeatedFloat(message, &field, index)
                           : r.GetFloat(message, &field));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return NumberText(at ? r.GetRepeatedDouble(message, &field, index)
                           : r.GetDouble(message, &field));
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumText(
          *(at ? r.GetRepeatedEnum(message, &field, index) : r.GetEnum(message, &field)));
    case FieldDescriptor::CPPTYPE_STRING:
      return at ? r.GetRepeatedString(message, &field, index) : r.GetString(message, &field);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      break;
  }
  SYNCBN_CHECK(false) << field.full_name() << " is no scalar";
  return "";
}

std::string FieldText(const Message& message, const FieldDescriptor& field) {
  const bool quote = field.cpp_type() == FieldDescriptor::CPPTYPE_STRING;
  const auto text = [&](int index) {
    const std::string value = ValueText(message, field, index);
    return quote ? QuoteText(value) : value;
  };
  if (!field.is_repeated()) return text(-1);
  const int size = message.GetReflection()->FieldSize(message, &field);
  std::vector<std::string> values;
  for (int i = 0; i < size; ++i) values.push_back(text(i));
  const bool equal = std::all_of(values.begin(), values.end(),
                                 [&](const std::string& value) { return value == values.front(); });
  if (size > 0 && equal && !RulesOf(field).count_from().empty()) return values.front();
  return "[" + Join(values, ", ") + "]";
}

std::string QuoteText(std::string_view text) {
  const auto safe = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '/' || c == '.';
  };
  const bool plain =
      !text.empty() && std::all_of(text.begin(), text.end(), safe) &&
      (std::isalpha(static_cast<unsigned char>(text.front())) != 0 || text.front() == '/') &&
      !ReadsAsOtherThanText(text);
  if (plain) return std::string(text);
  std::string quoted = "\"";
  for (size_t i = 0; i < text.size();) {
    // A message's text is UTF-8.
    const std::string_view c =
        text.substr(i, std::max<size_t>(1, Utf8CharacterLength(text.substr(i))));
    const char32_t code = CodePoint(c);
    if (c == "\"" || c == "\\") quoted += '\\';
    // What nobody sees, and what readers of YAML refuse or take for the end of the line.
    if (IsControl(code) || InvisibleName(code) != nullptr) {
      char escape[16];
      std::snprintf(escape, sizeof escape, code < 0x100 ? "\\x%02x" : "\\u%04x",
                    static_cast<unsigned>(code));
      quoted += escape;
    } else {
      quoted += c;
    }
    i += c.size();
  }
  return quoted + "\"";
}

}  // namespace syncbn::config
