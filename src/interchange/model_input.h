// What a trained model takes and gives, for whoever has the run's folder and not its data:
// input.json.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "train/prepared_run.h"

namespace syncbn::interchange {

struct ModelInput {
  data::ImageShape image;
  // Names in the order of the labels.
  std::vector<std::string> classes;
  // As training images are standardized; empty: pixels become value / 255.
  data::ChannelStatistics standardize;
  // The image is the middle of one whose shorter side was made so many pixels; 0: all of it,
  // whatever its proportions are.
  int64_t middle_of = 0;

  std::string ToJson() const;
  // The inverse, to the bit. Throws DATA_LOSS "SOURCE is damaged: WHAT".
  static ModelInput FromJson(const std::string& text, const std::string& source);
};

ModelInput InputOf(const train::PreparedRun& run);

// In the folder of a run.
inline constexpr const char* kModelInputFile = "input.json";

}  // namespace syncbn::interchange
