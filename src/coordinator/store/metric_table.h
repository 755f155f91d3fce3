// Metric points in the store. Part of Tables (store.h).
//
// A point is (job, attempt, rank, sequence, name, step, time, value). Each (job, attempt, rank) is
// a stream whose sequences are 1, 2, 3, ...; the store takes points in that order only and
// remembers how far it is, in the same transaction: so each is there exactly once, whatever is sent
// twice.
#pragma once

#include <string>
#include <vector>

#include "coordinator/store/change_feed.h"
#include "coordinator/job/job_record.h"
#include "coordinator/store/sqlite.h"
#include "syncbn/v1/metrics.pb.h"

namespace syncbn::coordinator {

struct StreamId {
  int64_t job = 0;
  int attempt = 0;
  int rank = 0;
};

class Downsampler;

class MetricTable {
 public:
  // Batches above this are refused; a serialized batch, in bytes.
  static constexpr int64_t kLargestBatch = 256 * 1024;
  // Names in one job, over all ranks.
  static constexpr int64_t kMostSeries = 20'000;

  MetricTable(Database& database, std::vector<Change>* changes)
      : database_(database), changes_(changes) {}

  // Adds what is new of a batch and returns the highest sequence that is there without a gap. A
  // batch that begins after a gap adds nothing, unless it says that the points between are lost.
  // Throws INVALID_ARGUMENT for a batch that contradicts itself, RESOURCE_EXHAUSTED above
  // kMostSeries.
  int64_t Insert(StreamId stream, const v1::MetricBatch& batch, WallTime now);
  int64_t Acknowledged(StreamId stream) const;
  // The stream has ended with this sequence: what is not there of it is lost. May be repeated.
  void End(StreamId stream, int64_t last_sequence);
  // Of all streams of a job.
  int64_t LostPoints(int64_t job) const;

  // Of all jobs.
  int64_t CountPoints() const;
  v1::ListSeriesResponse ListSeries(int64_t job) const;
  v1::QueryMetricsResponse Query(const v1::QueryMetricsRequest& request) const;

  // Batches with a number above `after`, oldest first, at most `limit`.
  struct StoredBatch {
    int64_t id = 0;
    v1::MetricUpdate update;
  };
  std::vector<StoredBatch> BatchesAfter(int64_t job, int64_t after, int limit) const;
  // Batches up to this number may be gone.
  int64_t ForgottenBatches() const;
  int64_t NewestBatch() const;

 private:
  // Those that count of a range of steps.
  void AddPoints(int64_t series, int64_t first_step, int64_t last_step,
                 const v1::QueryMetricsRequest& request, Downsampler& downsampler) const;
  void InsertPoints(StreamId stream, const v1::MetricBatch& batch, int first);

  Database& database_;
  std::vector<Change>* changes_;
};

}  // namespace syncbn::coordinator
