// Who asked for what, and what came of it, in the store. Part of Tables (store.h).
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "coordinator/store/sqlite.h"

namespace syncbn::coordinator {

struct AuditRecord {
  int64_t sequence = 0;  // given by the table
  WallTime time;
  std::string actor;     // empty: not known
  std::string peer;
  std::string method;    // "JobService/CreateJob"
  std::string resource;  // "jobs/17"; empty where the call names none
  int code = 0;          // gRPC's
  std::string detail;    // why it was refused
};

class AuditTable {
 public:
  explicit AuditTable(Database& database) : database_(database) {}

  void Add(const AuditRecord& entry);
  // Newest first, those with a sequence below `before`.
  std::vector<AuditRecord> List(int64_t before, int limit) const;

 private:
  Database& database_;
};

}  // namespace syncbn::coordinator
