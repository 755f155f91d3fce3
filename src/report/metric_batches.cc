#include "report/metric_batches.h"

#include <algorithm>

#include "base/check.h"

namespace syncbn::report {
namespace {

// Upper bounds of what a point, and a name, take in a serialized batch.
constexpr size_t kPointBytes = 5 + 10 + 8 + 10;
constexpr size_t kNameBytes = 6;
// The scalars, and tag and length of each column.
constexpr size_t kBatchBytes = 64;

size_t NamesBytes(const v1::MetricBatch& batch) {
  size_t bytes = 0;
  for (const std::string& name : batch.names()) bytes += name.size() + kNameBytes;
  return bytes;
}

int IndexOf(v1::MetricBatch& batch, const std::string& name) {
  // A run has some ten names: looking through them is as fast as a map.
  const auto found = std::find(batch.names().begin(), batch.names().end(), name);
  if (found != batch.names().end()) return static_cast<int>(found - batch.names().begin());
  batch.add_names(name);
  return batch.names_size() - 1;
}

void AddColumns(v1::MetricBatch& batch, const std::string& name, int64_t step, double value,
                int64_t time_us) {
  batch.add_name_index(IndexOf(batch, name));
  batch.add_step(step);
  batch.add_value(value);
  batch.add_time_us(time_us);
}

}  // namespace

int64_t LastSequence(const v1::MetricBatch& batch) {
  return batch.first_sequence() + batch.name_index_size() - 1;
}

void AddPoint(v1::MetricBatch& batch, int64_t sequence, const Point& point) {
  if (batch.name_index_size() == 0) batch.set_first_sequence(sequence);
  SYNCBN_CHECK_EQ(LastSequence(batch) + 1, sequence) << "a metric batch has no gaps";
  AddColumns(batch, point.name, point.step, point.value, point.time_us);
}

bool HasRoom(const v1::MetricBatch& batch, const std::string& name, size_t most_bytes) {
  const size_t points = static_cast<size_t>(batch.name_index_size()) + 1;
  return kBatchBytes + NamesBytes(batch) + name.size() + kNameBytes + points * kPointBytes <=
         most_bytes;
}

bool Append(v1::MetricBatch& batch, const v1::MetricBatch& next, size_t most_bytes) {
  SYNCBN_CHECK_EQ(LastSequence(batch) + 1, next.first_sequence()) << "a metric batch has no gaps";
  const size_t points =
      static_cast<size_t>(batch.name_index_size()) + static_cast<size_t>(next.name_index_size());
  size_t names = NamesBytes(batch);
  for (const std::string& name : next.names()) {
    if (std::find(batch.names().begin(), batch.names().end(), name) == batch.names().end()) {
      names += name.size() + kNameBytes;
    }
  }
  if (kBatchBytes + names + points * kPointBytes > most_bytes) return false;
  for (int i = 0; i < next.name_index_size(); ++i) {
    AddColumns(batch, next.names(next.name_index(i)), next.step(i), next.value(i),
               next.time_us(i));
  }
  return true;
}

void DropThrough(v1::MetricBatch& batch, int64_t sequence) {
  const int64_t before = sequence - batch.first_sequence() + 1;
  if (before <= 0) {
    const int64_t lost_known = sequence - (batch.first_sequence() - batch.lost_before()) + 1;
    if (lost_known > 0) batch.set_lost_before(batch.lost_before() - lost_known);
    return;
  }
  const int count = static_cast<int>(std::min<int64_t>(before, batch.name_index_size()));
  batch.set_first_sequence(batch.first_sequence() + count);
  batch.set_lost_before(0);
  batch.mutable_name_index()->ExtractSubrange(0, count, nullptr);
  batch.mutable_step()->ExtractSubrange(0, count, nullptr);
  batch.mutable_value()->ExtractSubrange(0, count, nullptr);
  batch.mutable_time_us()->ExtractSubrange(0, count, nullptr);
}

int64_t CloseGap(v1::MetricBatch& batch, int64_t acknowledged) {
  const int64_t missing = batch.first_sequence() - 1 - acknowledged;
  if (missing <= batch.lost_before()) return 0;
  const int64_t more = missing - batch.lost_before();
  batch.set_lost_before(missing);
  return more;
}

}  // namespace syncbn::report
