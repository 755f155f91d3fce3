#include "study/report_head.h"

#include <algorithm>
#include <map>

#include "base/text.h"

namespace syncbn::study {
namespace {

// Machines and programs that are named one by one.
constexpr size_t kMostNamed = 4;

struct Ran {
  long long trials = 0;
  std::string first, last;  // dates

  void Add(const std::string& date) {
    ++trials;
    if (date.empty()) return;
    first = first.empty() ? date : std::min(first, date);
    last = std::max(last, date);
  }
};

// "n1, n2, AMD EPYC 9R14, 2 cores"
std::string MachineText(const TrialPlace& place) {
  std::string text = Join(place.hosts, ", ");
  if (!place.processor.empty()) text += ", " + place.processor;
  if (place.cores > 0) text += ", " + Plural(place.cores, "core");
  return text;
}

std::string DatesText(const Ran& ran) {
  if (ran.first.empty()) return "";
  return "; " + ran.first + (ran.last == ran.first ? "" : " to " + ran.last);
}

void AddMachines(const std::map<std::string, Ran>& machines, std::vector<std::string>& lines) {
  const bool several = machines.size() > 1;
  size_t named = 0;
  Ran others;
  for (const auto& [machine, ran] : machines) {
    if (++named > kMostNamed) {
      others.trials += ran.trials;
      continue;
    }
    lines.push_back((several ? Plural(ran.trials, "trial") : "trials") + " on " + machine +
                    DatesText(ran));
  }
  if (others.trials > 0) {
    lines.push_back(Plural(others.trials, "trial") + " on " +
                    Plural(static_cast<long long>(machines.size() - kMostNamed), "other machine"));
  }
  if (several) lines.emplace_back("several machines: the times of their trials do not compare");
}

}  // namespace

std::vector<std::string> RanOn(std::span<const Outlook* const> studies) {
  std::map<std::string, Ran> machines, programs;
  long long unknown = 0;
  for (const Outlook* study : studies) {
    for (const TrialResult& one : study->trials()) {
      if (one.record == nullptr) continue;
      const TrialPlace& place = one.record->place;
      if (!one.record->by.empty()) programs[one.record->by].Add("");
      if (place.hosts.empty()) {
        ++unknown;
      } else {
        machines[MachineText(place)].Add(place.ended.substr(0, 10));
      }
    }
  }
  std::vector<std::string> lines;
  AddMachines(machines, lines);
  if (unknown > 0) {
    lines.push_back(machines.empty() ? "where and when the trials ran is not recorded"
                                     : "of " + Plural(unknown, "trial") +
                                           " it is not recorded where and when they ran");
  }
  size_t named = 0;
  for (const auto& [program, ran] : programs) {
    if (++named > kMostNamed) break;
    lines.push_back(
        (programs.size() > 1 ? Plural(ran.trials, "trial") + " computed by " : "computed by ") +
        program);
  }
  return lines;
}

std::string WrittenLine(WallTime now, const std::string& version) {
  return "report written " + FormatTime(now).substr(0, 10) + " by syncbn " + version;
}

}  // namespace syncbn::study
