// The schema of a file of settings, as protobuf descriptors with the options of options.proto say
// it.
//
// Pure functions of descriptors and messages; thread-safe.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "syncbn/v1/options.pb.h"
#include "syncbn/v1/shape_options.pb.h"

namespace syncbn::config {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::OneofDescriptor;

const v1::FieldRules& RulesOf(const FieldDescriptor& field);
const v1::ShapeRules& ShapeOf(const FieldDescriptor& field);
const v1::MessageRules& FormOf(const Descriptor& type);
bool IsRequired(const OneofDescriptor& oneof);
bool IsMessage(const FieldDescriptor& field);
// A message with a member per kind and nothing in it, or all defaults: no key must be given.
bool HasRequiredFields(const Descriptor& type);

// NORM_KIND_BATCH of NormKind is "batch"; the value 0 (unspecified) has no text.
std::string EnumText(const EnumValueDescriptor& value);
std::vector<std::string> EnumTexts(const EnumDescriptor& type);
const EnumValueDescriptor* FindEnumValue(const EnumDescriptor& type, std::string_view text);

std::string JoinPath(std::string_view parent, std::string_view key);
// The keys of a message, in order.
std::vector<std::string> KeysOf(const Descriptor& type);
// The real oneof (not the synthetic one of `optional`) that holds the field, or null.
const OneofDescriptor* OneofOf(const FieldDescriptor& field);

// "from 0 to below 1", "above 0", "at least 1"; empty when nothing is ruled.
std::string RangeText(const FieldDescriptor& field);
// What one value of the field must be: "a whole number from 1 to 64", "`true` or `false`", "text",
// "`keep` or `drop`", "a mapping".
std::string ExpectedValue(const FieldDescriptor& field);
// The same for the field as a whole: "a list, each a number above 0".
std::string ExpectedField(const FieldDescriptor& field);
// What may stand where a message is expected: its short forms, or a mapping.
std::string ExpectedMessage(const Descriptor& type);
// "Keys here: replicas, reduction."
std::string KeysHint(const Descriptor& type);
// What ExpectedValue is too short for: the keys of a mapping, or many words. May be empty.
std::string ExpectedHint(const FieldDescriptor& field);

// Whether only_when of the field holds in the message that has it; else the first condition that
// does not.
const v1::Condition* FailingCondition(const Message& message, const FieldDescriptor& field);
bool HasEffect(const Message& message, const FieldDescriptor& field);
bool Holds(const v1::Condition& condition, const Message& message);

// Whether the field has a value that a file would show: what is not given and has no default has
// none, and the one_only fields beside a given one have none.
bool HasValue(const Message& message, const FieldDescriptor& field);
// One value of a scalar field as it stands in YAML; `index` of a repeated field.
std::string ValueText(const Message& message, const FieldDescriptor& field, int index = -1);
// The value of a scalar field, or of a repeated one: "[1, 2]", or "16" for equal elements where a
// single value may be written.
std::string FieldText(const Message& message, const FieldDescriptor& field);
// Text as YAML, in quotation marks where it would be read as something else.
std::string QuoteText(std::string_view text);

// Paths of keys that may have been meant by `word` where the keys of `type` (at `path` below
// `root`) are expected: keys of that message first, then keys elsewhere.
struct KeySuggestion {
  std::string path;
  bool sibling = false;
  // The word is what other programs call the key.
  bool other_name = false;
};
std::vector<KeySuggestion> SuggestKeys(std::string_view word, const Descriptor& type,
                                       std::string_view path, const Descriptor& root);

}  // namespace syncbn::config
