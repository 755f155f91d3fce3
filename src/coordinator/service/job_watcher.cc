#include "coordinator/service/job_watcher.h"

#include <deque>
#include <map>
#include <mutex>
#include <set>

#include "coordinator/api_error.h"
#include "coordinator/service/cursor.h"

namespace syncbn::coordinator {
namespace {

constexpr char kCursor = 'j';
constexpr int kJobsAtOnce = 100, kEntriesAtOnce = 100;
// The place in the queue changes without a write: waiting jobs are looked at so often.
constexpr std::chrono::milliseconds kLookAtQueue{1000};

// Jobs that were touched since they were last taken. The writing thread adds.
class TouchedJobs {
 public:
  void Add(int64_t job) {
    std::lock_guard lock(mutex_);
    jobs_.insert(job);
  }
  std::set<int64_t> Take() {
    std::lock_guard lock(mutex_);
    return std::exchange(jobs_, {});
  }

 private:
  std::mutex mutex_;
  std::set<int64_t> jobs_;
};

class JobSource final : public StreamSource<v1::WatchJobsResponse> {
 public:
  JobSource(Store& store, JobWatcher::View view, const v1::WatchJobsRequest& request,
            const Waker& waker)
      : store_(store), view_(std::move(view)) {
    if (!request.job().empty()) {
      if (!request.filter().empty()) {
        ThrowFieldInvalid("filter", "give a job or a filter, not both");
      }
      job_ = ParseJobName(request.job(), "job");
    }
    filter_ = JobFilter::Parse(request.filter());
    // Before the first read, so that nothing falls in between.
    changes_ = store.changes().SubscribeToJobs(Change::Kind::kJob, job_,
                                               [touched = touched_, waker](int64_t job) {
                                                 touched->Add(job);
                                                 waker();
                                               });
    store.Read([&](Tables& tables) {
      const int64_t newest = tables.jobs.NewestTransition();
      if (request.cursor().empty()) {
        cursor_ = newest;
        if (job_) snapshot_.push_back(tables.jobs.Get(*job_));
        return;
      }
      cursor_ = ParseCursor(request.cursor(), kCursor, tables.jobs.ForgottenTransitions(), newest);
      resumed_until_ = newest;
      snapshot_read_ = snapshot_sent_ = true;
    });
    if (job_) snapshot_read_ = true;
  }

  Next Fill(v1::WatchJobsResponse& response) override {
    if (!snapshot_sent_) {
      FillSnapshot(response);
      return Next::kSend;
    }
    while (true) {
      if (!entries_.empty()) {
        const v1::Transition entry = std::move(entries_.front());
        entries_.pop_front();
        cursor_ = entry.sequence();
        if (!FillEntry(entry, response)) continue;
        response.set_cursor(MakeCursor(kCursor, cursor_));
        return Next::kSend;
      }
      // First the jobs, then the history: whoever wrote in between wakes us again.
      pending_.merge(touched_->Take());
      ReadEntries();
      if (!entries_.empty()) continue;
      if (pending_.empty()) AddWaiting();
      while (!pending_.empty()) {
        const int64_t job = *pending_.begin();
        pending_.erase(pending_.begin());
        if (!FillQuietChange(job, response)) continue;
        response.set_cursor(MakeCursor(kCursor, cursor_));
        return Next::kSend;
      }
      return Next::kWait;
    }
  }

  void FillBookmark(v1::WatchJobsResponse& response) override {
    response.mutable_bookmark();
    response.set_cursor(MakeCursor(kCursor, cursor_));
  }

  std::optional<std::chrono::milliseconds> poll() const override {
    if (waiting_.empty()) return std::nullopt;
    return kLookAtQueue;
  }

 private:
  // One job of the snapshot, or its end. Jobs are read page by page: only one page is held.
  void FillSnapshot(v1::WatchJobsResponse& response) {
    if (snapshot_.empty() && !snapshot_read_) {
      JobPage page = store_.Read([&](Tables& tables) {
        return tables.jobs.List(filter_, {.jobs = kJobsAtOnce}, page_token_);
      });
      for (JobRecord& record : page.jobs) snapshot_.push_back(std::move(record));
      page_token_ = page.next_page_token;
      snapshot_read_ = page_token_.empty();
    }
    if (!snapshot_.empty()) {
      *response.mutable_snapshot() = Show(snapshot_.front());
      snapshot_.pop_front();
      return;
    }
    snapshot_sent_ = true;
    response.mutable_snapshot_end();
    response.set_cursor(MakeCursor(kCursor, cursor_));
  }

  void ReadEntries() {
    store_.Read([&](Tables& tables) {
      if (cursor_ < tables.jobs.ForgottenTransitions()) {
        // So slow a client that what it has not seen is gone.
        ParseCursor(MakeCursor(kCursor, cursor_), kCursor, tables.jobs.ForgottenTransitions(),
                    tables.jobs.NewestTransition());
      }
      for (v1::Transition& entry : tables.jobs.History(job_, cursor_, kEntriesAtOnce)) {
        entries_.push_back(std::move(entry));
      }
    });
  }

  // False: not for this stream.
  bool FillEntry(const v1::Transition& entry, v1::WatchJobsResponse& response) {
    const int64_t job = ParseJobName(entry.job());
    if (entry.event() == "DELETE") {
      Leave(job);
      pending_.erase(job);
      response.set_deleted(entry.job());
      return true;
    }
    const std::optional<JobRecord> record = Find(job);
    // Deleted since: that entry comes, and this one is gone from the history too.
    if (!record) return false;
    const bool matches = Matches(job);
    // What was shown before a cursor is not known: until the stream has caught up every job may
    // have been.
    if (!matches && !shown_.contains(job) && entry.sequence() > resumed_until_) return false;
    *response.mutable_change()->mutable_job() = Show(*record);
    *response.mutable_change()->mutable_transition() = entry;
    if (!matches) Leave(job);
    return true;
  }

  // A change that is not in the history. False when nothing that is shown has changed.
  bool FillQuietChange(int64_t job, v1::WatchJobsResponse& response) {
    const std::optional<JobRecord> record = Find(job);
    if (!record) return false;
    const bool matches = Matches(job);
    const auto before = shown_.find(job);
    const bool was_shown = before != shown_.end();
    if (!matches && !was_shown) return false;
    const size_t last = was_shown ? before->second : 0;
    v1::Job now = Show(*record);
    const bool same = was_shown && shown_[job] == last;
    if (!matches) Leave(job);
    if (same && matches) return false;
    *response.mutable_change()->mutable_job() = std::move(now);
    return true;
  }

  std::optional<JobRecord> Find(int64_t job) const {
    try {
      return store_.Read([&](Tables& tables) { return tables.jobs.Get(job); });
    } catch (const ApiError& error) {
      if (error.reason() != "JOB_NOT_FOUND") throw;
      return std::nullopt;
    }
  }

  bool Matches(int64_t job) const {
    if (job_) return true;
    return store_.Read([&](Tables& tables) { return tables.jobs.Matches(job, filter_); });
  }

  // It was shown for the last time, because it no longer matches.
  void Leave(int64_t job) {
    shown_.erase(job);
    waiting_.erase(job);
  }

  // The job as the API shows it; remembers what was shown.
  v1::Job Show(const JobRecord& record) {
    v1::Job job = view_(record);
    MakeBasic(job);
    if (record.status.state == JobState::kQueued) {
      waiting_.insert(record.id);
    } else {
      waiting_.erase(record.id);
    }
    v1::Job compared = job;
    // Moves by itself, and would make every look a change.
    compared.clear_used_time();
    // Never change, and are written in no certain order.
    compared.clear_labels();
    shown_[record.id] = std::hash<std::string>()(compared.SerializeAsString());
    return job;
  }

  void AddWaiting() {
    const auto now = std::chrono::steady_clock::now();
    if (waiting_.empty() || now - looked_ < kLookAtQueue) return;
    looked_ = now;
    pending_ = waiting_;
  }

  Store& store_;
  JobWatcher::View view_;
  std::optional<int64_t> job_;
  JobFilter filter_;
  int64_t cursor_ = 0;
  int64_t resumed_until_ = 0;
  std::deque<JobRecord> snapshot_;
  std::string page_token_;
  bool snapshot_read_ = false, snapshot_sent_ = false;
  std::deque<v1::Transition> entries_;
  std::set<int64_t> pending_;  // touched, not yet looked at
  std::set<int64_t> waiting_;  // shown as QUEUED
  std::map<int64_t, size_t> shown_;  // what a job looked like, as a hash
  std::chrono::steady_clock::time_point looked_{};
  std::shared_ptr<TouchedJobs> touched_ = std::make_shared<TouchedJobs>();
  ChangeFeed::Subscription changes_;
};

}  // namespace

std::string NewestJobCursor(Tables& tables) {
  return MakeCursor(kCursor, tables.jobs.NewestTransition());
}

grpc::ServerWriteReactor<v1::WatchJobsResponse>* JobWatcher::Watch(
    grpc::CallbackServerContext& context, const v1::WatchJobsRequest& request) {
  return Follow<v1::WatchJobsResponse>(
      pool_, gate_, context, "JobService/WatchJobs", request,
      [this, &request](const Caller&, const Waker& waker) {
        return std::make_unique<JobSource>(store_, view_, request, waker);
      });
}

}  // namespace syncbn::coordinator
