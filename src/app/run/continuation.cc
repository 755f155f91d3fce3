#include "app/run/continuation.h"

#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "config/difference.h"
#include "config/run_file.h"
#include "config/schema.h"

namespace syncbn::app {
namespace {

constexpr const char* kTrainingData = "training data";
constexpr const char* kTestData = "test data";
constexpr const char* kProgram = "program";
constexpr const char* kBackend = "back end";

std::string ScheduleName(const v1::RunSpec& spec) {
  return config::EnumText(
      *v1::Schedule_descriptor()->FindValueByNumber(spec.train().learning_rate().schedule()));
}

// Nothing where both are the same, or one is not known.
std::optional<std::string> Difference(const train::StoredCheckpoint& checkpoint, const Facts& facts,
                                      const char* name) {
  const auto before = checkpoint.manifest.environment.find(name);
  const auto now = facts.find(name);
  if (before == checkpoint.manifest.environment.end() || now == facts.end()) return std::nullopt;
  if (before->second == now->second) return std::nullopt;
  return std::string(name) + ": " + now->second + ", the checkpoint has " + before->second;
}

void CheckRunFileContinues(const train::StoredCheckpoint& checkpoint, const v1::RunSpec& spec) {
  const std::string source = checkpoint.folder.string();
  const config::RunFile before =
      config::ParseStoredRunFile(checkpoint.manifest.run_file, source + "/manifest.json");
  std::vector<std::string> differences;
  for (const config::Difference& difference : config::ResultDifferences(before.spec, spec)) {
    differences.push_back(difference.path + ": " + difference.b + ", the checkpoint has " +
                          difference.a);
    if (difference.path == "train.epochs") {
      differences.back() +=
          " (under `schedule: " + ScheduleName(spec) +
          "` the rate of every step depends on it; under constant and step, which do "
          "not look at it, a run may be given more epochs)";
    }
  }
  train::CheckContinues(differences, source);
}

}  // namespace

void CheckDataContinues(const train::StoredCheckpoint& checkpoint, const Facts& facts) {
  std::vector<std::string> differences;
  for (const char* name : {kTrainingData, kTestData}) {
    if (auto difference = Difference(checkpoint, facts, name)) {
      differences.push_back("the digest of the " + *difference);
    }
  }
  if (differences.empty()) return;
  throw Error(
      ErrorCode::kFailedPrecondition,
      checkpoint.folder.string() + " was trained on other data:\n  " + Join(differences, "\n  ") +
          "\nGive the data it was trained on (data.path; were its files replaced?), or start a "
          "new run in another folder");
}

std::string OtherBits(const train::StoredCheckpoint& checkpoint, const Facts& facts) {
  std::vector<std::string> differences;
  for (const char* name : {kBackend, kProgram}) {
    if (auto difference = Difference(checkpoint, facts, name)) {
      differences.push_back(*std::move(difference));
    }
  }
  return Join(differences, "; ");
}

std::optional<Continuation> FindContinuation(const train::CheckpointStore& store,
                                             const v1::RunSpec& spec, const Facts& facts,
                                             bool any) {
  auto stored = store.Latest();
  if (!stored) return std::nullopt;
  CheckRunFileContinues(*stored, spec);
  CheckDataContinues(*stored, facts);
  std::string other_bits = OtherBits(*stored, facts);
  if (!other_bits.empty()) {
    if (!any) {
      throw Error(ErrorCode::kFailedPrecondition,
                  stored->folder.string() +
                      " was written where the bits are others: " + other_bits +
                      "\nGo on there, or accept other bits from here on: --set "
                      "train.checkpoint.resume_on=any");
    }
    stored->manifest.environment_changes.push_back({stored->manifest.counters.step, other_bits});
  }
  return Continuation{*std::move(stored), std::move(other_bits)};
}

std::string HowToExtend(const v1::RunSpec& spec, bool ended_by_max_steps) {
  if (ended_by_max_steps) return "To go on, raise train.max_steps (0: to the end of train.epochs).";
  const v1::Schedule schedule = spec.train().learning_rate().schedule();
  if (schedule == v1::SCHEDULE_CONSTANT || schedule == v1::SCHEDULE_STEP) {
    return "To go on, raise train.epochs (--set train.epochs=" +
           FormatDouble(2 * spec.train().epochs()) + ", say).";
  }
  return "It cannot be made longer: under `schedule: " + ScheduleName(spec) +
         "` the rate of every step depends on train.epochs. (Under constant and step it can.)";
}

}  // namespace syncbn::app
