#include "coordinator/store/token_table.h"

#include "coordinator/api_error.h"
#include "coordinator/store/column.h"

namespace syncbn::coordinator {

void TokenTable::Add(const TokenRecord& token) {
  if (database_.Query("SELECT 1 FROM tokens WHERE name = ?", token.name).Next()) {
    throw ApiError(ErrorCode::kAlreadyExists, "TOKEN_EXISTS",
                   "there is a token '" + token.name + "' already: revoke it or choose another name",
                   {{"name", token.name}});
  }
  database_.Run(
      "INSERT INTO tokens(hash, name, role, create_time, expire_time) VALUES (?, ?, ?, ?, ?)",
      Blob{token.hash}, token.name, token.role, Micros(token.create_time),
      Micros(token.expire_time));
}

bool TokenTable::Remove(const std::string& name) {
  return database_.Run("DELETE FROM tokens WHERE name = ?", name) > 0;
}

std::vector<TokenRecord> TokenTable::All() const {
  return After("", -1);
}

std::vector<TokenRecord> TokenTable::After(const std::string& name, int count) const {
  std::vector<TokenRecord> tokens;
  Rows rows = database_.Query(
      "SELECT hash, name, role, create_time, expire_time FROM tokens WHERE name > ? ORDER BY name "
      "LIMIT ?",
      name, count);
  while (rows.Next()) {
    TokenRecord& token = tokens.emplace_back();
    token.hash = rows.Bytes(0);
    token.name = rows.Text(1);
    token.role = static_cast<int>(rows.Int(2));
    token.create_time = FromMicros(rows.Int(3));
    if (!rows.IsNull(4)) token.expire_time = FromMicros(rows.Int(4));
  }
  return tokens;
}

std::optional<AttemptId> TokenTable::AttemptOf(const std::string& hash) const {
  Rows rows = database_.Query("SELECT job, number FROM attempts WHERE token_hash = ?", Blob{hash});
  if (!rows.Next()) return std::nullopt;
  return AttemptId{rows.Int(0), static_cast<int>(rows.Int(1))};
}

}  // namespace syncbn::coordinator
