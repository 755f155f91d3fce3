#include "coordinator/store/retention.h"

#include <algorithm>

namespace syncbn::coordinator {
namespace {

int64_t Before(WallTime now, RetentionPolicy::Time age) {
  return (now - age).time_since_epoch().count();
}

// Rows up to `id` may be gone: watches from an older cursor are refused.
void NoteForgotten(Database& database, const char* key, int64_t id) {
  database.Run(
      "INSERT INTO meta(key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = "
      "CAST(max(CAST(value AS INTEGER), CAST(excluded.value AS INTEGER)) AS TEXT)",
      key, std::to_string(id));
}

std::vector<int64_t> DeleteEndedJobs(Tables& tables, RetentionPolicy::Time age, WallTime now,
                                     int limit) {
  std::vector<int64_t> jobs;
  {
    Rows rows = tables.database.Query(
        "SELECT id FROM jobs WHERE end_time IS NOT NULL AND end_time < ? AND id NOT IN (SELECT job "
        "FROM study_jobs WHERE study IN (SELECT id FROM studies WHERE end_time IS NULL)) "
        "ORDER BY end_time LIMIT ?",
        Before(now, age), std::min(limit, 100));
    while (rows.Next()) jobs.push_back(rows.Int(0));
  }
  for (const int64_t job : jobs) {
    tables.jobs.Delete(job, {"retention", "DELETE", "kept for as long as ended jobs are kept"},
                       now);
  }
  return jobs;
}

// Points, series, streams and batches of jobs that are no longer there.
bool DeleteMetricsOfDeletedJobs(Database& database, int limit) {
  const int64_t points = database.Run(
      "DELETE FROM points WHERE (series, step, attempt, sequence) IN (SELECT p.series, p.step, "
      "p.attempt, p.sequence FROM points p WHERE p.series IN (SELECT id FROM series WHERE job NOT "
      "IN "
      "(SELECT id FROM jobs)) LIMIT ?)",
      limit);
  if (points > 0) return true;
  database.Run(
      "DELETE FROM blocks WHERE series IN (SELECT id FROM series WHERE job NOT IN (SELECT id FROM "
      "jobs))");
  database.Run("DELETE FROM series WHERE job NOT IN (SELECT id FROM jobs)");
  database.Run("DELETE FROM streams WHERE job NOT IN (SELECT id FROM jobs)");
  return false;
}

bool DeleteOldBatches(Database& database, int64_t before, int limit) {
  // Batches of a deleted job are not followed by anybody, so they go without notice.
  int64_t deleted = database.Run(
      "DELETE FROM batches WHERE id IN (SELECT id FROM batches WHERE job NOT IN (SELECT id FROM "
      "jobs) "
      "LIMIT ?)",
      limit);
  Rows rows = database.Query(
      "SELECT max(id), count(*) FROM (SELECT id FROM batches WHERE time < ? ORDER BY time LIMIT ?)",
      before, limit);
  if (rows.Next() && rows.Int(1) > 0) {
    NoteForgotten(database, "forgotten_batches", rows.Int(0));
    deleted += database.Run(
        "DELETE FROM batches WHERE id IN (SELECT id FROM batches WHERE time < ? ORDER BY time "
        "LIMIT ?)",
        before, limit);
  }
  return deleted >= limit;
}

bool DeleteOldTombstones(Database& database, int64_t before, int limit) {
  Rows rows = database.Query(
      "SELECT max(sequence) FROM (SELECT sequence FROM transitions WHERE event = 'DELETE' AND time "
      "< ? "
      "ORDER BY sequence LIMIT ?)",
      before, limit);
  if (!rows.Next() || rows.IsNull(0)) return false;
  NoteForgotten(database, "forgotten_transitions", rows.Int(0));
  return database.Run(
             "DELETE FROM transitions WHERE event = 'DELETE' AND time < ? AND sequence <= ?",
             before, rows.Int(0)) >= limit;
}

}  // namespace

RetentionStep Forget(Store& store, const RetentionPolicy& policy, WallTime now, int limit) {
  return store.Write(
      [&](Tables& tables) {
        RetentionStep step;
        if (policy.ended_jobs) {
          step.deleted_jobs = DeleteEndedJobs(tables, *policy.ended_jobs, now, limit);
          step.more |= !step.deleted_jobs.empty();
        }
        if (policy.ended_studies) {
          step.deleted_studies =
              tables.studies.DeleteEndedBefore(now - *policy.ended_studies, std::min(limit, 100));
          step.more |= !step.deleted_studies.empty();
        }
        step.more |= DeleteMetricsOfDeletedJobs(tables.database, limit);
        step.more |= DeleteOldBatches(tables.database, Before(now, policy.batches), limit);
        step.more |= DeleteOldTombstones(tables.database, Before(now, policy.deleted_jobs), limit);
        step.more |=
            tables.database.Run(
                "DELETE FROM requests WHERE (actor, id) IN (SELECT actor, id FROM requests WHERE "
                "time < ? ORDER BY time LIMIT ?)",
                Before(now, policy.requests), limit) >= limit;
        step.more |=
            tables.database.Run(
                "DELETE FROM audit WHERE sequence IN (SELECT sequence FROM audit WHERE time < "
                "? ORDER BY time LIMIT ?)",
                Before(now, policy.audit), limit) >= limit;
        return step;
      },
      Store::Use::kMakesRoom);
}

}  // namespace syncbn::coordinator
