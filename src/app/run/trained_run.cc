#include "app/run/trained_run.h"

#include <string>
#include <vector>

#include "app/run/load_dataset.h"
#include "app/terminal.h"
#include "base/error.h"
#include "base/regular_file.h"
#include "base/text.h"

namespace syncbn::app {

namespace fs = std::filesystem;

namespace {

// A folder may come from anywhere. Far more than any has: input.json has the names of all classes.
constexpr int64_t kMostBytes = int64_t{64} << 20;

}  // namespace

config::RunFile StoredRunFileOf(const fs::path& out) {
  const fs::path path = out / "run.yaml";
  if (!fs::exists(path)) {
    throw Error(
        ErrorCode::kNotFound,
        path.string() + " does not exist: give the output folder of a run (--out of syncbn train)");
  }
  return config::ParseStoredRunFile(ReadRegularTextFile(path, kMostBytes), path.string());
}

TrainedRun OpenTrainedRun(const fs::path& out, std::optional<int64_t> step) {
  TrainedRun run{.out = out, .file = StoredRunFileOf(out), .checkpoint = {}};
  const train::CheckpointStore store({.out = out, .on_warning = [](const std::string& warning) {
                                        Say(stderr, "syncbn: warning: %s\n", warning.c_str());
                                      }});
  if (step) {
    std::vector<std::string> steps;
    for (const int64_t there : store.Steps()) steps.push_back(std::to_string(there));
    if (!fs::exists(store.FolderOf(*step))) {
      throw Error(ErrorCode::kNotFound,
                  out.string() + " has no checkpoint after step " + std::to_string(*step) +
                      (steps.empty() ? "" : "; there are some after " + Join(steps, ", ")));
    }
    run.checkpoint = train::CheckpointStore::Load(store.FolderOf(*step));
    return run;
  }
  auto newest = store.Latest();
  if (!newest) {
    throw Error(ErrorCode::kNotFound,
                out.string() +
                    " has no checkpoint: the run has not come to its first yet, or was made with "
                    "--no-checkpoints");
  }
  run.checkpoint = *std::move(newest);
  return run;
}

interchange::ModelInput InputOfRun(const TrainedRun& run) {
  const fs::path path = run.out / interchange::kModelInputFile;
  if (fs::exists(path)) {
    return interchange::ModelInput::FromJson(ReadRegularTextFile(path, kMostBytes), path.string());
  }
  data::DatasetCache datasets{LoadDataset};
  return interchange::InputOf(train::PreparedRun(run.file.spec, datasets));
}

}  // namespace syncbn::app
