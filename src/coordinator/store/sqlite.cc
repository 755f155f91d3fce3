#include "coordinator/store/sqlite.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "coordinator/api_error.h"
#include "coordinator/store/data_folder.h"

namespace syncbn::coordinator {
namespace {

ErrorCode CodeOf(int result, int system_error) {
  switch (result & 0xff) {
    case SQLITE_FULL:
      return ErrorCode::kResourceExhausted;
    case SQLITE_NOMEM:
      return ErrorCode::kResourceExhausted;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return ErrorCode::kUnavailable;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return ErrorCode::kDataLoss;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return ErrorCode::kPermissionDenied;
    case SQLITE_CANTOPEN:
      return ErrorCode::kNotFound;
    case SQLITE_CONSTRAINT:
      return ErrorCode::kAlreadyExists;
    case SQLITE_IOERR:
      // A quota or a limit on the size of files says so only here.
      if (system_error == ENOSPC || system_error == EDQUOT || system_error == EFBIG) {
        return ErrorCode::kResourceExhausted;
      }
      return ErrorCode::kDataLoss;
    default:
      return ErrorCode::kInternal;
  }
}

}  // namespace

Rows::Rows(Database* database, sqlite3_stmt* statement, bool cached)
    : database_(database), statement_(statement), cached_(cached) {}

Rows::Rows(Rows&& other) noexcept
    : database_(other.database_), statement_(other.statement_), cached_(other.cached_) {
  other.statement_ = nullptr;
}

Rows::~Rows() {
  if (statement_ != nullptr) database_->Release(statement_, cached_);
}

bool Rows::Next() {
  const int result = sqlite3_step(statement_);
  if (result == SQLITE_ROW) return true;
  if (result != SQLITE_DONE) database_->Fail(sqlite3_sql(statement_));
  return false;
}

void Rows::Restart() {
  sqlite3_reset(statement_);
}

int64_t Rows::Int(int column) const {
  return sqlite3_column_int64(statement_, column);
}

double Rows::Real(int column) const {
  if (IsNull(column)) return std::nan("");
  return sqlite3_column_double(statement_, column);
}

std::string Rows::Text(int column) const {
  return std::string(Bytes(column));
}

std::string_view Rows::Bytes(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  return {static_cast<const char*>(data), static_cast<size_t>(size)};
}

bool Rows::IsNull(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

std::optional<int64_t> Rows::OptionalInt(int column) const {
  if (IsNull(column)) return std::nullopt;
  return Int(column);
}

Database::Database(const std::filesystem::path& path, Mode mode) : path_(path) {
  const int flags =
      mode == Mode::kReadWrite ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
  if (mode == Mode::kReadWrite) {
    // A new store is its owner's alone: it holds run files and the hashes of tokens. SQLite gives
    // the files beside it the same mode. What is wrong with the path SQLite says below. One that is
    // there is not opened: closing any descriptor of it takes away the locks that this process's
    // other connections hold, and another process could remove their log
    // (https://sqlite.org/howtocorrupt.html).
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file >= 0) ::close(file);
  }
  if (sqlite3_open_v2(path.c_str(), &handle_, flags | SQLITE_OPEN_NOMUTEX, nullptr) != SQLITE_OK) {
    std::string reason = handle_ != nullptr ? sqlite3_errmsg(handle_) : "out of memory";
    // "unable to open database file" says nothing of why.
    const int system = handle_ != nullptr ? sqlite3_system_errno(handle_) : 0;
    if (system != 0) reason += std::string(": ") + std::strerror(system);
    const ErrorCode code = handle_ != nullptr ? CodeOf(sqlite3_extended_errcode(handle_), 0)
                                              : ErrorCode::kResourceExhausted;
    sqlite3_close_v2(handle_);
    throw Error(code, "cannot open the store " + path.string() + ": " + reason);
  }
  sqlite3_extended_result_codes(handle_, 1);
  sqlite3_busy_timeout(handle_, 10'000);
}

Database::~Database() {
  for (auto& [sql, cached] : statements_) sqlite3_finalize(cached.statement);
  sqlite3_close_v2(handle_);
}

void Database::Execute(const std::string& sql) {
  if (sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) Fail(sql);
}

Rows Database::Start(std::string_view sql, Keep keep) {
  const auto found = statements_.find(std::string(sql));
  if (found != statements_.end() && !found->second.busy) {
    found->second.busy = true;
    return Rows(this, found->second.statement, true);
  }
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(handle_, sql.data(), static_cast<int>(sql.size()), &statement, nullptr) !=
      SQLITE_OK) {
    Fail(sql);
  }
  // A query inside the loop over the same query gets a statement of its own.
  if (found != statements_.end() || keep == Keep::kNo) return Rows(this, statement, false);
  statements_.emplace(sql, Cached{statement, true});
  return Rows(this, statement, true);
}

void Database::Release(sqlite3_stmt* statement, bool cached) {
  if (!cached) {
    sqlite3_finalize(statement);
    return;
  }
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  statements_.find(sqlite3_sql(statement))->second.busy = false;
}

void Database::CheckBound(sqlite3_stmt* statement, int count) const {
  SYNCBN_CHECK_EQ(sqlite3_bind_parameter_count(statement), count) << sqlite3_sql(statement);
}

void Database::Bind(sqlite3_stmt* statement, int index, int64_t value) {
  if (sqlite3_bind_int64(statement, index, value) != SQLITE_OK) Fail("bind");
}

void Database::Bind(sqlite3_stmt* statement, int index, double value) {
  if (sqlite3_bind_double(statement, index, value) != SQLITE_OK) Fail("bind");
}

void Database::Bind(sqlite3_stmt* statement, int index, std::string_view text) {
  if (sqlite3_bind_text64(statement, index, text.data() == nullptr ? "" : text.data(), text.size(),
                          SQLITE_TRANSIENT, SQLITE_UTF8) != SQLITE_OK) {
    Fail("bind");
  }
}

void Database::Bind(sqlite3_stmt* statement, int index, Blob blob) {
  const char* data = blob.bytes.data() == nullptr ? "" : blob.bytes.data();
  if (sqlite3_bind_blob64(statement, index, data, blob.bytes.size(), SQLITE_TRANSIENT) !=
      SQLITE_OK) {
    Fail("bind");
  }
}

void Database::Bind(sqlite3_stmt* statement, int index, std::nullopt_t) {
  if (sqlite3_bind_null(statement, index) != SQLITE_OK) Fail("bind");
}

int64_t Database::LastId() const {
  return sqlite3_last_insert_rowid(handle_);
}
int64_t Database::Changes() const {
  return sqlite3_changes64(handle_);
}
bool Database::InTransaction() const {
  return sqlite3_get_autocommit(handle_) == 0;
}

void ThrowStoreFull(const std::filesystem::path& store) {
  throw ApiError(ErrorCode::kResourceExhausted, kStoreFull,
                 "the store " + store.string() +
                     " cannot be written: no space left. Nothing of this request was kept; free "
                     "some space and send it again");
}

void Database::Fail(std::string_view doing) const {
  const int result = sqlite3_extended_errcode(handle_);
  const ErrorCode code = CodeOf(result, sqlite3_system_errno(handle_));
  if (code == ErrorCode::kResourceExhausted && (result & 0xff) != SQLITE_NOMEM)
    ThrowStoreFull(path_);
  if ((result & 0xff) == SQLITE_CORRUPT || (result & 0xff) == SQLITE_NOTADB) {
    throw Error(code, "the store " + path_.string() +
                          " is damaged (SQLite: " + sqlite3_errmsg(handle_) +
                          "). To go on, stop the coordinator if it runs, " +
                          RestoreAdvice(path_.parent_path()));
  }
  throw Error(code, "the store " + path_.string() + ": " + sqlite3_errmsg(handle_) + " (" +
                        std::to_string(result) + ") in: " + std::string(doing.substr(0, 200)));
}

}  // namespace syncbn::coordinator
