#include "study/study_settings.h"

#include <algorithm>

#include "base/text.h"
#include "config/scalar.h"
#include "study/measures.h"
#include "study/resolve.h"
#include "study/trials_csv.h"

namespace syncbn::study {
namespace {

class AxisReader : private SettingReader {
 public:
  using SettingReader::SettingReader;

  void Run() {
    for (int i = 0; i < file_.spec.axes_size(); ++i) AddAxis(i);
  }

 private:
  // Those of trials.csv are its name, and all others are not.
  void CheckAxisName(const std::string& name, const std::string& path) {
    std::vector<std::string> taken = MeasureNames(file_.spec);
    for (const char* column : {"trial", "seed", "end", "steps", "samples", "digest", "purpose"}) {
      taken.push_back(column);
    }
    if (file_.spec.has_tune()) taken.push_back(file_.spec.tune().path());
    for (const std::string& column : TimingNames()) taken.push_back(column);
    if (name.empty()) Fail(path, "the axis has an empty name", "Give it a `name`.");
    CheckName(name, path);
    if (std::ranges::find(taken, name) == taken.end()) return;
    Fail(
        path,
        "`" + name + "` is another column of trials.csv or timings.csv; no axis may have this name",
        "Give it another `name`.");
  }

  static Level LevelOf(const std::string& path, const std::string& value,
                       const config::Location& place) {
    return {.label = LabelOf(value),
            .number = config::ParseNumber(value).value,
            .settings = {{.path = path, .value = value, .place = place}}};
  }

  void AddAxis(int index) {
    const v1::AxisSpec& spec = file_.spec.axes(index);
    const std::string path = "axes." + std::to_string(index);
    const bool by_path = spec.values_size() > 0 || spec.has_log();
    if (!by_path && spec.cases_size() == 0) {
      return Fail(
          path, "has no values",
          "Give `values: [...]`, `log: {from: ..., to: ..., points: ...}` or `cases: [...]`.");
    }
    if (by_path && spec.path().empty()) {
      return Fail(path, "has values and no `path`", "Write the key of the run file that has them.");
    }
    if (!by_path && !spec.path().empty()) {
      return Fail(path + ".path", "has no effect beside `cases`, which name their keys themselves");
    }
    if (!by_path && spec.name().empty()) {
      return Fail(path, "an axis of cases needs a `name`");
    }
    if (spec.path() == "seed") {
      return Fail(path + ".path", "is set by the study",
                  "The seeds of the trials stand in `seeds`.");
    }
    Axis axis{.name = !spec.name().empty() ? spec.name()
                                           : spec.path().substr(spec.path().rfind('.') + 1)};
    if (file_.FindAxis(axis.name) != nullptr) {
      return Fail(path, "there is an axis `" + axis.name + "` already", "Give it a `name`.");
    }
    CheckAxisName(axis.name, path + (spec.name().empty() ? ".path" : ".name"));
    for (int i = 0; i < spec.values_size(); ++i) {
      const std::string below = path + ".values." + std::to_string(i);
      AddLevel(axis, LevelOf(spec.path(), spec.values(i), file_.PlaceOf(below)), below);
    }
    if (spec.has_log() && !GridFails(spec.log(), path + ".log")) {
      for (const double value : LogGrid(spec.log())) {
        AddLevel(axis, LevelOf(spec.path(), FormatDouble(value), file_.PlaceOf(path + ".log")),
                 path + ".log");
      }
    }
    for (int i = 0; i < spec.cases_size(); ++i) {
      const std::string below = path + ".cases." + std::to_string(i);
      CheckName(spec.cases(i).name(), below + ".name");
      AddLevel(axis,
               {.label = spec.cases(i).name(),
                .number = config::ParseNumber(spec.cases(i).name()).value,
                .settings = SettingsOf(spec.cases(i).set(), below + ".set")},
               below);
    }
    file_.axes.push_back(std::move(axis));
  }

  void AddLevel(Axis& axis, Level level, const std::string& path) {
    if (axis.Find(level.label) >= 0) {
      return Fail(path, "`" + level.label + "` is there twice; remove one of them");
    }
    axis.levels.push_back(std::move(level));
  }
};

}  // namespace

bool Clash(const std::string& a, const std::string& b) {
  std::string_view shorter = KeyOf(a), longer = KeyOf(b);
  if (shorter.size() > longer.size()) std::swap(shorter, longer);
  return longer.starts_with(shorter) &&
         (longer.size() == shorter.size() || longer[shorter.size()] == '.');
}

std::vector<Setting> SettingReader::SettingsOf(const Settings& settings, const std::string& path) {
  std::vector<Setting> result;
  for (int i = 0; i < settings.size(); ++i) {
    const std::string below = path + "." + std::to_string(i);
    if (settings[i].value().empty()) continue;
    if (settings[i].path() == "seed") {
      Fail(below, "is set by the study", "The seeds of the trials stand in `seeds`.");
    }
    for (const Setting& earlier : result) {
      // One that is the same is reported already.
      const std::string& later = settings[i].path();
      if (earlier.path == later || !Clash(earlier.path, later)) continue;
      Fail(below, "would overwrite `" + earlier.path + "`; remove one of them");
    }
    result.push_back(
        {.path = settings[i].path(), .value = settings[i].value(), .place = file_.PlaceOf(below)});
  }
  return result;
}

bool SettingReader::GridFails(const v1::LogGridSpec& grid, const std::string& path) {
  if (file_.origins.Failed(path)) return true;
  if (grid.from() >= grid.to()) {
    Fail(path, "`from` is not less than `to`");
    return true;
  }
  const std::vector<double> values = LogGrid(grid);
  if (std::ranges::adjacent_find(values) == values.end()) return false;
  Fail(path, "two of its values are the same when they are rounded to three digits",
       "Give fewer `points`, or a wider range.");
  return true;
}

void ReadAxes(StudyFile& file, config::Diagnostics& diagnostics) {
  AxisReader(file, diagnostics).Run();
}

}  // namespace syncbn::study
