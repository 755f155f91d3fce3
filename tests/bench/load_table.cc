#include "tests/bench/load_table.h"

#include <cstdio>
#include <string>

namespace syncbn::bench {
namespace {

using nlohmann::json;

void Row(const std::string& what, const std::string& figure, const std::string& wanted = "") {
  std::printf("%-58s %-38s %s\n", what.c_str(), figure.c_str(), wanted.c_str());
}

std::string Text(const char* format, auto... values) {
  char text[160];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

std::string Milliseconds(const json& summary) {
  return Text("%.1f (p95 %.1f, p99 %.1f, max %.0f) ms", summary["median"].get<double>(),
              summary["p95"].get<double>(), summary["p99"].get<double>(),
              summary["max"].get<double>());
}

std::string Verdict(const char* wanted, bool met) {
  return std::string(wanted) + (met ? "" : ": MISSED");
}

void PrintMetrics(const json& all) {
  for (const char* key : {"as_fast_as_taken", "sustained"}) {
    const json& one = all[key];
    const double rate = one["per_second"], asked = one["asked_per_second"];
    const bool paced = asked > 0;
    Row(paced ? "points a second, sustained, 8 streams, acknowledged"
              : "points a second, as fast as they are taken",
        Text("%.0f (each second: %.0f to %.0f)", rate, one["per_second_min"].get<double>(),
             one["per_second_max"].get<double>()),
        paced ? Verdict("50000", rate >= 0.99 * asked && asked >= 50'000) : "");
    Row("  until a batch of 1000 is acknowledged", Milliseconds(one["acknowledged_after_ms"]));
    Row("  cores of the server", Text("%.2f", one["server_cores"].get<double>()));
    const json& memory = one["memory"];
    const double early = memory.front()["rss_mib"], late = memory.back()["rss_mib"];
    std::string sizes;
    for (const json& at : memory) sizes += Text("%.1f ", at["rss_mib"].get<double>());
    Row("  memory at 25, 50, 100 % of the time", sizes + "MiB",
        paced ? Verdict("flat: within 5 %", late <= 1.05 * early) : "");
    Row("  load average", one["load_average"]);
  }
  Row("points verified in the store", std::to_string(all["points_verified"].get<int64_t>()));
}

void PrintJobs(const json& all) {
  Row("start with 10000 jobs, 1000 of them queued",
      Text("%.2f (max of 5: %.2f) s", all["start_seconds"]["median"].get<double>(),
           all["start_seconds"]["max"].get<double>()),
      Verdict("under 2 s", all["start_seconds"]["max"].get<double>() < 2));
  for (const json& one : all["lists"]) {
    Row(Text("list of %d, filter '%s'", one["page_size"].get<int>(),
             one["filter"].get<std::string>().c_str()),
        Milliseconds(one["answer_ms"]),
        Verdict("under 50 ms (p95)", one["answer_ms"]["p95"].get<double>() < 50));
  }
  Row("load average", all["load_average"]);
}

void PrintFollowers(const json& all) {
  for (const char* key : {"without", "with"}) {
    const json& one = all[key];
    Row(std::string(key) + " 100 followers (300 streams): until acknowledged",
        Milliseconds(one["acknowledged_after_ms"]));
    Row("  points a second, cores of the server, memory",
        Text("%.0f, %.2f, %.1f MiB", one["per_second"].get<double>(),
             one["server_cores"].get<double>(), one["memory"].back()["rss_mib"].get<double>()));
    Row("  load average", one["load_average"]);
  }
  Row("from the making of a point to a follower", Milliseconds(all["point_to_follower_ms"]));
  Row("from the printing of a line to a follower", Milliseconds(all["line_to_follower_ms"]));
  Row("every follower saw every point, transition and line",
      Text("%lld points", static_cast<long long>(all["points_verified"].get<int64_t>())));
}

void PrintSlow(const json& all) {
  const double before = all["rss_mib_before"], after = all["rss_mib_after"];
  Row(Text("%d followers that do not read, full rate: memory", all["slow_followers"].get<int>()),
      Text("%.1f before, %.1f after %.0f s", before, after, all["with"]["seconds"].get<double>()),
      Verdict("at most 2 MiB a follower", after - before < 2 * all["slow_followers"].get<double>()));
  Row("  they read on: until they have everything, memory then",
      Text("%.1f s, %.1f MiB", all["catch_up_seconds"].get<double>(),
           all["rss_mib_caught_up"].get<double>()));
  Row("  load average", all["with"]["load_average"]);
}

}  // namespace

void PrintTable(const json& all) {
  Row("what", "median or mean", "wanted");
  if (all.contains("metrics")) PrintMetrics(all["metrics"]);
  if (all.contains("jobs")) PrintJobs(all["jobs"]);
  if (all.contains("followers")) PrintFollowers(all["followers"]);
  if (all.contains("slow")) PrintSlow(all["slow"]);
}

}  // namespace syncbn::bench
