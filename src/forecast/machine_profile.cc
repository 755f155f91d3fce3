#include "forecast/machine_profile.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/untrusted_json.h"
#include "config/difference.h"
#include "train/run_backend.h"

namespace syncbn::forecast {
namespace {

using Json = nlohmann::ordered_json;

// A value at `batch` of one that is known at the profile's batches.
class Line {
 public:
  Line(const std::vector<ProfiledBatch>& batches, int64_t batch) {
    if (batches.size() == 1) {
      // All that is known: time grows with the samples.
      weight_ = static_cast<double>(batch) / static_cast<double>(batches[0].batch);
      return;
    }
    while (right_ + 1 < batches.size() && batches[right_].batch < batch) ++right_;
    right_ = std::max<size_t>(right_, 1);
    left_ = right_ - 1;
    weight_ = static_cast<double>(batch - batches[left_].batch) /
              static_cast<double>(batches[right_].batch - batches[left_].batch);
  }
  template <typename Value>
  double At(Value&& value) const {
    if (left_ == right_) return weight_ * value(right_);
    // Never below 0, which the line of a noisy pair may come to beyond them.
    return std::max(0.0, value(left_) + weight_ * (value(right_) - value(left_)));
  }

 private:
  size_t left_ = 0, right_ = 0;
  double weight_ = 1;
};

}  // namespace

double ProfiledBatch::total() const {
  return std::accumulate(compute.begin(), compute.end(), rest);
}

bool MachineProfile::Covers(int64_t batch) const {
  return batches.front().batch <= batch && batch <= batches.back().batch;
}

StepProgram MachineProfile::Timed(StepProgram program, int64_t batch) const {
  const Line line(batches, batch);
  size_t next = 0;
  for (ProgramEvent& event : program.events) {
    const std::string name = program.NameOf(event);
    event.compute = 0;
    while (true) {
      if (next == events.size()) {
        throw Error(ErrorCode::kInvalidArgument, "the profile has no '" + name +
                                                     "': it was measured with another run file (" +
                                                     run + "); measure this one's");
      }
      const size_t at = next++;
      event.compute += line.At([&](size_t i) { return batches[i].compute[at]; });
      if (events[at] == name) break;
    }
  }
  program.rest = line.At([&](size_t i) { return batches[i].rest; });
  for (; next < events.size(); ++next) {
    program.rest += line.At([&](size_t i) { return batches[i].compute[next]; });
  }
  return program;
}

std::vector<std::string> ModelLines(const v1::RunSpec& run, const nn::InputSpec& input) {
  std::vector<std::string> lines;
  std::istringstream text(config::CanonicalText(run.model()));
  for (std::string line; std::getline(text, line);) {
    // A norm has no other key that begins so.
    const bool norm_batch =
        line.starts_with("norm.batch") || line.find(".norm.batch") != std::string::npos;
    if (!norm_batch) lines.push_back(line);
  }
  const backend::Precision precision = train::PrecisionOf(run);
  if (precision != backend::Precision::kFloat32) {
    lines.push_back("precision: " + std::string(PrecisionName(precision)));
  }
  // Without it, as in profiles from before there was a choice: direct.
  if (train::ConvolutionsOf(run) == backend::ConvolutionForms::kAuto) {
    lines.push_back("convolution: auto");
  }
  lines.push_back("images: " + std::to_string(input.height) + " x " + std::to_string(input.width) +
                  " x " + std::to_string(input.channels));
  return lines;
}

void RequireModel(const MachineProfile& profile, const std::vector<std::string>& model) {
  const auto first_without = [](const std::vector<std::string>& lines,
                                const std::vector<std::string>& others) {
    const auto found = std::ranges::find_if(lines, [&](const std::string& line) {
      return std::ranges::find(others, line) == others.end();
    });
    return found == lines.end() ? std::string("(nothing else)") : "`" + *found + "`";
  };
  if (profile.model == model) return;
  throw Error(ErrorCode::kInvalidArgument,
              "the profile was measured with another model (" + profile.run +
                  "): " + first_without(profile.model, model) + " there, " +
                  first_without(model, profile.model) + " here; measure this run's");
}

void WriteProfile(const std::filesystem::path& path, const MachineProfile& profile) {
  Json json = {{"host", profile.host},
               {"processor", profile.processor},
               {"date", profile.date},
               {"by", profile.by},
               {"run", profile.run},
               {"model", profile.model},
               {"events", profile.events},
               {"seconds_per_round", profile.costs.seconds_per_round},
               {"seconds_per_message", profile.costs.seconds_per_message},
               {"seconds_per_byte", profile.costs.seconds_per_byte},
               {"batches", Json::array()}};
  for (const ProfiledBatch& one : profile.batches) {
    json["batches"].push_back({{"batch", one.batch}, {"compute", one.compute}, {"rest", one.rest}});
  }
  WriteFileAtomically(path, json.dump(1) + "\n");
}

MachineProfile ReadProfile(const std::filesystem::path& path) {
  const std::string text = ReadFile(path);
  MachineProfile profile;
  std::string wrong;
  try {
    const Json json = ParseUntrustedJson<Json>(text);
    profile = {.host = json.at("host"),
               .processor = json.at("processor"),
               .date = json.at("date"),
               .by = json.at("by"),
               .run = json.at("run"),
               .model = json.at("model"),
               .events = json.at("events"),
               .costs = {.seconds_per_round = json.at("seconds_per_round"),
                         .seconds_per_message = json.at("seconds_per_message"),
                         .seconds_per_byte = json.at("seconds_per_byte")}};
    for (const Json& one : json.at("batches")) {
      profile.batches.push_back(
          {.batch = one.at("batch"), .compute = one.at("compute"), .rest = one.at("rest")});
      const ProfiledBatch& added = profile.batches.back();
      const size_t before = profile.batches.size() - 1;
      if (added.compute.size() != profile.events.size()) wrong = "a time for each event is missing";
      if (added.batch <= (before == 0 ? 0 : profile.batches[before - 1].batch)) {
        wrong = "its batches do not ascend";
      }
      for (const double seconds : added.compute) {
        if (!(seconds >= 0)) wrong = "a time is below 0";
      }
    }
    if (profile.batches.empty()) wrong = "it has no batches";
  } catch (const JsonFault& fault) {
    wrong = fault.message();
  } catch (const Json::exception& error) {
    wrong = error.what();
  }
  if (!wrong.empty()) {
    throw Error(ErrorCode::kDataLoss, path.string() +
                                          " is no profile of a machine (syncbn forecast "
                                          "--save-profile writes one): " +
                                          wrong);
  }
  return profile;
}

}  // namespace syncbn::forecast
