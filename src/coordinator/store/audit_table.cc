#include "coordinator/store/audit_table.h"

#include "coordinator/store/column.h"

namespace syncbn::coordinator {

void AuditTable::Add(const AuditRecord& entry) {
  database_.Run(
      "INSERT INTO audit(time, actor, peer, method, resource, code, detail) VALUES (?, ?, ?, ?, ?, "
      "?, ?)",
      Micros(entry.time), entry.actor, entry.peer, entry.method, entry.resource, entry.code,
      entry.detail);
}

std::vector<AuditRecord> AuditTable::List(int64_t before, int limit) const {
  std::vector<AuditRecord> entries;
  Rows rows = database_.Query(
      "SELECT sequence, time, actor, peer, method, resource, code, detail FROM audit WHERE "
      "sequence < ? ORDER BY sequence DESC LIMIT ?",
      before, limit);
  while (rows.Next()) {
    entries.push_back({.sequence = rows.Int(0),
                       .time = FromMicros(rows.Int(1)),
                       .actor = rows.Text(2),
                       .peer = rows.Text(3),
                       .method = rows.Text(4),
                       .resource = rows.Text(5),
                       .code = static_cast<int>(rows.Int(6)),
                       .detail = rows.Text(7)});
  }
  return entries;
}

}  // namespace syncbn::coordinator
