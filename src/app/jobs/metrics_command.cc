#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <set>

#include "app/client_options.h"
#include "app/client_text.h"
#include "app/exit_code.h"
#include "app/jobs/job_selection.h"
#include "app/jobs/metrics_text.h"
#include "app/terminal.h"
#include "app/validators.h"
#include "base/printable.h"
#include "base/text.h"
#include "client/watches.h"
#include "coordinator/api_error.h"

namespace syncbn::app {
namespace {

struct Arguments {
  // The jobs, then the series: as they stand on the command line.
  std::string first;
  std::vector<std::string> rest;
  JobSelection selection;
  int64_t from = 0, to = 0;
  int points = 0, rank = 0, attempt = 0;
  bool curve = false, csv = false, follow = false;
};

// What says which points, and so is of no use where there are none shown.
constexpr const char* kChoices[] = {"--from", "--to", "--points", "--rank", "--attempt"};

bool LooksLikeAJob(const std::string& word) {
  return word.starts_with("jobs/") ||
         (!word.empty() && word.find_first_not_of("0123456789") == std::string::npos);
}

class Metrics {
 public:
  Metrics(client::Connection& connection, const ClientOptions& options, const Arguments& arguments,
          Command command)
      : connection_(connection), options_(options), arguments_(arguments), command_(command) {
    Choose();
  }

  int Run() {
    if (arguments_.follow) return Follow();
    const bool form = arguments_.csv || arguments_.curve;
    const bool table = !form && !options_.json;
    if (jobs_.size() > 1 && table) return Compare();
    const bool chosen = std::ranges::any_of(
        kChoices, [this](const char* choice) { return command_.count(choice) > 0; });
    if (names_.empty() && !form && !chosen) return List();
    return Query();
  }

 private:
  // Which jobs, oldest first where they are chosen by what they have in common.
  void Choose() {
    std::vector<std::string> words = arguments_.rest;
    if (!arguments_.first.empty()) words.insert(words.begin(), arguments_.first);
    size_t series = 0;
    while (series < words.size() && LooksLikeAJob(words[series])) ++series;
    names_.assign(words.begin() + static_cast<ptrdiff_t>(series), words.end());
    const bool by_number = series > 0;
    if (by_number && !arguments_.selection.empty()) {
      throw Error(ErrorCode::kInvalidArgument,
                  "numbers of jobs and --label, --name, --state and --filter exclude each other");
    }
    if (!by_number && arguments_.selection.empty()) {
      throw Error(ErrorCode::kInvalidArgument,
                  words.empty() ? "of which jobs? Give their numbers, or choose them with --label, "
                                  "--name, --state or --filter"
                                : "\"" + words[0] + "\" is not a job: write its number, as in 17 or "
                                  "jobs/17 ('syncbn jobs' lists them)");
    }
    if (!by_number) {
      jobs_ = ListJobs(connection_, arguments_.selection.Filter(), SIZE_MAX).jobs;
      std::reverse(jobs_.begin(), jobs_.end());
      if (jobs_.empty()) throw Error(ErrorCode::kInvalidArgument, "no jobs match");
    }
    std::set<std::string> chosen;
    for (size_t i = 0; i < series; ++i) {
      v1::GetJobRequest request;
      request.set_name(JobNameOf(words[i]));
      request.set_view(v1::JOB_VIEW_BASIC);
      if (!chosen.insert(request.name()).second) continue;
      jobs_.push_back(connection_.Call(&v1::JobService::Stub::GetJob, request));
    }
  }

  v1::ListSeriesResponse SeriesOf(const v1::Job& job) {
    v1::ListSeriesRequest request;
    request.set_job(job.name());
    return connection_.Call(&v1::MetricsService::Stub::ListSeries, request);
  }

  int List() {
    for (const v1::Job& job : jobs_) {
      const v1::ListSeriesResponse list = SeriesOf(job);
      if (options_.json) {
        for (const v1::SeriesInfo& series : list.series())
          Say(stdout, "%s\n", JsonLineOf(job, series).c_str());
      } else if (list.series().empty()) {
        Say(stdout, "%s has no metrics yet.\n", job.name().c_str());
      } else {
        Say(stdout, "%s", SeriesList(list, Terminal::Of(stdout), Clock::System().Now()).c_str());
        SayLost(list);
      }
    }
    return kSuccess;
  }

  void SayLost(const v1::ListSeriesResponse& list) {
    if (list.lost_points() == 0) return;
    Say(stderr, "%s points could not be kept by the workers.\n",
        Thousands(list.lost_points()).c_str());
  }

  int Compare() {
    for (const char* choice : kChoices) {
      if (command_.count(choice) == 0) continue;
      throw Error(ErrorCode::kInvalidArgument,
                  std::string(choice) + ": the table of several jobs has their last and best values; "
                  "with --csv, --json or --curve there is more of them");
    }
    std::vector<JobSeries> table;
    for (const v1::Job& job : jobs_) {
      table.push_back({job, SeriesOf(job)});
      for (const v1::SeriesInfo& series : table.back().series.series()) NoteFound(series.name());
    }
    Say(stdout, "%s", ComparisonTable(table, names_, Terminal::Of(stdout)).c_str());
    return SayWhatIsMissing();
  }

  int Query() {
    v1::QueryMetricsRequest request;
    for (const std::string& name : names_) request.add_names(name);
    if (command_.count("--from") > 0) request.set_first_step(arguments_.from);
    if (command_.count("--to") > 0) request.set_last_step(arguments_.to);
    if (command_.count("--rank") > 0) request.set_rank(arguments_.rank);
    if (command_.count("--attempt") > 0) request.set_attempt(arguments_.attempt);
    const bool table = !options_.json && !arguments_.csv && !arguments_.curve;
    request.set_max_buckets(arguments_.points > 0 ? arguments_.points : table ? 20 : 1000);
    const Terminal terminal = Terminal::Of(stdout);
    const MetricsCsv csv(jobs_);
    if (arguments_.csv) Say(stdout, "%s", csv.Header().c_str());
    bool non_finite = false, any = false;
    int missing = 0;
    for (const v1::Job& job : jobs_) {
      request.set_job(job.name());
      v1::QueryMetricsResponse response;
      try {
        response = connection_.Call(&v1::MetricsService::Stub::QueryMetrics, request);
      } catch (const coordinator::ApiError& error) {
        // Of several jobs some may have started less often.
        if (error.reason() != "ATTEMPT_NOT_FOUND" || ++missing == static_cast<int>(jobs_.size()))
          throw;
        Say(stderr, "%s\n", error.message().c_str());
        continue;
      }
      any = any || !response.series().empty();
      if (options_.json) {
        for (const v1::Series& series : response.series())
          Say(stdout, "%s\n", JsonLineOf(job, series).c_str());
      } else if (arguments_.csv) {
        Say(stdout, "%s", csv.Rows(job, response).c_str());
      } else if (arguments_.curve) {
        if (jobs_.size() > 1) {
          Say(stdout, "%s%s  %s\n", &job == &jobs_.front() ? "" : "\n",
              terminal.Paint(job.name(), Tone::kStrong).c_str(), OneLine(job.display_name()).c_str());
        }
        Say(stdout, "%s", SeriesCurves(response, terminal).c_str());
      } else {
        Say(stdout, "%s", SeriesTables(response, terminal, non_finite).c_str());
      }
      for (const v1::Series& series : response.series()) {
        NoteFound(series.name());
        if (series.mean().empty()) empty_.insert(series.name());
      }
    }
    if (non_finite) Say(stderr, "! the mean of what was finite; some values were not.\n");
    if (names_.empty() && !any) return SayThatNothingIsThere();
    return SayWhatIsMissing();
  }

  // Where all series were asked for.
  int SayThatNothingIsThere() {
    int code = kSuccess;
    for (const v1::Job& job : jobs_) {
      const bool none = OfRank().empty() || SeriesOf(job).series().empty();
      if (!none) code = kWrongInput;
      Say(stderr, "%s has no %s.\n", job.name().c_str(),
          none ? "metrics yet" : ("series" + OfRank()).c_str());
    }
    return code;
  }

  std::string OfRank() const {
    return command_.count("--rank") > 0 ? " of rank " + std::to_string(arguments_.rank) : "";
  }

  void NoteFound(const std::string& series) {
    for (const std::string& name : names_) {
      if (NameMatches(series, name)) found_.insert(name);
    }
  }

  // The series that a misspelled name may mean, as words for a message; empty where none is near.
  std::string Suggestion(const std::string& name) {
    std::vector<std::string> there;
    try {
      const v1::ListSeriesResponse list = SeriesOf(jobs_.front());
      for (const v1::SeriesInfo& series : list.series()) there.push_back(series.name());
    } catch (const Error&) {
      // The answer that there is no such series is worth more than a better one.
    }
    const std::string_view near = NearestWord(name, there);
    // It may be there, of other ranks.
    return near.empty() || near == name ? "." : "; did you mean '" + OneLine(near) + "'?";
  }

  // To standard error, so that what is read by a program stays what it is. The exit code: a name of
  // which no job has anything is a wrong one.
  int SayWhatIsMissing() {
    int code = kSuccess;
    for (const std::string& name : names_) {
      if (found_.contains(name)) continue;
      code = kWrongInput;
      Say(stderr, "No series '%s'%s; 'syncbn metrics %s' lists what there is%s\n", name.c_str(),
          OfRank().c_str(), LastPart(jobs_.front().name()).c_str(), Suggestion(name).c_str());
    }
    for (const std::string& name : empty_) {
      Say(stderr, "%s has no points that match%s.\n", OneLine(name).c_str(),
          jobs_.size() > 1 ? " in some of the jobs" : "");
    }
    return code;
  }

  int Follow() {
    if (jobs_.size() > 1)
      throw Error(ErrorCode::kInvalidArgument, "--follow takes one job at a time");
    InterruptFlag interrupt;
    v1::WatchMetricsRequest request;
    request.set_job(jobs_[0].name());
    for (const std::string& name : names_) request.add_names(name);
    const auto events = client::WatchMetrics(connection_, request);
    const MetricsCsv csv(jobs_);
    if (!options_.json) Say(stdout, "%s", csv.PointsHeader().c_str());
    while (!interrupt.raised() && !events->AtEnd()) {
      const auto event = events->Next(std::chrono::milliseconds(200));
      if (!event) continue;
      if (event->event_case() == v1::WatchMetricsResponse::kEnd) {
        const v1::ListSeriesResponse list = SeriesOf(jobs_[0]);
        for (const v1::SeriesInfo& series : list.series()) NoteFound(series.name());
        return SayWhatIsMissing();
      }
      if (!event->has_update()) continue;
      const v1::MetricUpdate& update = event->update();
      Say(stdout, "%s",
          options_.json ? (JsonLineOf(jobs_[0], update) + "\n").c_str()
                        : csv.Points(jobs_[0], update).c_str());
      std::fflush(stdout);
    }
    return interrupt.raised() ? kInterrupted : kSuccess;
  }

  client::Connection& connection_;
  const ClientOptions& options_;
  const Arguments& arguments_;
  const Command command_;
  std::vector<v1::Job> jobs_;
  std::vector<std::string> names_;
  // Of the names, those of which a job has something; series that have no points in what was asked.
  std::set<std::string> found_, empty_;
};

}  // namespace

void AddMetricsCommand(CommandLine& line) {
  auto arguments = std::make_shared<Arguments>();
  const ClientCommand client = AddClientCommand(
      line, "metrics", "Show metrics of jobs: what there is, tables, curves, CSV",
      "Of one job, without names: the series there are, with their last values. With names: each "
      "over\n"
      "the steps, thinned out by the coordinator to means over ranges of steps. Where two attempts "
      "did\n"
      "the same step, the later one is shown. Without names, but with --from, --to, --points, "
      "--rank or\n"
      "--attempt: all of them so.\n"
      "Of several jobs, by their numbers or by --label, --name, --state and --filter as in "
      "'syncbn\n"
      "jobs': a line each with the last and the best values; with --csv and --json the same as of "
      "one,\n"
      "each line with the job, its name, its labels and, in CSV, what it was submitted with.\n\n"
      "  syncbn metrics 17\n"
      "  syncbn metrics 17 train/loss --curve\n"
      "  syncbn metrics 17 18 19 test/accuracy\n"
      "  syncbn metrics --label study=batch-size 'test/*' --csv > study.csv");
  Command command = client.command;
  command->add_option("JOB", arguments->first, "its number, as in 17 or jobs/17; others may follow");
  command->add_option("SERIES", arguments->rest,
                      "series; a name that ends in '*' stands for all that begin so");
  arguments->selection.AddTo(command, "Jobs");
  command->add_option("--from", arguments->from, "first step")
      ->type_name("STEP")
      ->check(WholeNumberFrom(0, kAnyWhole));
  command->add_option("--to", arguments->to, "last step")
      ->type_name("STEP")
      ->check(WholeNumberFrom(0, kAnyWhole));
  command
      ->add_option(
          "--points", arguments->points,
          "at most N ranges of steps, up to 20000\n(default: 20 in tables, 1000 otherwise)")
      ->type_name("N")
      ->check(WholeNumberFrom(1, 20000));
  command->add_option("--rank", arguments->rank, "of this rank (default: the lowest that reported it)")
      ->type_name("N")
      ->check(WholeNumberFrom(0));
  command->add_option("--attempt", arguments->attempt, "of this attempt only")
      ->type_name("N")
      ->check(WholeNumberFrom(1));
  command->add_flag("--curve", arguments->curve, "draw it");
  command->add_flag("--csv", arguments->csv, "print CSV");
  command->add_flag("--follow,-f", arguments->follow, "print points as they arrive, from the\nfirst on, as CSV");
  OnRun(client, line, [=](client::Connection& connection, const ClientOptions& options) {
    RequireOneOf(command, {"--curve", "--csv", "--follow"});
    RequireOneOf(command, {"--curve", "--csv", "--json"});
    // Points are followed as they come: all of them.
    for (const char* choice : kChoices) RequireOneOf(command, {"--follow", choice});
    return Metrics(connection, options, *arguments, command).Run();
  });
}

}  // namespace syncbn::app
