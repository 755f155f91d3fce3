#include "coordinator/store/store.h"

#include <unistd.h>

#include "base/error.h"
#include "base/host.h"
#include "coordinator/store/store_schema.h"

namespace syncbn::coordinator {

Store::Store(const Options& options) : folder_(options.folder) {
  std::error_code failure;
  std::filesystem::create_directories(folder_, failure);
  if (failure) {
    throw Error(ErrorCode::kPermissionDenied,
                "cannot make the data folder " + folder_.string() + ": " + failure.message());
  }
  const std::filesystem::path lock = folder_ / "lock";
  lock_ = FolderLock::TryLock(lock, "process " + std::to_string(::getpid()) + " on " + HostName() +
                                        " since " + FormatTime(Clock::System().Now()));
  if (!lock_) {
    throw Error(ErrorCode::kFailedPrecondition,
                "the data folder " + folder_.string() + " belongs to another coordinator (" +
                    FolderLock::Owner(lock) + "): stop that one, or give --data another folder");
  }
  const std::filesystem::path file = folder_ / "store.db";
  writing_ = std::make_unique<Database>(file, Database::Mode::kReadWrite);
  ConfigureConnection(*writing_, options.synced);
  Migrate(*writing_);
  {
    Rows rows = writing_->Query("SELECT value FROM meta WHERE key = 'store_id'");
    rows.Next();
    id_ = rows.Text(0);
  }
  for (int i = 0; i < options.readers; ++i) {
    readers_.push_back(std::make_unique<Database>(file, Database::Mode::kReadWrite));
    ConfigureConnection(*readers_.back(), options.synced);
    // The file is in the system's cache anyway: what followers read once must not fill memory.
    readers_.back()->Execute("PRAGMA query_only = ON; PRAGMA cache_size = -16384");
  }
  writer_ = std::make_unique<GroupWriter>(*writing_, feed_);
}

Store::~Store() = default;

void Store::RunWrite(const std::function<void(Tables&)>& body) {
  writer_->Run([&](Database& database, std::vector<Change>& changes) {
    Tables tables(database, &changes);
    body(tables);
  });
}

void Store::RunRead(const std::function<void(Tables&)>& body) const {
  std::unique_lock lock(mutex_);
  free_.wait(lock, [&] { return !readers_.empty(); });
  std::unique_ptr<Database> database = std::move(readers_.back());
  readers_.pop_back();
  lock.unlock();
  auto give_back = [&] {
    lock.lock();
    readers_.push_back(std::move(database));
    free_.notify_one();
  };
  try {
    // One moment for all queries of the body.
    database->Execute("BEGIN");
    Tables tables(*database, nullptr);
    body(tables);
    database->Execute("COMMIT");
  } catch (...) {
    if (database->InTransaction()) database->Execute("ROLLBACK");
    give_back();
    throw;
  }
  give_back();
}

std::string Store::Mutate(const RequestKey& key, WallTime now,
                          const std::function<std::string(Tables&)>& body) {
  return Write([&](Tables& tables) {
    if (std::optional<std::string> answer = tables.requests.Find(key)) return *answer;
    std::string answer = body(tables);
    tables.requests.Remember(key, answer, now);
    return answer;
  });
}

void Store::BackUp(const std::filesystem::path& path) const {
  // A connection of its own: a copy takes long, and readers are few.
  Database source(folder_ / "store.db", Database::Mode::kReadWrite);
  CopyDatabase(source, path);
}

}  // namespace syncbn::coordinator
