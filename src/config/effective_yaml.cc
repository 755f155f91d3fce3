#include "config/effective_yaml.h"

#include <algorithm>
#include <string_view>

#include "config/character.h"
#include "config/schema.h"

namespace syncbn::config {
namespace {

class Writer {
 public:
  explicit Writer(const Origins& origins) : origins_(origins) {}

  std::string Take() { return std::move(text_); }

  // The keys of a message, each line after `indent`; the first after `first` instead (the dash of a
  // list).
  void WriteMessage(const Message& message, const std::string& path, const std::string& indent,
                    std::string first) {
    const Descriptor& type = *message.GetDescriptor();
    for (int i = 0; i < type.field_count(); ++i) {
      const FieldDescriptor& field = *type.field(i);
      if (!HasValue(message, field) || !HasEffect(message, field)) continue;
      WriteField(message, field, JoinPath(path, field.name()), indent, first);
      first = indent;
    }
  }

 private:
  void WriteField(const Message& message, const FieldDescriptor& field, const std::string& path,
                  const std::string& indent, const std::string& first) {
    const auto& reflection = *message.GetReflection();
    const std::string key = first + field.name() + ":";
    if (!IsMessage(field)) {
      WriteLine(key + " " + FieldText(message, field), origins_.Describe(path));
    } else if (field.is_repeated()) {
      text_ += key + "\n";
      for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
        const std::string below = path + "." + std::to_string(i);
        const size_t before = text_.size();
        WriteMessage(reflection.GetRepeatedMessage(message, &field, i), below, indent + "    ",
                     indent + "  - ");
        // An element without keys is one all the same.
        if (text_.size() == before) WriteLine(indent + "  - {}", origins_.Describe(below));
      }
    } else {
      const Message& below = reflection.GetMessage(message, &field);
      const size_t before = text_.size();
      text_ += key + "\n";
      const size_t after = text_.size();
      WriteMessage(below, path, indent + "  ", indent + "  ");
      if (text_.size() > after) return;
      text_.resize(before);
      WriteLine(key + " {}", origins_.Describe(path));
    }
  }

  void WriteLine(std::string line, std::string comment) {
    constexpr size_t kCommentColumn = 44;
    line.resize(std::max(line.size() + 2, kCommentColumn), ' ');
    // A file's name may hold anything; a comment ends with its line.
    text_ += line + "# " + Printable(comment) + "\n";
  }

  const Origins& origins_;
  std::string text_;
};

}  // namespace

std::string EffectiveYaml(const Message& message, const Origins& origins) {
  Writer writer(origins);
  writer.WriteMessage(message, "", "", "");
  return writer.Take();
}

}  // namespace syncbn::config
