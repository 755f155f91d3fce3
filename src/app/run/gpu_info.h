// What `syncbn info` says of GPUs.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "backend/gpus.h"

namespace syncbn::app {

// {"program", "versions": {name: version}, "gpus": [{"ordinal", "name", "compute_capability",
// "memory_bytes", "uuid", "pci_bus_id", "unfit"}], "problem"}. Problems are null where there are
// none, the program where there is none that trains on GPUs. Asks that program, if it is not this
// one.
nlohmann::ordered_json CudaInfo();
nlohmann::ordered_json CudaInfoOf(const std::string& program, const backend::GpuReport& report);

// The same as rows of a table: name, text.
std::vector<std::vector<std::string>> CudaRows(const nlohmann::ordered_json& info);

}  // namespace syncbn::app
