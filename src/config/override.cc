// "path=value": one value put at its path after the file has been read.
#include <charconv>
#include <memory>
#include <optional>

#include "base/text.h"
#include "config/decoder.h"
#include "config/yaml_text.h"
#include "config/yaml_tree.h"

namespace syncbn::config {
namespace {

// Walks down the message along the path of an override.
class Walk {
 public:
  Walk(std::shared_ptr<const Source> source, size_t equals, DecodeState& state)
      : source_(std::move(source)), equals_(equals), state_(state) {}

  void Run(Message& root) {
    Message* message = &root;
    while (NextSegment()) {
      const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(segment_);
      if (field == nullptr) {
        ReportUnknownKey(segment_, Here(), *message->GetDescriptor(), path_, state_);
        return;
      }
      if (!CheckOneof(*message, *field)) return;
      path_ = JoinPath(path_, segment_);
      if (AtEnd()) return Put(*message, *field);
      message = Enter(*message, *field);
      if (message == nullptr) return;
    }
  }

 private:
  bool AtEnd() const { return next_ > equals_; }
  Location Here() const { return {source_, begin_}; }
  Location ValueStart() const { return {source_, equals_ + 1}; }

  bool NextSegment() {
    if (AtEnd()) return false;
    const std::string& text = source_->text();
    begin_ = next_;
    const size_t end = std::min(text.find('.', begin_), equals_);
    segment_ = text.substr(begin_, end - begin_);
    next_ = end + 1;
    return true;
  }

  // A member of a oneof that is not the given one can only be given as a whole.
  bool CheckOneof(Message& message, const FieldDescriptor& field) {
    const OneofDescriptor* oneof = OneofOf(field);
    if (oneof == nullptr) return true;
    const FieldDescriptor* given = message.GetReflection()->GetOneofFieldDescriptor(message, oneof);
    if (given == nullptr || given == &field) return true;
    if (next_ > equals_) {  // replaces it
      state_.origins.Erase(JoinPath(path_, given->name()));
      message.GetReflection()->ClearField(&message, given);
      return true;
    }
    state_.diagnostics.Add(
        Here(), path_, "is `" + given->name() + "`, not `" + field.name() + "`",
        "To replace it, give the whole of it: " + path_ + "={" + field.name() + ": ...}.");
    return false;
  }

  // The message in the field, or in its element that the next segment names; null when reported.
  Message* Enter(Message& message, const FieldDescriptor& field) {
    const auto& reflection = *message.GetReflection();
    if (!field.is_repeated()) {
      if (IsMessage(field)) return reflection.MutableMessage(&message, &field);
      NextSegment();
      state_.diagnostics.Add(Here(), path_, "is a single value and has nothing below it");
      return nullptr;
    }
    NextSegment();
    if (const Origin* origin = state_.origins.Find(path_); origin != nullptr && origin->single) {
      state_.diagnostics.Add(Here(), path_, "is a single value in the file; give the whole list");
      return nullptr;
    }
    const std::optional<int> index = Index(reflection.FieldSize(message, &field));
    if (!index) return nullptr;
    path_ = JoinPath(path_, segment_);
    if (IsMessage(field)) {
      Message* element = reflection.MutableRepeatedMessage(&message, &field, *index);
      if (!AtEnd()) return element;
      element->Clear();
      PutMessage(*element);
    } else if (!AtEnd()) {
      NextSegment();
      state_.diagnostics.Add(Here(), path_, "is a single value and has nothing below it");
    } else {
      PutElement(message, field, *index);
    }
    return nullptr;
  }

  std::optional<int> Index(int size) {
    int index = -1;
    const char* end = segment_.data() + segment_.size();
    const auto result = std::from_chars(segment_.data(), end, index);
    if (result.ec == std::errc() && result.ptr == end && index >= 0 && index < size) return index;
    state_.diagnostics.Add(Here(), path_,
                           "is a list of " + Plural(size, "element") + "; expected " +
                               (size == 0 ? "a value for the whole list"
                                          : "an index from 0 to " + std::to_string(size - 1)) +
                               ", found `" + segment_ + "`");
    return std::nullopt;
  }

  YamlNode Value() {
    YamlNode value = ParseYaml(source_, state_.diagnostics, equals_ + 1);
    if (value.kind == YamlNode::Kind::kDamaged) state_.origins.MarkFailed(path_);
    if (!value.location.source) value.location = ValueStart();
    return value;
  }

  // What the file gave is forgotten, with what excludes the new value.
  void Put(Message& message, const FieldDescriptor& field) {
    const YamlNode value = Value();
    if (value.kind == YamlNode::Kind::kDamaged) return;
    Forget(message, field, path_);
    const std::string parent =
        path_.substr(0, path_.size() - std::min(path_.size(), field.name().size() + 1));
    for (const std::string& name : FormOf(*message.GetDescriptor()).one_only()) {
      const FieldDescriptor* other = message.GetDescriptor()->FindFieldByName(name);
      if (IsOneOnly(field) && other != &field) Forget(message, *other, JoinPath(parent, name));
    }
    DecodeField(value, {source_, size_t{0}}, message, field, path_, state_);
  }

  static bool IsOneOnly(const FieldDescriptor& field) {
    for (const std::string& name : FormOf(*field.containing_type()).one_only()) {
      if (name == field.name()) return true;
    }
    return false;
  }

  void Forget(Message& message, const FieldDescriptor& field, const std::string& path) {
    state_.origins.Erase(path);
    message.GetReflection()->ClearField(&message, &field);
  }

  void PutMessage(Message& element) {
    const YamlNode value = Value();
    Record(value);
    DecodeMessage(value, element, path_, state_);
  }

  void PutElement(Message& message, const FieldDescriptor& field, int index) {
    const YamlNode value = Value();
    Record(value);
    DecodeScalar(value, message, field, index, path_, state_);
  }

  void Record(const YamlNode& value) {
    state_.origins.Erase(path_);
    state_.origins.Record(path_, {.kind = state_.kind,
                                  .key = {source_, size_t{0}},
                                  .value = value.location,
                                  .single = false,
                                  .inherited_from = ""});
  }

  std::shared_ptr<const Source> source_;
  size_t equals_;
  DecodeState& state_;
  std::string path_;     // walked so far
  std::string segment_;  // the newest
  size_t begin_ = 0;     // where it starts
  size_t next_ = 0;      // where the next one starts; past `equals_` when there is none
};

}  // namespace

void ApplyOverride(const std::string& text, Message& root, DecodeState& state) {
  const auto source = std::make_shared<const Source>("--set " + text, text);
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    state.diagnostics.Add({source, size_t{0}}, "", "expected path=value",
                          "For example: --set train.epochs=3");
    return;
  }
  if (text.find('\n') != std::string::npos) {
    state.diagnostics.Add({source, size_t{0}}, "", "an override has one line");
    return;
  }
  const bool plain = IsUtf8(text);  // else the value is reported
  const size_t before = state.diagnostics.all().size();
  if (plain) ReportInvisible(source, 0, equals, state.diagnostics);
  if (state.diagnostics.all().size() == before) Walk(source, equals, state).Run(root);
}

}  // namespace syncbn::config
