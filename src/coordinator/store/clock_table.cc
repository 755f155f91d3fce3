#include "coordinator/store/clock_table.h"

#include <sstream>

#include "coordinator/store/column.h"

namespace syncbn::coordinator {
namespace {

// "{time} {monotonic} {boot}", times in microseconds.
constexpr const char* kKey = "durable_clock";

}  // namespace

std::optional<DurableClock::Mark> ClockTable::Get() const {
  Rows rows = database_.Query("SELECT value FROM meta WHERE key = ?", kKey);
  if (!rows.Next()) return std::nullopt;
  std::istringstream words(rows.Text(0));
  int64_t time = 0, monotonic = 0;
  DurableClock::Mark mark;
  if (!(words >> time >> monotonic)) {
    throw Error(ErrorCode::kDataLoss, "the store holds a damaged clock");
  }
  std::getline(words >> std::ws, mark.boot);
  mark.time = FromMicros<DurableTime>(time);
  mark.monotonic = MonotonicTime(std::chrono::microseconds(monotonic));
  return mark;
}

void ClockTable::Put(const DurableClock::Mark& mark) {
  const auto monotonic =
      std::chrono::duration_cast<std::chrono::microseconds>(mark.monotonic.time_since_epoch());
  database_.Run(
      "INSERT INTO meta(key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
      kKey,
      std::to_string(Micros(mark.time)) + " " + std::to_string(monotonic.count()) + " " +
          mark.boot);
}

}  // namespace syncbn::coordinator
