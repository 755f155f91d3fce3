// Which change of a job is the newest: two may be noted in another order than they were stored. Not
// thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <utility>

namespace syncbn::coordinator {

class NewestRevisions {
 public:
  // Of jobs that have ended it remembers only so many: by the time that more have, nobody still has
  // an older change of the first one to note.
  explicit NewestRevisions(size_t most_ended = 1000) : most_ended_(most_ended) {}

  // Whether this one is newer than all before; then it is the newest. `ended`: with it the job has
  // ended.
  bool Advance(int64_t job, int64_t revision, bool ended) {
    int64_t& newest = newest_[job];
    if (revision <= newest) return false;
    newest = revision;
    if (!ended) return true;
    ended_.emplace_back(job, revision);
    if (ended_.size() <= most_ended_) return true;
    const auto [oldest, its_end] = ended_.front();
    ended_.pop_front();
    // One that was retried meanwhile is open, or has a later end.
    if (newest_.at(oldest) == its_end) newest_.erase(oldest);
    return true;
  }

  // Jobs that are remembered.
  size_t size() const { return newest_.size(); }

 private:
  const size_t most_ended_;
  std::map<int64_t, int64_t> newest_;
  std::deque<std::pair<int64_t, int64_t>> ended_;  // job and revision, in the order of the ends
};

}  // namespace syncbn::coordinator
