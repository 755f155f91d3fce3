// The coordinator's memory: one SQLite file in the data folder.
//
//   store.Write([&](Tables& tables) { tables.jobs.Update(id, next, cause, now); });
//   JobRecord job = store.Read([&](Tables& tables) { return tables.jobs.Get(id); });
//
// A write is one transaction; when Write returns it is on disk, and when it throws nothing of it is
// kept. A read sees one moment. Thread-safe: writes go through one thread in groups
// (group_writer.h), reads use connections of their own and neither wait for writes nor hold them
// up. The body of a write must do nothing that may take long, such as looking at other file
// systems: everything else that is stored waits for it.
//
// A write that finds the store's file or the folder's lock gone (data_folder.h) throws UNAVAILABLE
// (STORE_LOST), as all after it: nothing is acknowledged that would be lost. Before that a copy of
// all that was acknowledged is written into the folder's backups; what comes while that lasts is
// refused at once.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "coordinator/store/attempt_table.h"
#include "coordinator/store/audit_table.h"
#include "coordinator/store/change_feed.h"
#include "coordinator/store/clock_table.h"
#include "coordinator/store/data_folder.h"
#include "coordinator/store/group_writer.h"
#include "coordinator/store/host_table.h"
#include "coordinator/store/job_table.h"
#include "coordinator/store/metric_table.h"
#include "coordinator/store/space_reserve.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/study_table.h"
#include "coordinator/store/token_table.h"

namespace syncbn::coordinator {

// All tables, seen through one connection.
struct Tables {
  Tables(Database& database, std::vector<Change>* changes)
      : database(database),
        jobs(database, changes),
        attempts(database),
        requests(database),
        metrics(database, changes),
        hosts(database),
        tokens(database),
        audit(database),
        clock(database),
        studies(database) {}

  Database& database;
  JobTable jobs;
  AttemptTable attempts;
  RequestTable requests;
  MetricTable metrics;
  HostTable hosts;
  TokenTable tokens;
  AuditTable audit;
  ClockTable clock;
  StudyTable studies;
};

class Store {
 public:
  struct Options {
    // Made if it is not there. One coordinator owns it at a time.
    std::filesystem::path folder;
    // Whether an acknowledged write survives a power failure, not only the death of the process.
    bool synced = true;
    int readers = 4;
  };

  // Takes the folder's lock, brings the file up to date and opens it; also on a full disk, without
  // spending what is set aside. FAILED_PRECONDITION when another coordinator has the folder, and
  // when the store is not that of the folder's jobs (data_folder.h); DATA_LOSS, with what to do,
  // when it is damaged.
  explicit Store(const Options& options);
  ~Store();

  // What a write is for, which counts when the disk is full: then what adds to the store fails
  // (RESOURCE_EXHAUSTED, STORE_FULL), and what ends and deletes jobs is written into the space that
  // was set aside. Its body may run several times.
  enum class Use { kAdds, kMakesRoom };

  template <typename Body>
  auto Write(Body&& body, Use use = Use::kAdds) -> std::invoke_result_t<Body, Tables&> {
    using Result = std::invoke_result_t<Body, Tables&>;
    if constexpr (std::is_void_v<Result>) {
      RunWrite([&](Tables& tables) { body(tables); }, use);
    } else {
      std::optional<Result> result;
      RunWrite([&](Tables& tables) { result.emplace(body(tables)); }, use);
      return std::move(*result);
    }
  }

  template <typename Body>
  auto Read(Body&& body) const -> std::invoke_result_t<Body, Tables&> {
    using Result = std::invoke_result_t<Body, Tables&>;
    if constexpr (std::is_void_v<Result>) {
      RunRead([&](Tables& tables) { body(tables); });
    } else {
      std::optional<Result> result;
      RunRead([&](Tables& tables) { result.emplace(body(tables)); });
      return std::move(*result);
    }
  }

  // The answer that Mutate gave to `key` before. Throws STORE_LOST where it would not be given now.
  std::optional<std::string> Answered(const RequestKey& key);
  // A mutation that can be sent twice: when `key` came before, the answer given then, and `body` is
  // not called; otherwise what body returns, kept in the same transaction.
  std::string Mutate(const RequestKey& key, WallTime now,
                     const std::function<std::string(Tables&)>& body, Use use = Use::kAdds);

  // Writes a whole copy under `path` while serving goes on. Reads and writes are not held up.
  void BackUp(const std::filesystem::path& path) const;

  // Throws STORE_LOST as a write would, where something is not in place any more.
  void CheckInPlace();
  // What became of them; empty while they are in place. Once something was found missing it stays
  // so: what was written meanwhile may be in neither file.
  std::string WhyLost() const;

  // Tells of durable changes.
  ChangeFeed& changes() { return feed_; }
  // Drawn when the store was made: keeps processes of different stores apart.
  const std::string& id() const { return id_; }
  const std::filesystem::path& folder() const { return data_.path(); }
  WriteFigures write_figures() const { return writer_->figures(); }

 private:
  // Opens and brings up to date; again from the start after it has thrown.
  void Open(const Options& options);
  void RunWrite(const std::function<void(Tables&)>& body, Use use);
  void RunRead(const std::function<void(Tables&)>& body) const;
  void WithReader(const std::function<void(Database&)>& body) const;
  // Into the store, so that the next write begins the log anew and needs no more room.
  void CarryOverLog() const;
  // On the writing thread, before anything is written, so that what is refused has no effect; and
  // after a commit, before anybody is told of it.
  void Confirm();
  std::string LostText() const;
  void SetLost(const std::string& text);
  // Copies the store that has lost its name into the backups; how that went, for STORE_LOST.
  std::string Rescue();

  DataFolder data_;
  SpaceReserve reserve_;
  mutable std::mutex lost_mutex_;
  std::string lost_;  // what STORE_LOST says; the lock is held for no longer than that takes
  ChangeFeed feed_;
  std::unique_ptr<Database> writing_;
  mutable std::mutex mutex_;
  mutable std::condition_variable free_;
  mutable std::vector<std::unique_ptr<Database>> readers_;
  std::string id_;
  // Last: its thread uses what stands above.
  std::unique_ptr<GroupWriter> writer_;
};

}  // namespace syncbn::coordinator
