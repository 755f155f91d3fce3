#include <cstdio>
#include <filesystem>
#include <memory>

#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "app/run/trained_run.h"
#include "app/terminal.h"
#include "app/validators.h"
#include "app/versions.h"
#include "base/file.h"
#include "base/text.h"
#include "interchange/fold.h"
#include "interchange/onnx_file.h"
#include "interchange/state_dict.h"
#include "interchange/torch_file.h"
#include "train/checkpoint.h"
#include "train/optimizer.h"
#include "train/safetensors.h"

namespace syncbn::app {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string run, format, out;
  int64_t step = -1;
  bool fold = false;
};

const char* FileNameOf(const std::string& format) {
  if (format == "onnx") return "model.onnx";
  return format == "torch" ? "model.pt" : "model.safetensors";
}

// Throws DATA_LOSS or INVALID_ARGUMENT where the checkpoint is not one of this model: input.json
// says how large that is, and may be another run's.
void CheckFits(const v1::RunSpec& spec, const nn::Model& model, const interchange::Weights& weights,
               const train::StoredCheckpoint& checkpoint) {
  const nn::ParameterLayout& layout = model.parameters();
  const Tensor first = layout.size() == 0 ? Tensor() : weights.Find(layout[0].name);
  const train::Optimizer optimizer(spec.train().optimizer(), layout);
  train::RestoreState({&layout, &model.running_statistics(), &optimizer},
                      first.defined() ? first.dtype() : DType::kFloat32, checkpoint.manifest,
                      checkpoint.tensors, checkpoint.folder.string());
}

void Export(const Arguments& arguments) {
  const TrainedRun run = OpenTrainedRun(
      arguments.run, arguments.step < 0 ? std::nullopt : std::optional(arguments.step));
  const interchange::ModelInput input = InputOfRun(run);
  const v1::RunSpec& spec = run.file.spec;
  // Nothing fused: every layer is to be seen.
  const auto model = nn::BuildModelOf(spec,
                                      {.height = input.image.height,
                                       .width = input.image.width,
                                       .channels = input.image.channels,
                                       .classes = static_cast<int64_t>(input.classes.size())},
                                      /*fuse=*/false);
  const interchange::Weights weights(run.checkpoint.tensors);
  CheckFits(spec, *model, weights, run.checkpoint);
  const std::string step = std::to_string(run.checkpoint.manifest.counters.step);
  const std::map<std::string, std::string> metadata = {
      {"syncbn.run", spec.name()},
      {"syncbn.step", step},
      {"syncbn.state_digest", run.checkpoint.manifest.state_digest.Hex()},
      {"syncbn.input", nlohmann::json::parse(input.ToJson()).dump()}};
  // What a link leads to is replaced, not the link (/dev/stdout is one).
  const fs::path path = fs::weakly_canonical(
      arguments.out.empty() ? run.out / FileNameOf(arguments.format) : fs::path(arguments.out));
  if (arguments.format == "onnx") {
    WriteFileAtomically(path, interchange::OnnxModel(*model, weights,
                                                     {.fold_batch_norms = arguments.fold,
                                                      .version = ProgramVersion(),
                                                      .metadata = metadata}));
  } else {
    const std::vector<train::NamedTensor> tensors =
        interchange::StateDict(spec.model(), *model, weights, {.fold_batch_norms = arguments.fold});
    if (arguments.format == "torch") {
      interchange::WriteTorchFile(path, tensors);
    } else {
      std::map<std::string, std::string> all = metadata;
      all["format"] = "pt";  // whose layouts these are, as others write it
      train::WriteSafetensors(path, tensors, all);
    }
  }
  std::string folded;
  if (arguments.fold) {
    const size_t norms = interchange::FoldBatchNorms(*model, weights).norms.size();
    folded = norms == 0 ? "; no batch norm with running statistics stands directly behind a layer: "
                          "nothing was folded"
                        : "; " + Plural(static_cast<long long>(norms), "batch norm") + " folded";
  }
  Say(stdout, "written: %s, the model after %s steps%s\n", path.string().c_str(), step.c_str(),
      folded.c_str());
}

}  // namespace

void AddExportCommand(CommandLine& line) {
  auto arguments = std::make_shared<Arguments>();
  Command command = line.parser.add_subcommand(
      "export", "Write a trained model for other programs: safetensors, PyTorch or ONNX");
  command->footer(
      "safetensors and torch are a state_dict that torchvision's model of the same name takes "
      "with\n"
      "strict=True; onnx has the input `images` (channels first, standardized as in training: see\n"
      "input.json) and the output `logits`. The optimizer's state is left out.\n\n"
      "  syncbn export runs/r20 --format onnx --fold-batchnorm --out r20.onnx");
  command->add_option("RUN", arguments->run, "output folder of the run")->required();
  command->add_option("--format", arguments->format, "safetensors, torch or onnx")
      ->type_name("NAME")
      ->required()
      ->is_member({"safetensors", "torch", "onnx"});
  command->add_option("--out", arguments->out, "the file (default: model.* in RUN)")
      ->type_name("FILE")
      ->check(NotEmpty());
  command->add_flag("--fold-batchnorm", arguments->fold,
                    "make batch norms a part of the layers before them");
  command
      ->add_option("--step", arguments->step, "the checkpoint after N steps (default: the newest)")
      ->type_name("N")
      ->check(WholeNumberFrom(0, kAnyWhole));
  command->callback([arguments] { Export(*arguments); });
}

}  // namespace syncbn::app
