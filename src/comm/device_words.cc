#include "comm/device_words.h"

namespace syncbn::comm {

void DeviceWords::Tell(const Outstanding::Entry& entry) {
  if (!entry.come) return;
  const Word word{.place = entry.place, .come = *entry.come};
  {
    std::lock_guard lock(mutex_);
    Word& last = words_[communicator_.rank()];
    if (last == word) return;
    last = word;
  }
  MessageHead head{.kind = MessageKind::kDeviceWord,
                   .group_begin = entry.group->plan.group.begin,
                   .group_end = entry.group->plan.group.end,
                   .index = word.come ? 1 : 0,
                   .sequence = word.place};
  for (const GroupPlan::Participant& participant : entry.group->plan.participants) {
    if (participant.rank == communicator_.rank()) continue;
    communicator_.Send(participant.rank, head.Bytes(), {}, nullptr);
  }
}

void DeviceWords::Hear(int from, const MessageHead& head) {
  std::lock_guard lock(mutex_);
  words_[from] = {.place = head.sequence, .come = head.index != 0};
}

std::vector<int> DeviceWords::StandingBefore(const Outstanding::Entry& entry) const {
  std::vector<int> ranks;
  std::lock_guard lock(mutex_);
  for (const GroupPlan::Participant& participant : entry.group->plan.participants) {
    const auto word = words_.find(participant.rank);
    if (word == words_.end() || word->second.come || word->second.place > entry.place) continue;
    ranks.push_back(participant.rank);
  }
  return ranks;
}

}  // namespace syncbn::comm
