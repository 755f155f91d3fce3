// What a coordinator bears: metric points from eight ranks, ten thousand jobs, a hundred followers
// of one job, and followers that do not read. Against a real `syncbn serve` on a fresh folder:
//
//   build/bin/coordinator_load_bench [--seconds 30] [--rate 50000] [--folder DIR] [--json]
//
// Everything is verified: every point that was acknowledged is in the store, once and with its
// value; every follower has seen every point, transition and line of the log. The jobs' workers are
// stand-ins (this program again) that hold the attempt open while the clients here do what workers
// do. Clients, server and what else runs share the machine's cores.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "coordinator/job/job_state.h"
#include "coordinator/store/store.h"
#include "tests/bench/load_clients.h"
#include "tests/bench/load_server.h"
#include "tests/bench/load_table.h"
#include "tests/bench/load_watchers.h"
#include "tests/support/temp_folder.h"

namespace syncbn::bench {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using std::chrono::steady_clock;

constexpr int kRanks = 8, kJobs = 10'000, kFollowers = 100, kSlow = 20;
constexpr int kFollowersOfProcess = 25;

struct Options {
  std::string program;
  fs::path folder;
  int seconds = 30;
  double rate = 50'000;
  double follow_rate = 2'000;
  bool json = false;
  std::vector<std::string> only;
};

double Percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1) + 0.5)];
}

json Summary(const std::vector<double>& values) {
  return {{"median", Percentile(values, 0.5)},
          {"p95", Percentile(values, 0.95)},
          {"p99", Percentile(values, 0.99)},
          {"max", Percentile(values, 1)},
          {"count", values.size()}};
}

void SleepUntil(steady_clock::time_point time) { std::this_thread::sleep_until(time); }

// The ranks of a job, all reporting.
class Ranks {
 public:
  Ranks(const ServeProcess& server, const LiveJob& job) : server_(server), job_(job) {}

  // `rate` points a second of all together; 0: as fast as they are taken.
  void Start(double rate, int batch_points) {
    for (int rank = 0; rank < kRanks; ++rank) {
      clients_.push_back(std::make_unique<MetricClient>(
          MetricClient::Options{.address = server_.address(),
                                .token = job_.token(),
                                .attempt = job_.attempt(),
                                .rank = rank,
                                .first_sequence = next_[rank],
                                .batch_points = batch_points,
                                .points_per_second = rate / kRanks}));
    }
  }
  int64_t acknowledged() const {
    int64_t sum = 0;
    for (const auto& client : clients_) sum += client->acknowledged();
    return sum;
  }
  std::vector<double> TakeLatencies() {
    std::vector<double> all;
    for (const auto& client : clients_) {
      const std::vector<double> own = client->TakeLatencies();
      all.insert(all.end(), own.begin(), own.end());
    }
    return all;
  }
  void Finish() {
    for (int rank = 0; rank < kRanks; ++rank) {
      clients_[static_cast<size_t>(rank)]->Finish();
      next_[rank] = clients_[static_cast<size_t>(rank)]->acknowledged() + 1;
    }
    clients_.clear();
  }
  // Of each rank, after Finish.
  std::map<int, int64_t> Last() const {
    std::map<int, int64_t> last;
    for (int rank = 0; rank < kRanks; ++rank) last[rank] = next_[rank] - 1;
    return last;
  }

 private:
  const ServeProcess& server_;
  const LiveJob& job_;
  int64_t next_[kRanks] = {1, 1, 1, 1, 1, 1, 1, 1};
  std::vector<std::unique_ptr<MetricClient>> clients_;
};

// Everything acknowledged is there: in the file, once, with its value. The server has ended.
int64_t VerifyPoints(const fs::path& data, int64_t job, const std::map<int, int64_t>& last) {
  coordinator::Store store({.folder = data});
  return store.Read([&](coordinator::Tables& tables) {
    int64_t all = 0;
    coordinator::Rows rows = tables.database.Query(
        "SELECT rank, count(*), count(DISTINCT sequence), min(sequence), max(sequence), "
        "sum(value = sequence) FROM points JOIN series ON series = id WHERE job = ? GROUP BY rank",
        job);
    int ranks = 0;
    for (; rows.Next(); ++ranks) {
      const int64_t expected = last.at(static_cast<int>(rows.Int(0)));
      all += rows.Int(1);
      const bool right = rows.Int(1) == expected && rows.Int(2) == expected && rows.Int(3) == 1 &&
                         rows.Int(4) == expected && rows.Int(5) == expected;
      if (!right)
        throw std::runtime_error("rank " + rows.Text(0) + " has " + rows.Text(1) +
                                 " points in the store, " + std::to_string(expected) +
                                 " were acknowledged");
    }
    if (ranks != kRanks) throw std::runtime_error("points of a rank are missing");
    return all;
  });
}

json ReportAsFastAs(Ranks& ranks, const ServeProcess& server, double rate, int warm_up, int seconds,
                    int batch_points) {
  ranks.Start(rate, batch_points);
  auto time = steady_clock::now() + std::chrono::seconds(warm_up);
  SleepUntil(time);
  ranks.TakeLatencies();
  std::vector<double> rates;
  json memory = json::array();
  auto measured = steady_clock::now();
  const Usage begin = UsageOf(server.pid());
  const int64_t first = ranks.acknowledged();
  const auto start = measured;
  int64_t before = first;
  for (int second = 1; second <= seconds; ++second) {
    SleepUntil(time += std::chrono::seconds(1));
    const auto now = steady_clock::now();
    const int64_t acknowledged = ranks.acknowledged();
    rates.push_back(static_cast<double>(acknowledged - before) /
                    std::chrono::duration<double>(now - measured).count());
    before = acknowledged;
    measured = now;
    for (const int percent : {25, 50, 100}) {
      if (second != std::max(1, seconds * percent / 100)) continue;
      const Usage usage = UsageOf(server.pid());
      memory.push_back({{"at_percent", percent},
                        {"rss_mib", usage.rss_mib},
                        {"anonymous_mib", usage.anonymous_mib}});
    }
  }
  const double took = std::chrono::duration<double>(measured - start).count();
  const Usage end = UsageOf(server.pid());
  const std::vector<double> latencies = ranks.TakeLatencies();
  ranks.Finish();
  return {{"asked_per_second", rate},
          {"seconds", seconds},
          {"batch_points", batch_points},
          {"per_second", static_cast<double>(before - first) / took},
          {"per_second_median", Percentile(rates, 0.5)},
          {"per_second_min", Percentile(rates, 0)},
          {"per_second_max", Percentile(rates, 1)},
          {"acknowledged_after_ms", Summary(latencies)},
          {"server_cores", (end.cpu_seconds - begin.cpu_seconds) / took},
          {"memory", memory},
          {"load_average", LoadAverage()}};
}

json BenchMetrics(const Options& options) {
  const fs::path folder = options.folder / "metrics";
  fs::create_directories(folder);
  const std::string user = AddUser(folder / "data", "load");
  ServeProcess server(folder, options.program, user);
  LiveJob job(server, user, kRanks);
  Ranks ranks(server, job);
  // Verified first: a few batches are acknowledged and read back.
  ranks.Start(0, 100);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  ranks.Finish();
  MetricFollower reader(Connect(server.address()), user, job.name());

  json result;
  // First as fast as they are taken: afterwards the caches of the store (64 MiB) are full, so that
  // what grows then would grow for ever.
  result["as_fast_as_taken"] =
      ReportAsFastAs(ranks, server, 0, 5, std::max(5, options.seconds / 2), 1000);
  result["sustained"] = ReportAsFastAs(ranks, server, options.rate, 5, options.seconds, 1000);
  job.End();
  reader.WaitUntilComplete(steady_clock::now() + std::chrono::seconds(120));
  if (reader.seen() != ranks.Last()) throw std::runtime_error("a follower missed points");
  const int64_t number = std::atoll(job.name().c_str() + 5);
  server.Stop();
  result["points_verified"] = VerifyPoints(folder / "data", number, ranks.Last());
  result["store_mib"] =
      static_cast<double>(fs::file_size(folder / "data" / "store.db")) / (1024 * 1024);
  return result;
}

void FillWithJobs(const fs::path& data) {
  using namespace coordinator;
  Store store({.folder = data});
  const Moment moment = DurableClock(Clock::System(), std::nullopt).Now();
  const WallTime now = moment.wall;
  for (int group = 0; group < 10; ++group) {
    store.Write([&](Tables& tables) {
      // Queued jobs stay so.
      if (group == 0) tables.hosts.Put({.name = "localhost", .drained = true, .reason = "bench"});
      for (int i = 0; i < kJobs / 10; ++i) {
        v1::Job spec;
        spec.set_display_name("experiment-" + std::to_string(i % 100));
        spec.set_submitter(i % 3 == 0 ? "anna" : "bert");
        spec.mutable_resources()->set_processes(1 + i % 8);
        (*spec.mutable_labels())["team"] = "team" + std::to_string(i % 7);
        const int64_t id =
            tables.jobs.Create(spec, {std::string(2000, 'x'), std::string(4000, 'y')},
                               NewJob({}, moment),
                               {spec.submitter(), "CREATE", ""}, now);
        if (i % 10 == 0) continue;
        JobStatus status = tables.jobs.Get(id).status;
        status = Apply(status, {.kind = EventKind::kPlaced}, {}, moment).status;
        tables.jobs.Update(id, status, {"scheduler", "PLACED", ""}, now);
        status = Apply(status, {.kind = EventKind::kEnded, .attempt = 1}, {}, moment).status;
        tables.jobs.Update(id, status, {"launcher", "ENDED", ""}, now);
      }
    });
  }
}

json BenchJobs(const Options& options) {
  const fs::path folder = options.folder / "jobs";
  fs::create_directories(folder);
  FillWithJobs(folder / "data");
  const std::string user = AddUser(folder / "data", "load");
  std::vector<double> starts;
  for (int i = 0; i < 5; ++i)
    starts.push_back(ServeProcess(folder, options.program, user).start_seconds());
  json result = {{"jobs", kJobs},
                 {"start_seconds", {{"median", Percentile(starts, 0.5)},
                                    {"max", Percentile(starts, 1)},
                                    {"count", starts.size()}}}};
  ServeProcess server(folder, options.program, user);
  const auto stub = v1::JobService::NewStub(Connect(server.address()));
  struct Case {
    std::string filter;
    int page_size, expected;
  };
  for (const Case& one : std::vector<Case>{{"", 50, 50},
                                           {"", 1000, 1000},
                                           {"state = QUEUED", 50, 50},
                                           {"state = QUEUED", 1000, 1000},
                                           {"name : experiment-42", 50, 50},
                                           {"labels.team = team3 AND state = SUCCEEDED", 50, 50},
                                           {"submitter = anna AND priority >= 0", 50, 50},
                                           {"name : nothing-like-this", 50, 0}}) {
    std::vector<double> latencies;
    for (int call = -3; call < 100; ++call) {
      v1::ListJobsRequest request;
      request.set_filter(one.filter);
      request.set_page_size(one.page_size);
      grpc::ClientContext context;
      Authorize(context, user);
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
      v1::ListJobsResponse response;
      const auto start = steady_clock::now();
      Check(stub->ListJobs(&context, request, &response), "ListJobs");
      if (call >= 0)
        latencies.push_back(
            std::chrono::duration<double, std::milli>(steady_clock::now() - start).count());
      if (response.jobs_size() != one.expected)
        throw std::runtime_error("ListJobs with the filter '" + one.filter + "' gave " +
                                 std::to_string(response.jobs_size()) + " jobs");
    }
    result["lists"].push_back({{"filter", one.filter},
                               {"page_size", one.page_size},
                               {"answer_ms", Summary(latencies)}});
  }
  result["rss_mib"] = UsageOf(server.pid()).rss_mib;
  result["load_average"] = LoadAverage();
  return result;
}

json BenchFollowers(const Options& options) {
  const fs::path folder = options.folder / "followers";
  fs::create_directories(folder);
  // A user has at most 256 streams.
  const std::string users[] = {AddUser(folder / "data", "load"), AddUser(folder / "data", "metrics"),
                               AddUser(folder / "data", "jobs"), AddUser(folder / "data", "logs")};
  ServeProcess server(folder, options.program, users[0]);
  LiveJob job(server, users[0], kRanks);
  Ranks ranks(server, job);
  const int batch = 50, seconds = std::max(5, options.seconds / 2);
  json result = {{"followers", kFollowers}, {"streams", 3 * kFollowers}};
  result["without"] = ReportAsFastAs(ranks, server, options.follow_rate, 2, seconds, batch);

  std::vector<std::unique_ptr<Watchers>> watchers;
  for (int i = 0; i < kFollowers / kFollowersOfProcess; ++i) {
    watchers.push_back(std::make_unique<Watchers>(
        options.program, WatchOrder{.address = server.address(),
                                    .metrics_token = users[1],
                                    .jobs_token = users[2],
                                    .logs_token = users[3],
                                    .job = job.name(),
                                    .attempt = job.attempt(),
                                    .followers = kFollowersOfProcess,
                                    .folder = folder / ("watchers-" + std::to_string(i))}));
  }
  for (const auto& one : watchers) one->WaitUntilReady();
  for (const auto& one : watchers) one->Measure();
  result["with"] = ReportAsFastAs(ranks, server, options.follow_rate, 2, seconds, batch);
  job.End();
  const fs::path log = folder / "data" / job.attempt() / "output.log";
  std::vector<double> points, lines;
  for (const auto& one : watchers) {
    const json seen = one->Finish(ranks.Last(), log);
    points.insert(points.end(), seen["metrics"].begin(), seen["metrics"].end());
    lines.insert(lines.end(), seen["log"].begin(), seen["log"].end());
  }
  result["point_to_follower_ms"] = Summary(points);
  result["line_to_follower_ms"] = Summary(lines);
  result["log_bytes"] = fs::file_size(log);
  const int64_t number = std::atoll(job.name().c_str() + 5);
  server.Stop();
  result["points_verified"] = VerifyPoints(folder / "data", number, ranks.Last());
  return result;
}

// Followers that stop reading while points flow at the full rate.
json BenchSlowFollowers(const Options& options) {
  const fs::path folder = options.folder / "slow";
  fs::create_directories(folder);
  const std::string user = AddUser(folder / "data", "load");
  ServeProcess server(folder, options.program, user);
  LiveJob job(server, user, kRanks);
  Ranks ranks(server, job);
  const int seconds = std::max(5, options.seconds / 2);
  // So that the store's caches are full before.
  ReportAsFastAs(ranks, server, 0, 5, seconds, 1000);
  const Usage before = UsageOf(server.pid());
  std::vector<std::unique_ptr<MetricFollower>> followers;
  for (int i = 0; i < kSlow; ++i)
    followers.push_back(
        std::make_unique<MetricFollower>(Connect(server.address()), user, job.name(), 1));
  json result = {{"slow_followers", kSlow}, {"rss_mib_before", before.rss_mib}};
  result["with"] = ReportAsFastAs(ranks, server, options.rate, 2, seconds, 1000);
  int64_t most = 0;
  for (const auto& follower : followers) most = std::max(most, follower->responses());
  result["batches_read_by_the_slow"] = most;
  result["rss_mib_after"] = UsageOf(server.pid()).rss_mib;
  job.End();
  for (const auto& follower : followers) follower->Release();
  const auto start = steady_clock::now();
  for (const auto& follower : followers) {
    follower->WaitUntilComplete(steady_clock::now() + std::chrono::seconds(180));
    if (follower->seen() != ranks.Last()) throw std::runtime_error("a slow follower missed points");
  }
  result["catch_up_seconds"] =
      std::chrono::duration<double>(steady_clock::now() - start).count();
  result["rss_mib_caught_up"] = UsageOf(server.pid()).rss_mib;
  return result;
}

}  // namespace
}  // namespace syncbn::bench

int main(int argc, char** argv) {
  using namespace syncbn::bench;
  if (IsStandIn(argc, argv)) return RunStandIn(argc, argv);
  if (IsWatcher(argc, argv)) return RunWatcher(argc, argv);
  Options options;
  options.program = fs::read_symlink("/proc/self/exe");
  CLI::App app("Load on a coordinator");
  app.add_option("--seconds", options.seconds, "of the longest measurement")->check(CLI::Range(4, 600));
  app.add_option("--rate", options.rate, "metric points a second");
  app.add_option("--follow-rate", options.follow_rate, "the same, with 100 followers");
  app.add_option("--folder", options.folder, "for the stores (default: a temporary one)");
  app.add_option("--only", options.only, "metrics, jobs, followers, slow")->delimiter(',');
  app.add_flag("--json", options.json, "print JSON alone");
  CLI11_PARSE(app, argc, argv);
  syncbn::TempFolder temporary;
  if (options.folder.empty()) options.folder = temporary.path();
  options.folder = fs::absolute(options.folder);
  const std::vector<std::pair<std::string, std::function<json(const Options&)>>> parts = {
      {"metrics", BenchMetrics},
      {"jobs", BenchJobs},
      {"followers", BenchFollowers},
      {"slow", BenchSlowFollowers}};
  try {
    json all;
    for (const auto& [name, run] : parts) {
      const bool wanted =
          options.only.empty() ||
          std::find(options.only.begin(), options.only.end(), name) != options.only.end();
      if (wanted) all[name] = run(options);
    }
    if (options.json) {
      std::printf("%s\n", all.dump(2).c_str());
    } else {
      PrintTable(all);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "coordinator_load_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
