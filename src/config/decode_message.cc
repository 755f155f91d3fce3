// Tree -> message.
#include <algorithm>
#include <map>

#include "base/check.h"
#include "base/text.h"
#include "config/decoder.h"
#include "config/scalar.h"
#include "config/schema_comments.h"

namespace syncbn::config {
namespace {

std::string Found(const YamlNode& node) {
  return ", found " + DescribeNode(node);
}

// "Did you mean ...?", and marks what was meant as failed, so that it is not reported as missing.
std::string Suggestion(const std::vector<KeySuggestion>& suggestions, const std::string& path,
                       DecodeState& state) {
  if (suggestions.empty()) return "";
  if (suggestions.front().sibling) {
    const std::string& meant = suggestions.front().path;
    state.origins.MarkFailed(meant);
    return "; did you mean `" + meant.substr(path.empty() ? 0 : path.size() + 1) + "`?";
  }
  std::vector<std::string> paths;
  for (const KeySuggestion& suggestion : suggestions) paths.push_back("`" + suggestion.path + "`");
  return "; did you mean " + JoinAlternatives(paths) + "?";
}

// For a key known by another name, what it is here: "`replicas`: Logical participants ...\n".
std::string Meaning(const std::vector<KeySuggestion>& suggestions, const Descriptor& type) {
  if (suggestions.empty() || !suggestions.front().other_name) return "";
  const std::string& path = suggestions.front().path;
  const std::string key =
      path.substr(path.rfind('.') == std::string::npos ? 0 : path.rfind('.') + 1);
  const FieldDescriptor* field = type.FindFieldByName(key);
  const std::string comment = field == nullptr ? "" : SchemaComment(field->full_name());
  return comment.empty() ? "" : "`" + key + "`: " + comment + "\n";
}

// Whether a scalar node can be a value of the field, and puts it there if so.
bool Accepts(const YamlNode& node, Message& message, const FieldDescriptor& field) {
  Origins origins;
  Diagnostics diagnostics;
  DecodeState scratch{
      .root = *message.GetDescriptor(), .origins = origins, .diagnostics = diagnostics};
  return DecodeScalar(node, message, field, -1, "", scratch);
}

// A scalar where a message is expected: its short forms.
void DecodeShorthand(const YamlNode& node, Message& message, const std::string& path,
                     DecodeState& state) {
  const Descriptor& type = *message.GetDescriptor();
  const auto record = [&](const FieldDescriptor& field) {
    state.origins.Record(JoinPath(path, field.name()), {.kind = state.kind,
                                                        .key = node.location,
                                                        .value = node.location,
                                                        .single = false,
                                                        .inherited_from = ""});
  };
  std::vector<std::string> words;
  for (const std::string& name : FormOf(type).shorthand()) {
    if (const FieldDescriptor* field = type.FindFieldByName(name)) {
      if (field->is_repeated()) continue;
      if (Accepts(node, message, *field)) return record(*field);
      if (field->enum_type() != nullptr) {
        for (std::string& text : EnumTexts(*field->enum_type())) words.push_back(std::move(text));
      }
      continue;
    }
    const OneofDescriptor* oneof = type.FindOneofByName(name);
    SYNCBN_CHECK(oneof != nullptr) << "shorthand " << name << " of " << type.full_name();
    for (int i = 0; i < oneof->field_count(); ++i) {
      const FieldDescriptor& member = *oneof->field(i);
      words.push_back(member.name());
      if (node.text != member.name() || !IsMessage(member)) continue;
      message.GetReflection()->MutableMessage(&message, &member);
      return record(member);
    }
  }
  state.Fail(node.location, path,
             "expected " + ExpectedMessage(type) + Found(node) + DidYouMean(node.text, words),
             KeysHint(type));
}

// The field that a list is given to where the message is expected; null: there is none.
const FieldDescriptor* ListShorthand(const Descriptor& type) {
  for (const std::string& name : FormOf(type).shorthand()) {
    const FieldDescriptor* field = type.FindFieldByName(name);
    if (field != nullptr && field->is_repeated()) return field;
  }
  return nullptr;
}

// The first of these fields that has been given, other than `field` itself.
const FieldDescriptor* GivenBeside(const FieldDescriptor& field,
                                   const std::map<std::string, Location>& given) {
  const Descriptor& type = *field.containing_type();
  const auto& exclusive = FormOf(type).one_only();
  const bool one_only =
      std::find(exclusive.begin(), exclusive.end(), field.name()) != exclusive.end();
  for (const auto& [name, location] : given) {
    const FieldDescriptor* other = type.FindFieldByName(name);
    if (other == nullptr || other == &field) continue;
    if (OneofOf(field) != nullptr && OneofOf(*other) == OneofOf(field)) return other;
    if (one_only && std::find(exclusive.begin(), exclusive.end(), name) != exclusive.end()) {
      return other;
    }
  }
  return nullptr;
}

void DecodeMap(const YamlNode& node, Message& message, const std::string& path,
               DecodeState& state) {
  const Descriptor& type = *message.GetDescriptor();
  std::map<std::string, Location> given;
  for (size_t i = 0; i < node.keys.size(); ++i) {
    const YamlNode& key = node.keys[i];
    if (key.kind == YamlNode::Kind::kDamaged) continue;
    const FieldDescriptor* field = type.FindFieldByName(key.text);
    const std::string below = JoinPath(path, key.text);
    if (key.text == "<<") {
      state.diagnostics.Add(key.location, path, "merge keys (`<<`) are not supported",
                            "Write the keys out.");
      continue;
    }
    if (field == nullptr) {
      ReportUnknownKey(key.text, key.location, type, path, state);
      continue;
    }
    if (const auto first = given.find(key.text); first != given.end()) {
      state.diagnostics.Add(key.location, below,
                            "is given twice, first in line " +
                                std::to_string(first->second.line()) + "; remove one of them");
      continue;
    }
    if (const FieldDescriptor* other = GivenBeside(*field, given)) {
      state.Fail(key.location, path,
                 "`" + other->name() + "` and `" + field->name() +
                     "` exclude each other; remove one of them");
      continue;
    }
    given.emplace(key.text, key.location);
    DecodeField(node.items[i], key.location, message, *field, below, state);
  }
}

// Each key with its value is an element of the field.
void DecodeMappingForm(const YamlNode& node, Message& message, const FieldDescriptor& field,
                       const std::string& path, DecodeState& state) {
  std::map<std::string, Location> given;
  for (size_t i = 0; i < node.keys.size(); ++i) {
    const YamlNode& key = node.keys[i];
    if (key.kind == YamlNode::Kind::kDamaged) continue;
    if (const auto [first, fresh] = given.emplace(key.text, key.location); !fresh) {
      state.diagnostics.Add(key.location, path,
                            "`" + key.text + "` is given twice, first in line " +
                                std::to_string(first->second.line()) + "; remove one of them");
      continue;
    }
    const std::string below = path + "." + std::to_string(given.size() - 1);
    Message& element = *message.GetReflection()->AddMessage(&message, &field);
    const Descriptor& type = *element.GetDescriptor();
    const FieldDescriptor &name = *type.field(0), &value = *type.field(1);
    for (const std::string& path_here : {below, JoinPath(below, name.name())}) {
      state.origins.Record(path_here, {.kind = state.kind,
                                       .key = key.location,
                                       .value = key.location,
                                       .single = false,
                                       .inherited_from = ""});
    }
    element.GetReflection()->SetString(&element, &name, key.text);
    DecodeField(node.items[i], key.location, element, value, JoinPath(below, value.name()), state);
  }
}

}  // namespace

void ReportUnknownKey(std::string_view key, const Location& location, const Descriptor& type,
                      const std::string& path, DecodeState& state) {
  const std::string known(key.substr(0, key.find(':')));
  if (known.size() < key.size() && type.FindFieldByName(known) != nullptr) {
    state.Fail(location, JoinPath(path, known), "there is no blank behind the `:`",
               "Write `" + known + ": ...`.");
    return;
  }
  std::vector<KeySuggestion> suggestions;
  if (!state.diagnostics.full()) suggestions = SuggestKeys(key, type, path, state.root);
  std::string message = "unknown key" + Suggestion(suggestions, path, state);
  // Long or odd keys are shown by the line itself.
  std::string shown(key.substr(0, 60));
  std::erase_if(shown, [](char c) { return static_cast<unsigned char>(c) < 0x20; });
  state.diagnostics.Add(location, JoinPath(path, shown), std::move(message),
                        Meaning(suggestions, type) + KeysHint(type));
}

void DecodeMessage(const YamlNode& node, Message& message, const std::string& path,
                   DecodeState& state) {
  const Descriptor& type = *message.GetDescriptor();
  switch (node.kind) {
    case YamlNode::Kind::kDamaged:
      state.origins.MarkFailed(path);
      return;
    case YamlNode::Kind::kMap:
      DecodeMap(node, message, path, state);
      return;
    case YamlNode::Kind::kScalar:
      if (!FormOf(type).shorthand().empty()) {
        DecodeShorthand(node, message, path, state);
        return;
      }
      break;
    case YamlNode::Kind::kNull:
      if (type.field_count() == 0) return;
      break;
    case YamlNode::Kind::kSequence:
      if (const FieldDescriptor* list = ListShorthand(type)) {
        DecodeField(node, node.location, message, *list, JoinPath(path, list->name()), state);
        return;
      }
      break;
  }
  std::string hint = KeysHint(type);
  if (node.kind == YamlNode::Kind::kNull && state.kind == Origin::Kind::kFile) {
    hint =
        "Remove the key to keep its default; where keys below it were meant for it, indent them.";
  } else if (node.kind == YamlNode::Kind::kScalar && node.text.find(':') != std::string::npos) {
    hint += "\nA blank stands behind the `:` of a key.";
  }
  state.Fail(node.location, path, "expected " + ExpectedMessage(type) + Found(node), hint);
}

void DecodeField(const YamlNode& node, const Location& key, Message& message,
                 const FieldDescriptor& field, const std::string& path, DecodeState& state) {
  SYNCBN_CHECK(!field.is_map()) << field.full_name() << ": maps are not used in settings";
  const v1::FieldRules& rules = RulesOf(field);
  Origin origin{.kind = state.kind,
                .key = key,
                .value = node.location,
                .single = false,
                .inherited_from = ""};
  const auto& reflection = *message.GetReflection();
  if (node.kind == YamlNode::Kind::kDamaged) {
    state.origins.MarkFailed(path);
    return;
  }
  if (!field.is_repeated()) {
    state.origins.Record(path, origin);
    if (IsMessage(field)) {
      DecodeMessage(node, *reflection.MutableMessage(&message, &field), path, state);
    } else {
      DecodeScalar(node, message, field, -1, path, state);
    }
    return;
  }
  if (ShapeOf(field).mapping_form() && node.kind == YamlNode::Kind::kMap) {
    state.origins.Record(path, origin);
    DecodeMappingForm(node, message, field, path, state);
    return;
  }
  if (node.kind != YamlNode::Kind::kSequence || ShapeOf(field).mapping_form()) {
    if (rules.scalar_form() && node.kind == YamlNode::Kind::kScalar) {
      origin.single = true;
      state.origins.Record(path, origin);
      DecodeScalar(node, message, field, -1, path, state);
      return;
    }
    const std::string hint = node.kind == YamlNode::Kind::kScalar && !IsMessage(field)
                                 ? "Write [" + node.text + "]."
                                 : "";
    state.Fail(node.location, path, "expected " + ExpectedField(field) + Found(node), hint);
    return;
  }
  state.origins.Record(path, origin);
  if (static_cast<int>(node.items.size()) < rules.min_items()) {
    state.Fail(node.location, path,
               "the list needs at least " + Plural(rules.min_items(), "element"));
  }
  for (size_t i = 0; i < node.items.size(); ++i) {
    const YamlNode& item = node.items[i];
    const std::string below = path + "." + std::to_string(i);
    if (IsMessage(field)) {
      state.origins.Record(below, {.kind = state.kind,
                                   .key = item.location,
                                   .value = item.location,
                                   .single = false,
                                   .inherited_from = ""});
      DecodeMessage(item, *reflection.AddMessage(&message, &field), below, state);
    } else if (DecodeScalar(item, message, field, -1, below, state)) {
      state.origins.Record(below, {.kind = state.kind,
                                   .key = item.location,
                                   .value = item.location,
                                   .single = false,
                                   .inherited_from = ""});
    }
  }
}

}  // namespace syncbn::config
