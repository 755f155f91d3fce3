#include <algorithm>
#include <cstdio>
#include <map>

#include "app/client_options.h"
#include "app/client_text.h"
#include "app/console.h"
#include "app/exit_code.h"
#include "app/jobs/curve.h"
#include "app/table.h"
#include "app/terminal.h"
#include "app/validators.h"
#include "base/printable.h"
#include "base/text.h"
#include "client/watches.h"

namespace syncbn::app {
namespace {

struct Arguments {
  std::string job;
  std::vector<std::string> names;
  int64_t from = 0, to = 0;
  int points = 0, rank = 0, attempt = 0;
  bool of_rank = false, curve = false, csv = false, follow = false;
};

int ListSeries(client::Connection& connection, const ClientOptions& options, const std::string& job) {
  v1::ListSeriesRequest request;
  request.set_job(job);
  const v1::ListSeriesResponse response =
      connection.Call(&v1::MetricsService::Stub::ListSeries, request);
  if (options.json) {
    for (const v1::SeriesInfo& series : response.series())
      Say(stdout, "%s\n", JsonLine(series).c_str());
    return kSuccess;
  }
  if (response.series().empty()) {
    Say(stdout, "%s has no metrics yet.\n", job.c_str());
    return kSuccess;
  }
  Table table({{.header = "NAME"},
               {.header = "LAST", .right = true},
               {.header = "AT STEP", .right = true},
               {.header = "POINTS", .right = true, .goes = 1},
               {.header = "MEASURED", .right = true, .goes = 2}});
  for (const v1::SeriesInfo& series : response.series()) {
    table.Add({{series.name()},
               {Format("%.6g", series.last_value())},
               {Thousands(series.last_step())},
               {Thousands(series.points())},
               {series.has_last_time() ? Ago(series.last_time(), Clock::System().Now()) : ""}});
  }
  Say(stdout, "%s", table.Render(Terminal::Of(stdout)).c_str());
  if (response.lost_points() > 0) {
    Say(stderr, "%s points could not be kept by the workers.\n",
        Thousands(response.lost_points()).c_str());
  }
  return kSuccess;
}

void PrintCsv(const v1::QueryMetricsResponse& response) {
  Say(stdout, "name,rank,attempt,first_step,last_step,mean,min,max,count,non_finite\n");
  for (const v1::Series& series : response.series()) {
    for (int i = 0; i < series.mean_size(); ++i) {
      Say(stdout, "%s,%d,%d,%lld,%lld,%s,%s,%s,%lld,%lld\n", OneLine(series.name()).c_str(),
          series.rank(), series.attempt(i), static_cast<long long>(series.first_step(i)),
          static_cast<long long>(series.last_step(i)), FormatDouble(series.mean(i)).c_str(),
          FormatDouble(series.min(i)).c_str(), FormatDouble(series.max(i)).c_str(),
          static_cast<long long>(series.count(i)), static_cast<long long>(series.non_finite(i)));
    }
  }
}

std::string Value(const v1::Series& series, int i) {
  if (series.non_finite(i) == series.count(i)) return "not finite";
  std::string text = Format("%.6g", series.mean(i));
  if (series.non_finite(i) > 0) text += "!";
  return text;
}

void PrintTables(const v1::QueryMetricsResponse& response, const Terminal& terminal) {
  // Series with the same buckets stand side by side.
  std::map<std::vector<std::pair<int64_t, int64_t>>, std::vector<const v1::Series*>> groups;
  std::vector<std::vector<std::pair<int64_t, int64_t>>> order;
  for (const v1::Series& series : response.series()) {
    if (series.mean().empty()) continue;
    std::vector<std::pair<int64_t, int64_t>> buckets;
    for (int i = 0; i < series.mean_size(); ++i) {
      buckets.emplace_back(series.first_step(i), series.last_step(i));
    }
    if (!groups.contains(buckets)) order.push_back(buckets);
    groups[buckets].push_back(&series);
  }
  bool first = true, non_finite = false;
  for (const auto& buckets : order) {
    std::vector<Column> columns = {{.header = "STEP", .right = true}};
    for (const v1::Series* series : groups[buckets]) {
      columns.push_back({.header = series->name(), .right = true});
    }
    Table table(columns);
    for (int i = 0; i < static_cast<int>(buckets.size()); ++i) {
      const auto [from, to] = buckets[static_cast<size_t>(i)];
      std::vector<Cell> row = {{from == to ? Thousands(from) : Thousands(from) + "-" + Thousands(to)}};
      for (const v1::Series* series : groups[buckets]) {
        const bool bad = series->non_finite(i) > 0;
        non_finite = non_finite || bad;
        row.push_back({Value(*series, i), bad ? Tone::kBad : Tone::kPlain});
      }
      table.Add(row);
    }
    Say(stdout, "%s%s", first ? "" : "\n", table.Render(terminal).c_str());
    first = false;
  }
  if (non_finite) Say(stderr, "! the mean of what was finite; some values were not.\n");
}

void PrintCurves(const v1::QueryMetricsResponse& response, const Terminal& terminal) {
  bool first = true;
  for (const v1::Series& series : response.series()) {
    if (series.mean().empty()) continue;
    std::vector<CurvePoint> points;
    for (int i = 0; i < series.mean_size(); ++i) points.push_back({series.last_step(i), series.mean(i)});
    Say(stdout, "%s%s, %s points, last %.6g\n", first ? "" : "\n",
        terminal.Paint(OneLine(series.name()), Tone::kStrong).c_str(),
        Thousands(series.points()).c_str(), points.back().value);
    Say(stdout, "%s", DrawCurve(points, std::min(terminal.width, 100), 12).c_str());
    first = false;
  }
}

bool IsMatch(const std::string& name, const std::string& pattern) {
  return pattern.ends_with('*') ? name.starts_with(pattern.substr(0, pattern.size() - 1))
                                : name == pattern;
}

// The series that a misspelled name may mean, as words for a message; empty where none is near.
std::string Suggestion(client::Connection& connection, const Arguments& arguments,
                       const std::string& name) {
  v1::ListSeriesRequest request;
  request.set_job(JobNameOf(arguments.job));
  std::vector<std::string> there;
  try {
    const auto listed = connection.Call(&v1::MetricsService::Stub::ListSeries, request);
    for (const v1::SeriesInfo& series : listed.series()) there.push_back(series.name());
  } catch (const Error&) {
    // The answer that there is no such series is worth more than a better one.
  }
  const std::string_view near = NearestWord(name, there);
  // It may be there, of other ranks.
  return near.empty() || near == name ? "" : "; did you mean '" + OneLine(near) + "'?";
}

// To standard error, so that what is read by a program stays what it is. The exit code: a name of
// which there is nothing is a wrong one.
int SayWhatIsMissing(client::Connection& connection, const Arguments& arguments,
                     const v1::QueryMetricsResponse& response) {
  int code = kSuccess;
  for (const std::string& name : arguments.names) {
    const bool found = std::any_of(response.series().begin(), response.series().end(),
                                   [&](const v1::Series& series) { return IsMatch(series.name(), name); });
    if (found) continue;
    code = kWrongInput;
    const std::string near = Suggestion(connection, arguments, name);
    const std::string rank = arguments.of_rank ? " of rank " + std::to_string(arguments.rank) : "";
    Say(stderr, "No series '%s'%s; 'syncbn metrics %s' lists what there is%s\n", name.c_str(),
        rank.c_str(), LastPart(JobNameOf(arguments.job)).c_str(),
        near.empty() ? "." : near.c_str());
  }
  for (const v1::Series& series : response.series()) {
    if (series.mean().empty())
      Say(stderr, "%s has no points that match.\n", OneLine(series.name()).c_str());
  }
  return code;
}

int Query(client::Connection& connection, const ClientOptions& options, const Arguments& arguments,
          const Command& command) {
  v1::QueryMetricsRequest request;
  request.set_job(JobNameOf(arguments.job));
  for (const std::string& name : arguments.names) request.add_names(name);
  if (command.count("--from") > 0) request.set_first_step(arguments.from);
  if (command.count("--to") > 0) request.set_last_step(arguments.to);
  if (arguments.of_rank) request.set_rank(arguments.rank);
  if (command.count("--attempt") > 0) request.set_attempt(arguments.attempt);
  const bool table = !options.json && !arguments.csv && !arguments.curve;
  request.set_max_buckets(arguments.points > 0 ? arguments.points : table ? 20 : 1000);
  const v1::QueryMetricsResponse response =
      connection.Call(&v1::MetricsService::Stub::QueryMetrics, request);
  const Terminal terminal = Terminal::Of(stdout);
  if (options.json) {
    for (const v1::Series& series : response.series())
      Say(stdout, "%s\n", JsonLine(series).c_str());
  } else if (arguments.csv) {
    PrintCsv(response);
  } else if (arguments.curve) {
    PrintCurves(response, terminal);
  } else {
    PrintTables(response, terminal);
  }
  return SayWhatIsMissing(connection, arguments, response);
}

int Follow(client::Connection& connection, const ClientOptions& options, const Arguments& arguments) {
  InterruptFlag interrupt;
  v1::WatchMetricsRequest request;
  request.set_job(JobNameOf(arguments.job));
  for (const std::string& name : arguments.names) request.add_names(name);
  const auto events = client::WatchMetrics(connection, request);
  if (!options.json) Say(stdout, "attempt,rank,step,name,value\n");
  while (!interrupt.raised() && !events->AtEnd()) {
    const auto event = events->Next(std::chrono::milliseconds(200));
    if (!event) continue;
    if (event->event_case() == v1::WatchMetricsResponse::kEnd) return kSuccess;
    if (!event->has_update()) continue;
    const v1::MetricUpdate& update = event->update();
    if (options.json) {
      Say(stdout, "%s\n", JsonLine(update).c_str());
    } else {
      const v1::MetricBatch& batch = update.batch();
      for (int i = 0; i < batch.value_size(); ++i) {
        Say(stdout, "%d,%d,%lld,%s,%s\n", update.attempt(), update.rank(),
            static_cast<long long>(batch.step(i)),
            OneLine(batch.names(batch.name_index(i))).c_str(),
            FormatDouble(batch.value(i)).c_str());
      }
    }
    std::fflush(stdout);
  }
  return interrupt.raised() ? kInterrupted : kSuccess;
}

}  // namespace

void AddMetricsCommand(CommandLine& line) {
  auto arguments = std::make_shared<Arguments>();
  const ClientCommand client = AddClientCommand(
      line, "metrics", "Show a job's metrics: what there is, tables, curves, CSV",
      "Without names: the series there are, with their last values. With names: each over the steps,\n"
      "thinned out by the coordinator to means over ranges of steps. Where two attempts did the same\n"
      "step, the later one is shown.\n\n"
      "  syncbn metrics 17\n"
      "  syncbn metrics 17 train/loss --curve\n"
      "  syncbn metrics 17 'train/*' --csv --points 20000 > train.csv");
  Command command = client.command;
  command->add_option("JOB", arguments->job, "its number, as in 17 or jobs/17")->required();
  command->add_option("NAME", arguments->names,
                      "series; a name that ends in '*' stands for all that begin so");
  command->add_option("--from", arguments->from, "first step")
      ->type_name("STEP")
      ->check(WholeNumberFrom(0, kAnyWhole));
  command->add_option("--to", arguments->to, "last step")
      ->type_name("STEP")
      ->check(WholeNumberFrom(0, kAnyWhole));
  command->add_option("--points", arguments->points,
                      "at most N ranges of steps, up to 20000\n(default: 20 in tables, 1000 otherwise)")
      ->type_name("N")
      ->check(WholeNumberFrom(1));
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
    arguments->of_rank = command->count("--rank") > 0;
    RequireOneOf(command, {"--curve", "--csv", "--follow"});
    RequireOneOf(command, {"--curve", "--csv", "--json"});
    // Points are followed as they come: all of them.
    for (const char* choice : {"--from", "--to", "--points", "--rank", "--attempt"})
      RequireOneOf(command, {"--follow", choice});
    if (arguments->follow) return Follow(connection, options, *arguments);
    const bool choose = !arguments->names.empty() || arguments->csv || arguments->curve;
    if (!choose) return ListSeries(connection, options, JobNameOf(arguments->job));
    return Query(connection, options, *arguments, command);
  });
}

}  // namespace syncbn::app
