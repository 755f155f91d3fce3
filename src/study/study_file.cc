#include "study/study_file.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <set>

#include "base/bounded_file.h"
#include "base/error.h"
#include "base/text.h"
#include "config/character.h"
#include "config/decode.h"
#include "config/run_file.h"
#include "config/scalar.h"
#include "config/yaml_tree.h"
#include "study/measures.h"
#include "study/study_check.h"

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

// The key of the run file that a setting gives a value.
std::string_view KeyOf(std::string_view path) {
  return path == kSgdBatch ? "cluster.batch_per_replica" : path;
}

// Whether one is the other's key, or above or below it: the later setting would overwrite the
// earlier.
bool Clash(const std::string& a, const std::string& b) {
  std::string_view shorter = KeyOf(a), longer = KeyOf(b);
  if (shorter.size() > longer.size()) std::swap(shorter, longer);
  return longer.starts_with(shorter) &&
         (longer.size() == shorter.size() || longer[shorter.size()] == '.');
}

// Settings that one part of the study makes together with those of the others.
struct Changes {
  std::string who;
  std::vector<const Setting*> settings;
};

class Reader : private StudyCheck {
 public:
  using StudyCheck::StudyCheck;

  void Run(const std::filesystem::path& folder) {
    ForgetWhatIsNotGiven();
    CheckFolderName();
    file_.set = SettingsOf(file_.spec.set(), "set");
    for (int i = 0; i < file_.spec.axes_size(); ++i) AddAxis(i);
    AddSeeds();
    CheckClashes();
    AddTuning();
    CheckQuestions(file_, diagnostics_);
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

  // It is the name of a folder.
  void CheckFolderName() {
    const std::string& name = file_.spec.name();
    if (!file_.origins.Given("name")) return;
    const auto alnum = [](unsigned char c) { return c < 0x80 && std::isalnum(c) != 0; };
    const bool characters = std::ranges::all_of(
        name, [&](unsigned char c) { return alnum(c) || c == '.' || c == '_' || c == '-'; });
    if (!name.empty() && name.size() <= 128 && characters && alnum(name.front())) return;
    Fail("name",
         "expected 1 to 128 letters, digits, `.`, `_` and `-`, the first a letter or digit",
         "It is the name of the study's folder.");
  }

  // Those of trials.csv are its name, and all others are not.
  void CheckAxisName(const std::string& name, const std::string& path) {
    std::vector<std::string> taken = MeasureNames(file_.spec);
    for (const char* column : {"trial", "seed", "end", "steps", "samples", "digest", "purpose"}) {
      taken.push_back(column);
    }
    if (file_.spec.has_tune()) taken.push_back(file_.spec.tune().path());
    if (name.empty()) Fail(path, "the axis has an empty name", "Give it a `name`.");
    CheckName(name, path);
    if (std::ranges::find(taken, name) == taken.end()) return;
    Fail(path, "`" + name + "` is another column of trials.csv; no axis may have this name",
         "Give it another `name`.");
  }

  std::vector<Setting> SettingsOf(const Settings& settings, const std::string& path) {
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
      result.push_back({.path = settings[i].path(),
                        .value = settings[i].value(),
                        .place = file_.PlaceOf(below)});
    }
    return result;
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

  // By `set`, and by each axis.
  std::vector<Changes> AllChanges() const {
    std::vector<Changes> all = {{.who = "`set`", .settings = {}}};
    for (const Setting& setting : file_.set) all.front().settings.push_back(&setting);
    for (const Axis& axis : file_.axes) {
      Changes& changes = all.emplace_back();
      changes.who = "the axis `" + axis.name + "`";
      for (const Level& level : axis.levels) {
        for (const Setting& setting : level.settings) changes.settings.push_back(&setting);
      }
    }
    return all;
  }

  void CheckClashes() {
    const std::vector<Changes> all = AllChanges();
    for (size_t later = 1; later < all.size(); ++later) {
      for (size_t earlier = 0; earlier < later; ++earlier) CheckClash(all[earlier], all[later]);
    }
  }

  // Tells of the first only.
  void CheckClash(const Changes& earlier, const Changes& later) {
    for (const Setting* one : earlier.settings) {
      for (const Setting* other : later.settings) {
        if (!Clash(one->path, other->path)) continue;
        diagnostics_.Add(other->place, other->path,
                         earlier.who + " changes `" + one->path + "` already, in " +
                             one->place.ToString() + "; remove one of them",
                         later.who + " would overwrite it.");
        return;
      }
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
    const std::string& key = tune.path();
    if (key == "seed" || key == kSgdBatch) {
      return Fail("tune.path", "`" + key + "` cannot be tuned", "Give a number of the run file.");
    }
    for (const Changes& changes : AllChanges()) {
      const auto clash = std::ranges::find_if(
          changes.settings, [&](const Setting* one) { return Clash(one->path, key); });
      if (clash == changes.settings.end()) continue;
      return Fail("tune.path",
                  "is what " + changes.who + " changes, by `" + (*clash)->path + "` in " +
                      (*clash)->place.ToString(),
                  "A key is either set, or an axis, or tuned.");
    }
  }

  // The run file as it stands in the study, in block style: with all else made blank every place in
  // it is one in the study. One in flow style (`{...}`) has no lines of its own; it stays the one line
  // that decoding has made of it, and its places are lost.
  void KeepPlacesOfRun() {
    const config::Source& source = *file_.source;
    config::Diagnostics known;
    const config::YamlNode root = config::ParseYaml(file_.source, known);
    for (size_t i = 0; i < root.keys.size(); ++i) {
      if (root.keys[i].text != "run") continue;
      const size_t begin = root.items[i].location.position.value_or(0);
      if (begin >= source.text().size() || source.text()[begin] == '{') return;
      size_t end = source.text().size();
      if (i + 1 < root.keys.size()) {
        end = source.LineStart(source.LineOf(root.keys[i + 1].location.position.value_or(end)));
      }
      file_.run_name = source.name();
      file_.run_text = Only(source.text(), begin, end);
      return;
    }
  }

  void ReadRun(const std::filesystem::path& folder) {
    const std::string& run = file_.spec.run();
    if (run.empty()) return;
    const config::Origin* origin = file_.origins.Find("run");
    if (run.front() == '{') {
      file_.run_name = "the run file";
      file_.run_text = run;
      if (origin->kind != config::Origin::Kind::kSet) KeepPlacesOfRun();
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
  const std::optional<double> number = config::ParseNumber(label).value;
  for (size_t i = 0; number && i < levels.size(); ++i) {
    if (levels[i].number == number) return static_cast<int>(i);
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
