// What the tests of the store share: small jobs and batches.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "coordinator/store/store.h"
#include "tests/support/temp_folder.h"

namespace syncbn::coordinator {

inline const WallTime kTestNow = WallTime(std::chrono::hours(24 * 365 * 50));

// With durable times that are equal to calendar times.
inline Moment MomentAt(WallTime now) {
  return {now, DurableTime(now.time_since_epoch())};
}

inline v1::Job TestSpec(const std::string& name = "small", const std::string& submitter = "anna") {
  v1::Job spec;
  spec.set_display_name(name);
  spec.set_submitter(submitter);
  spec.mutable_resources()->set_processes(1);
  return spec;
}

inline int64_t AddJob(Store& store, const v1::Job& spec = TestSpec(), WallTime now = kTestNow) {
  return store.Write([&](Tables& tables) {
    return tables.jobs.Create(spec, {"seed: 1\n", "seed: 1  # run.yaml:1\n"},
                              NewJob({}, MomentAt(now)), {spec.submitter(), "CREATE", ""}, now);
  });
}

// Applies an event as the coordinator will: load, decide, store.
inline Outcome ApplyTo(Store& store, int64_t id, Event event, WallTime now = kTestNow) {
  return store.Write([&](Tables& tables) {
    const JobRecord record = tables.jobs.Get(id);
    if (IsOfAttempt(event.kind)) event.attempt = record.status.attempt;
    Outcome outcome = Apply(record.status, event, PolicyOf(record, {}), MomentAt(now));
    if (outcome.verdict == Outcome::Verdict::kApplied) {
      tables.jobs.Update(id, outcome.status,
                         {"test", std::string(EventName(event.kind)), outcome.message}, now);
    }
    return outcome;
  });
}

// Points `first` .. `first + count - 1` of one stream; step = sequence / names, value = step + name
// / 10.
inline v1::MetricBatch TestBatch(int64_t first, int count, int names = 2, int64_t step_offset = 0) {
  v1::MetricBatch batch;
  batch.set_first_sequence(first);
  for (int i = 0; i < names; ++i) batch.add_names("m" + std::to_string(i));
  for (int64_t sequence = first; sequence < first + count; ++sequence) {
    const int name = static_cast<int>((sequence - 1) % names);
    const int64_t step = (sequence - 1) / names + step_offset;
    batch.add_name_index(name);
    batch.add_step(step);
    batch.add_value(static_cast<double>(step) + name / 10.0);
    batch.add_time_us(1'000'000 + sequence);
  }
  return batch;
}

// Every point of the store, in a form that can be compared: "attempt/rank/sequence name step
// value".
inline std::vector<std::string> AllPoints(const Store& store, int64_t job) {
  return store.Read([&](Tables& tables) {
    std::vector<std::string> points;
    Rows rows = tables.database.Query(
        "SELECT attempt, rank, sequence, name, step, value FROM points JOIN series ON series = id "
        "WHERE job = ? ORDER BY attempt, rank, sequence",
        job);
    while (rows.Next()) {
      points.push_back(rows.Text(0) + "/" + rows.Text(1) + "/" + rows.Text(2) + " " + rows.Text(3) +
                       " " + rows.Text(4) + " " + FormatDouble(rows.Real(5)));
    }
    return points;
  });
}

// The text of the Error that body throws; "" if it throws none.
template <typename Body>
std::string ErrorOf(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return std::string(ErrorCodeName(error.code())) + ": " + error.message();
  }
  return "";
}

// A store in a folder of its own.
class StoreTest : public ::testing::Test {
 protected:
  void Reopen() {
    store.reset();
    store = std::make_unique<Store>(Store::Options{.folder = folder.path() / "data"});
  }

  TempFolder folder;
  std::unique_ptr<Store> store =
      std::make_unique<Store>(Store::Options{.folder = folder.path() / "data"});
};

}  // namespace syncbn::coordinator
