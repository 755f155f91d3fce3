#include "config/explain.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <cctype>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "base/text.h"
#include "config/diagnostic.h"
#include "config/schema.h"
#include "config/schema_comments.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::config {
namespace {

constexpr int kWidth = 100;

// Keeps the schema of the run file in the program when only descriptors by name are used.
const Descriptor& RunSpecType() {
  return *v1::RunSpec::descriptor();
}

// A key and the way to it.
struct Key {
  std::string path;
  const Descriptor* type = nullptr;        // of a mapping, or of the elements of a list of mappings
  const FieldDescriptor* field = nullptr;  // null for the root
  bool result = true;                      // no key above it is marked as not changing the result
};

bool IsIndex(std::string_view segment) {
  return !segment.empty() && std::all_of(segment.begin(), segment.end(),
                                         [](unsigned char c) { return std::isdigit(c) != 0; });
}

Key Resolve(const Descriptor& root, std::string_view path) {
  Key key{.path = "", .type = &root, .field = nullptr, .result = true};
  std::string_view rest = path;
  while (!rest.empty()) {
    const size_t dot = rest.find('.');
    const std::string segment(rest.substr(0, dot));
    rest.remove_prefix(dot == std::string_view::npos ? rest.size() : dot + 1);
    if (IsIndex(segment) && key.field != nullptr && key.field->is_repeated()) continue;
    if (key.type == nullptr) {
      throw Error(ErrorCode::kNotFound,
                  "`" + key.path + "` is a single value; there is no key below it");
    }
    const FieldDescriptor* field = key.type->FindFieldByName(segment);
    if (field == nullptr) {
      std::vector<std::string> meant;
      for (const KeySuggestion& suggestion : SuggestKeys(segment, *key.type, key.path, root)) {
        meant.push_back("`" + suggestion.path + "`");
      }
      throw Error(ErrorCode::kNotFound,
                  "there is no key `" + JoinPath(key.path, segment) + "`" +
                      (meant.empty() ? "" : "; did you mean " + JoinAlternatives(meant) + "?") +
                      "\n" +
                      WrapText("Keys here: " + Join(KeysOf(*key.type), ", ") + ".", kWidth, 0));
    }
    key.path = JoinPath(key.path, segment);
    key.field = field;
    key.type = IsMessage(*field) ? field->message_type() : nullptr;
    key.result = key.result && !RulesOf(*field).not_result();
  }
  return key;
}

std::string TypeText(const FieldDescriptor& field) {
  std::string type;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      type = "true or false";
      break;
    case FieldDescriptor::CPPTYPE_ENUM:
      type = "word";
      break;
    case FieldDescriptor::CPPTYPE_STRING:
      type = ShapeOf(field).any_value()        ? "value"
             : RulesOf(field).one_of().empty() ? "text"
                                               : "word";
      break;
    case FieldDescriptor::CPPTYPE_MESSAGE:
      type = "mapping";
      break;
    case FieldDescriptor::CPPTYPE_DOUBLE:
    case FieldDescriptor::CPPTYPE_FLOAT:
      type = "number";
      break;
    default:
      type = "whole number";
      break;
  }
  if (!field.is_repeated() || ShapeOf(field).mapping_form()) return type;
  const std::string list = "list of " + (type == "mapping" ? "mappings" : type + "s");
  return RulesOf(field).scalar_form() ? type + ", or a " + list : list;
}

std::string ConditionText(const v1::Condition& condition) {
  const std::vector<std::string> values(condition.values().begin(), condition.values().end());
  return values.empty() ? "`" + condition.key() + "` is given"
                        : "`" + condition.key() + "` is " + JoinAlternatives(values);
}

// One line of a table: a name in its column, then text that may wrap.
std::string Row(const std::string& name, const std::string& text, size_t column) {
  std::string first = name;
  first.resize(std::max(column, name.size() + 2), ' ');
  const int indent = static_cast<int>(column);
  std::string wrapped = WrapText(text, kWidth, indent);
  if (first.size() > column) return first.substr(0, name.size()) + "\n" + wrapped + "\n";
  return first + wrapped.substr(column) + "\n";
}

std::string ResultText(const Key& key) {
  if (!key.result) return "no: a run may be resumed with another value";
  const v1::FieldRules& rules = RulesOf(*key.field);
  if (!rules.has_not_result_when()) return "yes: a run is resumed with the same value only";
  return "yes; but a run may be resumed with another value where " +
         ConditionText(rules.not_result_when());
}

std::string DefaultText(const FieldDescriptor& field) {
  const v1::FieldRules& rules = RulesOf(field);
  if (rules.required()) return "none: it must be given";
  if (!rules.default_value().empty()) return rules.default_value();
  if (!rules.default_text().empty()) return rules.default_text();
  if (!rules.inherits().empty()) return "what is left out is taken from " + rules.inherits();
  return "none";
}

std::string AllowedValues(const FieldDescriptor& field) {
  std::string text;
  if (const EnumDescriptor* type = field.enum_type()) {
    const std::vector<std::string> values = EnumTexts(*type);
    size_t column = 0;
    for (const std::string& value : values) column = std::max(column, value.size() + 4);
    for (const std::string& value : values) {
      const std::string comment = SchemaComment(FindEnumValue(*type, value)->full_name());
      text += comment.empty() ? "  " + value + "\n" : Row("  " + value, comment, column);
    }
  } else if (!RulesOf(field).one_of().empty()) {
    const auto& values = RulesOf(field).one_of();
    text = WrapText(Join(std::vector<std::string>(values.begin(), values.end()), ", "), kWidth, 2) +
           "\n";
  }
  return text.empty() ? "" : "\nValues:\n" + text;
}

// What stands beside a key in a list of keys: its default and the first sentence of its comment.
std::string Summary(const FieldDescriptor& field) {
  std::string comment = SchemaComment(field.full_name());
  size_t end = comment.find(". ");
  while (end != std::string::npos && comment.substr(0, end).ends_with(" al")) {  // "et al."
    end = comment.find(". ", end + 1);
  }
  if (end != std::string::npos) comment.resize(end + 1);
  const v1::FieldRules& rules = RulesOf(field);
  if (rules.required()) return comment + " Must be given.";
  if (!rules.default_value().empty()) return comment + " [" + rules.default_value() + "]";
  return comment;
}

std::string KeyList(const Descriptor& type) {
  if (type.field_count() == 0) return "\nIt has no settings.\n";
  size_t column = 0;
  for (const std::string& key : KeysOf(type)) column = std::max(column, key.size() + 4);
  std::string text = "\nKeys [default]:\n";
  for (int i = 0; i < type.field_count(); ++i) {
    text += Row("  " + type.field(i)->name(), Summary(*type.field(i)), column);
  }
  return text;
}

std::string ShortForms(const Descriptor& type) {
  std::vector<std::string> forms;
  for (const std::string& name : FormOf(type).shorthand()) {
    forms.push_back(type.FindOneofByName(name) != nullptr ? "the name of a kind without settings"
                                                          : "its `" + name + "`");
  }
  return JoinAlternatives(forms);
}

std::string ExplainKey(const Key& key, const Descriptor& root) {
  if (key.field == nullptr) {
    return WrapText(SchemaComment(root.full_name()), kWidth, 0) + "\n" + KeyList(root) +
           (&root == &RunSpecType() ? "\nMore about a key: syncbn explain KEY, for example syncbn "
                                      "explain model.norm\n"
                                    : "");
  }
  const FieldDescriptor& field = *key.field;
  const v1::FieldRules& rules = RulesOf(field);
  std::string text = key.path + "\n" + WrapText(SchemaComment(field.full_name()), kWidth, 2) + "\n";
  if (key.type != nullptr) {
    if (const std::string more = SchemaComment(key.type->full_name()); !more.empty()) {
      text += WrapText(more, kWidth, 2) + "\n";
    }
  }
  text += "\n";
  const auto row = [&](const char* name, const std::string& value) {
    if (!value.empty()) text += Row(name, value, 18);
  };
  row("type", TypeText(field));
  if (key.type != nullptr && !FormOf(*key.type).shorthand().empty()) {
    row("short form", ShortForms(*key.type));
  }
  if (key.type == nullptr || rules.required() || !rules.inherits().empty()) {
    row("default", DefaultText(field));
  }
  row("range", RangeText(field));
  row("unit", rules.unit());
  if (!rules.count_from().empty()) {
    row("elements", "as many as `" + rules.count_from() + "`; a single value stands for all");
  } else if (rules.min_items() > 0) {
    row("elements", "at least " + std::to_string(rules.min_items()));
  }
  std::vector<std::string> conditions;
  for (const v1::Condition& condition : rules.only_when())
    conditions.push_back(ConditionText(condition));
  row("only when", Join(conditions, " and "));
  // What a run is resumed with is a run file's keys.
  if (&root == &RunSpecType() && (key.type == nullptr || !key.result)) {
    row("changes result", ResultText(key));
  }
  text += AllowedValues(field);
  if (key.type != nullptr) text += KeyList(*key.type);
  return text;
}

}  // namespace

std::string Explain(std::string_view path) {
  return ExplainMessage(RunSpecType().full_name(), path);
}

std::string ExplainMessage(const std::string& message, std::string_view path) {
  const Descriptor* root =
      google::protobuf::DescriptorPool::generated_pool()->FindMessageTypeByName(message);
  SYNCBN_CHECK(root != nullptr) << message;
  return ExplainKey(Resolve(*root, path), *root);
}

}  // namespace syncbn::config
