#include "comm/outstanding.h"

#include <algorithm>
#include <utility>

namespace syncbn::comm {

std::string Outstanding::Entry::Describe() const {
  return signature.Describe() + ", reduction " + std::to_string(sequence) + " of " +
         comm::Describe(group->plan.group);
}

void Outstanding::Forget() {
  while (!entries_.empty() && entries_.front().done && entries_.front().done->Complete()) {
    entries_.pop_front();
  }
}

void Outstanding::Begin(Entry entry) {
  std::lock_guard lock(mutex_);
  // Now and then: to look costs a call of the library.
  if (entries_.size() % 64 == 63) Forget();
  entries_.push_back(std::move(entry));
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
  Forget();
  if (entries_.empty()) return std::nullopt;
  Entry& oldest = entries_.front();
  if (!oldest.since) oldest.since = now;
  return oldest;
}

}  // namespace syncbn::comm
