// Which keys somebody may have meant: the part of schema.h that searches the whole schema.
#include <algorithm>
#include <functional>

#include "base/text.h"
#include "config/schema.h"

namespace syncbn::config {
namespace {

struct Entry {
  std::string path;
  const FieldDescriptor* field;
};

// Every key below `type`; types inside themselves (layers of a residual) once.
void Collect(const Descriptor& type, const std::string& path, std::vector<const Descriptor*>& above,
             std::vector<Entry>& entries) {
  if (std::find(above.begin(), above.end(), &type) != above.end()) return;
  above.push_back(&type);
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    const std::string below = JoinPath(path, field.name());
    entries.push_back({below, &field});
    if (IsMessage(field)) Collect(*field.message_type(), below, above, entries);
  }
  above.pop_back();
}

// Characters that two paths have in common from the start.
size_t Shared(std::string_view a, std::string_view b) {
  const auto end = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
  return static_cast<size_t>(end - a.begin());
}

bool IsKnownAs(const FieldDescriptor& field, std::string_view word) {
  const auto& names = RulesOf(field).also_known_as();
  return std::find(names.begin(), names.end(), word) != names.end();
}

}  // namespace

std::vector<KeySuggestion> SuggestKeys(std::string_view word, const Descriptor& type,
                                       std::string_view path, const Descriptor& root) {
  const std::vector<std::string> keys = KeysOf(type);
  const auto sibling = [&](std::string_view key) {
    return std::vector<KeySuggestion>{
        {.path = JoinPath(path, key), .sibling = true, .other_name = false}};
  };
  std::string lower(word);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) {
    return c == '-' ? '_' : static_cast<char>(std::tolower(c));
  });
  for (const std::string& key : keys) {
    if (key == lower) return sibling(key);
  }
  for (int i = 0; i < type.field_count(); ++i) {
    if (!IsKnownAs(*type.field(i), lower)) continue;
    return {{.path = JoinPath(path, type.field(i)->name()), .sibling = true, .other_name = true}};
  }
  if (keys.empty()) return {};
  std::vector<Entry> entries;
  std::vector<const Descriptor*> above;
  Collect(root, "", above, entries);
  // Keys below the same mapping first.
  std::stable_sort(entries.begin(), entries.end(), [&](const Entry& a, const Entry& b) {
    return Shared(a.path, path) > Shared(b.path, path);
  });
  std::vector<KeySuggestion> found;
  const auto keep = [&](const std::function<bool(const FieldDescriptor&)>& fits) {
    for (const Entry& entry : entries) {
      if (found.size() < 3 && fits(*entry.field)) found.push_back({entry.path, false, false});
    }
    return !found.empty();
  };
  const auto same_name = [&](const FieldDescriptor& field) { return field.name() == lower; };
  const auto other_name = [&](const FieldDescriptor& field) { return IsKnownAs(field, lower); };
  if (lower.size() > 3 && keep(same_name)) return found;
  if (const std::string_view near = NearestWord(lower, keys); !near.empty()) return sibling(near);
  if (keep(same_name) || keep(other_name)) return found;
  // Far away only what is a slip of one letter.
  keep([&](const FieldDescriptor& field) {
    return lower.size() > 4 && EditDistance(lower, field.name()) == 1;
  });
  return found;
}

}  // namespace syncbn::config
