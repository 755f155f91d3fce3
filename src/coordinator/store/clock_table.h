// Where the clock of the store's limits stood, for the next process. Part of Tables (store.h).
#pragma once

#include <optional>

#include "base/clock.h"
#include "coordinator/store/sqlite.h"

namespace syncbn::coordinator {

class ClockTable {
 public:
  explicit ClockTable(Database& database) : database_(database) {}

  // Nothing in a store that is new, or was kept by a program that knew no such clock.
  std::optional<DurableClock::Mark> Get() const;
  void Put(const DurableClock::Mark& mark);

 private:
  Database& database_;
};

}  // namespace syncbn::coordinator
