#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>

#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "app/exit_code.h"
#include "app/run/backend_program.h"
#include "app/run/trained_run.h"
#include "app/table.h"
#include "app/terminal.h"
#include "app/validators.h"
#include "base/error.h"
#include "base/regular_file.h"
#include "base/text.h"
#include "interchange/predictor.h"

namespace syncbn::app {
namespace {

struct Arguments {
  std::string run;
  std::vector<std::string> images;
  std::string format = "table", backend = "cpu";
  int top = 5;
  int64_t step = -1;
  bool logits = false;
};

using interchange::Guess;

// More than any photograph has.
constexpr int64_t kMostImageBytes = int64_t{1} << 30;

// Throws what OpenRegularFile does, before the image is read, which would wait for a pipe and read
// a device without an end; and UnfitFile for what no image is.
void CheckFile(const std::string& path) {
  const RegularFile file = OpenRegularFile(path);
  if (file.bytes <= kMostImageBytes) return;
  throw UnfitFile(path, "has " + std::to_string(file.bytes) + " bytes, more than any image (" +
                            std::to_string(kMostImageBytes) + ")");
}

// RFC 4180.
std::string Quoted(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

// What is said of one image, in one of the formats.
class Answers {
 public:
  Answers(std::string format, const std::vector<std::string>& classes)
      : format_(std::move(format)), classes_(classes) {
    if (format_ == "csv") SayExactly("image,rank,label,class,probability,error\n");
  }

  // `logits`: told of in JSON; null: not asked for.
  void Add(const std::string& image, const std::vector<Guess>& guesses,
           const std::vector<double>* logits) {
    nlohmann::ordered_json top = nlohmann::ordered_json::array();
    for (size_t rank = 0; rank < guesses.size(); ++rank) {
      const auto& [label, probability] = guesses[rank];
      const std::string& name = classes_[static_cast<size_t>(label)];
      if (format_ == "csv") {
        SayExactly(Quoted(image) + "," + std::to_string(rank + 1) + "," + std::to_string(label) +
                   "," + Quoted(name) + "," + FormatDouble(probability) + ",\n");
      } else if (format_ == "json") {
        top.push_back({{"label", label}, {"class", name}, {"probability", probability}});
      } else {
        char percent[16];
        std::snprintf(percent, sizeof(percent), "%.2f %%", 100 * probability);
        table_.Add({{rank == 0 ? image : ""}, {name}, {percent}});
      }
    }
    if (format_ != "json") return;
    nlohmann::ordered_json line = {{"image", image}, {"top", top}};
    if (logits != nullptr) line["logits"] = *logits;
    SayLine(line);
  }

  // Of an image that could not be read.
  void AddError(const std::string& image, const std::string& error) {
    if (format_ == "csv") {
      SayExactly(Quoted(image) + ",,,,," + Quoted(error) + "\n");
    } else if (format_ == "json") {
      SayLine({{"image", image}, {"error", error}});
    } else {
      table_.Add({{image}, {"cannot be read"}, {""}});
    }
  }

  void Finish() {
    if (format_ == "table" && !table_.empty()) {
      Say(stdout, "%s", table_.Render(Terminal::Of(stdout)).c_str());
    }
  }

 private:
  static void SayLine(const nlohmann::ordered_json& line) {
    SayExactly(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  }

  const std::string format_;
  const std::vector<std::string>& classes_;
  Table table_{
      {{.header = "image"}, {.header = "class"}, {.header = "probability", .right = true}}};
};

// The exit code: that of the first image that could not be read. The others are told of all the
// same.
int Predict(const Arguments& arguments) {
  const TrainedRun run = OpenTrainedRun(
      arguments.run, arguments.step < 0 ? std::nullopt : std::optional(arguments.step));
  const auto backend = MakeBackend(arguments.backend);
  interchange::Predictor predictor(*backend, run.file.spec, InputOfRun(run), run.checkpoint);
  Answers answers(arguments.format, predictor.input().classes);
  int code = kSuccess;
  for (const std::string& path : arguments.images) {
    try {
      CheckFile(path);
      const std::vector<double> logits = predictor.Logits(std::filesystem::path(path));
      answers.Add(path, interchange::MostLikely(logits, static_cast<size_t>(arguments.top)),
                  arguments.logits ? &logits : nullptr);
    } catch (const Error& error) {
      answers.AddError(path, error.message());
      Say(stderr, "syncbn: %s\n", error.what());
      if (code == kSuccess) code = ExitCodeOf(error);
    }
  }
  answers.Finish();
  return code;
}

}  // namespace

void AddPredictCommand(CommandLine& line) {
  auto arguments = std::make_shared<Arguments>();
  Command command =
      line.parser.add_subcommand("predict", "Say what a trained model takes images for");
  command->footer(
      "Images are brought to the model's size and standardized as in training; norms use their "
      "running\n"
      "statistics. What is said of an image does not depend on the others, to the bit.\n"
      "An image that cannot be read has a record with `error` in JSON and CSV; the others are told "
      "of all\n"
      "the same. Exit codes: 0, or that of the first such image, as `syncbn train --help` says.\n\n"
      "  syncbn predict runs/r20 cat.png dog.jpg --format json");
  command->add_option("RUN", arguments->run, "output folder of the run")->required();
  command->add_option("IMAGE", arguments->images, "JPEG, PNG and WebP files")->required();
  command->add_option("--format", arguments->format, "table, csv, or json (one object a line)")
      ->type_name("NAME")
      ->is_member({"table", "csv", "json"})
      ->capture_default_str();
  command->add_option("--top", arguments->top, "classes an image")
      ->type_name("N")
      ->check(WholeNumberFrom(1))
      ->capture_default_str();
  command->add_flag("--logits", arguments->logits, "with json: the logits of all classes, too");
  command
      ->add_option("--step", arguments->step, "the checkpoint after N steps (default: the newest)")
      ->type_name("N")
      ->check(WholeNumberFrom(0, kAnyWhole));
  command->add_option("--backend", arguments->backend, kBackendHelp)->capture_default_str();
  command->callback([arguments, &line] {
    BecomeProgramOf(arguments->backend);
    line.exit_code = Predict(*arguments);
  });
}

}  // namespace syncbn::app
