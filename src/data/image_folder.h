// Own images: a folder for each class.
//
// Samples are in the order of a digest of their names, so that the first N, which train_limit and
// test_limit take, and the batches of an evaluation are a mixture of all classes, the same on every
// machine. Pixels are decoded when they are asked for, in the thread that asks.
#pragma once

#include "data/dataset.h"
#include "data/say.h"

namespace syncbn::data {

// Both splits, cut to the limits. Throws NOT_FOUND or INVALID_ARGUMENT for folders that are
// missing, classes without images or that are not trained on; DATA_LOSS with the names of damaged
// files where these are refused. A file that cannot be read is not damaged: that is thrown as
// base/file.h does, here or by Dataset::Write.
DatasetPair OpenImageFolder(const v1::DataSpec& spec, const Say& say = {});

// Throws as that does where a folder is missing.
void FindImageFolder(const v1::DataSpec& spec);

}  // namespace syncbn::data
