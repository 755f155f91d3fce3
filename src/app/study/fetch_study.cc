#include <google/protobuf/util/time_util.h>

#include <cstdio>
#include <filesystem>

#include "app/client_text.h"
#include "app/exit_code.h"
#include "app/study/study_clients.h"
#include "app/study/study_output.h"
#include "app/terminal.h"
#include "app/validators.h"
#include "base/error.h"
#include "base/file.h"
#include "client/fetched_study.h"
#include "study/result_log.h"
#include "study/rule_log.h"
#include "study/study_folder.h"

namespace syncbn::app {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string study, folder;
};

// Results that are there and not of what was fetched: of a study that was run here, perhaps.
void RefuseOthers(const fs::path& folder, const std::string& results) {
  const fs::path file = folder / study::kResultsFile;
  std::error_code error;
  if (!fs::exists(file, error) || results.starts_with(ReadFile(file))) return;
  throw Error(ErrorCode::kInvalidArgument,
              folder.string() +
                  " has results of this study that did not come from here: give "
                  "another folder");
}

int Fetch(client::Connection& connection, const ClientOptions& options,
          const Arguments& arguments) {
  const client::FetchedStudy fetched = client::FetchStudy(
      {.get =
           [&](const v1::GetStudyRequest& request) {
             return connection.Call(&v1::StudyService::Stub::GetStudy, request);
           },
       .read_results =
           [&](const v1::ReadStudyResultsRequest& request) {
             return connection.Call(&v1::StudyService::Stub::ReadStudyResults, request);
           }},
      StudyNameOf(arguments.study));
  const v1::Study& study = fetched.study;
  const study::Plan plan(fetched.File());
  const fs::path folder = arguments.folder;
  PrepareStudyFolder(folder, plan.file());
  // Nobody runs the study here meanwhile.
  const study::ResultLog held(folder / study::kResultsFile);
  RefuseOthers(folder, fetched.results);
  study::StoreStudy(folder, plan.file(), fetched.overrides());
  WriteFileAtomically(folder / study::kResultsFile, fetched.results);
  // They were written before anything ran.
  study::NoteRules(folder / study::kRulesFile, plan.file().spec, 0,
                   google::protobuf::util::TimeUtil::ToString(study.create_time()));
  if (options.json) {
    Say(stdout, "%s\n", JsonLine(study.progress()).c_str());
    return kSuccess;
  }
  WriteStudyReport(plan, study::ReadResults(folder / study::kResultsFile), folder);
  return kSuccess;
}

}  // namespace

void AddStudyFetch(Command study, CommandLine& line) {
  auto arguments = std::make_shared<Arguments>();
  const ClientCommand client =
      AddClientCommand(study, "fetch", "Fetch the results of a study, and write its report",
                       "The folder is one of 'syncbn study run': 'syncbn study report DIR' writes "
                       "the report anew, and\n"
                       "'syncbn study run STUDY.yaml --out DIR' goes on here with what is missing. "
                       "Fetched again it has\n"
                       "what has been added. With --json no report is written.\n\n"
                       "  syncbn study fetch 3 studies/batch-size");
  client.command->add_option("STUDY", arguments->study, "its number, as in 3 or studies/3")
      ->required();
  client.command->add_option("DIR", arguments->folder, "folder for it; made where it is not there")
      ->required()
      ->check(NotEmpty());
  OnRun(client, line, [=](client::Connection& connection, const ClientOptions& options) {
    return Fetch(connection, options, *arguments);
  });
}

}  // namespace syncbn::app
