// In which order a process gives its reductions to the exchange (Exchange::Order).
//
// With tags every group has an order of its own, that of its operations, and no group waits for another.
//
// Without them all processes must share one order. It is that of the program, which is the same for all
// replicas: what a replica starts as its n-th reduction, in whatever group it belongs to, has place n, and so
// has what the first replica of every process starts as its n-th. Operations are launched by their places, and
// at one place groups from left to right; of this order over all groups a process leaves out those that it has
// no part in, or that lie inside of it. What is first in it of all that is not yet launched everywhere can
// be launched by whoever is to do so, so there is always one that goes on.
//
// The groups of a place are known when all replicas of the process have reached it. So they wait for
// each other there, but only with launching: Start never does.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/reducer.h"

namespace syncbn::comm {

struct ReductionOp;

// Operations that are launched one after the other, by one thread at a time: those of a group, or with one
// order those of the process. Under the reducer's mutex.
struct LaunchQueue {
  // Combined; their turn is to come.
  std::vector<std::shared_ptr<ReductionOp>> combined;
  int64_t next = 0;
  bool launching = false;  // a thread is at it
  // With one order all rounds of an operation are launched before the next one: that whose turn it is.
  bool one_by_one = false;
  std::shared_ptr<ReductionOp> current;

  // The one whose turn it is, once it has been combined; it must be launched then.
  std::shared_ptr<ReductionOp> TakeDue();
};

// Gives the operations of a process their numbers in the one order. Under the reducer's mutex.
class ProgramOrder {
 public:
  // `local`: the replicas of the process.
  explicit ProgramOrder(Group local);

  // A replica starts `op`, called `name`, as its next reduction. Returns a mismatch: another replica has
  // started it at another place of its program.
  std::optional<std::string> Start(int replica, const std::shared_ptr<ReductionOp>& op,
                                   std::string_view name);
  // The replicas of the process that have not reached the place of an operation, members of its group or not.
  std::vector<int> Behind(const ReductionOp& op) const;

 private:
  struct Place {
    int reached = 0;  // by so many replicas
    std::vector<std::shared_ptr<ReductionOp>> ops;
  };
  const Group local_;
  std::vector<int64_t> next_;  // place of each replica
  // From first_ on those that not all have reached.
  std::deque<Place> places_;
  int64_t first_ = 0;
  int64_t numbered_ = 0;
};

}  // namespace syncbn::comm
