#include "study/executor.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>
#include <tuple>

#include "base/error.h"

namespace syncbn::study {
namespace {

class Execution {
 public:
  Execution(const Plan& plan, KeptResults& kept, TrialRunner& runner,
            const ExecutorOptions& options)
      : plan_(plan), kept_(kept), runner_(runner), options_(options) {}

  bool Run() {
    Look();
    std::stop_callback stopped(options_.stop, [this] { Stop(); });
    {
      std::vector<std::jthread> threads;
      // However this is left, the workers leave before they are joined.
      const Leave leave{*this};
      StartThreads(threads);
      Watch();
    }
    if (failure_) std::rethrow_exception(failure_);
    return done_;
  }

 private:
  struct Ended {
    TrialResult result;
    std::optional<TrialRecord> record;
  };

  struct Leave {
    Execution& execution;
    ~Leave() { execution.Stop(); }
  };

  // A trial that is known and has no result.
  struct Open {
    size_t cell;
    bool tuning;
  };

  void StartThreads(std::vector<std::jthread>& threads) {
    try {
      for (int i = 0; i < options_.at_once; ++i) threads.emplace_back([this] { Work(); });
    } catch (const std::system_error& error) {
      throw Error(ErrorCode::kResourceExhausted, "cannot start thread " +
                                                     std::to_string(threads.size() + 1) + " of " +
                                                     std::to_string(options_.at_once) + ": " +
                                                     error.what() + "; run fewer trials at once");
    }
  }

  void Stop() {
    inner_.request_stop();
    std::lock_guard lock(mutex_);
    changed_.notify_all();
  }

  // What is to be run, by all that has ended. Under mutex_, or before the threads.
  void Look() {
    const Outlook outlook(plan_, kept_.results());
    progress_.known = static_cast<int64_t>(outlook.trials().size());
    progress_.done = 0;
    open_.clear();
    tuning_.clear();
    for (const TrialResult& one : outlook.trials()) {
      if (one.record != nullptr) {
        ++progress_.done;
        continue;
      }
      open_.emplace(one.id, Open{.cell = one.trial.cell, .tuning = one.trial.tuning});
      if (one.trial.tuning) ++tuning_[one.trial.cell];
      if (given_.insert(one.id).second) waiting_.push_back(one);
    }
    std::ranges::stable_sort(waiting_, {}, [&](const TrialResult& one) { return TurnOf(one); });
    done_ = outlook.complete();
  }

  // Begun elsewhere, tuning, seed, cell; the smallest has its turn first.
  std::tuple<bool, bool, uint64_t, size_t> TurnOf(const TrialResult& one) const {
    const bool begun = options_.first.contains(one.id);
    if (one.trial.tuning) return {!begun, false, 0, 0};
    return {!begun, true, one.trial.seed, one.trial.cell};
  }

  // The trials of this digest have ended. More are known only when the last that tunes a cell has:
  // until then there is nothing to look for, and looking reads all results. Under mutex_.
  void Close(const std::string& id) {
    bool look = false;
    const auto [first, last] = open_.equal_range(id);
    for (auto it = first; it != last; ++it) {
      ++progress_.done;
      if (it->second.tuning && --tuning_[it->second.cell] == 0) look = true;
    }
    open_.erase(first, last);
    if (look || open_.empty()) Look();
  }

  void Work() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock,
                    [&] { return NextFits() || done_ || failure_ || inner_.stop_requested(); });
      if (done_ || failure_ || inner_.stop_requested()) return;
      TrialResult next = std::move(waiting_.front());
      waiting_.pop_front();
      const int processes = plan_.ProcessesOf(next.trial);
      busy_ += processes;
      ++progress_.running;
      lock.unlock();
      std::optional<TrialRecord> record;
      std::exception_ptr failure;
      try {
        record = runner_.Run(next, plan_.RunOf(next.trial), processes, inner_.get_token());
      } catch (Error& error) {
        const std::string cell = plan_.Describe(plan_.cells()[next.trial.cell]);
        error.AddFrame("trial " + next.id + " (" + cell + (cell.empty() ? "" : ", ") + "seed " +
                       std::to_string(next.trial.seed) + ")");
        failure = std::current_exception();
      } catch (...) {
        failure = std::current_exception();
      }
      lock.lock();
      busy_ -= processes;
      --progress_.running;
      if (failure) {
        if (!failure_) failure_ = failure;
        inner_.request_stop();
      } else if (record) {
        ended_.push_back({std::move(next), std::move(record)});
      } else {
        inner_.request_stop();  // one without a result was stopped, and so are the others
      }
      changed_.notify_all();
    }
  }

  // On the calling thread: keeps results, and tells of them.
  void Watch() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait_for(lock, std::chrono::milliseconds(500),
                        [&] { return !ended_.empty() || (progress_.running == 0 && Leaving()); });
      while (!ended_.empty()) Keep(lock);
      if (progress_.running == 0 && Leaving()) return;
      Tell(lock, nullptr);
    }
  }

  // In their order: one of many processes is not overtaken for ever. What has ended is looked at
  // before, since others that follow from it may have their turn first. Under mutex_.
  bool NextFits() const {
    if (waiting_.empty() || !ended_.empty()) return false;
    return busy_ == 0 || busy_ + plan_.ProcessesOf(waiting_.front().trial) <= options_.at_once;
  }

  bool Leaving() const { return done_ || failure_ || inner_.stop_requested(); }

  void Keep(std::unique_lock<std::mutex>& lock) {
    Ended ended = std::move(ended_.front());
    ended_.pop_front();
    // What is not kept is not told of: it has no record.
    bool kept = false;
    try {
      kept_.Add(ended.result.id, *std::move(ended.record));
      ended.result.record = kept_.Find(ended.result.id);
      kept = true;
      ++progress_.ran;
      Close(ended.result.id);
    } catch (...) {
      if (!failure_) failure_ = std::current_exception();
      inner_.request_stop();
    }
    changed_.notify_all();
    Tell(lock, kept ? &ended.result : nullptr);
  }

  void Tell(std::unique_lock<std::mutex>& lock, const TrialResult* ended) {
    if (!options_.on_progress) return;
    const Progress progress = progress_;
    lock.unlock();
    options_.on_progress(progress, ended);
    lock.lock();
  }

  const Plan& plan_;
  KeptResults& kept_;
  TrialRunner& runner_;
  const ExecutorOptions& options_;
  // Requested by the caller's, and by a failure.
  std::stop_source inner_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<TrialResult> waiting_;
  // Processes of the trials under way.
  int busy_ = 0;
  std::set<std::string> given_;
  // By digest, which several trials may share; and how many of them tune, by cell.
  std::multimap<std::string, Open> open_;
  std::map<size_t, int64_t> tuning_;
  std::deque<Ended> ended_;
  Progress progress_;
  bool done_ = false;
  std::exception_ptr failure_;
};

}  // namespace

bool Execute(const Plan& plan, KeptResults& kept, TrialRunner& runner,
             const ExecutorOptions& options) {
  return Execution(plan, kept, runner, options).Run();
}

}  // namespace syncbn::study
