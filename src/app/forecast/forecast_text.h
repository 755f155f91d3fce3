// A forecast for people and for programs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "app/terminal.h"
#include "forecast/machine_profile.h"
#include "forecast/noise_source.h"
#include "forecast/run_forecast.h"

namespace syncbn::app {

// Columns of what is printed here, but for tables on a wider terminal.
inline constexpr int kForecastWidth = 100;

// A row of the table over cluster sizes.
struct ClusterRow {
  forecast::ClusterForecast cluster;
  std::optional<forecast::FreeNormBatch> free;
};

// What was measured, where and when, and what is modelled.
std::string MeasuredText(const forecast::MachineProfile& profile, const std::string& from);
std::string ModelText(const forecast::Network& network, int cores);
// The table, and what to know of its rows, on processes of so many cores.
std::string ClusterText(const std::vector<ClusterRow>& rows, int cores, const Terminal& terminal);
// Why there is no forecast for which numbers of processes; each reason once. Empty: for all there
// is.
std::string ImpossibleText(const std::vector<ClusterRow>& rows);
// Which normalization batch is free of charge at which numbers of processes; empty where that is no
// question.
std::string FreeText(const std::vector<ClusterRow>& rows);
// The table over SGD batches and processes, and its optimum.
std::string TargetText(const forecast::NoiseSource& source, const forecast::TargetTimes& times,
                       const Terminal& terminal);

// An object a line: the profile, each cluster, the law, each setting.
std::string ForecastJson(const forecast::MachineProfile& profile,
                         const std::vector<ClusterRow>& rows,
                         const std::optional<forecast::NoiseSource>& source,
                         const forecast::TargetTimes& times);

}  // namespace syncbn::app
