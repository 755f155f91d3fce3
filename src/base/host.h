// The machine this process runs on.
#pragma once

#include <cstdint>
#include <string>

namespace syncbn {

// As `hostname` prints it; "unknown" where the system does not tell.
std::string HostName();

// Names the present start of the machine; another after the next. Empty where the system does not
// tell.
std::string BootId();

// "AMD EPYC 9R14"; empty where the system does not tell.
std::string ProcessorName();

// Cores this process may use.
int AvailableCores();

// Memory that it may use: the machine's, or less where its control group says so.
int64_t MemoryBytes();

}  // namespace syncbn
