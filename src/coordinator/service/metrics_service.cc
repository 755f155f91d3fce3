#include "coordinator/service/metrics_service.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>

#include "coordinator/api_error.h"
#include "coordinator/service/cursor.h"

namespace syncbn::coordinator {
namespace {

constexpr char kCursor = 'm';
constexpr int kBatchesAtOnce = 4;
constexpr size_t kReadsKept = 16;
constexpr int kPointsAtOnce = 4096;  // of batches that are sent as one
constexpr std::chrono::milliseconds kLongestInterval = std::chrono::seconds(10);

bool MatchesAny(const std::string& name, const std::vector<std::string>& patterns) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    return pattern.ends_with('*') ? name.starts_with(pattern.substr(0, pattern.size() - 1))
                                  : name == pattern;
  });
}

// Only the points of these names.
v1::MetricBatch Select(const v1::MetricBatch& batch, const std::vector<std::string>& patterns) {
  v1::MetricBatch selected;
  selected.set_first_sequence(batch.first_sequence());
  selected.set_lost_before(batch.lost_before());
  std::vector<int> index(static_cast<size_t>(batch.names_size()), -1);
  for (int i = 0; i < batch.names_size(); ++i) {
    if (!MatchesAny(batch.names(i), patterns)) continue;
    index[static_cast<size_t>(i)] = selected.names_size();
    selected.add_names(batch.names(i));
  }
  for (int i = 0; i < batch.name_index_size(); ++i) {
    const int name = index[static_cast<size_t>(batch.name_index(i))];
    if (name < 0) continue;
    selected.add_name_index(name);
    selected.add_step(batch.step(i));
    selected.add_value(batch.value(i));
    selected.add_time_us(batch.time_us(i));
  }
  return selected;
}

// What comes after `update`, of the same rank, becomes a part of it.
void Append(const v1::MetricBatch& more, v1::MetricBatch& batch) {
  std::vector<int> index;
  for (const std::string& name : more.names()) {
    const auto at = std::find(batch.names().begin(), batch.names().end(), name);
    index.push_back(static_cast<int>(at - batch.names().begin()));
    if (at == batch.names().end()) batch.add_names(name);
  }
  for (const int name : more.name_index()) batch.add_name_index(index[static_cast<size_t>(name)]);
  batch.mutable_step()->MergeFrom(more.step());
  batch.mutable_value()->MergeFrom(more.value());
  batch.mutable_time_us()->MergeFrom(more.time_us());
}

std::chrono::milliseconds IntervalOf(const v1::WatchMetricsRequest& request) {
  using google::protobuf::util::TimeUtil;
  if (!request.has_interval()) return std::chrono::milliseconds(0);
  const std::chrono::milliseconds interval(TimeUtil::DurationToMilliseconds(request.interval()));
  if (interval <= std::chrono::milliseconds(0) || interval > kLongestInterval) {
    ThrowFieldInvalid("interval", "interval is " + TimeUtil::ToString(request.interval()) +
                                      "; it can be 0.001s to 10s");
  }
  return interval;
}

// When a stream with an interval looks for batches. All that have the same interval look at the
// same moments, and so at the same batches. Thread-safe.
class Looks {
 public:
  explicit Looks(std::chrono::milliseconds interval) : interval_(interval) {}

  // Until the next look; nothing where one may be taken now.
  std::optional<std::chrono::milliseconds> Wait() const {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(next_.load() - Clock::now());
    if (left <= std::chrono::milliseconds(0)) return std::nullopt;
    return left;
  }
  // All that there was has been sent: the next look is at the next moment.
  void Taken() {
    const Clock::duration now = Clock::now().time_since_epoch();
    if (interval_ > std::chrono::milliseconds(0)) {
      next_ = Clock::time_point((now / interval_ + 1) * Clock::duration(interval_));
    }
  }

 private:
  using Clock = std::chrono::steady_clock;
  std::chrono::milliseconds interval_;
  std::atomic<Clock::time_point> next_ = Clock::time_point();
};

class MetricsSource final : public StreamSource<v1::WatchMetricsResponse> {
 public:
  MetricsSource(Store& store, BatchReader& reader, const v1::WatchMetricsRequest& request,
                const Waker& waker)
      : store_(store),
        reader_(reader),
        job_(ParseJobName(request.job(), "job")),
        names_(request.names().begin(), request.names().end()),
        interval_(IntervalOf(request)),
        looks_(interval_) {
    // Before the first read, so that nothing falls in between. Nobody is woken only to wait: the
    // pool comes by itself at the next look.
    metrics_ = store.changes().Subscribe(Change::Kind::kMetrics, job_, [this, waker] {
      if (!looks_.Wait()) waker();
    });
    job_changes_ = store.changes().Subscribe(Change::Kind::kJob, job_, [this, waker] {
      job_changed_ = true;
      waker();
    });
    after_ = store.Read([&](Tables& tables) {
      tables.jobs.Get(job_);
      if (request.cursor().empty()) return int64_t{0};
      return ParseCursor(request.cursor(), kCursor, tables.metrics.ForgottenBatches(),
                         tables.metrics.NewestBatch());
    });
  }

  Next Fill(v1::WatchMetricsResponse& response) override {
    poll_ = looks_.Wait();
    if (poll_) return Next::kWait;
    while (const MetricTable::StoredBatch* stored = Peek()) {
      if (response.has_update() && !Continues(*stored, response.update())) return Next::kSend;
      after_ = stored->id;
      ++next_;
      const v1::MetricBatch& batch = stored->update.batch();
      if (names_.empty()) {
        Add(stored->update, batch, response);
      } else if (const v1::MetricBatch selected = Select(batch, names_);
                 selected.names_size() > 0) {
        Add(stored->update, selected, response);
      }
      if (response.has_update() && interval_ == std::chrono::milliseconds(0)) return Next::kSend;
    }
    if (!response.has_update()) return AtEnd(response);
    looks_.Taken();
    return Next::kSend;
  }

  // Of a stream with an interval, so that it looks again by itself.
  std::optional<std::chrono::milliseconds> poll() const override { return poll_; }

  void FillBookmark(v1::WatchMetricsResponse& response) override {
    response.mutable_bookmark();
    response.set_cursor(MakeCursor(kCursor, after_));
  }

 private:
  // The next batch that was not looked at; null where there is none now.
  const MetricTable::StoredBatch* Peek() {
    if (batches_ == nullptr || next_ == batches_->size()) {
      batches_ = reader_.After(job_, after_);
      next_ = 0;
    }
    return batches_->empty() ? nullptr : &(*batches_)[next_];
  }

  static bool Continues(const MetricTable::StoredBatch& stored, const v1::MetricUpdate& update) {
    return stored.update.attempt() == update.attempt() && stored.update.rank() == update.rank() &&
           stored.update.batch().lost_before() == 0 &&
           stored.update.batch().step_size() + update.batch().step_size() <= kPointsAtOnce;
  }

  void Add(const v1::MetricUpdate& stored, const v1::MetricBatch& batch,
           v1::WatchMetricsResponse& response) {
    if (response.has_update()) {
      Append(batch, *response.mutable_update()->mutable_batch());
    } else {
      response.mutable_update()->set_attempt(stored.attempt());
      response.mutable_update()->set_rank(stored.rank());
      *response.mutable_update()->mutable_batch() = batch;
    }
    response.set_cursor(MakeCursor(kCursor, after_));
  }

  // Nothing is left to send now: perhaps for ever.
  Next AtEnd(v1::WatchMetricsResponse& response) {
    if (end_sent_) return Next::kEnd;
    if (!job_changed_.exchange(false)) return Next::kWait;
    // One moment: a job that has ended, all of whose batches were sent.
    bool ended = false;
    const bool over = store_.Read([&](Tables& tables) {
      ended = IsEnded(tables.jobs.Get(job_).status.state);
      return ended && tables.metrics.BatchesAfter(job_, after_, 1).empty();
    });
    // The last batches come first: then this is to be asked again.
    if (ended) job_changed_ = true;
    if (!over) return Next::kWait;
    end_sent_ = true;
    response.mutable_end();
    response.set_cursor(MakeCursor(kCursor, after_));
    return Next::kSend;
  }

  Store& store_;
  BatchReader& reader_;
  int64_t job_;
  std::vector<std::string> names_;
  std::chrono::milliseconds interval_;
  Looks looks_;
  std::optional<std::chrono::milliseconds> poll_;
  int64_t after_ = 0;
  BatchReader::Batches batches_;
  size_t next_ = 0;
  bool end_sent_ = false;
  std::atomic<bool> job_changed_ = true;
  // Last: their listeners use what stands above.
  ChangeFeed::Subscription metrics_, job_changes_;
};

}  // namespace

BatchReader::BatchReader(Store& store)
    : store_(store),
      subscription_(store.changes().Subscribe(Change::Kind::kMetrics, std::nullopt,
                                              [this] { ++changes_; })) {}

BatchReader::Batches BatchReader::After(int64_t job, int64_t after) {
  // Before the read: what is written later counts as a change.
  const uint64_t changes = changes_;
  {
    std::lock_guard lock(mutex_);
    for (const Kept& kept : kept_) {
      if (kept.job != job || kept.after != after) continue;
      // Batches stay what they are; that there are none holds until something is written.
      if (!kept.batches->empty() || kept.changes == changes) return kept.batches;
    }
  }
  auto batches =
      std::make_shared<const std::vector<MetricTable::StoredBatch>>(store_.Read([&](Tables& tables) {
        return tables.metrics.BatchesAfter(job, after, kBatchesAtOnce);
      }));
  std::lock_guard lock(mutex_);
  std::erase_if(kept_, [&](const Kept& kept) { return kept.job == job && kept.after == after; });
  kept_.push_back({job, after, changes, batches});
  if (kept_.size() > kReadsKept) kept_.pop_front();
  return batches;
}

grpc::Status MetricsService::ListSeries(grpc::ServerContext* context,
                                        const v1::ListSeriesRequest* request,
                                        v1::ListSeriesResponse* response) {
  return gate_.Run(*context, "MetricsService/ListSeries", request, [&](Call&) {
    const int64_t job = ParseJobName(request->job(), "job");
    *response = store_.Read([&](Tables& tables) {
      tables.jobs.Get(job);
      return tables.metrics.ListSeries(job);
    });
  });
}

grpc::Status MetricsService::QueryMetrics(grpc::ServerContext* context,
                                          const v1::QueryMetricsRequest* request,
                                          v1::QueryMetricsResponse* response) {
  return gate_.Run(*context, "MetricsService/QueryMetrics", request, [&](Call&) {
    const int64_t job = ParseJobName(request->job(), "job");
    *response = store_.Read([&](Tables& tables) {
      tables.jobs.Get(job);
      if (request->has_attempt()) tables.attempts.Get({job, request->attempt()});
      v1::QueryMetricsResponse answer = tables.metrics.Query(*request);
      // Of the same moment.
      answer.set_cursor(MakeCursor(kCursor, tables.metrics.NewestBatch()));
      return answer;
    });
  });
}

grpc::ServerWriteReactor<v1::WatchMetricsResponse>* MetricsService::WatchMetrics(
    grpc::CallbackServerContext* context, const v1::WatchMetricsRequest* request) {
  return Follow<v1::WatchMetricsResponse>(
      pool_, gate_, *context, "MetricsService/WatchMetrics", *request,
      [this, request](const Caller&, const Waker& waker) {
        return std::make_unique<MetricsSource>(store_, reader_, *request, waker);
      });
}

}  // namespace syncbn::coordinator
