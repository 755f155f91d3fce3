// The tables of the store and how an older store becomes one of this version.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "coordinator/store/sqlite.h"

namespace syncbn::coordinator {

// The version that this program writes (PRAGMA user_version).
int StoreVersion();

// Settings of a connection: write-ahead log, foreign keys, and how soon a commit is on disk.
// `synced` commits survive a power failure, others only the death of the process.
void ConfigureConnection(Database& database, bool synced);

// Creates the tables in an empty file, or brings an older store up to date, one step at a time,
// each in a transaction; before the first step on a store with content a copy is written beside it
// (store.db.version-N). Refuses a store of a newer program (FAILED_PRECONDITION) and a file that is
// not a store (DATA_LOSS).
void Migrate(Database& database);

// The same with other steps, so that tests can have a past and a future.
void MigrateWith(Database& database, const std::vector<std::string>& steps);

// Writes a consistent copy of the database as it is now; others may go on writing meanwhile. The
// copy appears under `path` only when it is whole.
void CopyDatabase(Database& database, const std::filesystem::path& path);

}  // namespace syncbn::coordinator
