#include "coordinator/store/store_schema.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"

namespace syncbn::coordinator {
namespace {

// "SBN1" in the file's header, so that a wrong file is not taken for a store.
constexpr int64_t kApplicationId = 0x53424e31;

// Times are microseconds: those in deadline, attempt_start, running_since and of hosts durable ones
// (base/clock.h; meta has where their clock stood), all others since 1970 UTC. States and classes
// are the numbers of the protos.
constexpr const char* kVersion1 = R"sql(
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('store_id', lower(hex(randomblob(16))));

-- A job: what was asked for (spec, a serialized syncbn.v1.Job) and the state machine's status.
CREATE TABLE jobs(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  display_name TEXT NOT NULL,
  submitter TEXT NOT NULL,
  priority INTEGER NOT NULL,
  spec BLOB NOT NULL,
  create_time INTEGER NOT NULL,
  start_time INTEGER,
  end_time INTEGER,
  revision INTEGER NOT NULL,
  progress BLOB NOT NULL,
  state INTEGER NOT NULL,
  desired INTEGER NOT NULL,
  liveness INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  attempt_live INTEGER NOT NULL,
  forced INTEGER NOT NULL,
  retries INTEGER NOT NULL,
  since INTEGER NOT NULL,
  deadline INTEGER,
  attempt_start INTEGER,
  running_since INTEGER,
  used INTEGER NOT NULL,
  cause BLOB,
  failure BLOB,
  failure_class INTEGER NOT NULL
) STRICT;
CREATE INDEX jobs_by_state ON jobs(state, id);
CREATE INDEX jobs_by_submitter ON jobs(submitter, id);
CREATE INDEX jobs_by_end ON jobs(end_time) WHERE end_time IS NOT NULL;

CREATE TABLE run_files(
  job INTEGER PRIMARY KEY REFERENCES jobs(id) ON DELETE CASCADE,
  text TEXT NOT NULL,
  effective TEXT NOT NULL
) STRICT;

CREATE TABLE labels(
  key TEXT NOT NULL, value TEXT NOT NULL,
  job INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
  PRIMARY KEY (key, value, job)
) STRICT, WITHOUT ROWID;
CREATE INDEX labels_by_job ON labels(job);

-- One start of a job; record is a serialized syncbn.v1.Attempt without its ranks.
CREATE TABLE attempts(
  job INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  token_hash BLOB NOT NULL,
  record BLOB NOT NULL,
  PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;

-- What a rank said of itself; exit is a serialized syncbn.v1.RankExit.
CREATE TABLE ranks(
  job INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
  attempt INTEGER NOT NULL,
  rank INTEGER NOT NULL,
  host TEXT NOT NULL,
  pid INTEGER NOT NULL,
  exit BLOB,
  PRIMARY KEY (job, attempt, rank)
) STRICT, WITHOUT ROWID;

-- The history of all jobs, in order. Its numbers are the cursors of watches. The last entry of a
-- deleted job stays.
CREATE TABLE transitions(
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  job INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  time INTEGER NOT NULL,
  actor TEXT NOT NULL,
  event TEXT NOT NULL,
  reason TEXT NOT NULL,
  from_state INTEGER NOT NULL,
  to_state INTEGER NOT NULL,
  desired INTEGER NOT NULL
) STRICT;
CREATE INDEX transitions_by_job ON transitions(job, sequence);

-- Answers already given, for requests that come again.
CREATE TABLE requests(
  actor TEXT NOT NULL,
  id TEXT NOT NULL,
  method TEXT NOT NULL,
  digest TEXT NOT NULL,
  response BLOB NOT NULL,
  time INTEGER NOT NULL,
  PRIMARY KEY (actor, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_time ON requests(time);

-- A metric of one rank, with figures that a list shows. Points refer to it without a foreign key:
-- those of a deleted job are cleared away little by little.
CREATE TABLE series(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  job INTEGER NOT NULL,
  name TEXT NOT NULL,
  rank INTEGER NOT NULL,
  points INTEGER NOT NULL,
  first_step INTEGER NOT NULL,
  last_step INTEGER NOT NULL,
  last_value REAL,
  last_time INTEGER NOT NULL,
  UNIQUE (job, name, rank)
) STRICT;

-- value is NULL where it is not a number.
CREATE TABLE points(
  series INTEGER NOT NULL,
  step INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  time INTEGER NOT NULL,
  value REAL,
  PRIMARY KEY (series, step, attempt, sequence)
) STRICT, WITHOUT ROWID;

-- How far each rank's points are in the store: what makes a batch that comes twice count once.
CREATE TABLE streams(
  job INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  rank INTEGER NOT NULL,
  acknowledged INTEGER NOT NULL,
  lost INTEGER NOT NULL,
  PRIMARY KEY (job, attempt, rank)
) STRICT, WITHOUT ROWID;

-- Batches as they came (serialized syncbn.v1.MetricBatch), for watches; kept for a while only. Its
-- numbers are the cursors.
CREATE TABLE batches(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  job INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  rank INTEGER NOT NULL,
  time INTEGER NOT NULL,
  batch BLOB NOT NULL
) STRICT;
CREATE INDEX batches_by_job ON batches(job, id);
CREATE INDEX batches_by_time ON batches(time);

-- What is known of a host beside the hosts file (host_health.h).
CREATE TABLE hosts(
  name TEXT PRIMARY KEY,
  drained INTEGER NOT NULL,
  reason TEXT NOT NULL,
  exclusions INTEGER NOT NULL,
  excluded_until INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE host_failures(
  host TEXT NOT NULL REFERENCES hosts(name) ON DELETE CASCADE,
  time INTEGER NOT NULL,
  attempt TEXT NOT NULL,
  message TEXT NOT NULL
) STRICT;
CREATE INDEX host_failures_by_host ON host_failures(host, time);

-- Bearer tokens, by the hash of their secret.
CREATE TABLE tokens(
  hash BLOB PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  role INTEGER NOT NULL,
  create_time INTEGER NOT NULL,
  expire_time INTEGER
) STRICT, WITHOUT ROWID;

-- Who asked for what, and what came of it.
CREATE TABLE audit(
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  time INTEGER NOT NULL,
  actor TEXT NOT NULL,
  peer TEXT NOT NULL,
  method TEXT NOT NULL,
  resource TEXT NOT NULL,
  code INTEGER NOT NULL,
  detail TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_time ON audit(time);
)sql";

// A worker is known by its token alone.
constexpr const char* kVersion2 = R"sql(
CREATE INDEX attempts_by_token ON attempts(token_hash);
)sql";

// What a submitter's jobs take: bytes of what was asked for, with the run file.
constexpr const char* kVersion3 = R"sql(
ALTER TABLE jobs ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
UPDATE jobs SET bytes = length(spec) + coalesce((
  SELECT length(CAST(text AS BLOB)) + length(CAST(effective AS BLOB)) FROM run_files
  WHERE run_files.job = jobs.id), 0);
CREATE INDEX jobs_by_use ON jobs(submitter, state, bytes);
)sql";

// The least and the greatest finite value of a series, so that the best evaluation is in a list of
// jobs without a look at all points.
constexpr const char* kVersion4 = R"sql(
ALTER TABLE series ADD COLUMN min_value REAL;
ALTER TABLE series ADD COLUMN max_value REAL;
UPDATE series SET (min_value, max_value) = (
  SELECT min(value), max(value) FROM points
  WHERE points.series = series.id AND abs(value) <= 1.7976931348623157e308);
)sql";

// Studies, and the job that each of their trials became; the job may be gone by now.
constexpr const char* kVersion5 = R"sql(
CREATE TABLE studies(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  submitter TEXT NOT NULL,
  spec BLOB NOT NULL,
  state INTEGER NOT NULL,
  fault TEXT NOT NULL,
  progress BLOB NOT NULL,
  revision INTEGER NOT NULL,
  create_time INTEGER NOT NULL,
  update_time INTEGER NOT NULL,
  end_time INTEGER
) STRICT;
CREATE INDEX open_studies ON studies(submitter) WHERE end_time IS NULL;

CREATE TABLE study_files(
  study INTEGER PRIMARY KEY REFERENCES studies(id) ON DELETE CASCADE,
  study_text TEXT NOT NULL,
  run_text TEXT NOT NULL
) STRICT;

CREATE TABLE study_trials(
  study INTEGER NOT NULL REFERENCES studies(id) ON DELETE CASCADE,
  trial TEXT NOT NULL,
  job INTEGER NOT NULL,
  paused INTEGER NOT NULL,
  PRIMARY KEY (study, trial)
) STRICT, WITHOUT ROWID;
)sql";

// What the trials came to, and all jobs that they became: one that failed may be run anew.
constexpr const char* kVersion6 = R"sql(
-- Lines of results.jsonl, one after another: begin is the offset of the first byte among those of its
-- study. They are only added to; of those of a trial at most one counts.
CREATE TABLE study_results(
  study INTEGER NOT NULL REFERENCES studies(id) ON DELETE CASCADE,
  begin INTEGER NOT NULL,
  trial TEXT NOT NULL,
  line BLOB NOT NULL,
  failed INTEGER NOT NULL,
  counts INTEGER NOT NULL,
  PRIMARY KEY (study, begin)
) STRICT;
CREATE UNIQUE INDEX study_results_that_count ON study_results(study, trial) WHERE counts;

-- current: the one that its trial is waited for by; none of a trial that is to be run anew.
CREATE TABLE study_jobs(
  job INTEGER PRIMARY KEY,
  study INTEGER NOT NULL REFERENCES studies(id) ON DELETE CASCADE,
  trial TEXT NOT NULL,
  paused INTEGER NOT NULL,
  current INTEGER NOT NULL
) STRICT;
CREATE INDEX study_jobs_by_study ON study_jobs(study);
CREATE UNIQUE INDEX study_jobs_current ON study_jobs(study, trial) WHERE current;
INSERT INTO study_jobs(job, study, trial, paused, current)
  SELECT job, study, trial, paused, 1 FROM study_trials;
DROP TABLE study_trials;
CREATE INDEX ended_studies ON studies(end_time) WHERE end_time IS NOT NULL;
)sql";

// What blocks of points come to, so that a long curve is drawn without reading each
// (metric_blocks.h).
constexpr const char* kVersion7 = R"sql(
CREATE TABLE blocks(
  series INTEGER NOT NULL,
  block INTEGER NOT NULL,
  first_step INTEGER NOT NULL,
  last_step INTEGER NOT NULL,
  in_order INTEGER NOT NULL,
  sum REAL NOT NULL,
  least REAL,
  greatest REAL,
  count INTEGER NOT NULL,
  non_finite INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  time INTEGER NOT NULL,
  PRIMARY KEY (series, block)
) STRICT, WITHOUT ROWID;
)sql";

const std::vector<std::string>& Steps() {
  static const std::vector<std::string> steps = {kVersion1, kVersion2, kVersion3, kVersion4,
                                                 kVersion5, kVersion6, kVersion7};
  return steps;
}

int64_t Pragma(Database& database, const std::string& name) {
  Rows rows = database.Query("PRAGMA " + name);
  return rows.Next() ? rows.Int(0) : 0;
}

}  // namespace

int StoreVersion() {
  return static_cast<int>(Steps().size());
}

void ConfigureConnection(Database& database, bool synced) {
  database.Execute("PRAGMA journal_mode = WAL");
  database.Execute(synced ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
  // The log of changes is carried over every 4000 pages, 16 MB; a long read can make it longer, and
  // then it is cut to that again.
  database.Execute(
      "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;"
      "PRAGMA cache_size = -65536; PRAGMA journal_size_limit = 16777216;"
      "PRAGMA wal_autocheckpoint = 4000");
  // The files beside the store stay when it is closed, empty as they are then: on a full disk they
  // could not be made again. And where another store stands in its place by then, they are the
  // other's.
  int yes = 1;
  sqlite3_file_control(database.handle(), "main", SQLITE_FCNTL_PERSIST_WAL, &yes);
}

void Migrate(Database& database) {
  MigrateWith(database, Steps());
}

void MigrateWith(Database& database, const std::vector<std::string>& steps) {
  const int64_t version = Pragma(database, "user_version");
  const bool empty = Pragma(database, "schema_version") == 0;
  if (!empty && Pragma(database, "application_id") != kApplicationId) {
    throw Error(ErrorCode::kDataLoss,
                database.path().string() + " is not a syncbn store; give --data another folder");
  }
  const auto newest = static_cast<int64_t>(steps.size());
  if (version > newest) {
    throw Error(
        ErrorCode::kFailedPrecondition,
        "the store " + database.path().string() + " has version " + std::to_string(version) +
            ", written by a newer syncbn; this one knows up to version " + std::to_string(newest) +
            ": use the newer program, or a copy of the store from before");
  }
  if (version < newest && !empty) {
    std::filesystem::path copy = database.path();
    copy += ".version-" + std::to_string(version);
    if (!std::filesystem::exists(copy)) CopyDatabase(database, copy);
  }
  for (int64_t step = version; step < newest; ++step) {
    InTransaction(database, [&] {
      database.Execute(steps[static_cast<size_t>(step)]);
      database.Execute("PRAGMA user_version = " + std::to_string(step + 1));
      database.Execute("PRAGMA application_id = " + std::to_string(kApplicationId));
    });
  }
}

void CopyDatabase(Database& database, const std::filesystem::path& path) {
  std::filesystem::path temporary = path;
  temporary += ".tmp";
  std::filesystem::remove(temporary);
  {
    Database target(temporary, Database::Mode::kReadWrite);
    sqlite3_backup* backup =
        sqlite3_backup_init(target.handle(), "main", database.handle(), "main");
    if (backup == nullptr) target.Fail("backup");
    // In one step: it reads one snapshot, and a writer elsewhere neither waits nor makes it start
    // over.
    const int result = sqlite3_backup_step(backup, -1);
    sqlite3_backup_finish(backup);
    if (result != SQLITE_DONE) {
      std::error_code ignored;
      std::filesystem::remove(temporary, ignored);
      target.Fail("backup");
    }
    // A copy is one file: the log belongs to stores in use.
    target.Execute("PRAGMA journal_mode = DELETE");
  }
  const int file = ::open(temporary.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) ThrowErrno("open", temporary);
  const bool synced = ::fsync(file) == 0;
  ::close(file);
  if (!synced) ThrowErrno("sync", temporary);
  std::filesystem::rename(temporary, path);
  SyncFolder(path.parent_path());
}

}  // namespace syncbn::coordinator
