#include "interchange/model_input.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/untrusted_json.h"
#include "data/class_names.h"

namespace syncbn::interchange {
namespace {

using Json = nlohmann::ordered_json;

// More pixels than a side of images may have in any run file.
constexpr int64_t kMostExtent = 4096;

// nlohmann makes 64 of 64.7.
int64_t WholeNumber(const Json& json) {
  if (!json.is_number_integer()) throw Json::type_error::create(302, "no whole number", &json);
  if (json.is_number_unsigned() && json.get<uint64_t>() > uint64_t{INT64_MAX}) return INT64_MAX;
  return json.get<int64_t>();
}

bool IsExtent(int64_t extent) {
  return extent > 0 && extent <= kMostExtent;
}

}  // namespace

std::string ModelInput::ToJson() const {
  Json json;
  json["height"] = image.height;
  json["width"] = image.width;
  json["channels"] = image.channels;
  json["middle_of"] = middle_of;
  json["mean"] = standardize.mean;
  json["std"] = standardize.std;
  json["classes"] = classes;
  return json.dump(2) + "\n";
}

ModelInput ModelInput::FromJson(const std::string& text, const std::string& source) {
  const auto damaged = [&](const std::string& what) {
    throw Error(ErrorCode::kDataLoss, source + " is damaged: " + what);
  };
  ModelInput input;
  try {
    const Json json = ParseUntrustedJson<Json>(text);
    input = {.image = {.height = WholeNumber(json.at("height")),
                       .width = WholeNumber(json.at("width")),
                       .channels = WholeNumber(json.at("channels"))},
             .classes = json.at("classes").get<std::vector<std::string>>(),
             .standardize = {.mean = json.at("mean").get<std::vector<double>>(),
                             .std = json.at("std").get<std::vector<double>>()},
             // Runs of versions that knew no images of other sizes have none.
             .middle_of = json.contains("middle_of") ? WholeNumber(json["middle_of"]) : 0};
  } catch (const JsonFault& fault) {
    damaged(fault.message());
  } catch (const nlohmann::json::exception&) {
    damaged("an entry is missing or of the wrong type");
  }
  const data::ImageShape& image = input.image;
  if (!IsExtent(image.height) || !IsExtent(image.width) || !IsExtent(image.channels) ||
      input.classes.empty()) {
    damaged("images of " + image.ToString() + " in " + std::to_string(input.classes.size()) +
            " classes");
  }
  if (input.middle_of != 0 &&
      (input.middle_of < std::max(image.height, image.width) || !IsExtent(input.middle_of))) {
    damaged("the middle of images whose shorter side is " + std::to_string(input.middle_of));
  }
  const auto channels = static_cast<size_t>(image.channels);
  const size_t means = input.standardize.mean.size(), stds = input.standardize.std.size();
  if (means != stds || (means != 0 && means != channels))
    damaged("it has no mean and std of each channel");
  const auto fits = [](double number) { return std::isfinite(number); };
  // 0 is that of a channel that never changes, and divides by 1.
  const auto divides = [](double number) { return std::isfinite(number) && number >= 0; };
  if (!std::ranges::all_of(input.standardize.mean, fits) ||
      !std::ranges::all_of(input.standardize.std, divides)) {
    damaged("a mean is not finite, or an std below 0");
  }
  return input;
}

ModelInput InputOf(const train::PreparedRun& run) {
  const data::Dataset& train = run.data().train();
  return {.image = train.image_shape(),
          .classes = data::ClassNames(run.spec().data(), train),
          .standardize = run.data().StandardizationOf(run.spec().data()),
          .middle_of = train.middle_of()};
}

}  // namespace syncbn::interchange
