// A study of a coordinator as it is stored there, and its results so far: what a report is made of.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "study/study_file.h"
#include "syncbn/v1/study_service.pb.h"

namespace syncbn::client {

// How the service is asked; they throw what a call throws.
struct StudyCalls {
  std::function<v1::Study(const v1::GetStudyRequest&)> get;
  std::function<v1::StudyResults(const v1::ReadStudyResultsRequest&)> read_results;
};

struct FetchedStudy {
  v1::Study study;
  // Lines of results.jsonl (study/result_log.h).
  std::string results;

  std::vector<std::string> overrides() const;
  // As its trials have it. Throws what ParseStudyText throws.
  study::StudyFile File() const;
};

// `name`: "studies/3". Throws what the calls throw, and RESOURCE_EXHAUSTED where the results have
// more than `max_bytes`.
FetchedStudy FetchStudy(const StudyCalls& calls, const std::string& name,
                        size_t max_bytes = SIZE_MAX);

}  // namespace syncbn::client
