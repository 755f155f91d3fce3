// Data sets of the commands that people wait for.
#pragma once

#include "data/dataset.h"

namespace syncbn::app {

// data::OpenDataset, which says on the standard error what it waits for: for a data::DatasetCache.
data::DatasetPair LoadDataset(const v1::DataSpec& spec, uint64_t seed);

}  // namespace syncbn::app
