// The reductions of a group that are under way in a process.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "comm/exchange.h"
#include "comm/exchange_schedule.h"
#include "comm/launch_order.h"
#include "comm/merge.h"

namespace syncbn::comm {

struct GroupState;

// One reduction of a group in this process.
struct ReductionOp {
  virtual ~ReductionOp() = default;
  GroupState* group = nullptr;
  int64_t sequence = 0;
  // All its rounds have been given to the exchange.
  std::atomic<bool> all_launched{false};
  // Under the reducer's mutex_: when it is launched among others of its queue, -1 while that is not known;
  // and its place in the program, where there is one order of all.
  int64_t launch_number = -1;
  int64_t place = -1;
  // When it was given to the exchange; only where somebody wants to know. Set before that.
  MonotonicTime launched;
  // Set before done, constant from then on: after which the results are there.
  backend::Event ready;
  std::atomic<bool> done{false};

  std::mutex mutex;  // guards what follows
  // Set by the first local contribution (`started`), constant from then on.
  bool started = false;
  Signature signature;
  Content content;
  std::vector<int64_t> channels;  // behind content.channels
  // Its exchanges with other processes, if there are any, until it is complete.
  std::shared_ptr<Exchange::Series> series;
  // By member of the group in this process.
  std::vector<Tensor> results;
  std::vector<char> arrived;
  // When somebody first and last looked whether it is stalled, in the watchdog's time.
  std::optional<std::chrono::nanoseconds> first_check, last_check;
};

// What a process knows of a group.
struct GroupState {
  GroupPlan plan;
  Group local;  // the group's replicas in this process
  // For messages that are exchanged by ranges, and whole. Without others both are empty.
  ExchangeSchedule direct, whole;
  bool whole_is_direct = false;
  bool crosses_processes() const { return plan.participants.size() > 1; }

  // Under the reducer's mutex_: the next number of each local replica; operations from `first` on.
  std::vector<int64_t> next;
  int64_t first = 0;
  struct Entry {
    std::shared_ptr<ReductionOp> op;
    bool over = false;
  };
  std::deque<Entry> ops;
  // Where its order is its own.
  LaunchQueue launches;
};

}  // namespace syncbn::comm
