// The trials of a study.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "study/study_file.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::study {

// A combination of the axes' values.
struct Cell {
  // By axis: which of its levels.
  std::vector<int> levels;
};

// One run of a study.
struct Trial {
  size_t cell = 0;
  uint64_t seed = 0;
  // The value of what is tuned, if anything is.
  std::optional<double> tuned;
  // Whether it is one of those by which that value is found.
  bool tuning = false;
  // It ends at this one of tune.halving.rungs; nothing: a whole run.
  std::optional<int> rung = std::nullopt;

  auto operator<=>(const Trial&) const = default;
};

class Plan {
 public:
  // Expands the study and checks the run file of every cell. Throws INVALID_ARGUMENT with all
  // faults, each at the place in the study file that made it.
  explicit Plan(StudyFile file);
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  const StudyFile& file() const { return file_; }
  const std::vector<Cell>& cells() const { return cells_; }
  // "batch 32, norm BN"
  std::string Describe(const Cell& cell) const;
  const Level& LevelOf(const Cell& cell, size_t axis) const {
    return file_.axes[axis].levels[static_cast<size_t>(cell.levels[axis])];
  }

  // Those that are known beforehand: with a tuning block, those that find the tuned values.
  std::vector<Trial> FirstTrials() const;
  // Those of a cell whose tuned value is found.
  std::vector<Trial> TrialsOf(size_t cell, std::optional<double> tuned) const;
  // Complete and valid. Throws INVALID_ARGUMENT for a tuned value that does not fit.
  v1::RunSpec RunOf(const Trial& trial) const;
  int ProcessesOf(const Trial& trial) const;
  // Digest of all that its result depends on: two trials of the same digest are the same run. 16
  // digits.
  const std::string& IdOf(const Trial& trial) const;

 private:
  // Throw INVALID_ARGUMENT: for runs that are wrong, or the same; for claims whose arms `skip` has
  // emptied or made different.
  void CheckRuns();
  void CheckArms() const;
  // The same for what is tuned by a measure that its trials do not have.
  void CheckTuning() const;
  // That the trials of these cells will have the measure; it stands at `place`.
  void CheckMeasured(const std::string& measure, const std::string& place,
                     const std::function<bool(const Cell& cell)>& within,
                     config::Diagnostics& diagnostics) const;
  std::string NameOf(size_t cell) const;
  void ThrowIfAny(config::Diagnostics& diagnostics) const;
  // With any seed, to its whole length. Throws as RunOf does.
  v1::RunSpec RunOfCell(const Trial& trial) const;
  // Precondition: TrainingSamples(run).
  void EndAtRung(int rung, v1::RunSpec& run) const;
  // "path=value" for a run of the cell.
  std::vector<Setting> SettingsOf(const Trial& trial) const;

  StudyFile file_;
  std::vector<Cell> cells_;
  // By cell: no seed and no tuned value changes it.
  std::vector<int> processes_;
  struct Resolved {
    size_t cell = 0;
    std::optional<double> tuned;
    v1::RunSpec run;
  };

  // To know these takes reading the run file anew. Trials that follow each other are of one cell as
  // often as not, and differ in their seed alone.
  mutable std::mutex mutex_;
  mutable std::optional<Resolved> last_;
  mutable std::map<Trial, std::string> ids_;
};

// Whether the cell has these values, by the name of their axes.
bool Matches(const Plan& plan, const Cell& cell,
             const google::protobuf::RepeatedPtrField<v1::SettingSpec>& where);

// The levels of the cell on the axes that `where` does not name; and those of all cells that have
// its values.
std::vector<int> OpenLevelsOf(const Plan& plan, const Cell& cell,
                              const google::protobuf::RepeatedPtrField<v1::SettingSpec>& where);
std::set<std::vector<int>> OpenLevels(
    const Plan& plan, const google::protobuf::RepeatedPtrField<v1::SettingSpec>& where);

}  // namespace syncbn::study
