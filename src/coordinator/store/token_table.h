// Bearer tokens of users in the store, by the hash of their secret. Part of Tables (store.h).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "coordinator/job/job_record.h"
#include "coordinator/store/sqlite.h"

namespace syncbn::coordinator {

struct TokenRecord {
  std::string hash;  // SHA-256 of the secret (control/secret.h)
  std::string name;
  int role = 0;  // a Role (service/caller.h)
  WallTime create_time;
  std::optional<WallTime> expire_time;
};

class TokenTable {
 public:
  explicit TokenTable(Database& database) : database_(database) {}

  // ALREADY_EXISTS when the name is taken.
  void Add(const TokenRecord& token);
  // False if there was none.
  bool Remove(const std::string& name);
  // By name.
  std::vector<TokenRecord> All() const;
  // So many of those that come after this name.
  std::vector<TokenRecord> After(const std::string& name, int count) const;

  // Whose workers show this secret; nothing when no attempt has it.
  std::optional<AttemptId> AttemptOf(const std::string& hash) const;

 private:
  Database& database_;
};

}  // namespace syncbn::coordinator
