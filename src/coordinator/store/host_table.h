// What is remembered of hosts, in the store. Part of Tables (store.h).
#pragma once

#include <string>
#include <vector>

#include "coordinator/schedule/host_health.h"
#include "coordinator/store/sqlite.h"

namespace syncbn::coordinator {

class HostTable {
 public:
  explicit HostTable(Database& database) : database_(database) {}

  // A host of which nothing is remembered is healthy.
  HostHealth Get(const std::string& name) const;
  std::vector<HostHealth> All() const;
  void Put(const HostHealth& health);

 private:
  Database& database_;
};

}  // namespace syncbn::coordinator
