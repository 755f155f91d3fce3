#include "config/difference.h"

#include <algorithm>
#include <functional>

#include "base/check.h"
#include "base/text.h"
#include "config/schema.h"

namespace syncbn::config {
namespace {

// Calls visit(path, text) for every field of `message` that counts; with a twin, only for those
// that not_result_when does not take out in both.
class FieldWalk {
 public:
  using Visit = std::function<void(const std::string& path, const std::string& text)>;

  FieldWalk(CanonicalScope scope, Visit visit) : scope_(scope), visit_(std::move(visit)) {}

  void Run(const Message& message, const std::string& path) {
    const Descriptor& type = *message.GetDescriptor();
    for (int i = 0; i < type.field_count(); ++i) {
      const FieldDescriptor& field = *type.field(i);
      if (scope_ == CanonicalScope::kResult && RulesOf(field).not_result()) continue;
      if (!HasValue(message, field) || !HasEffect(message, field)) continue;
      Field(message, field, JoinPath(path, field.name()));
    }
  }

 private:
  void Field(const Message& message, const FieldDescriptor& field, const std::string& path) {
    const auto& reflection = *message.GetReflection();
    if (!IsMessage(field)) {
      visit_(path, FieldText(message, field));
    } else if (!field.is_repeated()) {
      Below(reflection.GetMessage(message, &field), path);
    } else {
      const int size = reflection.FieldSize(message, &field);
      if (size > 0) visit_(path, Plural(size, "element"));
      for (int i = 0; i < size; ++i) {
        Below(reflection.GetRepeatedMessage(message, &field, i), path + "." + std::to_string(i));
      }
    }
  }

  void Below(const Message& message, const std::string& path) {
    if (message.GetDescriptor()->field_count() == 0) visit_(path, "{}");
    Run(message, path);
  }

  CanonicalScope scope_;
  Visit visit_;
};

struct Line {
  std::string path;
  std::string text;
};

std::vector<Line> Lines(const Message& message, CanonicalScope scope) {
  std::vector<Line> lines;
  FieldWalk(scope, [&](const std::string& path, const std::string& text) {
    lines.push_back({path, text});
  }).Run(message, "");
  return lines;
}

// The field and the message that has it at a path, when they are there.
struct Place {
  const Message* message = nullptr;
  const FieldDescriptor* field = nullptr;
};

Place Find(const Message& root, std::string_view path) {
  const Message* message = &root;
  while (true) {
    const size_t dot = path.find('.');
    const std::string key(path.substr(0, dot));
    const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(key);
    if (field == nullptr || dot == std::string_view::npos) return {message, field};
    if (field->is_repeated() || !IsMessage(*field)) return {};
    message = &message->GetReflection()->GetMessage(*message, field);
    path.remove_prefix(dot + 1);
  }
}

// Under the same schedule, of those that do not look at the run's length, more epochs only append.
bool OnlyDecidesLength(const Message& a, const Message& b, const std::string& path) {
  const Place in_a = Find(a, path), in_b = Find(b, path);
  if (in_a.field == nullptr || in_b.field == nullptr) return false;
  const v1::FieldRules& rules = RulesOf(*in_a.field);
  return rules.has_not_result_when() && Holds(rules.not_result_when(), *in_a.message) &&
         Holds(rules.not_result_when(), *in_b.message);
}

}  // namespace

std::vector<Difference> ResultDifferences(const Message& a, const Message& b) {
  SYNCBN_CHECK_EQ(a.GetDescriptor()->full_name(), b.GetDescriptor()->full_name());
  const std::vector<Line> lines_a = Lines(a, CanonicalScope::kResult);
  const std::vector<Line> lines_b = Lines(b, CanonicalScope::kResult);
  const auto find = [](const std::vector<Line>& lines, const std::string& path) {
    const auto it = std::find_if(lines.begin(), lines.end(),
                                 [&](const Line& line) { return line.path == path; });
    return it == lines.end() ? std::string("(none)") : it->text;
  };
  std::vector<Difference> differences;
  for (const Line& line : lines_a) {
    const std::string other = find(lines_b, line.path);
    if (other != line.text && !OnlyDecidesLength(a, b, line.path)) {
      differences.push_back({line.path, line.text, other});
    }
  }
  for (const Line& line : lines_b) {
    if (find(lines_a, line.path) == "(none)")
      differences.push_back({line.path, "(none)", line.text});
  }
  return differences;
}

std::string FormatDifferences(std::span<const Difference> differences) {
  std::string text;
  for (const Difference& difference : differences) {
    text += "  " + difference.path + ": " + difference.a + ", now " + difference.b + "\n";
  }
  return text;
}

std::string CanonicalText(const Message& message, CanonicalScope scope) {
  std::string text;
  for (const Line& line : Lines(message, scope)) text += line.path + ": " + line.text + "\n";
  return text;
}

}  // namespace syncbn::config
