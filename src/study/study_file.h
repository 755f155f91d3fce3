// A study file: read, checked, and resolved as far as it says itself.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "config/decode.h"
#include "config/diagnostic.h"
#include "config/origin.h"
#include "config/source.h"
#include "syncbn/v1/study.pb.h"

namespace syncbn::study {

// `path: value` in YAML, and where it stands.
struct Setting {
  std::string path;
  std::string value;
  config::Location place;
};

// One value of an axis, or one case.
struct Level {
  // As tables and plots show it.
  std::string label;
  // Where it is a number; of a case, where its name is one.
  std::optional<double> number;
  std::vector<Setting> settings;
};

struct Axis {
  std::string name;
  std::vector<Level> levels;

  bool numeric() const;
  // -1: there is none of this label, or, where it is a number, of this number (0.10 finds 0.1).
  int Find(std::string_view label) const;
};

// A study that was accepted once is not judged by rules that came after it: from a store what can
// be read is taken, with the questions that a new one may no longer ask (a bound that nothing can
// pass).
enum class StudyOrigin { kNew, kStored };

struct StudyFile {
  v1::StudySpec spec;
  config::Origins origins;
  std::shared_ptr<const config::Source> source;
  // The run file that all trials start from.
  std::string run_name, run_text;
  // The same, parsed once for all that it is resolved under.
  std::shared_ptr<const config::YamlText> run;
  std::vector<Setting> set;
  std::vector<Axis> axes;
  std::vector<uint64_t> seeds;
  // Of tune.log; empty: nothing is tuned.
  std::vector<double> tuning_grid;

  // That was chosen; empty: the study as it stands. What it has otherwise is in all of this, and
  // its skips are among the study's.
  std::string form;
  std::optional<int> form_index;
  bool no_verdicts = false;
  StudyOrigin origin = StudyOrigin::kNew;

  // Null: there is none.
  const Axis* FindAxis(std::string_view name) const;
  config::Location PlaceOf(std::string_view path) const { return origins.ValueLocation(path); }
};

// What is wrong with a study file, or with the runs that it makes, each fault at its place.
class StudyFileError : public Error {
 public:
  StudyFileError(config::Diagnostics diagnostics, const std::string& name)
      : Error(ErrorCode::kInvalidArgument, diagnostics.Format(name)),
        diagnostics_(std::move(diagnostics)),
        name_(name) {}
  const config::Diagnostics& diagnostics() const { return diagnostics_; }
  // Of the study file.
  const std::string& name() const { return name_; }

 private:
  config::Diagnostics diagnostics_;
  std::string name_;
};

// Reads a study file and the run file it names. All faults of the study file are found in one pass
// and thrown as INVALID_ARGUMENT; those of its trials are found by MakePlan. `overrides` are as of
// a run file, of the study's keys. `form`: see StudyFile::form; one that is not there is a fault.
StudyFile LoadStudyFile(const std::filesystem::path& path,
                        std::span<const std::string> overrides = {}, const std::string& form = "",
                        StudyOrigin origin = StudyOrigin::kNew);
// The same for a text; `folder` is where the run file's path begins.
StudyFile ParseStudyFile(std::string text, const std::string& name,
                         const std::filesystem::path& folder,
                         std::span<const std::string> overrides = {}, const std::string& form = "",
                         StudyOrigin origin = StudyOrigin::kNew);
// Name and text of the run file that a study names by `path`; what it throws is a fault of `run`.
struct NamedText {
  std::string name, text;
};
using RunFileReader = std::function<NamedText(const std::string& path)>;
// The same without a look at any file but through `read_run`.
StudyFile ParseStudyText(std::string text, const std::string& name, const RunFileReader& read_run,
                         std::span<const std::string> overrides = {}, const std::string& form = "",
                         StudyOrigin origin = StudyOrigin::kNew);

// `points` numbers from the first to the last of `grid`, evenly on a logarithmic scale, three
// digits each.
std::vector<double> LogGrid(const v1::LogGridSpec& grid);
// Where the grid goes on beyond its ends: -1 is before the first, `points` behind the last. By the
// ends as they are given, so that nothing adds up: from 1 down to 0.1 it goes on to 0.01.
double BeyondLogGrid(const v1::LogGridSpec& grid, int index);

}  // namespace syncbn::study
