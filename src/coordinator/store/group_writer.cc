#include "coordinator/store/group_writer.h"

#include <exception>

#include "base/check.h"

namespace syncbn::coordinator {

namespace {
// A bound on how long the first of a group waits for the last.
constexpr size_t kLargestGroup = 64;
}  // namespace

struct GroupWriter::Task {
  const Body* body;
  std::exception_ptr error;
  bool done = false;
};

GroupWriter::GroupWriter(Database& database, ChangeFeed& feed, std::function<void()> confirm)
    : database_(database), feed_(feed), confirm_(std::move(confirm)), thread_([this] { Loop(); }) {}

GroupWriter::~GroupWriter() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_.notify_one();
  thread_.join();
}

void GroupWriter::Run(const Body& body) {
  SYNCBN_CHECK(std::this_thread::get_id() != thread_.get_id()) << "a write inside a write";
  Task task{.body = &body};
  std::unique_lock lock(mutex_);
  waiting_.push_back(&task);
  work_.notify_one();
  done_.wait(lock, [&] { return task.done; });
  if (task.error) std::rethrow_exception(task.error);
}

WriteFigures GroupWriter::figures() const {
  std::lock_guard lock(mutex_);
  return figures_;
}

void GroupWriter::Loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock, [&] { return stop_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    std::vector<Task*> group;
    while (!waiting_.empty() && group.size() < kLargestGroup) {
      group.push_back(waiting_.front());
      waiting_.pop_front();
    }
    lock.unlock();
    const auto start = std::chrono::steady_clock::now();
    const std::vector<Change> changes = RunGroup(group);
    const auto busy = std::chrono::steady_clock::now() - start;
    lock.lock();
    figures_.writes += static_cast<int64_t>(group.size());
    ++figures_.commits;
    figures_.busy += busy;
    for (Task* task : group) task->done = true;
    done_.notify_all();
    if (changes.empty()) continue;
    // After those who wait for their write: hundreds may watch.
    lock.unlock();
    feed_.Publish(changes);
    lock.lock();
  }
}

std::vector<Change> GroupWriter::RunGroup(std::vector<Task*>& group) {
  std::vector<Change> changes;
  try {
    confirm_();
    database_.Execute("BEGIN IMMEDIATE");
    for (Task* task : group) RunOne(*task, changes);
    database_.Execute("COMMIT");
    confirm_();
  } catch (...) {
    if (database_.InTransaction()) database_.Execute("ROLLBACK");
    for (Task* task : group) {
      if (!task->error) task->error = std::current_exception();
    }
    return {};
  }
  return changes;
}

void GroupWriter::RunOne(Task& task, std::vector<Change>& changes) {
  const size_t changes_before = changes.size();
  database_.Execute("SAVEPOINT one");
  try {
    (*task.body)(database_, changes);
    database_.Execute("RELEASE one");
  } catch (...) {
    changes.resize(changes_before);
    // On some errors (disk full) SQLite has ended the whole transaction: then it fails for all.
    if (!database_.InTransaction()) throw;
    task.error = std::current_exception();
    database_.Execute("ROLLBACK TO one; RELEASE one");
  }
}

}  // namespace syncbn::coordinator
