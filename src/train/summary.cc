#include "train/summary.h"

#include "base/file.h"
#include "train/json_numbers.h"

namespace syncbn::train {
namespace {

using Json = nlohmann::ordered_json;

Json ToJsonObject(const Figures& figures) {
  return {{"loss", JsonNumber(figures.loss)}, {"accuracy", JsonNumber(figures.accuracy)}};
}

}  // namespace

std::string Summary::ToJson() const {
  Json json;
  json["name"] = name;
  json["status"] = RunEndName(end);
  json["reason"] = reason.empty() ? Json(nullptr) : Json(reason);
  json["steps"] = steps;
  json["epochs"] = JsonNumber(epochs);
  json["samples"] = samples;
  json["skipped_steps"] = skipped_steps;
  json["environment_changes"] = Json::array();
  for (const EnvironmentChange& change : environment_changes) {
    json["environment_changes"].push_back({{"step", change.step}, {"what", change.what}});
  }
  json["train"] = train ? ToJsonObject(*train) : Json(nullptr);
  json["test"] = Json::object();
  for (const auto& [evaluation, figures] : test) json["test"][evaluation] = ToJsonObject(figures);
  json["best_test_accuracy"] = best_test_accuracy ? JsonNumber(*best_test_accuracy) : Json(nullptr);
  json["digest"] = digest ? Json(digest->Hex()) : Json(nullptr);
  json["replicas"] = replicas;
  json["processes"] = processes;
  json["hosts"] = hosts;
  json["processor"] = processor;
  json["cores"] = cores;
  json["attempt"] = attempt;
  json["command"] = command;
  json["versions"] = versions;
  json["back_end"] = back_end;
  json["classes"] = classes;
  json["parameters"] = parameters;
  json["running_numbers"] = running_numbers;
  json["started"] = started;
  json["finished"] = finished;
  json["seconds"] = JsonNumber(seconds);
  json["images_per_second"] = JsonNumber(images_per_second);
  json["ms"] = {{"compute", JsonNumber(milliseconds.compute)},
                {"statistics", JsonNumber(milliseconds.statistics)},
                {"gradients", JsonNumber(milliseconds.gradients)},
                {"data", JsonNumber(milliseconds.data)}};
  json["traffic"] = {{"steps", traffic.steps},
                     {"reductions", traffic.reductions},
                     {"messages", traffic.messages},
                     {"bytes", traffic.bytes}};
  json["tensor_bytes"] = tensor_bytes;
  // An argument of the command line need not be UTF-8, which JSON must be.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

void WriteSummary(const std::filesystem::path& path, const Summary& summary) {
  WriteFileAtomically(path, summary.ToJson());
}

}  // namespace syncbn::train
