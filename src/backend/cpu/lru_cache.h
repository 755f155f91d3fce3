// A map that forgets what was used least recently. Not thread-safe.
#pragma once

#include <cstddef>
#include <list>
#include <map>
#include <utility>

namespace syncbn::backend::cpu {

template <typename Key, typename Value>
class LruCache {
 public:
  explicit LruCache(size_t capacity) : capacity_(capacity) {}

  // The value of `key`, made by make() if it is not there. Valid until the next call.
  template <typename Make>
  Value& GetOrMake(const Key& key, Make make) {
    auto found = index_.find(key);
    if (found != index_.end()) {
      entries_.splice(entries_.begin(), entries_, found->second);
      return entries_.front().second;
    }
    entries_.emplace_front(key, make());
    index_.emplace(key, entries_.begin());
    if (entries_.size() > capacity_) {
      index_.erase(entries_.back().first);
      entries_.pop_back();
    }
    return entries_.front().second;
  }

  template <typename Visit>
  void ForEach(Visit visit) {
    for (auto& entry : entries_) visit(entry.second);
  }
  size_t size() const { return entries_.size(); }

 private:
  using Entries = std::list<std::pair<Key, Value>>;
  size_t capacity_;
  Entries entries_;  // latest first
  std::map<Key, typename Entries::iterator> index_;
};

}  // namespace syncbn::backend::cpu
