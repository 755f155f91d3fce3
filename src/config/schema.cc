#include "config/schema.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "base/check.h"
#include "base/text.h"

namespace syncbn::config {
namespace {

// "NormKind" -> "NORM_KIND_"
std::string EnumPrefix(const EnumDescriptor& type) {
  std::string prefix;
  for (char c : type.name()) {
    if (std::isupper(static_cast<unsigned char>(c)) != 0 && !prefix.empty()) prefix += '_';
    prefix += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return prefix + "_";
}

std::vector<std::string> InTicks(std::vector<std::string> words) {
  for (std::string& word : words) word = "`" + word + "`";
  return words;
}

// More words than these do not fit into a sentence.
constexpr size_t kMostWords = 7;

std::string OneOf(const std::vector<std::string>& words) {
  if (words.size() > kMostWords) return "one of " + std::to_string(words.size()) + " words";
  const std::string text = JoinAlternatives(InTicks(words));
  return words.size() > 2 ? "one of " + text : text;
}

std::vector<std::string> WordsOf(const FieldDescriptor& field) {
  if (field.enum_type() != nullptr) return EnumTexts(*field.enum_type());
  const auto& texts = RulesOf(field).one_of();
  return {texts.begin(), texts.end()};
}

// Limits of the field's type where no rule is narrower and people could reach them.
std::string NumberText(const FieldDescriptor& field) {
  const bool whole = field.cpp_type() != FieldDescriptor::CPPTYPE_DOUBLE &&
                     field.cpp_type() != FieldDescriptor::CPPTYPE_FLOAT;
  std::string text = whole ? "a whole number" : "a number";
  std::string range = RangeText(field);
  const bool is_unsigned = field.cpp_type() == FieldDescriptor::CPPTYPE_UINT64 ||
                           field.cpp_type() == FieldDescriptor::CPPTYPE_UINT32;
  if (range.empty() && is_unsigned) range = "of at least 0";
  if (!range.empty()) text += " " + range;
  return text;
}

}  // namespace

const v1::FieldRules& RulesOf(const FieldDescriptor& field) {
  return field.options().GetExtension(v1::rules);
}

const v1::ShapeRules& ShapeOf(const FieldDescriptor& field) {
  return field.options().GetExtension(v1::shape);
}

const v1::MessageRules& FormOf(const Descriptor& type) {
  return type.options().GetExtension(v1::form);
}

bool IsRequired(const OneofDescriptor& oneof) {
  return oneof.options().GetExtension(v1::choice).required();
}

bool IsMessage(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
}

bool HasRequiredFields(const Descriptor& type) {
  for (int i = 0; i < type.field_count(); ++i) {
    if (RulesOf(*type.field(i)).required()) return true;
  }
  return false;
}

std::string EnumText(const EnumValueDescriptor& value) {
  if (value.number() == 0) return "";
  const std::string prefix = EnumPrefix(*value.type());
  SYNCBN_CHECK(value.name().starts_with(prefix)) << value.full_name();
  std::string text = value.name().substr(prefix.size());
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::vector<std::string> EnumTexts(const EnumDescriptor& type) {
  std::vector<std::string> texts;
  for (int i = 0; i < type.value_count(); ++i) {
    if (type.value(i)->number() != 0) texts.push_back(EnumText(*type.value(i)));
  }
  return texts;
}

const EnumValueDescriptor* FindEnumValue(const EnumDescriptor& type, std::string_view text) {
  for (int i = 0; i < type.value_count(); ++i) {
    if (type.value(i)->number() != 0 && EnumText(*type.value(i)) == text) return type.value(i);
  }
  return nullptr;
}

std::string JoinPath(std::string_view parent, std::string_view key) {
  return parent.empty() ? std::string(key) : std::string(parent) + "." + std::string(key);
}

std::vector<std::string> KeysOf(const Descriptor& type) {
  std::vector<std::string> keys;
  for (int i = 0; i < type.field_count(); ++i) keys.push_back(type.field(i)->name());
  return keys;
}

const OneofDescriptor* OneofOf(const FieldDescriptor& field) {
  return field.real_containing_oneof();
}

std::string RangeText(const FieldDescriptor& field) {
  const v1::FieldRules& rules = RulesOf(field);
  const std::string above = rules.has_min_exclusive() ? FormatDouble(rules.min_exclusive()) : "";
  const std::string below = rules.has_max_exclusive() ? FormatDouble(rules.max_exclusive()) : "";
  const auto whole = [](double value) {  // 1048576, not 1.048576e+06
    return value == std::floor(value) && std::fabs(value) < 1e15
               ? std::to_string(static_cast<long long>(value))
               : FormatDouble(value);
  };
  const std::string from = rules.has_min() ? whole(rules.min()) : "";
  const std::string to = rules.has_max() ? whole(rules.max()) : "";
  if (!from.empty() && !to.empty()) return "from " + from + " to " + to;
  if (!from.empty() && !below.empty()) return "from " + from + " to below " + below;
  if (!above.empty() && !to.empty()) return "above " + above + " and at most " + to;
  if (!above.empty() && !below.empty()) return "between " + above + " and " + below;
  if (!from.empty()) return "of at least " + from;
  if (!above.empty()) return "above " + above;
  if (!to.empty()) return "of at most " + to;
  if (!below.empty()) return "below " + below;
  return "";
}

std::string ExpectedValue(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return "`true` or `false`";
    case FieldDescriptor::CPPTYPE_ENUM:
      return OneOf(WordsOf(field));
    case FieldDescriptor::CPPTYPE_STRING:
      if (ShapeOf(field).any_value()) return "a value";
      return RulesOf(field).one_of().empty() ? "text" : OneOf(WordsOf(field));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return ExpectedMessage(*field.message_type());
    default:
      return NumberText(field);
  }
}

std::string ExpectedField(const FieldDescriptor& field) {
  if (!field.is_repeated()) return ExpectedValue(field);
  if (ShapeOf(field).mapping_form()) return "a mapping";
  if (IsMessage(field)) return "a list";
  const std::string list = "a list, each " + ExpectedValue(field);
  return RulesOf(field).scalar_form() ? ExpectedValue(field) + ", or a list of them" : list;
}

std::string ExpectedMessage(const Descriptor& type) {
  std::vector<std::string> forms;
  for (const std::string& name : FormOf(type).shorthand()) {
    const FieldDescriptor* field = type.FindFieldByName(name);
    forms.push_back(field != nullptr ? ExpectedField(*field) : "one of its keys");
  }
  forms.push_back(type.field_count() == 0 ? "nothing (it has no settings)" : "a mapping");
  return Join(forms, ", or ");
}

std::string KeysHint(const Descriptor& type) {
  if (type.field_count() == 0) return "There are no keys here.";
  return "Keys here: " + Join(KeysOf(type), ", ") + ".";
}

std::string ExpectedHint(const FieldDescriptor& field) {
  if (IsMessage(field)) return KeysHint(*field.message_type());
  const std::vector<std::string> words = WordsOf(field);
  return words.size() > kMostWords ? "Words here: " + Join(words, ", ") + "." : "";
}

}  // namespace syncbn::config
