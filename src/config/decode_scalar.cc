// One scalar node -> one value of a field.
#include <cmath>
#include <limits>
#include <optional>

#include "base/check.h"
#include "base/text.h"
#include "config/decoder.h"
#include "config/scalar.h"

namespace syncbn::config {
namespace {

bool InRange(const v1::FieldRules& rules, double value) {
  return !(rules.has_min() && value < rules.min()) && !(rules.has_max() && value > rules.max()) &&
         !(rules.has_min_exclusive() && value <= rules.min_exclusive()) &&
         !(rules.has_max_exclusive() && value >= rules.max_exclusive());
}

// A place for one value: a field, an element of it, or its end.
struct Slot {
  Message& message;
  const FieldDescriptor& field;
  int index;

  // set_*, set_repeated_* and add_* of the reflection interface, as the slot needs.
  template <typename Value, typename Set, typename SetRepeated, typename Add>
  void Put(const Value& value, Set set, SetRepeated set_repeated, Add add) const {
    const google::protobuf::Reflection* r = message.GetReflection();
    if (!field.is_repeated()) {
      (r->*set)(&message, &field, value);
    } else if (index >= 0) {
      (r->*set_repeated)(&message, &field, index, value);
    } else {
      (r->*add)(&message, &field, value);
    }
  }
};

struct Outcome {
  bool ok = false;
  std::string hint;
  // The word that was probably meant.
  std::string meant;
};

template <typename Integer, typename Wide, typename... Setters>
Outcome PutInteger(const Parsed<Wide>& parsed, const Slot& slot, Setters... setters) {
  if (!parsed.value) return {.ok = false, .hint = parsed.hint, .meant = ""};
  const Wide value = *parsed.value;
  if (value < static_cast<Wide>(std::numeric_limits<Integer>::min()) ||
      value > static_cast<Wide>(std::numeric_limits<Integer>::max())) {
    return {.ok = false, .hint = "The number is too large in size.", .meant = ""};
  }
  if (!InRange(RulesOf(slot.field), static_cast<double>(value))) return {};
  slot.Put(static_cast<Integer>(value), setters...);
  return {.ok = true, .hint = "", .meant = ""};
}

Outcome PutText(const YamlNode& node, const Slot& slot) {
  using R = google::protobuf::Reflection;
  const auto& texts = RulesOf(slot.field).one_of();
  if (!texts.empty()) {
    bool known = false;
    for (const std::string& text : texts) known = known || text == node.text;
    if (!known) {
      const std::vector<std::string> all(texts.begin(), texts.end());
      return {.ok = false, .hint = "", .meant = std::string(NearestWord(node.text, all))};
    }
  } else if (!node.quoted && (node.text == "true" || node.text == "false" ||
                              ParseNumber(node.text).value || ParseWhole(node.text).value)) {
    return {.ok = false,
            .hint = "If text is meant, put it in quotation marks: \"" + node.text + "\".",
            .meant = ""};
  }
  slot.Put(node.text, &R::SetString, &R::SetRepeatedString, &R::AddString);
  return {.ok = true, .hint = "", .meant = ""};
}

Outcome PutEnum(const YamlNode& node, const Slot& slot) {
  using R = google::protobuf::Reflection;
  const EnumDescriptor& type = *slot.field.enum_type();
  if (const EnumValueDescriptor* value = FindEnumValue(type, node.text)) {
    slot.Put(value, &R::SetEnum, &R::SetRepeatedEnum, &R::AddEnum);
    return {.ok = true, .hint = "", .meant = ""};
  }
  std::string lower = node.text;
  for (char& c : lower) {
    c = c == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  const std::vector<std::string> texts = EnumTexts(type);
  return {.ok = false, .hint = "", .meant = std::string(NearestWord(lower, texts))};
}

Outcome PutScalar(const YamlNode& node, const Slot& slot) {
  using R = google::protobuf::Reflection;
  const std::string& text = node.text;
  switch (slot.field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return PutText(node, slot);
    case FieldDescriptor::CPPTYPE_ENUM:
      return PutEnum(node, slot);
    default:
      break;
  }
  if (node.quoted) return {.ok = false, .hint = "Remove the quotation marks.", .meant = ""};
  switch (slot.field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL: {
      const Parsed<bool> parsed = ParseBool(text);
      if (!parsed.value) return {.ok = false, .hint = parsed.hint, .meant = ""};
      slot.Put(*parsed.value, &R::SetBool, &R::SetRepeatedBool, &R::AddBool);
      return {.ok = true, .hint = "", .meant = ""};
    }
    case FieldDescriptor::CPPTYPE_INT32:
      return PutInteger<int32_t>(ParseWhole(text), slot, &R::SetInt32, &R::SetRepeatedInt32,
                                 &R::AddInt32);
    case FieldDescriptor::CPPTYPE_INT64:
      return PutInteger<int64_t>(ParseWhole(text), slot, &R::SetInt64, &R::SetRepeatedInt64,
                                 &R::AddInt64);
    case FieldDescriptor::CPPTYPE_UINT32:
      return PutInteger<uint32_t>(ParseUnsigned(text), slot, &R::SetUInt32, &R::SetRepeatedUInt32,
                                  &R::AddUInt32);
    case FieldDescriptor::CPPTYPE_UINT64:
      return PutInteger<uint64_t>(ParseUnsigned(text), slot, &R::SetUInt64, &R::SetRepeatedUInt64,
                                  &R::AddUInt64);
    case FieldDescriptor::CPPTYPE_DOUBLE: {
      const Parsed<double> parsed = ParseNumber(text);
      if (!parsed.value) return {.ok = false, .hint = parsed.hint, .meant = ""};
      if (!InRange(RulesOf(slot.field), *parsed.value)) return {};
      slot.Put(*parsed.value, &R::SetDouble, &R::SetRepeatedDouble, &R::AddDouble);
      return {.ok = true, .hint = "", .meant = ""};
    }
    default:
      break;
  }
  SYNCBN_CHECK(false) << slot.field.full_name() << ": this type is not used in settings";
  return {};
}

}  // namespace

bool DecodeScalar(const YamlNode& node, Message& message, const FieldDescriptor& field, int index,
                  const std::string& path, DecodeState& state) {
  if (node.kind == YamlNode::Kind::kDamaged) {
    state.origins.MarkFailed(path);
    return false;
  }
  Outcome outcome;
  if (ShapeOf(field).any_value() && node.kind != YamlNode::Kind::kNull) {
    outcome = PutText({.text = FlowText(node), .quoted = true},
                      {.message = message, .field = field, .index = index});
  } else if (node.kind == YamlNode::Kind::kScalar) {
    outcome = PutScalar(node, {.message = message, .field = field, .index = index});
  } else if (node.kind == YamlNode::Kind::kNull && index < 0) {
    outcome.hint = state.kind == Origin::Kind::kSet
                       ? "Give a value."
                       : "Give a value, or remove the key to keep its default.";
  }
  if (outcome.ok) return true;
  std::string expected = ExpectedValue(field);
  if (!RulesOf(field).unit().empty() && expected.starts_with("a ") &&
      RulesOf(field).unit().size() > 1) {
    // "a whole number from 1 to 64 (pixels)"
    expected += " (" + RulesOf(field).unit() + ")";
  }
  std::string text = "expected " + expected + ", found " + DescribeNode(node);
  if (!outcome.meant.empty()) text += "; did you mean `" + outcome.meant + "`?";
  if (outcome.hint.empty()) outcome.hint = ExpectedHint(field);
  state.Fail(node.location, path, std::move(text), outcome.hint);
  return false;
}

}  // namespace syncbn::config
