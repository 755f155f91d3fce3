// What processes launch, compared by messages, where the exchange carries no signatures: each tells
// its right neighbour in the group (around the end), by a message without a body, so every process
// sends and receives one of them a reduction, whatever their number. What two neighbours launch as
// such must be the same, in the same order, and at the same place of their programs: then all is
// the same everywhere. A difference makes the run fail (in Failure). Nobody waits for it but the
// host before it believes what a device has reduced.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "comm/communicator.h"
#include "comm/failure.h"
#include "comm/group_plan.h"
#include "comm/wire.h"

namespace syncbn::comm {

// Thread-safe.
class RollCall {
 public:
  RollCall(Communicator& communicator, Failure& failure)
      : communicator_(communicator), failure_(failure) {}

  // What this process launches next, a reduction of the plan's group, which crosses processes.
  void Call(const Signature& signature, int64_t sequence, const GroupPlan& plan);
  // A message of this kind, MessageKind::kRollCall.
  void Hear(int from, const MessageHead& head);

  // How many calls there have been.
  int64_t calls() const;
  struct Open {
    int rank = 0;       // who owes the answer
    int64_t place = 0;  // of the reduction in the program of every replica
    std::string name;
    std::string what;  // "'layer1.bn1 forward' (...), reduction 4 of replicas 0..3"
  };
  // One of so many that has not been answered.
  std::optional<Open> Unanswered(int64_t calls) const;
  bool open() const;

 private:
  // Of a left neighbour: what this process has launched and not heard of, or heard of and not
  // launched.
  struct Neighbour {
    struct Own {
      int64_t call;
      MessageHead head;
    };
    std::deque<Own> own;
    std::deque<MessageHead> heard;
  };
  // Under mutex_.
  void Compare(Neighbour& neighbour);

  Communicator& communicator_;
  Failure& failure_;
  mutable std::mutex mutex_;
  int64_t calls_ = 0;                    // guarded by mutex_
  std::map<int, Neighbour> neighbours_;  // guarded by mutex_; by rank
};

}  // namespace syncbn::comm
