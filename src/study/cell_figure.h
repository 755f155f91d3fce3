// A measure of the trials of one cell, over its seeds.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "study/outlook.h"
#include "study/plan.h"
#include "study/statistics/interval.h"

namespace syncbn::study {

struct CellFigure {
  // Of those that are numbers, by seed.
  std::map<uint64_t, double> samples;
  // Of those that did not reach a target: where they ended, in the measure's unit, by seed.
  std::map<uint64_t, double> ends = {};
  int not_reached = 0, failed = 0, diverged = 0;
  std::vector<std::string> ids;
  // The smallest and the largest that the measure can be.
  PossibleRange possible = {};

  std::vector<double> Values() const;
  // Of two samples or more: the mean's, as far as it is possible.
  Interval MeanOf() const;
  // "97.12 % [96.90, 97.30]"; "not reached by 2 of 5"; "-" where there is none.
  std::string Text(const std::string& measure) const;
  // As Text; of fewer seeds than a verdict should have without the interval: "97.12 % of 2 seeds".
  std::string HeadText(const std::string& measure) const;

 private:
  std::string Text(const std::string& measure, bool with_interval) const;
};
CellFigure FigureOf(const Plan& plan, const Outlook& outlook, size_t cell,
                    const std::string& measure);

// The settings of a cell, or, where there are no axes, words for that.
std::string NameOf(const Plan& plan, size_t cell);

}  // namespace syncbn::study
