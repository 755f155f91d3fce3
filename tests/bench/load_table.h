// The figures of the load benchmark for people, with what was wanted and whether it was met.
#pragma once

#include <nlohmann/json.hpp>

namespace syncbn::bench {

// `all` as the benchmark prints it with --json.
void PrintTable(const nlohmann::json& all);

}  // namespace syncbn::bench
