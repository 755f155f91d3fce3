#include "coordinator/store/change_feed.h"

#include <algorithm>
#include <utility>

namespace syncbn::coordinator {

ChangeFeed::Subscription& ChangeFeed::Subscription::operator=(Subscription&& other) noexcept {
  std::swap(feed_, other.feed_);
  std::swap(id_, other.id_);
  return *this;
}

ChangeFeed::Subscription::~Subscription() {
  if (feed_ == nullptr) return;
  std::lock_guard lock(feed_->mutex_);
  feed_->entries_.erase(id_);
}

ChangeFeed::Subscription ChangeFeed::Subscribe(Change::Kind kind, std::optional<int64_t> job,
                                               Listener listener) {
  std::lock_guard lock(mutex_);
  const uint64_t id = next_++;
  entries_.emplace(id, Entry{kind, job, std::move(listener)});
  return Subscription(this, id);
}

void ChangeFeed::Publish(const std::vector<Change>& changes) {
  std::lock_guard lock(mutex_);
  for (const auto& [id, entry] : entries_) {
    const bool concerned = std::any_of(changes.begin(), changes.end(), [&](const Change& change) {
      return change.kind == entry.kind && (!entry.job || *entry.job == change.job);
    });
    if (concerned) entry.listener();
  }
}

}  // namespace syncbn::coordinator
