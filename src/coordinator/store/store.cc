#include "coordinator/store/store.h"

#include "base/error.h"
#include "coordinator/api_error.h"
#include "coordinator/store/store_schema.h"

namespace syncbn::coordinator {

namespace {

// So little that a store may not even be opened there.
constexpr uintmax_t kFull = 1 << 20;

bool IsFull(const std::filesystem::path& folder) {
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(folder, error);
  return !error && space.available < kFull;
}

[[noreturn]] void ThrowLost(const std::string& text) {
  throw ApiError(ErrorCode::kUnavailable, "STORE_LOST", text);
}

// At the end of a write that may have been given a part of what is set aside, however it ends.
class TakesBack {
 public:
  explicit TakesBack(SpaceReserve& reserve) : reserve_(reserve) {}
  ~TakesBack() {
    if (reserve_.given()) reserve_.TakeBack();
  }
  TakesBack(const TakesBack&) = delete;
  TakesBack& operator=(const TakesBack&) = delete;

 private:
  SpaceReserve& reserve_;
};

}  // namespace

Store::Store(const Options& options) : data_(options.folder), reserve_(options.folder) {
  try {
    Open(options);
  } catch (const Error&) {
    // A store that was open before needs no room for that. One that is to be brought up to date
    // does; SQLite says one thing or another then, according to the file that it cannot make.
    if (!IsFull(options.folder) || !reserve_.Give(SpaceReserve::kAll)) throw;
    Open(options);
  }
  data_.Adopt(id_);
  reserve_.TakeBack();
  writer_ = std::make_unique<GroupWriter>(*writing_, feed_, [this] { Confirm(); });
}

void Store::Open(const Options& options) {
  readers_.clear();
  writing_ = std::make_unique<Database>(data_.store(), Database::Mode::kReadWrite);
  ConfigureConnection(*writing_, options.synced);
  Migrate(*writing_);
  {
    Rows rows = writing_->Query("SELECT value FROM meta WHERE key = 'store_id'");
    rows.Next();
    id_ = rows.Text(0);
  }
  for (int i = 0; i < options.readers; ++i) {
    readers_.push_back(std::make_unique<Database>(data_.store(), Database::Mode::kReadWrite));
    ConfigureConnection(*readers_.back(), options.synced);
    // The file is in the system's cache anyway: what followers read once must not fill memory.
    readers_.back()->Execute("PRAGMA query_only = ON; PRAGMA cache_size = -16384");
  }
}

Store::~Store() {
  writer_.reset();
  const bool in_place = data_.WhyLost().empty();
  // The log is carried over now, which takes less room than it gives back.
  if (in_place && IsFull(folder())) reserve_.Give();
  readers_.clear();
  writing_.reset();
  if (in_place) reserve_.TakeBack();
}

void Store::RunWrite(const std::function<void(Tables&)>& body, Use use) {
  const auto write = [&] {
    writer_->Run([&](Database& database, std::vector<Change>& changes) {
      Tables tables(database, &changes);
      body(tables);
    });
  };
  // What is asked while a copy is being saved does not wait for that.
  if (const std::string lost = LostText(); !lost.empty()) ThrowLost(lost);
  if (use == Use::kAdds) {
    // Otherwise the space that was given up would be filled by what comes most often.
    if (reserve_.given() && !reserve_.Take()) ThrowStoreFull(data_.store());
    write();
    return;
  }
  const TakesBack at_end(reserve_);
  while (true) {
    try {
      write();
      break;
    } catch (const ApiError& error) {
      // A submitter's quota is exhausted, too, and not for want of space.
      if (error.reason() != kStoreFull || !reserve_.Give()) throw;
    }
  }
  if (reserve_.given()) CarryOverLog();
}

void Store::CarryOverLog() const {
  try {
    WithReader([](Database& database) { database.Execute("PRAGMA wal_checkpoint(PASSIVE)"); });
  } catch (const Error&) {
    // Then it stays in the log, and the next write needs more.
  }
}

void Store::Confirm() {
  if (LostText().empty()) {
    std::string lost = data_.WhyLost();
    if (lost.empty()) return;
    lost += ". Nothing is acknowledged any more";
    if (data_.HasLostStore()) {
      // Whoever asks meanwhile is told at once: a copy takes as long as the store is large.
      SetLost(lost + "; what was is being saved, and then this says more");
      lost += Rescue();
      // After that: the copy is the newest.
      lost += ". To go on, stop this coordinator, " + RestoreAdvice(folder());
    }
    SetLost(lost);
  }
  ThrowLost(LostText());
}

std::string Store::LostText() const {
  std::lock_guard lock(lost_mutex_);
  return lost_;
}

void Store::SetLost(const std::string& text) {
  std::lock_guard lock(lost_mutex_);
  lost_ = text;
}

std::string Store::WhyLost() const {
  const std::string lost = LostText();
  return lost.empty() ? data_.WhyLost() : lost;
}

std::string Store::Rescue() {
  try {
    // The file has no name any more, but this process has it open still.
    CopyDatabase(*writing_, BackupFile(folder(), "store-rescued", Clock::System().Now()));
    return "; what was is saved";
  } catch (const std::exception& error) {
    return std::string("; what was could not be saved (") + error.what() + ")";
  }
}

void Store::CheckInPlace() {
  if (WhyLost().empty()) return;
  RunWrite([](Tables&) {}, Use::kMakesRoom);
}

void Store::WithReader(const std::function<void(Database&)>& body) const {
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
    body(*database);
  } catch (...) {
    if (database->InTransaction()) database->Execute("ROLLBACK");
    give_back();
    throw;
  }
  give_back();
}

void Store::RunRead(const std::function<void(Tables&)>& body) const {
  WithReader([&](Database& database) {
    // One moment for all queries of the body.
    database.Execute("BEGIN");
    Tables tables(database, nullptr);
    body(tables);
    database.Execute("COMMIT");
  });
}

std::optional<std::string> Store::Answered(const RequestKey& key) {
  CheckInPlace();
  return Read([&](Tables& tables) { return tables.requests.Find(key); });
}

std::string Store::Mutate(const RequestKey& key, WallTime now,
                          const std::function<std::string(Tables&)>& body, Use use) {
  return Write(
      [&](Tables& tables) {
        if (std::optional<std::string> answer = tables.requests.Find(key)) return *answer;
        std::string answer = body(tables);
        tables.requests.Remember(key, answer, now);
        return answer;
      },
      use);
}

void Store::BackUp(const std::filesystem::path& path) const {
  // Under its name there may be nothing, or another store.
  if (const std::string why = data_.WhyLost(); !why.empty()) ThrowLost(why);
  // A connection of its own: a copy takes long, and readers are few.
  Database source(data_.store(), Database::Mode::kReadWrite);
  CopyDatabase(source, path);
}

}  // namespace syncbn::coordinator
