// Whether the files of a data set are there.
#pragma once

#include "syncbn/v1/run.pb.h"

namespace syncbn::data {

// Throws what MakeDataset (dataset.h) would for a folder or a file that is missing; opens no file.
void CheckDatasetFiles(const v1::DataSpec& spec);

}  // namespace syncbn::data
