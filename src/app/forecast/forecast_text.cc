#include "app/forecast/forecast_text.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "app/console.h"
#include "app/table.h"
#include "base/text.h"
#include "config/diagnostic.h"

namespace syncbn::app {
namespace {

using forecast::ClusterForecast;
using Json = nlohmann::ordered_json;

// Three digits: "12.3 ms".
std::string Digits(double value) {
  const double size = std::abs(value);
  return Format("%.*f", size >= 100 ? 0 : size >= 10 ? 1 : 2, value);
}

std::string TimeText(double seconds) {
  if (seconds < 1e-3) return Digits(seconds * 1e6) + " us";
  if (seconds < 1) return Digits(seconds * 1e3) + " ms";
  if (seconds < 100) return Digits(seconds) + " s";
  if (seconds < 100 * 60) return Digits(seconds / 60) + " min";
  if (seconds < 72 * 3600) return Digits(seconds / 3600) + " h";
  return Digits(seconds / 86400) + " d";
}

std::string BandwidthText(double bytes_per_second) {
  const double bits = 8 * bytes_per_second;
  return bits >= 1e9 ? FormatDouble(bits / 1e9) + " Gbit/s" : FormatDouble(bits / 1e6) + " Mbit/s";
}

std::string Percent(double share) {
  return Format("%.0f %%", 100 * share);
}

// "2 to 8 processes", "16 processes"
std::string ProcessesText(int first, int last) {
  if (first == last) return Plural(first, "process");
  return std::to_string(first) + " to " + std::to_string(last) + " processes";
}

std::string FreeSizeText(const forecast::FreeNormBatch& free) {
  const std::string samples = std::to_string(free.samples);
  if (free.samples == free.global) return samples + " (all)";
  return samples;
}

bool IsExtrapolated(const forecast::NoiseSource& source, int64_t sgd_batch) {
  return source.largest_batch > 0 && sgd_batch > source.largest_batch;
}

}  // namespace

std::string MeasuredText(const forecast::MachineProfile& profile, const std::string& from) {
  std::vector<std::string> sizes, times;
  for (const forecast::ProfiledBatch& one : profile.batches) {
    sizes.push_back(std::to_string(one.batch));
    times.push_back(TimeText(one.total()));
  }
  const std::string where =
      "measured " + (from.empty() ? "here" : "earlier (" + from + ")") + ": " + profile.host +
      (profile.processor.empty() ? "" : ", " + profile.processor) + ", one core, " + profile.date;
  return config::WrapText(where, kForecastWidth, 0) + "\n  a replica's step with " +
         Join(sizes, ", ") + (sizes.size() == 1 && sizes[0] == "1" ? " sample: " : " samples: ") +
         Join(times, ", ") +
         "\n  a reduction inside of the host: " + TimeText(profile.costs.seconds_per_round) +
         " a round, " + TimeText(profile.costs.seconds_per_message) + " each further message, " +
         Digits(profile.costs.seconds_per_byte * 1e9) + " ns a byte\n";
}

std::string ModelText(const forecast::Network& network, int cores) {
  return "modelled: the messages of the reducer's own plan over links of " +
         TimeText(network.latency) + " and " + BandwidthText(network.bandwidth) +
         ";\n  processes of " + Plural(cores, "core") +
         " that are alike, on hosts and a network with nothing else to do\n";
}

std::string ImpossibleText(const std::vector<ClusterRow>& rows) {
  struct Run {
    int first = 0, last = 0;
    std::string why;
  };
  std::vector<Run> runs;
  for (const ClusterRow& row : rows) {
    const std::string& why = row.cluster.impossible;
    const int processes = row.cluster.processes;
    if (!runs.empty() && runs.back().why == why) {
      runs.back().last = processes;
    } else {
      runs.push_back({processes, processes, why});
    }
  }
  std::string text;
  for (const Run& run : runs) {
    if (run.why.empty()) continue;
    const std::string line = ProcessesText(run.first, run.last) + ": " + run.why;
    text += config::WrapText(line, kForecastWidth, 0) + "\n";
  }
  return text;
}

std::string ClusterText(const std::vector<ClusterRow>& rows, int cores, const Terminal& terminal) {
  Table table({{.header = "processes", .right = true},
               {.header = "batch", .right = true},
               {.header = "step ms", .right = true},
               {.header = "compute", .right = true},
               {.header = "SyncBN", .right = true},
               {.header = "gradients", .right = true},
               {.header = "other", .right = true, .goes = 1},
               {.header = "SyncBN %", .right = true},
               {.header = "eff. %", .right = true},
               {.header = "images/s", .right = true, .goes = 2},
               {.header = "free norm", .right = true}});
  bool extrapolated = false;
  std::vector<std::string> idle;
  for (const ClusterRow& row : rows) {
    const ClusterForecast& at = row.cluster;
    if (!at.impossible.empty()) continue;
    extrapolated |= at.extrapolated;
    if ((at.replicas + at.processes - 1) / at.processes < cores) {
      idle.push_back(std::to_string(at.processes));
    }
    const auto ms = [](double seconds) { return Digits(1e3 * seconds); };
    table.Add({{std::to_string(at.processes)},
               {std::to_string(at.sgd_batch) + (at.extrapolated ? "*" : "")},
               {ms(at.step.total()), Tone::kStrong},
               {ms(at.step.compute)},
               {ms(at.step.statistics)},
               {ms(at.step.gradients)},
               {ms(at.step.other)},
               {Format("%.1f", 100 * at.step.statistics_share())},
               {Format("%.1f", 100 * at.step.efficiency())},
               {Format("%.0f", at.images_per_second())},
               {row.free ? FreeSizeText(*row.free) : ""}});
  }
  std::string text = table.empty() ? "" : table.Render(terminal);
  if (extrapolated) {
    text += "* a replica's batch is beyond those measured: along the line of the nearest two\n";
  }
  if (!idle.empty()) {
    const std::string line = "cores are idle with " + Join(idle, ", ") +
                             " processes, which have more of them than replicas: a replica is "
                             "computed on one";
    text += config::WrapText(line, kForecastWidth, 0) + "\n";
  }
  return text + ImpossibleText(rows);
}

std::string FreeText(const std::vector<ClusterRow>& rows) {
  struct Run {
    int first = 0, last = 0;
    std::string what;
    double least = 0, most = 0;  // what all samples would add
  };
  std::vector<Run> runs;
  for (const ClusterRow& row : rows) {
    if (!row.free) continue;
    const forecast::FreeNormBatch& free = *row.free;
    const std::string size = Plural(free.samples, "sample");
    const std::string what = free.samples == free.global    ? "all samples"
                             : free.samples == free.replica ? size + " (each replica's own)"
                                                            : size;
    const int processes = row.cluster.processes;
    if (runs.empty() || runs.back().what != what) {
      runs.push_back({processes, processes, what, free.global_adds, free.global_adds});
    } else {
      runs.back().last = processes;
      runs.back().least = std::min(runs.back().least, free.global_adds);
      runs.back().most = std::max(runs.back().most, free.global_adds);
    }
  }
  if (runs.empty()) return "";
  std::vector<std::string> parts;
  for (const Run& run : runs) {
    std::string part = run.what + " at " + ProcessesText(run.first, run.last);
    if (run.what != "all samples") {
      part += " (all would add " + Percent(run.least) +
              (run.first == run.last ? "" : " to " + Percent(run.most)) + ")";
    }
    parts.push_back(part);
  }
  return "The largest normalization batch that is free of charge (a step takes at most " +
         Percent(forecast::kFreeShare) + " longer\nthan with each replica's own):\n  " +
         Join(parts, "\n  ") + "\n";
}

std::string TargetText(const forecast::NoiseSource& source, const forecast::TargetTimes& times,
                       const Terminal& terminal) {
  const bool relative = source.law.relative;
  const forecast::TargetTime& best = times.settings[times.best];
  std::set<int> processes;
  std::map<int64_t, std::map<int, const forecast::TargetTime*>> by_batch;
  for (const forecast::TargetTime& one : times.settings) {
    processes.insert(one.setting.processes);
    by_batch[one.setting.sgd_batch][one.setting.processes] = &one;
  }
  const auto time_text = [&](double time) {
    return relative ? Format("%.2f", time / best.time.estimate) : TimeText(time);
  };
  std::vector<Column> columns = {{.header = "SGD batch", .right = true},
                                 {.header = "steps", .right = true}};
  if (relative) columns.pop_back();
  for (const int count : processes) {
    columns.push_back({.header = "on " + std::to_string(count), .right = true});
  }
  Table table(columns);
  bool marked = false;
  for (const auto& [batch, row] : by_batch) {
    const bool extrapolated = IsExtrapolated(source, batch);
    marked |= extrapolated;
    std::vector<Cell> cells = {{std::to_string(batch) + (extrapolated ? "*" : "")}};
    if (!relative) cells.push_back({Format("%.0f", row.begin()->second->steps)});
    for (const int count : processes) {
      const auto found = row.find(count);
      if (found == row.end()) {
        cells.push_back({"-"});
        continue;
      }
      cells.push_back({time_text(found->second->time.estimate),
                       found->second == &best ? Tone::kGood : Tone::kPlain});
    }
    table.Add(std::move(cells));
  }
  const study::Interval& scale = source.noise_scale;
  const bool known = scale.low < scale.high;
  std::string text = "Time to the target, by SGD batch and processes" +
                     std::string(relative ? ", as a multiple of the quickest" : "") +
                     ": steps(B) = S_min (1 + B_noise / B), with "
                     "B_noise = " +
                     Format("%.4g", scale.estimate) +
                     (known ? Format(" (%.4g to %.4g)", scale.low, scale.high) : "");
  if (!relative) text += Format(", S_min = %.4g", source.law.estimate.steps_min);
  text += ", from " + source.description;
  text = config::WrapText(text, kForecastWidth, 0) + "\n\n" + table.Render(terminal);
  if (marked) {
    text += "* extrapolated: beyond " + std::to_string(source.largest_batch) +
            ", the largest SGD batch that the law rests on\n";
  }
  text += "\n";
  if (!source.contradiction.empty()) {
    const std::string warning = "Caution: " + source.contradiction + ". No SGD batch beyond " +
                                std::to_string(source.largest_batch) + " is advised.";
    text += config::WrapText(warning, kForecastWidth, 0) + "\n";
  }
  std::string quickest = "Quickest: an SGD batch of " + Plural(best.setting.sgd_batch, "sample") +
                         " on " + Plural(best.setting.processes, "process");
  if (!relative) {
    quickest += Format(": %.0f steps of ", best.steps) + TimeText(best.setting.step_seconds) +
                ", " + TimeText(best.time.estimate);
    if (known) {
      quickest += " (95 %: " + TimeText(best.time.low) + " to " + TimeText(best.time.high) + ")";
    }
  }
  if (IsExtrapolated(source, best.setting.sgd_batch)) {
    quickest += std::string(", which is extrapolated") +
                (source.contradiction.empty() ? "" : " by a law that contradicts the study");
  }
  if (source.law.draws.empty()) {
    const std::string& why = source.law.no_draws;
    quickest += ". How certain that is is not known: the noise scale has no interval" +
                (why.empty() ? "" : ", as " + why) + ".";
    return text + config::WrapText(quickest, kForecastWidth, 0) + "\n";
  }
  std::vector<const forecast::TargetTime*> likely;
  for (const forecast::TargetTime& one : times.settings) {
    if (one.best_share >= 0.05 && &one != &best) likely.push_back(&one);
  }
  std::ranges::sort(likely, std::greater(), &forecast::TargetTime::best_share);
  if (likely.size() > 3) likely.resize(3);
  quickest += "; it is so in " + Percent(best.best_share) + " of what the noise scale may be";
  for (const forecast::TargetTime* one : likely) {
    quickest += ", " + std::to_string(one->setting.sgd_batch) + " on " +
                std::to_string(one->setting.processes) + " in " + Percent(one->best_share);
  }
  quickest += ". The interval is of the law alone, not of the model of the step.";
  return text + config::WrapText(quickest, kForecastWidth, 0) + "\n";
}

std::string ForecastJson(const forecast::MachineProfile& profile,
                         const std::vector<ClusterRow>& rows,
                         const std::optional<forecast::NoiseSource>& source,
                         const forecast::TargetTimes& times) {
  Json measured = {{"kind", "measured"},
                   {"host", profile.host},
                   {"processor", profile.processor},
                   {"date", profile.date},
                   {"by", profile.by},
                   {"run", profile.run},
                   {"seconds_per_round", profile.costs.seconds_per_round},
                   {"seconds_per_message", profile.costs.seconds_per_message},
                   {"seconds_per_byte", profile.costs.seconds_per_byte},
                   {"steps", Json::array()}};
  for (const forecast::ProfiledBatch& one : profile.batches) {
    measured["steps"].push_back({{"batch", one.batch}, {"seconds", one.total()}});
  }
  std::string text = measured.dump() + "\n";
  for (const ClusterRow& row : rows) {
    const ClusterForecast& at = row.cluster;
    Json json = {{"kind", "cluster"}, {"processes", at.processes}};
    if (!at.impossible.empty()) {
      json["impossible"] = at.impossible;
      text += json.dump() + "\n";
      continue;
    }
    json.update(Json{{"replicas", at.replicas},
                     {"sgd_batch", at.sgd_batch},
                     {"seconds", at.step.total()},
                     {"compute", at.step.compute},
                     {"statistics", at.step.statistics},
                     {"gradients", at.step.gradients},
                     {"other", at.step.other},
                     {"statistics_share", at.step.statistics_share()},
                     {"efficiency", at.step.efficiency()},
                     {"images_per_second", at.images_per_second()},
                     {"messages", at.messages},
                     {"bytes", at.bytes},
                     {"extrapolated", at.extrapolated}});
    if (row.free) {
      json["free_norm_batch"] = row.free->samples;
      json["global_norm_batch"] = row.free->global;
      json["global_adds"] = row.free->global_adds;
    }
    text += json.dump() + "\n";
  }
  if (!source) return text;
  const auto interval = [](const study::Interval& of) {
    return Json{{"low", of.low}, {"estimate", of.estimate}, {"high", of.high}};
  };
  Json law = {{"kind", "law"},
              {"from", source->description},
              {"noise_scale", interval(source->noise_scale)}};
  if (!source->law.relative) law["steps_min"] = source->law.estimate.steps_min;
  if (source->largest_batch > 0) law["largest_sgd_batch"] = source->largest_batch;
  if (!source->contradiction.empty()) law["contradiction"] = source->contradiction;
  text += law.dump() + "\n";
  for (size_t i = 0; i < times.settings.size(); ++i) {
    const forecast::TargetTime& one = times.settings[i];
    Json json = {{"kind", "target"},
                 {"sgd_batch", one.setting.sgd_batch},
                 {"processes", one.setting.processes},
                 {"step_seconds", one.setting.step_seconds}};
    // Without a unit of its steps, of S_min steps.
    if (!source->law.relative) json["steps"] = one.steps;
    json[source->law.relative ? "relative_seconds" : "seconds"] = interval(one.time);
    json["extrapolated"] = IsExtrapolated(*source, one.setting.sgd_batch);
    json["best"] = i == times.best;
    json["best_share"] = one.best_share;
    text += json.dump() + "\n";
  }
  return text;
}

}  // namespace syncbn::app
