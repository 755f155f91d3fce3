// Data sets whose files may be missing, or take time.
#pragma once

#include "data/dataset.h"
#include "data/say.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::data {

// Throws what MakeDataset (dataset.h) would for a folder or a file that is missing; opens no file.
void CheckDatasetFiles(const v1::DataSpec& spec);

// As MakeDataset, for people who wait: own images that another process looks at, an index that does
// not hold.
DatasetPair OpenDataset(const v1::DataSpec& spec, uint64_t seed, const Say& say);

}  // namespace syncbn::data
