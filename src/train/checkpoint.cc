#include "train/checkpoint.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "train/json_numbers.h"
#include "train/tensor_names.h"

namespace syncbn::train {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "syncbn checkpoint 2";
// Had all tensors in one file.
constexpr const char* kFormat1 = "syncbn checkpoint 1";
constexpr const char* kTensorsFile1 = "tensors.safetensors";

[[noreturn]] void Damaged(const std::string& source, const std::string& what) {
  throw Error(ErrorCode::kDataLoss, source + " is damaged: " + what);
}

// A path in the run file need not be UTF-8, which JSON must be.
std::string Dump(const Json& json, int indent) {
  return json.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

Digest DigestOfJson(const Json& json) {
  const std::string text = Dump(json, -1);
  return syncbn::DigestOf(std::as_bytes(std::span(text)));
}

}  // namespace

std::string Manifest::ToJson() const {
  Json json;
  json["format"] = kFormat;
  json["step"] = counters.step;
  json["epoch"] = counters.epoch;
  json["samples"] = counters.samples;
  json["skipped_steps"] = counters.skipped_steps;
  json["optimizer_updates"] = optimizer_updates;
  json["test_accuracy"] = test_accuracy ? Json(*test_accuracy) : Json(nullptr);
  json["figures"] = Json::object();
  for (const auto& [name, value] : figures) json["figures"][name] = JsonNumber(value);
  json["attempt"] = attempt;
  json["until_next"] = until_next;
  json["created"] = created;
  json["environment"] = environment;
  json["environment_changes"] = Json::array();
  for (const EnvironmentChange& change : environment_changes) {
    json["environment_changes"].push_back({{"step", change.step}, {"what", change.what}});
  }
  json["state_digest"] = state_digest.Hex();
  json["files"] = Json::object();
  for (const auto& [name, digest] : files) json["files"][name] = digest.Hex();
  json["run_file"] = run_file;
  json["manifest_digest"] = DigestOfJson(json).Hex();
  return Dump(json, 2) + "\n";
}

Manifest Manifest::FromJson(const std::string& text, const std::string& source) {
  try {
    Json json = Json::parse(text);
    const std::string format = json.at("format");
    if (format != kFormat && format != kFormat1) {
      Damaged(source, "its format is '" + format + "', not '" + kFormat + "'");
    }
    const std::string digest = json.at("manifest_digest");
    json.erase("manifest_digest");
    if (DigestOfJson(json).Hex() != digest)
      Damaged(source, "its content does not match its digest");

    Manifest manifest;
    manifest.counters = {.step = json.at("step"),
                         .epoch = json.at("epoch"),
                         .samples = json.at("samples"),
                         .skipped_steps = json.at("skipped_steps")};
    manifest.optimizer_updates = json.at("optimizer_updates");
    if (const Json& accuracy = json.at("test_accuracy"); !accuracy.is_null()) {
      manifest.test_accuracy = accuracy.get<double>();
    }
    for (const auto& [name, value] : json.at("figures").items()) {
      manifest.figures[name] = NumberOf(value);
    }
    manifest.attempt = json.at("attempt");
    manifest.created = json.at("created");
    manifest.environment = json.at("environment").get<std::map<std::string, std::string>>();
    manifest.state_digest = Digest::FromHex(json.at("state_digest").get<std::string>());
    if (format == kFormat1) {
      manifest.files[kTensorsFile1] = Digest::FromHex(json.at("tensors_digest").get<std::string>());
    } else {
      manifest.until_next = json.at("until_next");
      for (const auto& [name, hex] : json.at("files").items()) {
        manifest.files[name] = Digest::FromHex(hex.get<std::string>());
      }
      for (const Json& change : json.at("environment_changes")) {
        manifest.environment_changes.push_back({change.at("step"), change.at("what")});
      }
    }
    manifest.run_file = json.at("run_file");
    return manifest;
  } catch (const nlohmann::json::parse_error& error) {
    Damaged(source, "it is not JSON (at byte " + std::to_string(error.byte) + ")");
  } catch (const nlohmann::json::exception&) {
    Damaged(source, "an entry is missing or of the wrong type");
  }
}

std::vector<NamedTensor> StateTensors::All() const {
  std::vector<NamedTensor> all = model;
  all.insert(all.end(), optimizer.begin(), optimizer.end());
  return all;
}

TrainingState TrainingState::ToDevice(backend::Stream& stream) const {
  return {.parameters = stream.ToDevice(parameters, parameters.dtype()),
          .running_statistics = stream.ToDevice(running_statistics, running_statistics.dtype()),
          .optimizer = optimizer.ToDevice(stream)};
}

TrainingState TrainingState::OnHost() const {
  return {.parameters = parameters.OnHost(),
          .running_statistics = running_statistics.OnHost(),
          .optimizer = optimizer.OnHost()};
}

StateTensors CheckpointTensors(const TensorLayouts& layouts, const TrainingState& there) {
  const TrainingState state = there.OnHost();
  StateTensors tensors{.model = ParameterTensors(*layouts.parameters, state.parameters),
                       .optimizer = layouts.optimizer->StateTensors(state.optimizer)};
  std::ranges::move(
      AsStateDict(RunningTensors(*layouts.running_statistics, state.running_statistics)),
      std::back_inserter(tensors.model));
  return tensors;
}

TrainingState EmptyState(const TensorLayouts& layouts, DType dtype) {
  return {.parameters = Tensor::Zeros({layouts.parameters->flat_elements()}, dtype),
          .running_statistics = nn::InitialRunningStatistics(*layouts.running_statistics),
          .optimizer = layouts.optimizer->InitialState(dtype)};
}

TrainingState RestoreState(const TensorLayouts& layouts, DType dtype, const Manifest& manifest,
                           std::span<const NamedTensor> tensors, const std::string& source) {
  // Zeros first: the padding between parameters is part of no tensor.
  TrainingState state = EmptyState(layouts, dtype);
  std::vector<NamedTensor> views = ParameterTensors(*layouts.parameters, state.parameters);
  std::ranges::move(RunningTensors(*layouts.running_statistics, state.running_statistics),
                    std::back_inserter(views));
  std::ranges::move(layouts.optimizer->StateTensors(state.optimizer), std::back_inserter(views));
  CopyByName(FromStateDict(tensors), views, source);
  state.optimizer.updates = UpdateCount(manifest.optimizer_updates);
  const Digest digest = StateDigest(*layouts.parameters, *layouts.running_statistics,
                                    state.parameters, state.running_statistics);
  if (digest != manifest.state_digest) {
    Damaged(source, "parameters and running statistics have digest " + digest.Hex() +
                        ", its manifest says " + manifest.state_digest.Hex());
  }
  return state;
}

void CheckContinues(const std::vector<std::string>& differences, const std::string& source) {
  if (differences.empty()) return;
  throw Error(ErrorCode::kFailedPrecondition,
              source +
                  " cannot be continued with this run file, which differs in what changes the "
                  "result:\n  " +
                  Join(differences, "\n  ") +
                  "\nUse the run file of the checkpoint, or start a new run in another folder");
}

}  // namespace syncbn::train
