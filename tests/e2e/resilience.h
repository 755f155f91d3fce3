// A coordinator and jobs to which bad things happen: what must be true of a job all the same.
#pragma once

#include "tests/e2e/serve_fixture.h"

namespace syncbn {

class ResilienceTest : public ServeTest {
 protected:
  // From the next start on: the coordinator, or its supervisors (`in` "supervise"), die once at a
  // moment of tests/support/crash_at.cc; a coordinator's counts from when it serves.
  void CrashAt(const std::string& moment, const std::string& in = "serve");
  bool HasCrashed() const;

  // Serves again if the coordinator has died.
  void Revive();
  // Against a coordinator that may die in the middle: asks again, under the same request id.
  std::string SubmitSurely(const v1::Job& job);
  v1::Job WaitForEndSurely(const std::string& name);

  // The job has succeeded, ended once, has one completed attempt, its bits, figures and log are
  // those of a run that nothing happened to, and nothing is left of it.
  // The log's last lines may be missing where it was the supervisor, who writes it, that was killed.
  void ExpectDoneOnce(const std::string& name, int steps, bool log_is_whole = true);
  // Every figure of metrics.jsonl is in the store, once, and nothing else; steps without a gap.
  void ExpectMetricsOnce(const std::string& name, int steps);
  // Every line of the log is there once, as the API gives it.
  void ExpectLogWhole(const std::string& name, int attempt, bool from_the_start);
  // Lines of the run's own metrics.jsonl.
  int StepsDone(const std::string& name) const;
  std::string DigestOfUndisturbed(int steps);

  std::vector<v1::Series> AllSeries(const std::string& name, std::optional<int> attempt = {});

 private:
  // The job as it is now, unless nobody answers.
  std::optional<v1::Job> TryGet(const std::string& name);

  std::map<int, std::string> undisturbed_;  // digest by number of steps
};

}  // namespace syncbn
