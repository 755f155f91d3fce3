#include "config/origin.h"

#include <algorithm>

namespace syncbn::config {
namespace {

bool IsBelow(std::string_view path, std::string_view above) {
  return above.empty() ||
         (path.size() > above.size() && path.starts_with(above) && path[above.size()] == '.');
}

// Calls visit(iterator) for the entry of `path` and all below it, until it returns false.
template <typename Ordered, typename Visit>
void VisitBelow(Ordered& ordered, const auto& path_of, std::string_view path, Visit visit) {
  if (auto it = ordered.find(path); it != ordered.end() && !visit(it)) return;
  const std::string first = path.empty() ? "" : std::string(path) + ".";
  for (auto it = ordered.lower_bound(first); it != ordered.end();) {
    if (!IsBelow(path_of(it), path)) return;
    const auto current = it++;
    if (!visit(current)) return;
  }
}

}  // namespace

const Origin* Origins::Find(std::string_view path) const {
  const auto it = origins_.find(path);
  return it == origins_.end() ? nullptr : &it->second;
}

void Origins::Erase(std::string_view path) {
  VisitBelow(
      origins_, [](auto it) -> std::string_view { return it->first; }, path,
      [&](auto it) {
        origins_.erase(it);
        return true;
      });
}

std::optional<Origin::Kind> Origins::GivenBy(std::string_view path) const {
  std::optional<Origin::Kind> given;
  VisitBelow(
      origins_, [](auto it) -> std::string_view { return it->first; }, path,
      [&](auto it) {
        const Origin& origin = it->second;
        if (origin.kind != Origin::Kind::kDefault && origin.inherited_from.empty()) {
          given = std::max(given.value_or(origin.kind), origin.kind);
        }
        return given != Origin::Kind::kSet;
      });
  return given;
}

bool Origins::Failed(std::string_view path) const {
  if (failed_.empty()) return false;
  if (failed_.contains("")) return true;
  for (size_t end = path.size();; end = path.rfind('.', end - 1)) {
    if (failed_.contains(path.substr(0, end))) return true;
    if (end == 0 || path.rfind('.', end - 1) == std::string_view::npos) break;
  }
  bool below = false;
  VisitBelow(
      failed_, [](auto it) -> std::string_view { return *it; }, path,
      [&](auto) {
        below = true;
        return false;
      });
  return below;
}

const Origin* Origins::Nearest(std::string_view path) const {
  while (!path.empty()) {
    const Origin* origin = Find(path);
    if (origin != nullptr && origin->value.source) return origin;
    const size_t dot = path.rfind('.');
    path = path.substr(0, dot == std::string_view::npos ? 0 : dot);
  }
  return nullptr;
}

Location Origins::ValueLocation(std::string_view path) const {
  const Origin* origin = Nearest(path);
  if (origin == nullptr) return root_;
  return Find(path) == origin ? origin->value : origin->key;
}

Location Origins::KeyLocation(std::string_view path) const {
  const Origin* origin = Nearest(path);
  return origin == nullptr ? root_ : origin->key;
}

std::string Origins::Describe(std::string_view path) const {
  const Origin* origin = Find(path);
  if (origin == nullptr) return "default";
  const std::string place =
      origin->kind == Origin::Kind::kDefault ? "default" : origin->value.ToString();
  return origin->inherited_from.empty() ? place : origin->inherited_from + ", " + place;
}

}  // namespace syncbn::config
