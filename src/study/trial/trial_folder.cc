#include "study/trial/trial_folder.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "config/effective_yaml.h"
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
  const Json summary = Json::parse(ReadFile(path));
  record.end = EndOf(summary.at("status").get<std::string>());
  if (summary.at("reason").is_string()) record.reason = summary["reason"].get<std::string>();
  if (summary.at("digest").is_string()) record.digest = summary["digest"].get<std::string>();
  record.by = "syncbn " + summary.at("versions").at("syncbn").get<std::string>() + ", " +
              summary.at("back_end").get<std::string>();
  record.classes = summary.at("classes").get<int>();
  record.timings = {{"seconds", summary.at("seconds").get<double>()},
                    {"images_per_second", summary.at("images_per_second").get<double>()}};
  for (const char* part : {"compute", "statistics", "gradients", "data"}) {
    record.timings[std::string("ms_") + part] = summary.at("ms").at(part).get<double>();
  }
}

}  // namespace

std::string RunFileOfTrial(const v1::RunSpec& run) {
  v1::RunSpec complete = run;
  complete.mutable_output()->set_every_steps(1);
  return config::EffectiveYaml(complete, {});
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
  } catch (const Json::exception& error) {
    throw Error(ErrorCode::kInternal, std::string("the summary of a trial: ") + error.what());
  }
  return record;
}

}  // namespace syncbn::study
