#include "client/fetched_study.h"

#include "base/error.h"

namespace syncbn::client {

std::vector<std::string> FetchedStudy::overrides() const {
  return {study.overrides().begin(), study.overrides().end()};
}

study::StudyFile FetchedStudy::File() const {
  return study::ParseStudyText(
      study.study_file(), study.study_file_name(),
      [&](const std::string&) {
        return study::NamedText{.name = study.run_file_name(), .text = study.run_file()};
      },
      overrides(), study.form(), study::StudyOrigin::kStored);
}

FetchedStudy FetchStudy(const StudyCalls& calls, const std::string& name, size_t max_bytes) {
  v1::GetStudyRequest get;
  get.set_name(name);
  FetchedStudy fetched{.study = calls.get(get), .results = {}};
  v1::ReadStudyResultsRequest request;
  request.set_name(name);
  request.set_max_bytes(3 << 20);
  while (true) {
    const v1::StudyResults part = calls.read_results(request);
    fetched.results += part.data();
    if (fetched.results.size() > max_bytes) {
      throw Error(ErrorCode::kResourceExhausted,
                  "the results of " + name + " have more than " + std::to_string(max_bytes >> 20) +
                      " MiB, too many for a report here: syncbn study fetch " + name + " FOLDER");
    }
    if (part.end()) return fetched;
    request.set_offset(part.next_offset());
  }
}

}  // namespace syncbn::client
