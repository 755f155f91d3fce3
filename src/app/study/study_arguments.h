// What the commands about studies are told.
#pragma once

#include <string>
#include <vector>

#include "study/plan.h"
#include "study/study_file.h"

namespace syncbn::app {

struct StudyArguments {
  std::string study;
  std::vector<std::string> sets;
  std::string form;
  std::string out;
  std::string backend = "cpu";
  int at_once = 0;
  bool quiet = false;
  bool no_estimate = false;
  bool retry_failed = false;
};

// Trials (processes of them) at a time: as the command line says, as the study says, one a core.
// Throws INVALID_ARGUMENT where the study asks for times and its trials would go on side by side.
int AtOnce(const StudyArguments& arguments, const v1::StudySpec& spec);
// Of the study file that they name; says so first where its size makes that take its time.
study::Plan PlanOf(const StudyArguments& arguments);

}  // namespace syncbn::app
