// The one thread that writes to the store.
//
// Writes that wait at the same time share one transaction and one sync of the disk: that is what
// makes every acknowledged write durable and still allows thousands of them a second. Each has a
// savepoint of its own, so that one that fails takes nothing of the others with it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "coordinator/store/change_feed.h"
#include "coordinator/store/sqlite.h"

namespace syncbn::coordinator {

// Since the start.
struct WriteFigures {
  int64_t writes = 0;   // asked for, also those that failed
  int64_t commits = 0;  // transactions
  std::chrono::steady_clock::duration busy{0};
};

class GroupWriter {
 public:
  // Runs on the writing thread inside a transaction; adds what watchers should look at.
  using Body = std::function<void(Database&, std::vector<Change>&)>;

  // All must outlive the writer; nobody else uses `database`. `confirm` is called on the
  // writing thread before a transaction, and after its commit; what it throws is thrown to all
  // whose writes are in it, and those of a transaction that was not begun have no effect.
  GroupWriter(
      Database& database, ChangeFeed& feed, std::function<void()> confirm = [] {});
  // Finishes what was handed in.
  ~GroupWriter();

  // Returns when what the body wrote is durable, perhaps before watchers are told of it; throws
  // what the body threw, or why the transaction could not be committed: nothing of it is kept then.
  // Thread-safe; not from inside a body.
  void Run(const Body& body);

  WriteFigures figures() const;

 private:
  struct Task;

  void Loop();
  // Returns what watchers should look at.
  std::vector<Change> RunGroup(std::vector<Task*>& group);
  void RunOne(Task& task, std::vector<Change>& changes);

  Database& database_;
  ChangeFeed& feed_;
  std::function<void()> confirm_;
  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable done_;
  std::deque<Task*> waiting_;
  WriteFigures figures_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace syncbn::coordinator
