#include "study/trial/trial_folder.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/untrusted_json.h"
#include "config/run_file.h"
#include "study/trial/curve_sink.h"
#include "train/metrics.h"

namespace syncbn::study {
namespace {

using Json = nlohmann::json;

TrialEnd EndOf(const std::string& status) {
  if (status == "finished") return TrialEnd::kFinished;
  if (status == "diverged") return TrialEnd::kDiverged;
  throw Error(ErrorCode::kInternal, "the summary of a trial: its run is " + status);
}

void TakeSummary(const std::filesystem::path& path, TrialRecord& record) {
  const Json summary = ParseUntrustedJson<Json>(ReadFile(path));
  record.end = EndOf(summary.at("status").get<std::string>());
  if (summary.at("reason").is_string()) record.reason = summary["reason"].get<std::string>();
  if (summary.at("digest").is_string()) record.digest = summary["digest"].get<std::string>();
  record.by = "syncbn " + summary.at("versions").at("syncbn").get<std::string>() + ", " +
              summary.at("back_end").get<std::string>();
  record.classes = summary.at("classes").get<int>();
  record.place.ended = summary.at("finished").get<std::string>();
  for (const Json& host : summary.at("hosts")) {
    const auto name = host.get<std::string>();
    std::vector<std::string>& hosts = record.place.hosts;
    if (std::ranges::find(hosts, name) == hosts.end()) hosts.push_back(name);
  }
  // A worker of an earlier program has not said.
  record.place.processor = summary.value("processor", "");
  record.place.cores = summary.value("cores", 0);
  // Likewise.
  if (summary.contains("traffic")) {
    const auto& traffic = summary["traffic"];
    record.sizes = SizesOf(summary.at("parameters").get<int64_t>(),
                           summary.at("running_numbers").get<int64_t>(),
                           {.steps = traffic.at("steps").get<int64_t>(),
                            .reductions = traffic.at("reductions").get<int64_t>(),
                            .messages = traffic.at("messages").get<int64_t>(),
                            .bytes = traffic.at("bytes").get<int64_t>()});
  }
  record.timings = {{"seconds", summary.at("seconds").get<double>()},
                    {"images_per_second", summary.at("images_per_second").get<double>()}};
  // Likewise.
  if (summary.contains("tensor_bytes")) {
    record.timings["tensor_bytes"] = summary["tensor_bytes"].get<double>();
  }
  for (const char* part : {"compute", "statistics", "gradients", "data"}) {
    record.timings[std::string("ms_") + part] = summary.at("ms").at(part).get<double>();
  }
}

}  // namespace

std::map<std::string, double> SizesOf(int64_t parameters, int64_t running_numbers,
                                      const train::Traffic& traffic) {
  std::map<std::string, double> sizes = {{"parameters", static_cast<double>(parameters)},
                                         {"running_numbers", static_cast<double>(running_numbers)}};
  if (traffic.steps == 0) return sizes;
  const auto steps = static_cast<double>(traffic.steps);
  sizes["step_reductions"] = static_cast<double>(traffic.reductions) / steps;
  sizes["step_messages"] = static_cast<double>(traffic.messages) / steps;
  sizes["step_bytes"] = static_cast<double>(traffic.bytes) / steps;
  return sizes;
}

std::string RunFileOfTrial(const v1::RunSpec& run) {
  config::RunFile file{.spec = run};
  file.spec.mutable_output()->set_every_steps(1);
  return file.EffectiveYaml();
}

TrialRecord ReadTrialFolder(const std::filesystem::path& out, const v1::RunSpec& run) {
  TrialRecord record;
  CurveSink sink(run, record);
  for (const train::MetricRecord& line : train::ReadMetrics(out / "metrics.jsonl")) {
    sink.Write(line);
  }
  sink.Finish();
  try {
    TakeSummary(out / "summary.json", record);
  } catch (const JsonFault& fault) {
    throw Error(ErrorCode::kInternal, "the summary of a trial: " + fault.message());
  } catch (const Json::exception& error) {
    throw Error(ErrorCode::kInternal, std::string("the summary of a trial: ") + error.what());
  }
  return record;
}

}  // namespace syncbn::study
