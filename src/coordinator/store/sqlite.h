// A thin layer over SQLite: connections, cached prepared statements, errors as exceptions.
//
//   database.Run("UPDATE jobs SET state = ? WHERE id = ?", state, id);
//   for (Rows rows = database.Query("SELECT id, name FROM jobs WHERE state = ?", state);
//   rows.Next();)
//     Use(rows.Int(0), rows.Text(1));
//
// A Database belongs to one thread at a time. Nothing else of the process opens its files: where
// that is closed again, the locks of all its connections are gone. SQL is written in string
// literals; values are bound, never pasted. Disk full is RESOURCE_EXHAUSTED, a damaged file
// DATA_LOSS, a lock that is not given up UNAVAILABLE.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

struct sqlite3;
struct sqlite3_stmt;

namespace syncbn::coordinator {

// Bytes to be bound as a BLOB; the bytes must outlive the call.
struct Blob {
  std::string_view bytes;
};

class Database;

// The rows of a running query. Resets its statement at the end of its life; not longer-lived than
// the database.
class Rows {
 public:
  Rows(Rows&& other) noexcept;
  Rows& operator=(Rows&&) = delete;
  ~Rows();

  // Moves to the first or next row; false at the end.
  bool Next();
  // Back to before the first row, values kept: bind others with Database::BindTo and run again.
  void Restart();

  int64_t Int(int column) const;
  double Real(int column) const;
  std::string Text(int column) const;
  // Valid until the next call of Next().
  std::string_view Bytes(int column) const;
  bool IsNull(int column) const;
  std::optional<int64_t> OptionalInt(int column) const;

 private:
  friend class Database;
  Rows(Database* database, sqlite3_stmt* statement, bool cached);

  Database* database_;
  sqlite3_stmt* statement_;
  bool cached_;
};

class Database {
 public:
  enum class Mode { kReadWrite, kReadOnly };

  // Opens the file (kReadWrite creates it).
  Database(const std::filesystem::path& path, Mode mode);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Runs SQL without values, several statements if separated by ';'.
  void Execute(const std::string& sql);

  // Runs one statement to its end; returns the number of rows it changed.
  template <typename... Values>
  int64_t Run(std::string_view sql, const Values&... values) {
    Rows rows = Query(sql, values...);
    while (rows.Next()) {
    }
    return Changes();
  }

  template <typename... Values>
  Rows Query(std::string_view sql, const Values&... values) {
    Rows rows = Start(sql);
    int index = 0;
    (Bind(rows.statement_, ++index, values), ...);
    CheckBound(rows.statement_, index);
    return rows;
  }

  int64_t LastId() const;
  int64_t Changes() const;
  // A transaction is open. SQLite ends one by itself on some errors (disk full).
  bool InTransaction() const;

  const std::filesystem::path& path() const { return path_; }
  sqlite3* handle() const { return handle_; }

  // Throws the Error for the last failure of this connection; of a damaged file with what to do.
  [[noreturn]] void Fail(std::string_view doing) const;

  // Binding of one value, also for SQL made at run time.
  void Bind(sqlite3_stmt* statement, int index, int64_t value);
  void Bind(sqlite3_stmt* statement, int index, int value) {
    Bind(statement, index, int64_t{value});
  }
  void Bind(sqlite3_stmt* statement, int index, bool value) {
    Bind(statement, index, int64_t{value});
  }
  // Not a number becomes NULL: SQLite has none.
  void Bind(sqlite3_stmt* statement, int index, double value);
  void Bind(sqlite3_stmt* statement, int index, std::string_view text);
  void Bind(sqlite3_stmt* statement, int index, const std::string& text) {
    Bind(statement, index, std::string_view(text));
  }
  void Bind(sqlite3_stmt* statement, int index, const char* text) {
    Bind(statement, index, std::string_view(text));
  }
  void Bind(sqlite3_stmt* statement, int index, Blob blob);
  void Bind(sqlite3_stmt* statement, int index, std::nullopt_t);
  template <typename T>
  void Bind(sqlite3_stmt* statement, int index, const std::optional<T>& value) {
    value ? Bind(statement, index, *value) : Bind(statement, index, std::nullopt);
  }

  // A statement without its values yet: bind with BindTo. SQL made at run time is not worth
  // keeping.
  enum class Keep { kYes, kNo };
  Rows Start(std::string_view sql, Keep keep = Keep::kYes);
  template <typename T>
  void BindTo(Rows& rows, int index, const T& value) {
    Bind(rows.statement_, index, value);
  }

 private:
  friend class Rows;
  struct Cached {
    sqlite3_stmt* statement;
    bool busy;
  };
  void CheckBound(sqlite3_stmt* statement, int count) const;
  void Release(sqlite3_stmt* statement, bool cached);

  std::filesystem::path path_;
  sqlite3* handle_ = nullptr;
  std::unordered_map<std::string, Cached> statements_;
};

// The reason of the error that a write ends with when there is no space; a quota that is exhausted
// has the same code and another reason.
inline constexpr char kStoreFull[] = "STORE_FULL";
// RESOURCE_EXHAUSTED, STORE_FULL.
[[noreturn]] void ThrowStoreFull(const std::filesystem::path& store);

// Runs body() in a transaction: committed when it returns, rolled back when it throws.
template <typename Body>
void InTransaction(Database& database, Body&& body) {
  database.Execute("BEGIN IMMEDIATE");
  try {
    body();
    database.Execute("COMMIT");
  } catch (...) {
    if (database.InTransaction()) database.Execute("ROLLBACK");
    throw;
  }
}

}  // namespace syncbn::coordinator
