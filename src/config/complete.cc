// What a file does not say: defaults, values taken over from elsewhere; and what it says in vain.
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/text.h"
#include "config/decoder.h"
#include "config/yaml_tree.h"

namespace syncbn::config {
namespace {

class Completer {
 public:
  Completer(Message& root, DecodeState& state) : root_(root), state_(state) {}

  void Run() {
    CompleteMessage(root_, "");
    // What is inherited is complete now; what inherits is completed after it was taken over.
    for (size_t i = 0; i < inheriting_.size(); ++i) {
      const auto [message, path, from] = inheriting_[i];
      // A part of a file that is decoded by itself has nothing to inherit from.
      const Message* source = Resolve(from);
      if (source != nullptr && source->GetDescriptor() == message->GetDescriptor()) {
        Inherit(*message, path, *source, from);
      }
      CompleteMessage(*message, path);
    }
  }

 private:
  struct Inheriting {
    Message* message;
    std::string path;
    std::string from;
  };

  void CompleteMessage(Message& message, const std::string& path) {
    const Descriptor& type = *message.GetDescriptor();
    above_.push_back(&type);
    for (int i = 0; i < type.field_count(); ++i) Fill(message, *type.field(i), path);
    std::vector<const FieldDescriptor*> in_vain;
    for (int i = 0; i < type.field_count(); ++i) {
      if (!CheckEffect(message, *type.field(i), path)) in_vain.push_back(type.field(i));
    }
    for (int i = 0; i < type.field_count(); ++i) {
      const FieldDescriptor& field = *type.field(i);
      if (!IsMessage(field) || std::count(in_vain.begin(), in_vain.end(), &field) > 0) continue;
      Descend(message, field, JoinPath(path, field.name()));
    }
    above_.pop_back();
  }

  void Descend(Message& message, const FieldDescriptor& field, const std::string& path) {
    const auto& reflection = *message.GetReflection();
    if (field.is_repeated()) {
      for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
        CompleteMessage(*reflection.MutableRepeatedMessage(&message, &field, i),
                        path + "." + std::to_string(i));
      }
    } else if (reflection.HasField(message, &field)) {
      Message* below = reflection.MutableMessage(&message, &field);
      if (RulesOf(field).inherits().empty()) {
        CompleteMessage(*below, path);
      } else {
        inheriting_.push_back({below, path, RulesOf(field).inherits()});
      }
    }
  }

  // Gives the field its default where it has no value yet.
  void Fill(Message& message, const FieldDescriptor& field, const std::string& parent) {
    const v1::FieldRules& rules = RulesOf(field);
    const std::string path = JoinPath(parent, field.name());
    const auto& reflection = *message.GetReflection();
    if (state_.origins.Find(path) == nullptr && !SiblingGiven(message, field, parent)) {
      if (IsMessage(field)) {
        const Descriptor& type = *field.message_type();
        // What has required keys stays away until somebody gives them, and nothing contains itself.
        if (!field.is_repeated() && OneofOf(field) == nullptr && !HasRequiredFields(type) &&
            std::find(above_.begin(), above_.end(), &type) == above_.end()) {
          reflection.MutableMessage(&message, &field);
        }
      } else if (!rules.default_value().empty()) {
        SetDefault(message, field);
      }
    }
    if (!rules.count_from().empty()) Expand(message, field, path, parent);
  }

  // Another one_only field of the message has a value.
  bool SiblingGiven(const Message& message, const FieldDescriptor& field,
                    const std::string& parent) {
    const auto& names = FormOf(*message.GetDescriptor()).one_only();
    if (std::find(names.begin(), names.end(), field.name()) == names.end()) return false;
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      return name != field.name() && state_.origins.Find(JoinPath(parent, name)) != nullptr;
    });
  }

  // One value stands for as many as count_from says; a list must have that many.
  void Expand(Message& message, const FieldDescriptor& field, const std::string& path,
              const std::string& parent) {
    const Descriptor& type = *message.GetDescriptor();
    const FieldDescriptor* count_field = type.FindFieldByName(RulesOf(field).count_from());
    SYNCBN_CHECK(count_field != nullptr && count_field->number() < field.number())
        << field.full_name() << " needs its count before it";
    if (state_.origins.Failed(path) ||
        state_.origins.Failed(JoinPath(parent, count_field->name()))) {
      return;
    }
    const int count = message.GetReflection()->GetInt32(message, count_field);
    const int size = message.GetReflection()->FieldSize(message, &field);
    const Origin* origin = state_.origins.Find(path);
    if (origin != nullptr && !origin->single) {
      if (size == count) return;
      state_.Fail(state_.origins.ValueLocation(path), path,
                  "has " + Plural(size, "element") + ", but `" + count_field->name() + "` is " +
                      std::to_string(count) + " (" +
                      state_.origins.Describe(JoinPath(parent, count_field->name())) + ")",
                  "Give as many, or a single value without brackets for all.");
      return;
    }
    const int32_t value = message.GetReflection()->GetRepeatedInt32(message, &field, 0);
    for (int i = size; i < count; ++i) message.GetReflection()->AddInt32(&message, &field, value);
  }

  // Reports a field that was given and has no effect. A file's field whose effect was taken away by
  // an override is only reset: the override means it so. False when it was reported.
  bool CheckEffect(Message& message, const FieldDescriptor& field, const std::string& parent) {
    const std::string path = JoinPath(parent, field.name());
    const v1::Condition* failing = FailingCondition(message, field);
    if (failing == nullptr || state_.origins.Failed(path)) return true;
    const auto given = state_.origins.GivenBy(path);
    if (!given) return true;
    const std::string key = JoinPath(parent, failing->key());
    if (state_.origins.Failed(key)) return true;
    const Origin* decisive = state_.origins.Find(key);
    if (given == Origin::Kind::kFile && decisive != nullptr &&
        decisive->kind == Origin::Kind::kSet) {
      state_.origins.Erase(path);
      message.GetReflection()->ClearField(&message, &field);
      Fill(message, field, parent);
      return true;
    }
    const FieldDescriptor& by = *message.GetDescriptor()->FindFieldByName(failing->key());
    const std::vector<std::string> values(failing->values().begin(), failing->values().end());
    const std::string now = HasValue(message, by)
                                ? "with `" + by.name() + ": " + FieldText(message, by) + "` (" +
                                      state_.origins.Describe(key) + ")"
                                : "without `" + by.name() + "`";
    std::string hint = "Remove it";
    if (!values.empty())
      hint += "; it belongs to `" + by.name() + ": " + JoinAlternatives(values) + "`";
    state_.diagnostics.Add(state_.origins.KeyLocation(path), path, "has no effect " + now,
                           hint + ".");
    return false;
  }

  const Message* Resolve(std::string_view path) const {
    const Message* message = &root_;
    while (!path.empty()) {
      const size_t dot = path.find('.');
      const FieldDescriptor* field =
          message->GetDescriptor()->FindFieldByName(std::string(path.substr(0, dot)));
      if (field == nullptr || field->is_repeated() || !IsMessage(*field)) return nullptr;
      message = &message->GetReflection()->GetMessage(*message, field);
      path.remove_prefix(dot == std::string_view::npos ? path.size() : dot + 1);
    }
    return message;
  }

  // Copies every value that `target` does not have from `source`, with its origin.
  void Inherit(Message& target, const std::string& path, const Message& source,
               const std::string& from) {
    const Descriptor& type = *target.GetDescriptor();
    for (int i = 0; i < type.field_count(); ++i) {
      const FieldDescriptor& field = *type.field(i);
      const std::string below = JoinPath(path, field.name());
      const std::string from_below = JoinPath(from, field.name());
      SYNCBN_CHECK(!field.is_repeated() || !IsMessage(field))
          << field.full_name() << ": lists of messages are not inherited";
      if (IsMessage(field)) {
        Inherit(*target.GetReflection()->MutableMessage(&target, &field), below,
                source.GetReflection()->GetMessage(source, &field), from_below);
      } else if (!state_.origins.Given(below) && !OtherGiven(target, field, path) &&
                 HasValue(source, field)) {
        CopyValue(source, target, field);
        Origin origin;
        if (const Origin* original = state_.origins.Find(from_below)) origin = *original;
        if (origin.inherited_from.empty()) origin.inherited_from = from_below;
        state_.origins.Record(below, origin);
      }
    }
  }

  // A one_only sibling was given here, so nothing beside it is taken over.
  bool OtherGiven(const Message& message, const FieldDescriptor& field, const std::string& parent) {
    const auto& names = FormOf(*message.GetDescriptor()).one_only();
    if (std::find(names.begin(), names.end(), field.name()) == names.end()) return false;
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      return state_.origins.Given(JoinPath(parent, name));
    });
  }

  static void CopyValue(const Message& from, Message& to, const FieldDescriptor& field) {
    // A message of its own type with this field alone, merged: one line for all types.
    const std::unique_ptr<Message> single(from.New());
    single->CopyFrom(from);
    std::vector<const FieldDescriptor*> fields;
    single->GetReflection()->ListFields(*single, &fields);
    for (const FieldDescriptor* other : fields) {
      if (other != &field) single->GetReflection()->ClearField(single.get(), other);
    }
    to.MergeFrom(*single);
  }

  Message& root_;
  DecodeState& state_;
  std::vector<const Descriptor*> above_;
  std::vector<Inheriting> inheriting_;
};

std::string Missing(const FieldDescriptor& field) {
  return "is missing: expected " + ExpectedField(field);
}

}  // namespace

void CheckRequired(const Message& message, const std::string& path, DecodeState& state) {
  const Descriptor& type = *message.GetDescriptor();
  const auto& reflection = *message.GetReflection();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    const std::string below = JoinPath(path, field.name());
    const bool given = field.is_repeated() || !IsMessage(field)
                           ? state.origins.Given(below)
                           : reflection.HasField(message, &field);
    if (RulesOf(field).required() && !given && !state.origins.Failed(below)) {
      state.Fail(state.origins.KeyLocation(path), below, Missing(field), ExpectedHint(field));
    }
    if (!IsMessage(field)) continue;
    if (field.is_repeated()) {
      for (int k = 0; k < reflection.FieldSize(message, &field); ++k) {
        CheckRequired(reflection.GetRepeatedMessage(message, &field, k),
                      below + "." + std::to_string(k), state);
      }
    } else if (reflection.HasField(message, &field)) {
      CheckRequired(reflection.GetMessage(message, &field), below, state);
    }
  }
  for (int i = 0; i < type.real_oneof_decl_count(); ++i) {
    const OneofDescriptor& oneof = *type.oneof_decl(i);
    if (!IsRequired(oneof) || state.origins.Failed(path) || reflection.HasOneof(message, &oneof)) {
      continue;
    }
    std::vector<std::string> names;
    for (int k = 0; k < oneof.field_count(); ++k) names.push_back(oneof.field(k)->name());
    state.Fail(state.origins.ValueLocation(path), path, "does not say what it is",
               "Give one of: " + Join(names, ", ") + ".");
  }
}

void SetDefault(Message& message, const FieldDescriptor& field) {
  Origins origins;
  Diagnostics diagnostics;
  DecodeState scratch{
      .root = *message.GetDescriptor(), .origins = origins, .diagnostics = diagnostics};
  const auto source = std::make_shared<const Source>("default of " + field.full_name(),
                                                     RulesOf(field).default_value());
  YamlNode node;
  if (source->text().starts_with('[')) {
    node = ParseYaml(source, diagnostics);
  } else {  // most: no need to scan a word
    node.kind = YamlNode::Kind::kScalar;
    node.location = {source, size_t{0}};
    node.text = source->text();
  }
  message.GetReflection()->ClearField(&message, &field);
  DecodeField(node, node.location, message, field, field.name(), scratch);
  SYNCBN_CHECK(diagnostics.empty()) << diagnostics.Format(source->name());
}

void Complete(Message& root, DecodeState& state) {
  Completer(root, state).Run();
}

}  // namespace syncbn::config
