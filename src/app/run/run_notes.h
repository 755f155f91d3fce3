// What a run does where its run file may be taken for something else: sizes that were made to fit,
// limits that do not bind, norms over single numbers at an epoch's end, settings that do nothing or
// are another optimizer's, probes whose figures are biased or none.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nn/model.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::app {

struct RunNote {
  std::string text;
  // Something that goes wrong, if not in all steps.
  bool warning = false;
};

// Samples that there are, without the limits of the run file; 0 where that is not known.
struct SplitSizes {
  int64_t train = 0, test = 0;
};

// `spec` is valid and complete; `model` is built from it, null where its images are not known.
std::vector<RunNote> NotesOf(const v1::RunSpec& spec, const nn::Model* model,
                             const SplitSizes& splits);

// The same of a run file alone, without a look at its data. Throws where the model cannot be built.
std::vector<RunNote> NotesOf(const v1::RunSpec& spec);

// Lines for people: "note: ..." to standard output, "syncbn: warning: ..." to standard error.
void PrintNotes(const std::vector<RunNote>& notes);

}  // namespace syncbn::app
