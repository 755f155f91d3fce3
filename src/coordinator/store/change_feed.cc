#include "coordinator/store/change_feed.h"

#include <set>
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
  entries_.emplace(id, Entry{.kind = kind, .job = job, .listener = std::move(listener)});
  return Subscription(this, id);
}

ChangeFeed::Subscription ChangeFeed::SubscribeToJobs(Change::Kind kind, std::optional<int64_t> job,
                                                     JobListener listener) {
  std::lock_guard lock(mutex_);
  const uint64_t id = next_++;
  entries_.emplace(id, Entry{.kind = kind, .job = job, .job_listener = std::move(listener)});
  return Subscription(this, id);
}

void ChangeFeed::Publish(const std::vector<Change>& changes) {
  // A group of writes touches the same job again and again.
  std::set<std::pair<Change::Kind, int64_t>> touched;
  for (const Change& change : changes) touched.emplace(change.kind, change.job);
  std::lock_guard lock(mutex_);
  for (const auto& [id, entry] : entries_) {
    for (const auto& [kind, job] : touched) {
      if (kind != entry.kind || (entry.job && *entry.job != job)) continue;
      if (!entry.job_listener) {
        entry.listener();
        break;
      }
      entry.job_listener(job);
    }
  }
}

}  // namespace syncbn::coordinator
