#include "app/run/load_dataset.h"

#include "app/terminal.h"
#include "data/dataset_files.h"

namespace syncbn::app {

data::DatasetPair LoadDataset(const v1::DataSpec& spec, uint64_t seed) {
  return data::OpenDataset(
      spec, seed, [](const std::string& line) { Say(stderr, "syncbn: %s\n", line.c_str()); });
}

}  // namespace syncbn::app
