#include "comm/outstanding.h"

#include <algorithm>
#include <utility>

namespace syncbn::comm {

std::string Outstanding::Entry::Describe() const {
  return signature.Describe() + ", reduction " + std::to_string(sequence) + " of " +
         comm::Describe(group->plan.group);
}

void Outstanding::LookAtAll() {
  for (;;) {
    std::optional<backend::Event> done;
    backend::Event before;
    {
      std::lock_guard lock(mutex_);
      if (entries_.empty()) return;
      done = entries_.front().done;
      before = entries_.front().before;
    }
    if (!done || !done->Complete()) {
      const bool come = before.Complete();
      std::lock_guard lock(mutex_);
      entries_.front().come = come;
      return;
    }
    std::lock_guard lock(mutex_);
    entries_.pop_front();
  }
}

void Outstanding::Look() {
  std::lock_guard looking(looking_);
  LookAtAll();
}

void Outstanding::Begin(Entry entry) {
  bool many = false;
  {
    std::lock_guard lock(mutex_);
    entries_.push_back(std::move(entry));
    many = entries_.size() % 64 == 0;
  }
  if (!many) return;
  // So that they do not become ever more between two looks of another thread.
  std::unique_lock looking(looking_, std::try_to_lock);
  if (looking) LookAtAll();
}

void Outstanding::Given(const GroupState* group, int64_t sequence, backend::Event done) {
  std::lock_guard lock(mutex_);
  const auto entry = std::find_if(entries_.rbegin(), entries_.rend(), [&](const Entry& one) {
    return one.group == group && one.sequence == sequence;
  });
  if (entry != entries_.rend()) entry->done = std::move(done);
}

std::optional<Outstanding::Entry> Outstanding::Oldest(std::chrono::nanoseconds now) {
  std::lock_guard lock(mutex_);
  if (entries_.empty()) return std::nullopt;
  Entry& oldest = entries_.front();
  if (!oldest.since) oldest.since = now;
  return oldest;
}

std::vector<Outstanding::Entry> Outstanding::All() {
  std::lock_guard lock(mutex_);
  return {entries_.begin(), entries_.end()};
}

}  // namespace syncbn::comm
