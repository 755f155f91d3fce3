// Attempts and their ranks, and the answers to requests, in the store. Part of Tables (store.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/answer_size.h"
#include "coordinator/job/job_record.h"
#include "coordinator/store/sqlite.h"
#include "syncbn/v1/worker.pb.h"

namespace syncbn::coordinator {

class AttemptTable {
 public:
  explicit AttemptTable(Database& database) : database_(database) {}

  // Records a new attempt before anything of it is started. `token_hash` is of the secret that its
  // workers will show.
  void Begin(AttemptId id, const v1::Attempt& record, const std::string& token_hash);
  // Replaces the record (times, outcome, failure, hosts that may hold processes).
  void Update(AttemptId id, const v1::Attempt& record);

  bool Has(AttemptId id) const;
  // With its ranks. NOT_FOUND if there is none.
  v1::Attempt Get(AttemptId id) const;
  // Of one job those after the attempt `after`, oldest first, with their ranks: `count` at most,
  // and so many bytes, of which one attempt always fits.
  struct Page {
    std::vector<v1::Attempt> attempts;
    bool more = false;
  };
  Page List(int64_t job, int after = 0, int count = INT32_MAX, int64_t bytes = kMostAnswer) const;
  // The numbers of all of one job, ascending.
  std::vector<int> Numbers(int64_t job) const;
  std::string TokenHash(AttemptId id) const;

  // A rank has registered, perhaps anew.
  void PutRank(AttemptId id, int rank, const std::string& host, int64_t pid);
  // How a rank left. The first report stays. FIELD_INVALID for what is too long (field_check.h).
  void PutRankExit(AttemptId id, int rank, const v1::RankExit& exit);

  struct RankExitReport {
    int rank = 0;
    v1::RankExit exit;
  };
  std::vector<RankExitReport> RankExits(AttemptId id) const;
  int RegisteredRanks(AttemptId id) const;

 private:
  // What ranks said is cut where it would be too much for an answer.
  void AddRanks(AttemptId id, v1::Attempt& attempt) const;

  Database& database_;
};

// A request as its sender names it.
struct RequestKey {
  std::string actor;
  std::string id;      // empty: not protected against coming twice
  std::string method;  // e.g. "CreateJob"
  std::string digest;  // of its content
};

class RequestTable {
 public:
  explicit RequestTable(Database& database) : database_(database) {}

  // The answer given before, if this request came before. ALREADY_EXISTS when the id was used for
  // something else.
  std::optional<std::string> Find(const RequestKey& key) const;
  // Keeps the answer, in the same write as what the request did.
  void Remember(const RequestKey& key, const std::string& response, WallTime now);

 private:
  Database& database_;
};

}  // namespace syncbn::coordinator
