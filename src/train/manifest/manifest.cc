#include "train/manifest/manifest.h"

#include <charconv>
#include <cstdio>
#include <span>

#include "base/error.h"
#include "base/untrusted_json.h"
#include "train/json_numbers.h"

namespace syncbn::train {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "syncbn checkpoint 2";
// Had all tensors in one file.
constexpr const char* kFormat1 = "syncbn checkpoint 1";
constexpr const char* kTensorsFile1 = "tensors.safetensors";
// Somebody else may have written it, and keys are found by comparing with all of their object's. A
// manifest has some dozens.
constexpr int kMostKeys = 10'000;
constexpr std::string_view kStepPrefix = "step-";

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

std::string CheckpointName(int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step-%08lld", static_cast<long long>(step));
  return name;
}

std::optional<int64_t> StepOfCheckpoint(std::string_view name) {
  if (!name.starts_with(kStepPrefix)) return std::nullopt;
  const std::string_view digits = name.substr(kStepPrefix.size());
  int64_t step = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), step);
  const bool is_number = code == std::errc() && end == digits.data() + digits.size() && step >= 0;
  // One name for each step.
  if (!is_number || CheckpointName(step) != name) return std::nullopt;
  return step;
}

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
    int keys = 0;
    CheckJsonNesting(text);
    Json json = Json::parse(text, [&](int, Json::parse_event_t event, Json&) {
      if (event == Json::parse_event_t::key && ++keys > kMostKeys)
        Damaged(source, "it has more than " + std::to_string(kMostKeys) + " keys");
      return true;
    });
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
  } catch (const JsonFault& fault) {
    Damaged(source, fault.message());
  } catch (const nlohmann::json::parse_error& error) {
    Damaged(source, "it is not JSON (at byte " + std::to_string(error.byte) + ")");
  } catch (const nlohmann::json::exception&) {
    Damaged(source, "an entry is missing or of the wrong type");
  }
}

}  // namespace syncbn::train
