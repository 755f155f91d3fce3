#include "app/study/study_output.h"

#include <cerrno>
#include <filesystem>
#include <map>
#include <memory>

#include "app/console.h"
#include "app/terminal.h"
#include "app/versions.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "study/document/write_document.h"
#include "study/overview.h"
#include "study/report_head.h"
#include "study/result_log.h"
#include "study/rule_log.h"
#include "study/study_folder.h"
#include "study/study_report.h"

namespace syncbn::app {
namespace {

namespace fs = std::filesystem;

std::string Written() {
  return study::WrittenLine(Clock::System().Now(), ProgramVersion());
}

// One of another name; what cannot be read says nothing.
void RefuseAnother(const fs::path& folder, const study::StudyFile& file) {
  std::string other;
  try {
    other = study::LoadStoredStudy(folder).spec.name();
  } catch (const Error&) {
    return;
  }
  if (other == file.spec.name()) return;
  throw Error(ErrorCode::kInvalidArgument,
              folder.string() + " is the folder of the study `" + other + "`; give another folder");
}

}  // namespace

fs::path StudyFolder(const StudyArguments& arguments, const study::StudyFile& file) {
  if (!arguments.out.empty()) return arguments.out;
  return fs::path("studies") / (file.spec.name() + (file.form.empty() ? "" : "-" + file.form));
}

// Makes the folder, or refuses one that holds something else: nothing of it would be spared.
void PrepareStudyFolder(const fs::path& folder, const study::StudyFile& file) {
  std::error_code error;
  const fs::file_status status = fs::status(folder, error);
  if (fs::exists(status) && !fs::is_directory(status)) {
    throw Error(ErrorCode::kInvalidArgument, folder.string() + " is not a folder; give another");
  }
  if (fs::create_directories(folder, error); error) {
    errno = error.value();
    ThrowErrno("make the folder", folder);
  }
  const bool empty = fs::is_empty(folder, error);
  const bool study = !error && (empty || fs::exists(folder / study::kResultsFile, error));
  if (error) {
    errno = error.value();
    ThrowErrno("read the folder", folder);
  }
  if (study) return RefuseAnother(folder, file);
  throw Error(ErrorCode::kInvalidArgument,
              folder.string() + " holds files that are not of a study (there is no " +
                  study::kResultsFile + "); give another folder, or empty it");
}

void WriteStudyReport(const study::Plan& plan,
                      const std::map<std::string, study::TrialRecord>& results,
                      const fs::path& folder) {
  const study::StudyReport report = study::MakeStudyReport(
      plan, results, study::ReadRules(folder / study::kRulesFile), Written());
  WriteFileAtomically(folder / "trials.csv", report.trials_csv);
  WriteFileAtomically(folder / "timings.csv", report.timings_csv);
  study::document::WriteDocument(report.document, folder, "report");
  for (const std::string& sentence : report.document.answer) {
    Say(stdout, "%s\n", Sentences(sentence).c_str());
  }
  Say(stdout, "%s\n",
      Sentences("report: " + (folder / "report.html").string() +
                ", report.md, figures/, trials.csv, timings.csv")
          .c_str());
}

namespace {

// The report in `folder`, from `out`; empty: there is none. By the names of the folders, as a
// browser goes from one address to another, wherever links lead on the disk.
std::string ReportFrom(const fs::path& out, const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(folder / "report.html", error)) return "";
  const fs::path there = fs::absolute(folder / "report").lexically_normal();
  return there.lexically_relative(fs::absolute(out).lexically_normal()).string();
}

}  // namespace

void WriteStudyOverview(const std::vector<std::string>& folders, const fs::path& out) {
  struct Kept {
    study::Plan plan;
    std::map<std::string, study::TrialRecord> results;
    study::Outlook outlook;
    explicit Kept(const fs::path& folder)
        : plan(study::LoadStoredStudy(folder)),
          results(study::ReadResults(folder / study::kResultsFile)),
          outlook(plan, results) {}
  };
  std::vector<std::unique_ptr<const Kept>> kept;
  std::vector<study::OverviewPart> parts;
  std::vector<const study::Outlook*> outlooks;
  std::map<fs::path, std::string> given;
  for (const std::string& folder : folders) {
    std::error_code error;
    const fs::path path = fs::weakly_canonical(folder, error);
    if (const auto [first, fresh] = given.emplace(error ? fs::path(folder) : path, folder);
        !fresh) {
      throw Error(ErrorCode::kInvalidArgument,
                  folder + " and " + first->second +
                      " are the same folder: its claims would count twice; give it once");
    }
    kept.push_back(std::make_unique<const Kept>(folder));
    const Kept& study = *kept.back();
    parts.push_back({&study.plan, &study.outlook, ReportFrom(out, folder),
                     study::Reservations(study.plan, study.outlook,
                                         study::ReadRules(fs::path(folder) / study::kRulesFile))});
    outlooks.push_back(&kept.back()->outlook);
  }
  std::vector<std::string> head = study::RanOn(outlooks);
  head.push_back(Written());
  const study::document::Document page = study::MakeOverview(
      parts, std::to_string(parts.size()) + (parts.size() == 1 ? " study" : " studies"), head);
  std::error_code error;
  if (fs::create_directories(out, error); error) {
    errno = error.value();
    ThrowErrno("make the folder", out);
  }
  study::document::WriteDocument(page, out, "overview");
  for (const std::string& sentence : page.answer) {
    Say(stdout, "%s\n", Sentences(sentence).c_str());
  }
  Say(stdout, "%s\n",
      Sentences("overview: " + (out / "overview.html").string() + ", overview.md").c_str());
}

}  // namespace syncbn::app
