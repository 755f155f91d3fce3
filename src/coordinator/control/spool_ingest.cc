#include "coordinator/control/spool_ingest.h"

#include "base/error.h"
#include "report/metric_batches.h"
#include "report/spool_reader.h"

namespace syncbn::coordinator {
namespace {

// Puts batches into the store in as few transactions as their length allows.
class RankIngest {
 public:
  RankIngest(Store& store, StreamId stream, WallTime now, SpoolIngest& result)
      : store_(store), stream_(stream), now_(now), result_(result) {
    acknowledged_ =
        store_.Read([&](Tables& tables) { return tables.metrics.Acknowledged(stream_); });
  }

  void Add(v1::MetricBatch batch) {
    if (report::LastSequence(batch) <= acknowledged_) return;
    const bool follows =
        pending_.value_size() > 0 && batch.first_sequence() == report::LastSequence(pending_) + 1;
    if (follows && report::Append(pending_, batch, report::kLargestBatch)) return;
    Flush();
    pending_ = std::move(batch);
  }

  void Flush() {
    if (pending_.value_size() == 0) return;
    report::DropThrough(pending_, acknowledged_);
    report::CloseGap(pending_, acknowledged_);
    result_.lost_points += pending_.lost_before();
    result_.points += pending_.value_size();
    acknowledged_ = store_.Write(
        [&](Tables& tables) { return tables.metrics.Insert(stream_, pending_, now_); });
    pending_.Clear();
  }

 private:
  Store& store_;
  const StreamId stream_;
  const WallTime now_;
  SpoolIngest& result_;
  int64_t acknowledged_ = 0;
  v1::MetricBatch pending_;
};

void IngestRank(Store& store, AttemptId attempt, report::SpoolReader& reader, int rank,
                WallTime now, SpoolIngest& result) {
  const std::string name = AttemptName(attempt.job, attempt.attempt);
  RankIngest one(store, {attempt.job, attempt.attempt, rank}, now, result);
  reader.ReadBatches([&](const v1::MetricBatch& batch) {
    if (!reader.attempt().empty() && reader.attempt() != name) {
      throw Error(ErrorCode::kDataLoss, "its spool is of " + reader.attempt());
    }
    one.Add(batch);
  });
  one.Flush();
  if (const auto exit = reader.ReadExit()) {
    result.lost_points +=
        store.Write([&](Tables& tables) { return PutRankExit(tables, attempt, rank, *exit); });
    ++result.exits;
  }
}

}  // namespace

int64_t PutRankExit(Tables& tables, AttemptId attempt, int rank, const v1::RankExit& exit) {
  const int64_t before = tables.metrics.LostPoints(attempt.job);
  tables.attempts.PutRankExit(attempt, rank, exit);
  tables.metrics.End({attempt.job, attempt.attempt, rank}, exit.last_sequence());
  return tables.metrics.LostPoints(attempt.job) - before;
}

SpoolIngest IngestSpool(Store& store, AttemptId attempt, const std::filesystem::path& folder,
                        WallTime now) {
  SpoolIngest result;
  std::vector<int> ranks;
  try {
    ranks = report::SpooledRanks(folder);
  } catch (const Error& error) {
    result.problems.push_back(error.message());
  }
  for (const int rank : ranks) {
    ++result.ranks;
    try {
      report::SpoolReader reader(folder, rank);
      IngestRank(store, attempt, reader, rank, now, result);
      reader.Remove();
    } catch (const Error& error) {
      result.problems.push_back("rank " + std::to_string(rank) + ": " + error.message());
    }
  }
  return result;
}

std::string Describe(const SpoolIngest& ingested) {
  if (ingested.ranks == 0 && ingested.problems.empty()) return "";
  std::string text = "took in " + std::to_string(ingested.points) + " metric points and " +
                     std::to_string(ingested.exits) + " exit reports of " +
                     std::to_string(ingested.ranks) + " ranks";
  if (ingested.lost_points > 0)
    text += "; " + std::to_string(ingested.lost_points) + " points are lost";
  for (const std::string& problem : ingested.problems) text += "; not taken: " + problem;
  return text;
}

}  // namespace syncbn::coordinator
