// What was measured of a machine for the forecast of a run: where the time of a replica's step
// goes, at some sizes of its batch, and what messages cost inside of the host.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "forecast/step_program.h"
#include "nn/model.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::forecast {

// What the software of an exchange costs, without a network.
struct HostCosts {
  // A round of a reduction, from launch to merged: threads are woken, a small value merged.
  double seconds_per_round = 0;
  // Each message of a round beyond the first.
  double seconds_per_message = 0;
  // Each byte of a long message: copied, cut and merged.
  double seconds_per_byte = 0;
};

// A step of a replica on one core.
struct ProfiledBatch {
  int64_t batch = 0;
  // Between the events, by their order; then after the last of them.
  std::vector<double> compute;
  double rest = 0;

  double total() const;
};

struct MachineProfile {
  std::string host, processor;
  std::string date;  // RFC 3339
  std::string by;    // program, back end, instruction set
  std::string run;   // what was trained: "resnet20, 272,474 parameters; ..."
  // The model and its input, a setting a line (ModelLines).
  std::vector<std::string> model;
  // Names of the events of a replica's step that shares its statistics with others, in their order:
  // "start layer1.0.bn1 forward".
  std::vector<std::string> events;
  // Ascending, one or more.
  std::vector<ProfiledBatch> batches;
  HostCosts costs;

  // `program` with times at a batch: between measured sizes along a straight line, beyond them
  // along the nearest two. What is computed around an event that the program has not got counts
  // before the next that it has. Throws INVALID_ARGUMENT when the program has an event that the
  // profile does not: it was measured with another run file.
  StepProgram Timed(StepProgram program, int64_t batch) const;
  // Whether it is between the measured sizes.
  bool Covers(int64_t batch) const;
};

// What the time of a replica's step is of: every setting of the model that has an effect, but for
// the normalization batch, which a forecast varies; and the images.
std::vector<std::string> ModelLines(const v1::RunSpec& run, const nn::InputSpec& input);
// Throws INVALID_ARGUMENT with the first difference where the profile is of another model.
void RequireModel(const MachineProfile& profile, const std::vector<std::string>& model);

// Whole, or throws as WriteFileAtomically does.
void WriteProfile(const std::filesystem::path& path, const MachineProfile& profile);
// Throws what ReadFile throws, DATA_LOSS for a file that is none.
MachineProfile ReadProfile(const std::filesystem::path& path);

}  // namespace syncbn::forecast
