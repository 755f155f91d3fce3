#include "coordinator/store/attempt_table.h"

#include "base/utf8.h"
#include "coordinator/api_error.h"
#include "coordinator/field_check.h"
#include "coordinator/store/column.h"

namespace syncbn::coordinator {
namespace {

// Of the messages of an attempt's ranks, in all.
constexpr size_t kMostRankText = size_t{1} << 20;

[[noreturn]] void FailNoAttempt(AttemptId id) {
  throw ApiError(ErrorCode::kNotFound, "ATTEMPT_NOT_FOUND",
                 "there is no " + AttemptName(id.job, id.attempt));
}

}  // namespace

void AttemptTable::Begin(AttemptId id, const v1::Attempt& record, const std::string& token_hash) {
  database_.Run("INSERT INTO attempts(job, number, token_hash, record) VALUES (?, ?, ?, ?)", id.job,
                id.attempt, Blob{token_hash}, Blob{record.SerializeAsString()});
}

void AttemptTable::Update(AttemptId id, const v1::Attempt& record) {
  v1::Attempt kept = record;
  kept.clear_ranks();
  if (database_.Run("UPDATE attempts SET record = ? WHERE job = ? AND number = ?",
                    Blob{kept.SerializeAsString()}, id.job, id.attempt) == 0) {
    FailNoAttempt(id);
  }
}

bool AttemptTable::Has(AttemptId id) const {
  return database_.Query("SELECT 1 FROM attempts WHERE job = ? AND number = ?", id.job, id.attempt)
      .Next();
}

v1::Attempt AttemptTable::Get(AttemptId id) const {
  Rows rows = database_.Query("SELECT record FROM attempts WHERE job = ? AND number = ?", id.job,
                              id.attempt);
  if (!rows.Next()) FailNoAttempt(id);
  auto attempt = ParseColumn<v1::Attempt>(rows.Bytes(0), "attempt");
  AddRanks(id, attempt);
  return attempt;
}

AttemptTable::Page AttemptTable::List(int64_t job, int after, int count, int64_t bytes) const {
  Page page;
  Rows rows = database_.Query(
      "SELECT number, record FROM attempts WHERE job = ? AND number > ? ORDER BY number", job,
      after);
  while (rows.Next()) {
    auto attempt = ParseColumn<v1::Attempt>(rows.Bytes(1), "attempt");
    AddRanks({job, static_cast<int>(rows.Int(0))}, attempt);
    bytes -= static_cast<int64_t>(attempt.ByteSizeLong());
    const auto size = static_cast<int>(page.attempts.size());
    page.more = size == count || (size > 0 && bytes < 0);
    if (page.more) break;
    page.attempts.push_back(std::move(attempt));
  }
  return page;
}

std::vector<int> AttemptTable::Numbers(int64_t job) const {
  std::vector<int> numbers;
  Rows rows = database_.Query("SELECT number FROM attempts WHERE job = ? ORDER BY number", job);
  while (rows.Next()) numbers.push_back(static_cast<int>(rows.Int(0)));
  return numbers;
}

std::string AttemptTable::TokenHash(AttemptId id) const {
  Rows rows = database_.Query("SELECT token_hash FROM attempts WHERE job = ? AND number = ?",
                              id.job, id.attempt);
  if (!rows.Next()) FailNoAttempt(id);
  return rows.Text(0);
}

void AttemptTable::PutRank(AttemptId id, int rank, const std::string& host, int64_t pid) {
  database_.Run(
      "INSERT INTO ranks(job, attempt, rank, host, pid) VALUES (?, ?, ?, ?, ?) "
      "ON CONFLICT DO UPDATE SET host = excluded.host, pid = excluded.pid",
      id.job, id.attempt, rank, host, pid);
}

void AttemptTable::PutRankExit(AttemptId id, int rank, const v1::RankExit& exit) {
  CheckFields(exit, "exit");
  database_.Run(
      "INSERT INTO ranks(job, attempt, rank, host, pid, exit) VALUES (?, ?, ?, ?, 0, ?) "
      "ON CONFLICT DO UPDATE SET exit = coalesce(exit, excluded.exit)",
      id.job, id.attempt, rank, exit.host(), Blob{exit.SerializeAsString()});
}

std::vector<AttemptTable::RankExitReport> AttemptTable::RankExits(AttemptId id) const {
  std::vector<RankExitReport> exits;
  Rows rows = database_.Query(
      "SELECT rank, exit FROM ranks WHERE job = ? AND attempt = ? AND exit IS NOT NULL ORDER BY "
      "rank",
      id.job, id.attempt);
  while (rows.Next()) {
    exits.push_back(
        {static_cast<int>(rows.Int(0)), ParseColumn<v1::RankExit>(rows.Bytes(1), "exit report")});
  }
  return exits;
}

int AttemptTable::RegisteredRanks(AttemptId id) const {
  Rows rows = database_.Query(
      "SELECT count(*) FROM ranks WHERE job = ? AND attempt = ? AND pid != 0", id.job, id.attempt);
  rows.Next();
  return static_cast<int>(rows.Int(0));
}

void AttemptTable::AddRanks(AttemptId id, v1::Attempt& attempt) const {
  Rows rows = database_.Query(
      "SELECT rank, host, pid, exit FROM ranks WHERE job = ? AND attempt = ? ORDER BY rank", id.job,
      id.attempt);
  while (rows.Next()) {
    v1::RankRecord& rank = *attempt.add_ranks();
    rank.set_rank(static_cast<int>(rows.Int(0)));
    rank.set_host(rows.Text(1));
    rank.set_pid(rows.Int(2));
    if (rows.IsNull(3)) continue;
    const auto exit = ParseColumn<v1::RankExit>(rows.Bytes(3), "exit report");
    rank.set_outcome(exit.outcome());
    rank.set_message(exit.message());
  }
  if (attempt.ranks().empty()) return;
  const size_t most = kMostRankText / static_cast<size_t>(attempt.ranks_size());
  for (v1::RankRecord& rank : *attempt.mutable_ranks())
    rank.set_message(Utf8Beginning(rank.message(), most));
}

std::optional<std::string> RequestTable::Find(const RequestKey& key) const {
  if (key.id.empty()) return std::nullopt;
  Rows rows =
      database_.Query("SELECT method, digest, response FROM requests WHERE actor = ? AND id = ?",
                      key.actor, key.id);
  if (!rows.Next()) return std::nullopt;
  if (rows.Text(0) != key.method || rows.Text(1) != key.digest) {
    throw ApiError(ErrorCode::kAlreadyExists, "REQUEST_ID_REUSED",
                   "request_id '" + key.id + "' was used before for a different request (" +
                       rows.Text(0) + "): choose a new one");
  }
  return rows.Text(2);
}

void RequestTable::Remember(const RequestKey& key, const std::string& response, WallTime now) {
  if (key.id.empty()) return;
  database_.Run(
      "INSERT INTO requests(actor, id, method, digest, response, time) VALUES (?, ?, ?, ?, ?, ?)",
      key.actor, key.id, key.method, key.digest, Blob{response}, Micros(now));
}

}  // namespace syncbn::coordinator
