// The comments of the schema, from the descriptors that are built into the program.
#pragma once

#include <string>

namespace syncbn::config {

// The comment above a message, field, enum or value, by its full name ("syncbn.v1.NormSpec.kind",
// "syncbn.v1.NORM_KIND_BATCH"), on one line. Empty when there is none. Thread-safe.
std::string SchemaComment(const std::string& full_name);

}  // namespace syncbn::config
