// A trial that another process trains: the run file that it is given, and its record from the
// output folder that it leaves. Whoever starts it (mpirun, a coordinator), its result is the same.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "study/measures.h"
#include "syncbn/v1/run.pb.h"
#include "train/summary.h"

namespace syncbn::study {

// Complete, with a line of metrics for every step.
std::string RunFileOfTrial(const v1::RunSpec& run);

// TrialRecord::sizes of a run.
std::map<std::string, double> SizesOf(int64_t parameters, int64_t running_numbers,
                                      const train::Traffic& traffic);

// Of a run that has ended by itself, finished or diverged, by its metrics.jsonl and summary.json.
// Throws what reading throws, and INTERNAL for a summary that does not say how it ended.
TrialRecord ReadTrialFolder(const std::filesystem::path& out, const v1::RunSpec& run);

}  // namespace syncbn::study
