#include "coordinator/store/host_table.h"

#include "coordinator/store/column.h"

namespace syncbn::coordinator {

HostHealth HostTable::Get(const std::string& name) const {
  for (HostHealth& health : All()) {
    if (health.name == name) return std::move(health);
  }
  return {.name = name};
}

std::vector<HostHealth> HostTable::All() const {
  std::vector<HostHealth> hosts;
  Rows rows = database_.Query(
      "SELECT name, drained, reason, exclusions, excluded_until FROM hosts ORDER BY name");
  while (rows.Next()) {
    HostHealth& health = hosts.emplace_back();
    health.name = rows.Text(0);
    health.drained = rows.Int(1) != 0;
    health.reason = rows.Text(2);
    health.exclusions = static_cast<int>(rows.Int(3));
    if (!rows.IsNull(4)) health.excluded_until = FromMicros<DurableTime>(rows.Int(4));
    Rows failures = database_.Query(
        "SELECT time, attempt, message FROM host_failures WHERE host = ? ORDER BY time, rowid",
        health.name);
    while (failures.Next()) {
      health.failures.push_back(
          {FromMicros<DurableTime>(failures.Int(0)), failures.Text(1), failures.Text(2)});
    }
  }
  return hosts;
}

void HostTable::Put(const HostHealth& health) {
  database_.Run(
      "INSERT INTO hosts(name, drained, reason, exclusions, excluded_until) VALUES (?, ?, ?, ?, ?) "
      "ON CONFLICT DO UPDATE SET drained = excluded.drained, reason = excluded.reason, "
      "exclusions = excluded.exclusions, excluded_until = excluded.excluded_until",
      health.name, health.drained, health.reason, health.exclusions, Micros(health.excluded_until));
  database_.Run("DELETE FROM host_failures WHERE host = ?", health.name);
  for (const HostFailure& failure : health.failures) {
    database_.Run("INSERT INTO host_failures(host, time, attempt, message) VALUES (?, ?, ?, ?)",
                  health.name, Micros(failure.time), failure.attempt, failure.message);
  }
}

}  // namespace syncbn::coordinator
