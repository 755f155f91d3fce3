// What the classes of a data set are called.
#pragma once

#include <string>
#include <vector>

namespace syncbn::v1 {
class DataSpec;
}

namespace syncbn::data {

class Dataset;

// One for each label, from 0: its own, of a folder of images; those of the data sets that this
// program knows; their numbers where it does not, or where there are another number of them.
std::vector<std::string> ClassNames(const v1::DataSpec& spec, const Dataset& dataset);

}  // namespace syncbn::data
