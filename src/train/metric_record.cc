#include "train/metric_record.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/error.h"
#include "base/metric_name.h"
#include "base/printable.h"
#include "base/untrusted_json.h"
#include "train/json_numbers.h"

namespace syncbn::train {
namespace {

using Json = nlohmann::ordered_json;

void Put(Json& json, const char* key, const std::optional<double>& value) {
  if (value) json[key] = JsonNumber(*value);
}

std::optional<double> Take(const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end()) return std::nullopt;
  return NumberOf(*found);
}

// Room for what stands before a name at the coordinator: "test/precise/".
constexpr size_t kLongestFigureName = kLongestMetricName - 16;

// What every record has, under the names that the coordinator knows.
constexpr std::array<std::string_view, 7> kTakenNames = {
    "loss",    "accuracy",  "learning_rate", "gradient_norm", "images_per_second",
    "skipped", "other_bits"};

// At the coordinator other series of the test split begin so: "test/precise/loss".
constexpr std::array<std::string_view, 3> kTakenPrefixes = {"running/", "precise/", "batch/"};

}  // namespace

void MetricRecord::AddFigures(const NamedFigures& more) {
  for (const auto& [name, value] : more) {
    if (!IsMetricName(name) || name.size() > kLongestFigureName) {
      throw Error(ErrorCode::kInvalidArgument,
                  "a figure cannot be named '" + Printable(name) +
                      "': letters, digits, . _ - / are allowed, at most " +
                      std::to_string(kLongestFigureName));
    }
    if (std::ranges::find(kTakenNames, name) != kTakenNames.end()) {
      throw Error(ErrorCode::kInvalidArgument,
                  "a figure cannot be named '" + name + "': every record has one of that name");
    }
    const auto taken = std::ranges::find_if(
        kTakenPrefixes, [&](std::string_view prefix) { return name.starts_with(prefix); });
    if (taken != kTakenPrefixes.end()) {
      throw Error(ErrorCode::kInvalidArgument, "a figure cannot be named '" + name +
                                                   "': what begins with " + std::string(*taken) +
                                                   " is of the evaluation of that name");
    }
    figures[name] = value;
  }
}

std::string MetricRecord::ToJson() const {
  Json json;
  json["step"] = step;
  json["epoch"] = epoch;
  json["split"] = split;
  if (evaluation) json["evaluation"] = *evaluation;
  if (samples) json["samples"] = *samples;
  Put(json, "loss", loss);
  Put(json, "accuracy", accuracy);
  Put(json, "lr", learning_rate);
  Put(json, "gradient_norm", gradient_norm);
  if (skipped) json["skipped"] = true;
  Put(json, "images_per_second", images_per_second);
  if (milliseconds) {
    json["ms"] = {{"compute", JsonNumber(milliseconds->compute)},
                  {"statistics", JsonNumber(milliseconds->statistics)},
                  {"gradients", JsonNumber(milliseconds->gradients)},
                  {"data", JsonNumber(milliseconds->data)}};
  }
  if (other_bits) json["other_bits"] = true;
  if (digest) json["digest"] = digest->Hex();
  for (const auto& [name, value] : figures) json["figures"][name] = JsonNumber(value);
  return json.dump();
}

MetricRecord MetricRecord::FromJson(std::string_view line) {
  try {
    const Json json = ParseUntrustedJson<Json>(line);
    MetricRecord record;
    record.step = json.at("step");
    record.epoch = json.at("epoch");
    record.split = json.at("split");
    if (json.contains("evaluation")) record.evaluation = json["evaluation"].get<std::string>();
    if (json.contains("samples")) record.samples = json["samples"].get<int64_t>();
    record.loss = Take(json, "loss");
    record.accuracy = Take(json, "accuracy");
    record.learning_rate = Take(json, "lr");
    record.gradient_norm = Take(json, "gradient_norm");
    record.skipped = json.value("skipped", false);
    record.images_per_second = Take(json, "images_per_second");
    if (json.contains("ms")) {
      const Json& ms = json["ms"];
      record.milliseconds = Milliseconds{.compute = NumberOf(ms.at("compute")),
                                         .statistics = NumberOf(ms.at("statistics")),
                                         .gradients = NumberOf(ms.at("gradients")),
                                         .data = NumberOf(ms.at("data"))};
    }
    record.other_bits = json.value("other_bits", false);
    if (json.contains("digest")) record.digest = Digest::FromHex(json["digest"].get<std::string>());
    if (json.contains("figures")) {
      NamedFigures figures;
      for (const auto& [name, value] : json["figures"].get_ref<const Json::object_t&>()) {
        figures[name] = NumberOf(value);
      }
      record.AddFigures(figures);
    }
    return record;
  } catch (const JsonFault& fault) {
    throw Error(ErrorCode::kDataLoss, "not a line of metrics: " + fault.message());
  } catch (const nlohmann::json::exception&) {
    throw Error(ErrorCode::kDataLoss,
                "not a line of metrics: an entry is missing or of the wrong type");
  } catch (const Error& error) {
    throw Error(ErrorCode::kDataLoss, "not a line of metrics: " + error.message());
  }
}

}  // namespace syncbn::train
