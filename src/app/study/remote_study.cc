// list, show, pause, resume, retry, cancel and delete.
#include <cstdio>

#include "app/client_text.h"
#include "app/exit_code.h"
#include "app/study/study_clients.h"
#include "app/study/study_text.h"
#include "app/terminal.h"

namespace syncbn::app {
namespace {

int ListStudies(client::Connection& connection, const ClientOptions& options, bool open) {
  v1::ListStudiesRequest request;
  request.set_open(open);
  const v1::ListStudiesResponse all =
      connection.CallForAll(&v1::StudyService::Stub::ListStudies, request);
  if (options.json) {
    for (const v1::Study& study : all.studies()) Say(stdout, "%s\n", JsonLine(study).c_str());
  } else if (all.studies().empty()) {
    Say(stdout, open ? "No study is open.\n"
                     : "No studies yet. To submit one: syncbn study submit STUDY.yaml\n");
  } else {
    const std::vector<v1::Study> studies(all.studies().begin(), all.studies().end());
    Say(stdout, "%s", StudiesTable(studies, Terminal::Of(stdout), Clock::System().Now()).c_str());
  }
  return kSuccess;
}

int ShowStudy(client::Connection& connection, const ClientOptions& options,
              const std::string& study, bool files) {
  v1::GetStudyRequest request;
  request.set_name(StudyNameOf(study));
  request.set_basic(!files);
  const v1::Study found = connection.Call(&v1::StudyService::Stub::GetStudy, request);
  if (options.json) {
    Say(stdout, "%s\n", JsonLine(found).c_str());
  } else if (files) {
    SayExactly(found.study_file());
  } else {
    Say(stdout, "%s", StudyText(found, Terminal::Of(stdout), Clock::System().Now()).c_str());
  }
  return kSuccess;
}

using Verb = std::function<v1::Study(client::Connection&, const std::string&)>;

// A verb that returns the study.
template <typename Request>
Verb VerbOf(grpc::Status (v1::StudyService::Stub::*method)(grpc::ClientContext*, const Request&,
                                                           v1::Study*)) {
  return [method](client::Connection& connection, const std::string& name) {
    Request request;
    request.set_name(name);
    return connection.Call(method, request);
  };
}

void AddVerb(Command study, CommandLine& line, const char* name, const char* description,
             const char* help, Verb verb) {
  auto which = std::make_shared<std::string>();
  const ClientCommand client = AddClientCommand(study, name, description, help);
  client.command->add_option("STUDY", *which, "its number, as in 3 or studies/3")->required();
  OnRun(client, line, [=](client::Connection& connection, const ClientOptions& options) {
    const v1::Study changed = verb(connection, StudyNameOf(*which));
    if (options.json) {
      Say(stdout, "%s\n", JsonLine(changed).c_str());
    } else {
      Say(stdout, "%s %s\n", changed.name().c_str(), StateName(changed.state()).c_str());
    }
    return kSuccess;
  });
}

}  // namespace

void AddStudyVerbs(Command study, CommandLine& line) {
  auto open = std::make_shared<bool>(false);
  const ClientCommand list =
      AddClientCommand(study, "list", "List the studies of a coordinator, newest first", "");
  list.command->add_flag("--open", *open, "only those that have not ended");
  OnRun(list, line, [=](client::Connection& connection, const ClientOptions& options) {
    return ListStudies(connection, options, *open);
  });

  auto shown = std::make_shared<std::string>();
  auto files = std::make_shared<bool>(false);
  const ClientCommand show =
      AddClientCommand(study, "show", "Show how far a study of a coordinator is",
                       "  syncbn study show 3\n  syncbn jobs --label study=3 --best");
  show.command->add_option("STUDY", *shown, "its number, as in 3 or studies/3")->required();
  show.command->add_flag("--study-file", *files, "print the study file as it was submitted");
  OnRun(show, line, [=](client::Connection& connection, const ClientOptions& options) {
    return ShowStudy(connection, options, *shown, *files);
  });

  using Stub = v1::StudyService::Stub;
  AddVerb(
      study, line, "pause", "Pause a study and its jobs, and free their slots",
      "Begins no more trials; the jobs of those under way write a checkpoint and leave. They stay\n"
      "paused for as long as the study (--pause-limit of the coordinator does not count).\n\n"
      "  syncbn study pause 3",
      VerbOf<v1::PauseStudyRequest>(&Stub::PauseStudy));
  AddVerb(study, line, "resume", "Let a study that was paused go on where it was",
          "  syncbn study resume 3", VerbOf<v1::ResumeStudyRequest>(&Stub::ResumeStudy));
  AddVerb(
      study, line, "retry", "Run the trials of a study that have failed anew",
      "Their results no longer count, and each becomes another job; 'syncbn retry' is refused for\n"
      "jobs of trials. A study that has SUCCEEDED or FAILED runs again; one that is paused begins\n"
      "them when it is resumed.\n\n"
      "  syncbn study retry 3",
      VerbOf<v1::RetryStudyRequest>(&Stub::RetryStudy));
  AddVerb(study, line, "cancel", "End a study and its open jobs; its results so far stay",
          "  syncbn study cancel 3", VerbOf<v1::CancelStudyRequest>(&Stub::CancelStudy));

  auto deleted = std::make_shared<std::string>();
  const ClientCommand remove = AddClientCommand(
      study, "delete", "Forget a study that has ended, with its results",
      "Its jobs stay as long as jobs are kept. To keep the results: syncbn study fetch.\n"
      "A coordinator with --keep-studies DAYS forgets by itself what ended so long ago.\n\n"
      "  syncbn study delete 3");
  remove.command->add_option("STUDY", *deleted, "its number, as in 3 or studies/3")->required();
  OnRun(remove, line, [=](client::Connection& connection, const ClientOptions& options) {
    v1::DeleteStudyRequest request;
    request.set_name(StudyNameOf(*deleted));
    connection.Call(&Stub::DeleteStudy, request);
    Say(stdout, options.json ? "{\"deleted\":\"%s\"}\n" : "%s deleted\n", request.name().c_str());
    return kSuccess;
  });
}

}  // namespace syncbn::app
