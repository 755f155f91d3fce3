#include "coordinator/store/metric_table.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/check.h"
#include "base/metric_name.h"
#include "coordinator/answer_size.h"
#include "coordinator/api_error.h"
#include "coordinator/field_check.h"
#include "coordinator/store/column.h"
#include "coordinator/store/downsample.h"
#include "coordinator/store/metric_blocks.h"

namespace syncbn::coordinator {
namespace {

constexpr int kDefaultBuckets = 1000, kMostBuckets = 20'000;
// Fewer points than this are read one by one.
constexpr int64_t kFewPoints = 10'000;

[[noreturn]] void FailBatch(StreamId stream, const std::string& what) {
  ThrowFieldInvalid("batch", "metric batch of " + AttemptName(stream.job, stream.attempt) +
                                 ", rank " + std::to_string(stream.rank) + ": " + what);
}

void Validate(StreamId stream, const v1::MetricBatch& batch) {
  CheckFields(batch, "batch");
  const int points = batch.name_index_size();
  if (static_cast<int64_t>(batch.ByteSizeLong()) > MetricTable::kLargestBatch) {
    FailBatch(stream, "it has " + std::to_string(batch.ByteSizeLong()) + " bytes, more than " +
                          std::to_string(MetricTable::kLargestBatch));
  }
  if (batch.step_size() != points || batch.value_size() != points ||
      batch.time_us_size() != points) {
    FailBatch(stream, "its columns differ in length");
  }
  if (batch.first_sequence() < 1 || batch.lost_before() < 0 ||
      batch.lost_before() >= batch.first_sequence()) {
    FailBatch(stream, "first_sequence " + std::to_string(batch.first_sequence()) + " after " +
                          std::to_string(batch.lost_before()) + " lost points");
  }
  for (const std::string& name : batch.names()) {
    if (!IsMetricName(name)) {
      FailBatch(stream, "'" + name.substr(0, 140) +
                            "' is not a metric's name (letters, digits, . _ - /, at most 128)");
    }
  }
  for (const int index : batch.name_index()) {
    if (index < 0 || index >= batch.names_size()) {
      FailBatch(stream, "name_index " + std::to_string(index) + " of " +
                            std::to_string(batch.names_size()) + " names");
    }
  }
}

// An answer must fit into a message; a step range or fewer buckets make it smaller. Looked at while
// it is made, so that none takes more memory.
void CheckAnswer(int64_t bytes) {
  if (bytes <= kMostAnswer) return;
  throw ApiError(ErrorCode::kResourceExhausted, "TOO_LARGE",
                 "the answer would have more than " + std::to_string(kMostAnswer) +
                     " bytes: ask for fewer names, fewer steps or fewer buckets",
                 {{"bytes", std::to_string(bytes)}, {"limit", std::to_string(kMostAnswer)}});
}

// The batch without its first points.
v1::MetricBatch DropFirst(const v1::MetricBatch& batch, int count) {
  v1::MetricBatch rest = batch;
  rest.set_first_sequence(batch.first_sequence() + count);
  rest.set_lost_before(0);
  rest.mutable_name_index()->ExtractSubrange(0, count, nullptr);
  rest.mutable_step()->ExtractSubrange(0, count, nullptr);
  rest.mutable_value()->ExtractSubrange(0, count, nullptr);
  rest.mutable_time_us()->ExtractSubrange(0, count, nullptr);
  return rest;
}

// "train/*" stands for every name that begins with "train/".
bool MatchesAny(const std::string& name,
                const google::protobuf::RepeatedPtrField<std::string>& patterns) {
  if (patterns.empty()) return true;
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    if (pattern.ends_with('*')) return name.starts_with(pattern.substr(0, pattern.size() - 1));
    return name == pattern;
  });
}

}  // namespace

int64_t MetricTable::Insert(StreamId stream, const v1::MetricBatch& batch, WallTime now) {
  Validate(stream, batch);
  const int64_t acknowledged = Acknowledged(stream);
  const int64_t last = batch.first_sequence() + batch.name_index_size() - 1;
  if (last <= acknowledged) return acknowledged;
  if (batch.first_sequence() - batch.lost_before() > acknowledged + 1) return acknowledged;

  const int64_t lost = std::max<int64_t>(0, batch.first_sequence() - (acknowledged + 1));
  const int first =
      static_cast<int>(std::max<int64_t>(0, acknowledged + 1 - batch.first_sequence()));
  if (!database_.Query("SELECT 1 FROM jobs WHERE id = ?", stream.job).Next()) {
    throw ApiError(ErrorCode::kNotFound, "JOB_NOT_FOUND", "there is no job " + JobName(stream.job));
  }
  InsertPoints(stream, batch, first);
  database_.Run(
      "INSERT INTO streams(job, attempt, rank, acknowledged, lost) VALUES (?, ?, ?, ?, ?) "
      "ON CONFLICT DO UPDATE SET acknowledged = excluded.acknowledged, lost = lost + excluded.lost",
      stream.job, stream.attempt, stream.rank, last, lost);
  // What watchers had already is not sent to them again.
  const std::string bytes =
      first == 0 ? batch.SerializeAsString() : DropFirst(batch, first).SerializeAsString();
  database_.Run("INSERT INTO batches(job, attempt, rank, time, batch) VALUES (?, ?, ?, ?, ?)",
                stream.job, stream.attempt, stream.rank, Micros(now), Blob{bytes});
  SYNCBN_CHECK(changes_ != nullptr) << "a change inside a read";
  changes_->push_back({Change::Kind::kMetrics, stream.job});
  return last;
}

void MetricTable::InsertPoints(StreamId stream, const v1::MetricBatch& batch, int first) {
  // Figures of each series over the new points, so that its row is written once a batch.
  struct Figures {
    int64_t id = 0;
    int64_t points = 0;
    int64_t first_step = INT64_MAX, last_step = INT64_MIN, last_time = 0;
    double last_value = 0;
    std::optional<double> least, greatest;  // of those that are finite
    std::vector<MetricPoint> fresh;
  };
  std::vector<Figures> figures(static_cast<size_t>(batch.names_size()));
  for (int i = first; i < batch.name_index_size(); ++i) {
    Figures& one = figures[static_cast<size_t>(batch.name_index(i))];
    ++one.points;
    one.fresh.push_back({.step = batch.step(i),
                         .attempt = stream.attempt,
                         .time_us = batch.time_us(i),
                         .value = batch.value(i)});
    one.first_step = std::min(one.first_step, batch.step(i));
    if (const double value = batch.value(i); std::isfinite(value)) {
      one.least = std::min(value, one.least.value_or(value));
      one.greatest = std::max(value, one.greatest.value_or(value));
    }
    if (batch.step(i) >= one.last_step) {
      one.last_step = batch.step(i);
      one.last_value = batch.value(i);
      one.last_time = batch.time_us(i);
    }
  }
  for (int index = 0; index < batch.names_size(); ++index) {
    Figures& one = figures[static_cast<size_t>(index)];
    if (one.points == 0) continue;
    Rows row = database_.Query(
        "INSERT INTO series(job, name, rank, points, first_step, last_step, last_value, last_time, "
        "min_value, max_value) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
        "points = points + excluded.points, "
        "min_value = min(coalesce(min_value, excluded.min_value), "
        "coalesce(excluded.min_value, min_value)), "
        "max_value = max(coalesce(max_value, excluded.max_value), "
        "coalesce(excluded.max_value, max_value)), "
        "first_step = min(first_step, excluded.first_step), "
        "last_value = iif(excluded.last_step >= last_step, excluded.last_value, last_value), "
        "last_time = iif(excluded.last_step >= last_step, excluded.last_time, last_time), "
        "last_step = max(last_step, excluded.last_step) RETURNING id, points",
        stream.job, batch.names(index), stream.rank, one.points, one.first_step, one.last_step,
        one.last_value, one.last_time, one.least, one.greatest);
    row.Next();
    one.id = row.Int(0);
    const int64_t before = row.Int(1) - one.points;
    const bool created = before == 0;
    while (row.Next()) {
    }
    MetricBlocks(database_).Add(one.id, before, one.fresh);
    if (!created) continue;
    Rows count = database_.Query("SELECT count(*) FROM series WHERE job = ?", stream.job);
    count.Next();
    if (count.Int(0) > kMostSeries) {
      throw ApiError(ErrorCode::kResourceExhausted, "TOO_LARGE",
                     JobName(stream.job) + " reports more than " + std::to_string(kMostSeries) +
                         " series of metrics");
    }
  }

  Rows insert = database_.Start(
      "INSERT INTO points(series, step, attempt, sequence, time, value) VALUES (?, ?, ?, ?, ?, ?)");
  database_.BindTo(insert, 3, stream.attempt);
  for (int i = first; i < batch.name_index_size(); ++i) {
    database_.BindTo(insert, 1, figures[static_cast<size_t>(batch.name_index(i))].id);
    database_.BindTo(insert, 2, int64_t{batch.step(i)});
    database_.BindTo(insert, 4, batch.first_sequence() + i);
    database_.BindTo(insert, 5, int64_t{batch.time_us(i)});
    database_.BindTo(insert, 6, batch.value(i));
    insert.Next();
    insert.Restart();
  }
}

int64_t MetricTable::Acknowledged(StreamId stream) const {
  Rows rows =
      database_.Query("SELECT acknowledged FROM streams WHERE job = ? AND attempt = ? AND rank = ?",
                      stream.job, stream.attempt, stream.rank);
  return rows.Next() ? rows.Int(0) : 0;
}

void MetricTable::End(StreamId stream, int64_t last_sequence) {
  const int64_t lost = last_sequence - Acknowledged(stream);
  if (lost <= 0) return;
  database_.Run(
      "INSERT INTO streams(job, attempt, rank, acknowledged, lost) VALUES (?, ?, ?, ?, ?) "
      "ON CONFLICT DO UPDATE SET acknowledged = excluded.acknowledged, lost = lost + excluded.lost",
      stream.job, stream.attempt, stream.rank, last_sequence, lost);
}

int64_t MetricTable::LostPoints(int64_t job) const {
  // sum() would fail for good where a sum does not fit.
  Rows rows =
      database_.Query("SELECT CAST(total(lost) AS INTEGER) FROM streams WHERE job = ?", job);
  rows.Next();
  return rows.Int(0);
}

int64_t MetricTable::CountPoints() const {
  Rows rows = database_.Query("SELECT CAST(total(points) AS INTEGER) FROM series");
  rows.Next();
  return rows.Int(0);
}

v1::ListSeriesResponse MetricTable::ListSeries(int64_t job) const {
  v1::ListSeriesResponse response;
  // One line a name: the lowest rank's last value, the points of all.
  Rows rows = database_.Query(
      "SELECT name, points, first_step, last_step, last_value, last_time, min_value, max_value "
      "FROM series WHERE job = ? ORDER BY name, rank",
      job);
  while (rows.Next()) {
    const int size = response.series_size();
    if (size > 0 && response.series(size - 1).name() == rows.Text(0)) {
      v1::SeriesInfo& info = *response.mutable_series(size - 1);
      info.set_points(info.points() + rows.Int(1));
      info.set_first_step(std::min(info.first_step(), rows.Int(2)));
      info.set_last_step(std::max(info.last_step(), rows.Int(3)));
      continue;
    }
    v1::SeriesInfo& info = *response.add_series();
    info.set_name(rows.Text(0));
    info.set_points(rows.Int(1));
    info.set_first_step(rows.Int(2));
    info.set_last_step(rows.Int(3));
    info.set_last_value(rows.Real(4));
    *info.mutable_last_time() = ToProto(FromMicros(rows.Int(5)));
    if (!rows.IsNull(6)) info.set_min_value(rows.Real(6));
    if (!rows.IsNull(7)) info.set_max_value(rows.Real(7));
  }
  response.set_lost_points(LostPoints(job));
  return response;
}

v1::QueryMetricsResponse MetricTable::Query(const v1::QueryMetricsRequest& request) const {
  const int64_t job = ParseJobName(request.job(), "job");
  if (request.max_buckets() < 0 || request.max_buckets() > kMostBuckets) {
    ThrowFieldInvalid("max_buckets", "max_buckets is " + std::to_string(request.max_buckets()) +
                                         "; it can be 1 to " + std::to_string(kMostBuckets));
  }
  const int buckets = request.max_buckets() == 0 ? kDefaultBuckets : request.max_buckets();

  struct Wanted {
    std::string name;
    int rank;
    int64_t id, first_step, last_step, points;
  };
  std::vector<Wanted> wanted;
  {
    Rows rows = database_.Query(
        "SELECT name, rank, id, first_step, last_step, points FROM series WHERE job = ? ORDER BY "
        "name, "
        "rank",
        job);
    while (rows.Next()) {
      Wanted one{rows.Text(0), static_cast<int>(rows.Int(1)), rows.Int(2), rows.Int(3), rows.Int(4),
                 rows.Int(5)};
      if (!MatchesAny(one.name, request.names())) continue;
      const bool rank_fits = request.has_rank() ? one.rank == request.rank()
                                                : wanted.empty() || wanted.back().name != one.name;
      if (!rank_fits) continue;
      if (request.has_first_step()) one.first_step = std::max(one.first_step, request.first_step());
      if (request.has_last_step()) one.last_step = std::min(one.last_step, request.last_step());
      wanted.push_back(std::move(one));
    }
  }

  v1::QueryMetricsResponse response;
  int64_t bytes = 0;
  for (const Wanted& one : wanted) {
    v1::Series& series = *response.add_series();
    bytes += static_cast<int64_t>(one.name.size());
    series.set_name(one.name);
    series.set_rank(one.rank);
    if (one.first_step > one.last_step) continue;
    Downsampler downsampler(one.first_step, one.last_step, buckets);
    const auto add_points = [&](int64_t from, int64_t to) {
      AddPoints(one.id, from, to, request, downsampler);
    };
    std::optional<std::vector<MetricBlocks::Stretch>> stretches;
    // A reader who asks for one attempt sees points of steps that a later one did again.
    if (!request.has_attempt() && one.points > std::max(kFewPoints, kBlockPoints * buckets)) {
      stretches = MetricBlocks(database_).Read(one.id, one.points, one.first_step, one.last_step);
    }
    if (!stretches || static_cast<int64_t>(stretches->size()) <= buckets) {
      add_points(one.first_step, one.last_step);
    } else {
      for (const MetricBlocks::Stretch& stretch : *stretches) {
        if (stretch.block) {
          downsampler.AddBucket(*stretch.block);
        } else {
          add_points(std::max(stretch.first_step, one.first_step),
                     std::min(stretch.last_step, one.last_step));
        }
      }
    }
    downsampler.Finish(series);
    bytes += static_cast<int64_t>(series.ByteSizeLong());
    CheckAnswer(bytes);
  }
  return response;
}

void MetricTable::AddPoints(int64_t series, int64_t first_step, int64_t last_step,
                            const v1::QueryMetricsRequest& request,
                            Downsampler& downsampler) const {
  Rows rows = database_.Query(
      "SELECT step, attempt, time, value FROM points WHERE series = ? AND step BETWEEN ? AND ? "
      "ORDER BY step, attempt, sequence",
      series, first_step, last_step);
  // Of several points of a step the last in this order counts: the latest attempt's latest.
  std::optional<MetricPoint> pending;
  while (rows.Next()) {
    const int attempt = static_cast<int>(rows.Int(1));
    if (request.has_attempt() && attempt != request.attempt()) continue;
    if (pending && pending->step != rows.Int(0)) downsampler.Add(*pending);
    pending = {
        .step = rows.Int(0), .attempt = attempt, .time_us = rows.Int(2), .value = rows.Real(3)};
  }
  if (pending) downsampler.Add(*pending);
}

std::vector<MetricTable::StoredBatch> MetricTable::BatchesAfter(int64_t job, int64_t after,
                                                                int limit) const {
  std::vector<StoredBatch> batches;
  Rows rows = database_.Query(
      "SELECT id, attempt, rank, batch FROM batches WHERE job = ? AND id > ? ORDER BY id LIMIT ?",
      job, after, limit);
  while (rows.Next()) {
    StoredBatch& stored = batches.emplace_back();
    stored.id = rows.Int(0);
    stored.update.set_attempt(static_cast<int>(rows.Int(1)));
    stored.update.set_rank(static_cast<int>(rows.Int(2)));
    const std::string_view bytes = rows.Bytes(3);
    if (!stored.update.mutable_batch()->ParseFromArray(bytes.data(),
                                                       static_cast<int>(bytes.size()))) {
      throw Error(ErrorCode::kDataLoss,
                  "the store holds a damaged metric batch of " + JobName(job));
    }
  }
  return batches;
}

int64_t MetricTable::ForgottenBatches() const {
  Rows rows = database_.Query("SELECT value FROM meta WHERE key = 'forgotten_batches'");
  return rows.Next() ? std::stoll(rows.Text(0)) : 0;
}

int64_t MetricTable::NewestBatch() const {
  Rows rows = database_.Query("SELECT seq FROM sqlite_sequence WHERE name = 'batches'");
  return rows.Next() ? rows.Int(0) : 0;
}

}  // namespace syncbn::coordinator
