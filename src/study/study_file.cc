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
#include "config/explain.h"
#include "config/run_file.h"
#include "config/scalar.h"
#include "config/yaml_tree.h"
#include "study/measures.h"
#include "study/resolve.h"
#include "study/study_check.h"
#include "study/study_settings.h"

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

// Settings that one part of the study makes together with those of the others.
struct Changes {
  std::string who;
  std::vector<const Setting*> settings;
};

class Reader : private SettingReader {
 public:
  using SettingReader::SettingReader;

  void Run(const RunFileReader& read_run, const std::string& form) {
    ForgetWhatIsNotGiven();
    CheckFolderName(file_.spec.name(), "name", "It is the name of the study's folder.");
    file_.set = SettingsOf(file_.spec.set(), "set");
    ReadAxes(file_, diagnostics_);
    file_.seeds = SeedsOf(file_.spec.seeds(), "seeds");
    TakeForm(form);
    CheckClashes();
    AddTuning();
    CheckQuestions(file_, diagnostics_);
    if (!diagnostics_.empty()) TellUnknownKeys();
    ReadRun(read_run);
    file_.run = std::make_shared<const config::YamlText>(file_.run_text, file_.run_name);
  }

 private:
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
      if (!given(path + ".along")) claim.clear_along();
      if (!given(path + ".along.where") && claim.has_along()) {
        claim.mutable_along()->clear_where();
      }
      if (!given(path + ".range")) claim.clear_range();
      if (!given(path + ".less")) claim.clear_less();
    }
    for (int i = 0; i < file_.spec.targets_size(); ++i) {
      const std::string path = "targets." + std::to_string(i) + ".share_of_best";
      if (!given(path)) file_.spec.mutable_targets(i)->clear_share_of_best();
    }
  }

  void CheckFolderName(const std::string& name, const std::string& path, std::string hint) {
    if (!file_.origins.Given(path)) return;
    const auto alnum = [](unsigned char c) { return c < 0x80 && std::isalnum(c) != 0; };
    const bool characters = std::ranges::all_of(
        name, [&](unsigned char c) { return alnum(c) || c == '.' || c == '_' || c == '-'; });
    if (!name.empty() && name.size() <= 128 && characters && alnum(name.front())) return;
    Fail(path, "expected 1 to 128 letters, digits, `.`, `_` and `-`, the first a letter or digit",
         std::move(hint));
  }

  std::vector<uint64_t> SeedsOf(const v1::SeedsSpec& spec, const std::string& path) {
    std::vector<uint64_t> seeds;
    std::set<uint64_t> known;
    for (int i = 0; i < spec.list_size(); ++i) {
      if (!known.insert(spec.list(i)).second) {
        Fail(path + ".list." + std::to_string(i),
             std::to_string(spec.list(i)) + " is there twice; remove one of them");
      }
      seeds.push_back(spec.list(i));
    }
    for (int i = 0; spec.list_size() == 0 && i < spec.count(); ++i) {
      seeds.push_back(static_cast<uint64_t>(i) + 1);
    }
    return seeds;
  }

  // All forms are checked, and one takes effect.
  void TakeForm(const std::string& chosen) {
    std::vector<std::string> names;
    for (int i = 0; i < file_.spec.forms_size(); ++i) {
      const v1::StudyFormSpec& form = file_.spec.forms(i);
      const std::string path = "forms." + std::to_string(i);
      CheckFolderName(form.name(), path + ".name", "It is a part of the name of a folder.");
      if (std::ranges::find(names, form.name()) != names.end()) {
        Fail(path, "there is a form `" + form.name() + "` already");
      }
      names.push_back(form.name());
      const std::vector<Setting> settings = SettingsOf(form.set(), path + ".set");
      const std::vector<uint64_t> seeds = SeedsOf(form.seeds(), path + ".seeds");
      if (form.name() != chosen || chosen.empty()) continue;
      file_.form = chosen;
      file_.no_verdicts = form.no_verdicts();
      if (file_.origins.Given(path + ".seeds")) file_.seeds = seeds;
      file_.form_index = i;
      for (const Setting& setting : settings) {
        std::erase_if(file_.set, [&](const Setting& one) { return one.path == setting.path; });
        file_.set.push_back(setting);
      }
    }
    if (file_.form == chosen) return;
    throw Error(ErrorCode::kInvalidArgument,
                file_.source->name() + ": the study has no form `" + chosen + "`; " +
                    (names.empty() ? "it has none" : "its forms: " + Join(names, ", ")));
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

  void TellUnknownKey(const std::string& key, const config::Location& place,
                      const std::string& path) {
    if (key.empty() || !ExplainOwnKey(key).empty() || file_.origins.Failed(path)) return;
    try {
      config::Explain(key);
    } catch (const Error& error) {
      const std::string& words = error.message();
      const size_t end = words.find('\n');
      diagnostics_.Add(place, path, words.substr(0, end),
                       end == std::string::npos ? "" : words.substr(end + 1));
    }
  }

  // Of a study in which something is wrong no runs are made, by which keys that the run file does
  // not have are found otherwise. They may be the cause: the last word of its path is the name of
  // an axis.
  void TellUnknownKeys() {
    for (int i = 0; i < file_.spec.axes_size(); ++i) {
      const std::string path = "axes." + std::to_string(i) + ".path";
      TellUnknownKey(file_.spec.axes(i).path(), file_.PlaceOf(path), path);
    }
    TellUnknownKey(file_.spec.tune().path(), file_.PlaceOf("tune.path"), "tune.path");
    std::vector<const Setting*> settings;
    for (const Setting& one : file_.set) settings.push_back(&one);
    for (const Axis& axis : file_.axes) {
      for (const Level& level : axis.levels) {
        for (const Setting& one : level.settings) settings.push_back(&one);
      }
    }
    for (const Setting* one : settings) {
      // Those of an axis with a path are its own.
      const bool of_path = std::ranges::any_of(
          file_.spec.axes(), [&](const v1::AxisSpec& axis) { return axis.path() == one->path; });
      if (!of_path) TellUnknownKey(one->path, one->place, one->path);
    }
  }

  // The run file as it stands in the study: with all else made blank every place in it is one in
  // the study. Where the whole study is in flow style (`{...}`) it stays the one line that decoding
  // has made of it, and its places are lost.
  void KeepPlacesOfRun() {
    const config::Source& source = *file_.source;
    config::Diagnostics known;
    const config::YamlNode root = config::ParseYaml(file_.source, known);
    for (size_t i = 0; i < root.keys.size(); ++i) {
      if (root.keys[i].text != "run") continue;
      const size_t begin = root.items[i].location.position.value_or(0);
      const size_t root_begin = root.location.position.value_or(0);
      if (begin >= source.text().size() || source.text()[root_begin] == '{') return;
      size_t end = source.text().size();
      if (i + 1 < root.keys.size()) {
        end = source.LineStart(source.LineOf(root.keys[i + 1].location.position.value_or(end)));
      }
      file_.run_name = source.name();
      file_.run_text = Only(source.text(), begin, end);
      return;
    }
  }

  void ReadRun(const RunFileReader& read_run) {
    const std::string& run = file_.spec.run();
    if (run.empty()) return;
    const config::Origin* origin = file_.origins.Find("run");
    if (run.front() == '{') {
      file_.run_name = "the run file";
      file_.run_text = run;
      if (origin->kind != config::Origin::Kind::kSet) KeepPlacesOfRun();
      return;
    }
    try {
      NamedText read = read_run(LabelOf(run));
      file_.run_text = std::move(read.text);
      file_.run_name = std::move(read.name);
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
                         std::span<const std::string> overrides, const std::string& form,
                         StudyOrigin origin) {
  const auto read_run = [&](const std::string& run) -> NamedText {
    const std::filesystem::path path = folder / run;
    std::string run_text = config::ReadRunFile(path);
    return {.name = path.lexically_normal().string(), .text = std::move(run_text)};
  };
  return ParseStudyText(std::move(text), name, read_run, overrides, form, origin);
}

namespace {

StudyFile ParseInForm(std::string text, const std::string& name, const RunFileReader& read_run,
                      std::span<const std::string> overrides, const std::string& form,
                      StudyOrigin origin) {
  StudyFile file;
  file.origin = origin;
  file.source = std::make_shared<const config::Source>(name, text);
  config::Decoded decoded = config::DecodeYaml(std::move(text), name, file.spec, overrides);
  file.origins = std::move(decoded.origins);
  Reader(file, decoded.diagnostics).Run(read_run, form);
  if (decoded.diagnostics.empty()) return file;
  decoded.diagnostics.Sort();
  throw StudyFileError(std::move(decoded.diagnostics), name);
}

// A form that is not chosen today is to be right tomorrow, too.
void CheckOtherForms(const StudyFile& file, const RunFileReader& read_run) {
  std::vector<std::string> forms = {""};
  for (const v1::StudyFormSpec& form : file.spec.forms()) forms.push_back(form.name());
  for (const std::string& form : forms) {
    if (form == file.form) continue;
    try {
      ParseInForm(file.source->text(), file.source->name(), read_run, {}, form, file.origin);
    } catch (const StudyFileError& error) {
      config::Diagnostics told;
      for (config::Diagnostic fault : error.diagnostics().all()) {
        fault.hint += (fault.hint.empty() ? "" : "\n") +
                      (form.empty() ? "Where no form is chosen." : "In the form `" + form + "`.");
        told.Add(std::move(fault));
      }
      throw StudyFileError(std::move(told), error.name());
    }
  }
}

}  // namespace

StudyFile ParseStudyText(std::string text, const std::string& name, const RunFileReader& read_run,
                         std::span<const std::string> overrides, const std::string& form,
                         StudyOrigin origin) {
  StudyFile file = ParseInForm(std::move(text), name, read_run, overrides, form, origin);
  // What is set for today may not fit the others.
  if (origin == StudyOrigin::kNew && overrides.empty()) CheckOtherForms(file, read_run);
  return file;
}

StudyFile LoadStudyFile(const std::filesystem::path& path, std::span<const std::string> overrides,
                        const std::string& form, StudyOrigin origin) {
  return ParseStudyFile(ReadFileUpTo(path, 1 << 20, "a study file"), path.string(),
                        path.parent_path(), overrides, form, origin);
}

double BeyondLogGrid(const v1::LogGridSpec& grid, int index) {
  const double share = static_cast<double>(index) / (std::max(2, grid.points()) - 1);
  return ThreeDigits(std::exp(std::log(grid.from()) * (1 - share) + std::log(grid.to()) * share));
}

std::vector<double> LogGrid(const v1::LogGridSpec& grid) {
  std::vector<double> values;
  for (int i = 0; i < std::max(2, grid.points()); ++i) values.push_back(BeyondLogGrid(grid, i));
  return values;
}

}  // namespace syncbn::study
