// Whether two run files compute the same.
//
// What counts are the fields that change the result: not those that the schema marks otherwise
// (not_result, on a field or anything above it), and not those without effect. Pure functions.
#pragma once

#include <google/protobuf/message.h>

#include <span>
#include <string>
#include <vector>

namespace syncbn::config {

struct Difference {
  std::string path;
  // The values as they stand in YAML; "(none)" where there is none.
  std::string a;
  std::string b;

  bool operator==(const Difference&) const = default;
};

// The differences that forbid to go on with a checkpoint of `a` under `b`. A field that only
// decides how far a run goes (train.epochs under a constant or step schedule, the same in both)
// does not count. Both messages are of the same type, validated and complete.
std::vector<Difference> ResultDifferences(const google::protobuf::Message& a,
                                          const google::protobuf::Message& b);

// "  train.epochs: 20, now 30" for each, one a line.
std::string FormatDifferences(std::span<const Difference> differences);

enum class CanonicalScope {
  kResult,  // the fields that change the result, how far the run goes included
  kAll,     // every field with effect
};

// One line "path: value" for each field, in the order of the schema: equal texts mean equal
// settings. For digests that the ranks of a run compare.
std::string CanonicalText(const google::protobuf::Message& message,
                          CanonicalScope scope = CanonicalScope::kResult);

}  // namespace syncbn::config
