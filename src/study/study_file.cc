#include "study/study_file.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>

#include "base/bounded_file.h"
#include "base/error.h"
#include "base/text.h"
#include "config/decode.h"
#include "config/run_file.h"
#include "config/scalar.h"
#include "study/measures.h"

namespace syncbn::study {
namespace {

double ThreeDigits(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return std::strtod(text, nullptr);
}

// What is outside of the bytes [begin, end) made blank, so that every place stays where it was.
std::string Only(const std::string& text, size_t begin, size_t end) {
  std::string result = text;
  for (size_t i = 0; i < result.size(); ++i) {
    if ((i < begin || i >= end) && result[i] != '\n') result[i] = ' ';
  }
  return result;
}

// The first line from `begin` on that starts a further key of the file.
size_t EndOfBlock(const std::string& text, size_t begin) {
  for (size_t at = text.find('\n', begin); at != std::string::npos; at = text.find('\n', at + 1)) {
    const size_t next = at + 1;
    if (next >= text.size()) break;
    const char c = text[next];
    if (c != ' ' && c != '\n' && c != '#' && c != '\r' && c != '}' && c != ']') return next;
  }
  return text.size();
}

class Reader {
 public:
  Reader(StudyFile& file, config::Diagnostics& diagnostics)
      : file_(file), diagnostics_(diagnostics) {}

  void Run(const std::filesystem::path& folder) {
    ForgetWhatIsNotGiven();
    file_.set = SettingsOf(file_.spec.set(), "set");
    for (int i = 0; i < file_.spec.axes_size(); ++i) AddAxis(i);
    AddSeeds();
    AddTuning();
    CheckSkips();
    CheckTargets();
    for (int i = 0; i < file_.spec.claims_size(); ++i) CheckClaim(i);
    ReadRun(folder);
  }

 private:
  using Settings = google::protobuf::RepeatedPtrField<v1::SettingSpec>;

  // Decoding completes messages that are not mentioned.
  void ForgetWhatIsNotGiven() {
    const auto given = [&](const std::string& path) { return file_.origins.Given(path); };
    if (!given("tune")) file_.spec.clear_tune();
    for (int i = 0; i < file_.spec.axes_size(); ++i) {
      if (!given("axes." + std::to_string(i) + ".log")) file_.spec.mutable_axes(i)->clear_log();
    }
    for (int i = 0; i < file_.spec.claims_size(); ++i) {
      const std::string path = "claims." + std::to_string(i);
      v1::ClaimSpec& claim = *file_.spec.mutable_claims(i);
      if (!given(path + ".supported")) claim.clear_supported();
      if (!given(path + ".refuted")) claim.clear_refuted();
    }
  }

  void Fail(const std::string& path, std::string message, std::string hint = "") {
    if (file_.origins.Failed(path)) return;
    diagnostics_.Add(file_.PlaceOf(path), path, std::move(message), std::move(hint));
  }

  std::vector<Setting> SettingsOf(const Settings& settings, const std::string& path) {
    std::vector<Setting> result;
    for (int i = 0; i < settings.size(); ++i) {
      const std::string below = path + "." + std::to_string(i);
      if (settings[i].value().empty()) continue;
      if (settings[i].path() == "seed") {
        Fail(below, "is set by the study", "The seeds of the trials stand in `seeds`.");
      }
      result.push_back({.path = settings[i].path(),
                        .value = settings[i].value(),
                        .place = file_.PlaceOf(below)});
    }
    return result;
  }

  static Level LevelOf(const std::string& path, const std::string& value,
                       const config::Location& place) {
    return {.label = value.size() > 1 && value.front() == '"' ? value.substr(1, value.size() - 2)
                                                              : value,
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
      AddLevel(axis,
               {.label = spec.cases(i).name(),
                .number = std::nullopt,
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

  bool GridFails(const v1::LogGridSpec& grid, const std::string& path) {
    if (file_.origins.Failed(path)) return true;
    if (grid.from() < grid.to()) return false;
    Fail(path, "`from` is not less than `to`");
    return true;
  }

  void AddSeeds() {
    const v1::SeedsSpec& seeds = file_.spec.seeds();
    std::set<uint64_t> known;
    for (int i = 0; i < seeds.list_size(); ++i) {
      if (!known.insert(seeds.list(i)).second) {
        Fail("seeds.list." + std::to_string(i),
             std::to_string(seeds.list(i)) + " is there twice; remove one of them");
      }
      file_.seeds.push_back(seeds.list(i));
    }
    for (int i = 0; seeds.list_size() == 0 && i < seeds.count(); ++i) {
      file_.seeds.push_back(static_cast<uint64_t>(i) + 1);
    }
  }

  void AddTuning() {
    if (!file_.spec.has_tune()) return;
    const v1::TuneSpec& tune = file_.spec.tune();
    if (GridFails(tune.log(), "tune.log")) return;
    file_.tuning_grid = LogGrid(tune.log());
    if (std::count(file_.seeds.begin(), file_.seeds.end(), tune.seed()) > 0) {
      Fail("tune.seed", std::to_string(tune.seed()) + " is a seed of the trials, too",
           "What is tuned with a seed is not judged by it: give another.");
    }
    if (tune.measure() == "tuned") Fail("tune.measure", "is what is to be found");
    CheckMeasure("tune.measure", tune.measure());
    for (const Axis& axis : file_.axes) {
      for (const Level& level : axis.levels) {
        for (const Setting& setting : level.settings) {
          if (setting.path != tune.path()) continue;
          return Fail("tune.path", "is what the axis `" + axis.name + "` changes",
                      "A key is either tuned or an axis.");
        }
      }
    }
  }

  // Names of axes, and values that they have.
  void CheckWhere(const Settings& where, const std::string& path) {
    std::vector<std::string> names;
    for (const Axis& axis : file_.axes) names.push_back(axis.name);
    for (int i = 0; i < where.size(); ++i) {
      const std::string below = path + "." + std::to_string(i);
      const Axis* axis = file_.FindAxis(where[i].path());
      if (axis == nullptr) {
        const std::string_view near = NearestWord(where[i].path(), names);
        Fail(below,
             "there is no axis `" + where[i].path() + "`" +
                 (near.empty() ? "" : "; did you mean `" + std::string(near) + "`?"),
             names.empty() ? "The study has no axes." : "Axes here: " + Join(names, ", ") + ".");
        continue;
      }
      if (axis->Find(LabelOf(where[i].value())) >= 0) continue;
      std::vector<std::string> labels;
      for (const Level& level : axis->levels) labels.push_back(level.label);
      Fail(below + ".value",
           "the axis `" + axis->name + "` has no value " + LabelOf(where[i].value()),
           "Its values: " + Join(labels, ", ") + ".");
    }
  }

  static std::string LabelOf(const std::string& value) {
    return value.size() > 1 && value.front() == '"' ? value.substr(1, value.size() - 2) : value;
  }

  void CheckSkips() {
    for (int i = 0; i < file_.spec.skip_size(); ++i) {
      CheckWhere(file_.spec.skip(i).where(), "skip." + std::to_string(i) + ".where");
    }
  }

  void CheckTargets() {
    std::set<std::string> names;
    for (int i = 0; i < file_.spec.targets_size(); ++i) {
      const v1::TargetSpec& target = file_.spec.targets(i);
      const std::string path = "targets." + std::to_string(i);
      if (!names.insert(target.name()).second) {
        Fail(path, "there is a target `" + target.name() + "` already");
      }
      if (!target.has_at_least() && !target.has_at_most()) {
        Fail(path, "has no value to reach", "Give `at_least` or `at_most`.");
      }
    }
  }

  void CheckMeasure(const std::string& path, const std::string& measure) {
    const std::vector<std::string> names = MeasureNames(file_.spec);
    if (std::find(names.begin(), names.end(), measure) != names.end()) return;
    const std::string_view near = NearestWord(measure, names);
    Fail(path,
         "there is no measure `" + measure + "`" +
             (near.empty() ? "" : "; did you mean `" + std::string(near) + "`?"),
         "Measures here: " + Join(names, ", ") + ".");
  }

  void CheckClaim(int index) {
    const v1::ClaimSpec& claim = file_.spec.claims(index);
    const std::string path = "claims." + std::to_string(index);
    CheckMeasure(path + ".measure", claim.measure());
    CheckWhere(claim.arm(), path + ".arm");
    CheckWhere(claim.against(), path + ".against");
    const bool paired =
        claim.compare() == v1::COMPARISON_DIFFERENCE || claim.compare() == v1::COMPARISON_RATIO;
    if (claim.compare() == v1::COMPARISON_RATIO && claim.against().empty()) {
      Fail(path, "a ratio needs `against`: what the arm is compared with");
    }
    if (!paired) {
      if (!claim.against().empty()) {
        Fail(path + ".against", "has no effect where trials are compared over an axis");
      }
      const Axis* axis = file_.FindAxis(claim.over());
      if (claim.over().empty()) {
        Fail(path, "needs `over`: the name of the axis");
      } else if (axis == nullptr) {
        Fail(path + ".over", "there is no axis `" + claim.over() + "`");
      } else if (!axis->numeric()) {
        Fail(path + ".over", "the values of the axis `" + axis->name + "` are no numbers");
      }
    }
    if (!claim.has_supported() && !claim.has_equivalent_within()) {
      Fail(path, "has no rule",
           "Give `supported: {above: ...}` (or below) or `equivalent_within`.");
    }
    CheckBounds(claim.supported(), claim.has_supported(), path + ".supported");
    CheckBounds(claim.refuted(), claim.has_refuted(), path + ".refuted");
    if (claim.has_supported() && !claim.has_refuted() && claim.supported().has_above() &&
        claim.supported().has_below()) {
      Fail(path, "what lies on the other side of two bounds is not one thing",
           "Give `refuted` as well.");
    }
    if (claim.has_refuted() && claim.has_equivalent_within()) {
      Fail(path + ".refuted", "has no effect beside `equivalent_within`");
    }
  }

  void CheckBounds(const v1::BoundsSpec& bounds, bool given, const std::string& path) {
    if (!given) return;
    if (!bounds.has_above() && !bounds.has_below()) {
      Fail(path, "has no bound", "Give `above`, `below` or both.");
    } else if (bounds.has_above() && bounds.has_below() && bounds.above() >= bounds.below()) {
      Fail(path, "`above` is not less than `below`");
    }
  }

  void ReadRun(const std::filesystem::path& folder) {
    const std::string& run = file_.spec.run();
    if (run.empty()) return;
    const config::Origin* origin = file_.origins.Find("run");
    if (run.front() == '{') {
      const config::Location& place = origin->value;
      if (origin->kind == config::Origin::Kind::kSet) {
        file_.run_name = "the run file";
        file_.run_text = run;
        return;
      }
      const std::string& text = file_.source->text();
      const size_t begin = place.position.value_or(0);
      file_.run_name = file_.source->name();
      file_.run_text = Only(text, begin, EndOfBlock(text, begin));
      return;
    }
    const std::filesystem::path path = folder / LabelOf(run);
    try {
      file_.run_text = config::ReadRunFile(path);
      file_.run_name = path.lexically_normal().string();
    } catch (const Error& error) {
      Fail("run", error.message());
    }
  }

  StudyFile& file_;
  config::Diagnostics& diagnostics_;
};

}  // namespace

bool Axis::numeric() const {
  return std::all_of(levels.begin(), levels.end(),
                     [](const Level& level) { return level.number.has_value(); });
}

int Axis::Find(std::string_view label) const {
  for (size_t i = 0; i < levels.size(); ++i) {
    if (levels[i].label == label) return static_cast<int>(i);
  }
  return -1;
}

const Axis* StudyFile::FindAxis(std::string_view name) const {
  for (const Axis& axis : axes) {
    if (axis.name == name) return &axis;
  }
  return nullptr;
}

StudyFile ParseStudyFile(std::string text, const std::string& name,
                         const std::filesystem::path& folder,
                         std::span<const std::string> overrides) {
  StudyFile file;
  file.source = std::make_shared<const config::Source>(name, text);
  config::Decoded decoded = config::DecodeYaml(std::move(text), name, file.spec, overrides);
  file.origins = std::move(decoded.origins);
  Reader(file, decoded.diagnostics).Run(folder);
  if (decoded.diagnostics.empty()) return file;
  decoded.diagnostics.Sort();
  throw Error(ErrorCode::kInvalidArgument, decoded.diagnostics.Format(name));
}

StudyFile LoadStudyFile(const std::filesystem::path& path, std::span<const std::string> overrides) {
  return ParseStudyFile(ReadFileUpTo(path, 1 << 20, "a study file"), path.string(),
                        path.parent_path(), overrides);
}

std::vector<double> LogGrid(const v1::LogGridSpec& grid) {
  std::vector<double> values;
  const int points = std::max(2, grid.points());
  for (int i = 0; i < points; ++i) {
    const double share = static_cast<double>(i) / (points - 1);
    values.push_back(
        ThreeDigits(std::exp(std::log(grid.from()) * (1 - share) + std::log(grid.to()) * share)));
  }
  return values;
}

double NextOnGrid(const std::vector<double>& grid, bool up) {
  const double step =
      std::pow(grid.back() / grid.front(), 1.0 / static_cast<double>(grid.size() - 1));
  return ThreeDigits(up ? grid.back() * step : grid.front() / step);
}

}  // namespace syncbn::study
