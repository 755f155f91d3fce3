// What processes tell each other of their devices where one does not go on: whether it has come to the
// reduction that it has not done, or stands before it. Those that have come wait in it for the others, as
// NCCL's kernels do; who has not come is whom all wait for. By messages without a body.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

#include "comm/communicator.h"
#include "comm/outstanding.h"
#include "comm/wire.h"

namespace syncbn::comm {

// Thread-safe.
class DeviceWords {
 public:
  explicit DeviceWords(Communicator& communicator) : communicator_(communicator) {}

  // Tells the other processes of its group what this device has not done for long. Once for each
  // reduction, and when the device comes to it; nothing as long as that is not known.
  void Tell(const Outstanding::Entry& entry);
  // A message of this kind, MessageKind::kDeviceWord.
  void Hear(int from, const MessageHead& head);
  // The ranks of the reduction's group that have said, this one included, that their device stands
  // before it or before an earlier one.
  std::vector<int> StandingBefore(const Outstanding::Entry& entry) const;

 private:
  struct Word {
    int64_t place = -1;  // of the reduction in the program of every replica
    bool come = false;
    bool operator==(const Word&) const = default;
  };

  Communicator& communicator_;
  mutable std::mutex mutex_;
  std::map<int, Word> words_;  // guarded by mutex_; by rank
};

}  // namespace syncbn::comm
